/*
 * The whitelist: lists of devices, cut into chunks that the owner decides in order.
 */
#include <stdio.h>

#include "calls.h"
#include "whitelist_csv.h"
#include "write.h"

#define DEVICES_MAX    10000 /* of a JSON body; longer lists come as CSV */
#define BODY_MAX       ((size_t)8 * 1024 * 1024)
#define CSV_MAX        ((size_t)16 * 1024 * 1024) /* 100,000 lines with P-256 keys */
#define VALUES_MAX     50000
#define CHUNKS_PER_S   20 /* how much longer a long list may take */
#define KEY_TEXT_BYTES 900

struct device {
    char uid[REGISTRY_UID_SIZE];
    char key[KEY_TEXT_BYTES];
};
static const struct codec_field device_fields[] = {
    {CODEC_STR(struct device, uid, "RoTPublicUID", CODEC_REQUIRED, 16)},
    {CODEC_STR(struct device, key, "PublicKey", CODEC_OMIT_ZERO, 0)},
};
static const struct codec_table device_table = CODEC_TABLE(struct device, device_fields);
static const struct codec_field device_element = {
    CODEC_ELEMENT_OBJECT(struct device, &device_table)};

struct change_body {
    API_BODY_HEAD;
    struct device *devices;
    size_t devices_count;
};
static const struct codec_field change_fields[] = {
    API_DOMAIN_ROW(struct change_body),
    {CODEC_ARRAY_HEAP(struct change_body, devices, devices_count, "Devices", CODEC_REQUIRED, 1,
                      DEVICES_MAX, &device_element)},
};
static const struct codec_table change_table = CODEC_TABLE(struct change_body, change_fields);

static err_t read_devices(struct exchange *x, struct whitelist_entries *to, struct fault *fault)
{
    const struct change_body *body = x->body;
    if (api_is_csv(x)) {
        return whitelist_csv_read(http_request_body(x->req), to, fault);
    }
    for (size_t i = 0; i < body->devices_count; i++) {
        char where[32];
        (void)snprintf(where, sizeof where, "Devices[%zu]", i);
        err_t err = whitelist_entries_add(to, span_str(body->devices[i].uid),
                                          span_str(body->devices[i].key), where, fault);
        if (err != ERR_OK) {
            return err;
        }
    }
    return ERR_OK;
}

static void make_items(struct ask *ask, const struct uuid *id, const struct whitelist_entries *e)
{
    ask->item_count = (e->count + REGISTRY_WHITELIST_CHUNK - 1) / REGISTRY_WHITELIST_CHUNK;
    ask->items = xcalloc(ask->item_count, sizeof *ask->items);
    for (size_t i = 0; i < ask->item_count; i++) {
        size_t first = i * REGISTRY_WHITELIST_CHUNK;
        size_t left = e->count - first;
        struct registry_whitelist_change chunk = {
            .devices = &e->items[first],
            .devices_count = left < REGISTRY_WHITELIST_CHUNK ? left : REGISTRY_WHITELIST_CHUNK,
        };
        ask->items[i].id = ask_item_id(id, i);
        if (i > 0) {
            uuid_format(id, chunk.first);
        }
        ask->items[i].body = write_body(&registry_whitelist_change_table, &chunk);
    }
}

static void change(struct exchange *x, const char *type)
{
    CLEANUP(whitelist_entries_deinit) struct whitelist_entries entries = {0};
    struct fault fault = {0};
    err_t err = read_devices(x, &entries, &fault);
    if (err != ERR_OK) {
        api_fault(x, err, &fault);
        return;
    }
    struct ask ask;
    struct uuid id;
    if (!write_begin(x, type, &ask, &id)) {
        return;
    }
    make_items(&ask, &id, &entries);
    ask.deadline_ms =
        x->door->config->answer_timeout_ms + (int64_t)(ask.item_count / CHUNKS_PER_S) * 1000;
    ask_send(x, &ask);
}

static void add(struct exchange *x)
{
    change(x, REGISTRY_REQUEST_WHITELIST_ADD);
}

static void remove_devices(struct exchange *x)
{
    change(x, REGISTRY_REQUEST_WHITELIST_REMOVE);
}

static void copy_number(cJSON *to, const char *name, const cJSON *from, const char *member)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(from, member);
    if (cJSON_IsNumber(item)) {
        (void)cJSON_AddNumberToObject(to, name, item->valuedouble);
    }
}

static cJSON *show_result(const cJSON *result, const cJSON *asked)
{
    (void)asked;
    cJSON *json = cJSON_CreateObject();
    copy_number(json, "Added", result, "added");
    copy_number(json, "Removed", result, "removed");
    copy_number(json, "Unchanged", result, "unchanged");
    return json;
}

static cJSON *show_row(struct exchange *x, const struct registry_record *r)
{
    (void)x;
    const struct registry_whitelist *w = &r->of.whitelist;
    cJSON *json = cJSON_CreateObject();
    (void)cJSON_AddStringToObject(json, "RoTPublicUID", w->uid);
    api_add_base64(json, "PublicKey", span_of(w->key, w->key_len));
    api_add_time(json, "CreatedAt", w->created_at);
    return json;
}

static void list(struct exchange *x)
{
    registry_list(x, REGISTRY_WHITELIST, show_row);
}

const struct api_call calls_whitelist[] = {
    {.path = "/v1/device/whitelist/add",
     .access = API_DOMAIN,
     .write = true,
     .body = &change_table,
     .max_body = BODY_MAX,
     .max_csv = CSV_MAX,
     .max_values = VALUES_MAX,
     .serve = add,
     .show = show_result},
    {.path = "/v1/device/whitelist/remove",
     .access = API_DOMAIN,
     .write = true,
     .body = &change_table,
     .max_body = BODY_MAX,
     .max_csv = CSV_MAX,
     .max_values = VALUES_MAX,
     .serve = remove_devices,
     .show = show_result},
    {.path = "/v1/device/whitelist/list",
     .access = API_DOMAIN,
     .body = &api_page_table,
     API_SMALL,
     .serve = list},
    {0},
};
