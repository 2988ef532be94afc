#include "orders.h"

#include <stdio.h>

#include "common/json.h"
#include "devices.h"
#include "order_progress.h"
#include "page.h"
#include "proto/topics.h"

#define CHUNK_DEVICES 1000
#define CHUNK_KEY     48
#define RECORD_MAX    65536u
#define PAGE_BYTES    ((size_t)64 * 1024 * 1024)
#define STAMP_DIGITS  13 /* milliseconds in the index member */

static const struct json_limits record_limits = {
    .max_bytes = RECORD_MAX, .max_depth = 8, .max_values = 8192};

static const struct {
    const char *code;
    const char *text;
} code_texts[] = {
    {"not_found", "there is no such device in this domain"},
    {"not_active", "the device is not active: it may not have certificates now"},
    {"no_certificate", "the device has not proved any certificate yet"},
    {"revoked", "its certificate is revoked: order a new key with update"},
    {"not_managed", "its certificate was not issued by a CA of this system"},
    {"operation_in_progress", "another operation of this device is running"},
    {"not_longer", "the new certificate would not be valid longer than the present one: transfer "
                   "the device first"},
};

const char *orders_code_text(const char *code)
{
    for (size_t i = 0; i < sizeof code_texts / sizeof code_texts[0]; i++) {
        if (strcmp(code_texts[i].code, code) == 0) {
            return code_texts[i].text;
        }
    }
    return "the device was refused";
}

static const char *text_of(const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
    return cJSON_IsString(item) ? item->valuestring : "";
}

static double number_of(const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
    return cJSON_IsNumber(item) ? item->valuedouble : 0;
}

/* ---- one device of an order ---- */

/* An entry is "<uid>" when queued, "<uid> <code>" when refused. */
static bool split_entry(const char *entry, char uid[DEVICE_UID_LEN + 1], const char **ret_code)
{
    if (strnlen(entry, DEVICE_UID_LEN) < DEVICE_UID_LEN) {
        return false;
    }
    memcpy(uid, entry, DEVICE_UID_LEN);
    uid[DEVICE_UID_LEN] = '\0';
    *ret_code = entry[DEVICE_UID_LEN] == ' ' ? entry + DEVICE_UID_LEN + 1 : "";
    return true;
}

static struct uuid operation_of(const struct uuid *order, const char *uid)
{
    return UUID_V5(uuid_span(order), span_str(uid));
}

static void show_entry(cJSON *devices, const struct uuid *order, const char *uid, const char *code,
                       const char *status, const char *reason)
{
    cJSON *device = cJSON_CreateObject();
    (void)cJSON_AddStringToObject(device, "RoTPublicUID", uid);
    if (code[0] != '\0') {
        (void)cJSON_AddStringToObject(device, "Status", "refused");
        (void)cJSON_AddStringToObject(device, "Code", code);
        (void)cJSON_AddStringToObject(device, "Message", orders_code_text(code));
    } else {
        struct uuid operation = operation_of(order, uid);
        (void)cJSON_AddStringToObject(device, "Status", status);
        api_add_uuid(device, "OperationUID", &operation);
        api_add_text(device, "Reason", reason);
    }
    (void)cJSON_AddItemToArray(devices, device);
}

/* Refusals by device, for look-ups: {"<uid>": "<code>"}. */
static cJSON *refusals(const cJSON *result)
{
    cJSON *codes = cJSON_CreateObject();
    const cJSON *refused = NULL;
    cJSON_ArrayForEach(refused, cJSON_GetObjectItemCaseSensitive(result, "refused"))
    {
        (void)cJSON_AddStringToObject(codes, text_of(refused, "uid"), text_of(refused, "code"));
    }
    return codes;
}

/* The scheduler names the refused ones only; who is not among them is queued. */
cJSON *orders_show_result(const cJSON *result, const cJSON *asked)
{
    struct uuid order;
    const char *id = text_of(result, "order");
    if (uuid_parse(span_str(id), &order) != ERR_OK) {
        return NULL;
    }
    const cJSON *refused = cJSON_GetObjectItemCaseSensitive(result, "refused");
    cJSON *json = cJSON_CreateObject();
    (void)cJSON_AddStringToObject(json, "OrderUID", id);
    (void)cJSON_AddNumberToObject(json, "Queued", number_of(result, "queued"));
    (void)cJSON_AddNumberToObject(json, "Refused", cJSON_GetArraySize(refused));
    cJSON *devices = cJSON_AddArrayToObject(json, "Devices");
    CLEANUP_JSON cJSON *codes = refusals(result);
    const cJSON *uid = NULL;
    const cJSON *next = codes->child; /* both lists are in the order of the request */
    cJSON_ArrayForEach(uid, asked)
    {
        bool is_refused = next != NULL && strcmp(next->string, uid->valuestring) == 0;
        show_entry(devices, &order, uid->valuestring, is_refused ? next->valuestring : "", "queued",
                   "");
        next = is_refused ? next->next : next;
    }
    if (asked == NULL) {
        cJSON_ArrayForEach(next, codes)
        {
            show_entry(devices, &order, next->string, next->valuestring, "queued", "");
        }
    }
    return json;
}

/* ---- one order ---- */

static cJSON *show_header(const cJSON *order)
{
    cJSON *json = cJSON_CreateObject();
    (void)cJSON_AddStringToObject(json, "OrderUID", text_of(order, "id"));
    (void)cJSON_AddStringToObject(json, "Kind", text_of(order, "kind"));
    (void)cJSON_AddStringToObject(json, "State", text_of(order, "state"));
    api_add_text(json, "Actor", text_of(order, "actor"));
    if (number_of(order, "validity_s") > 0) {
        api_add_duration(json, "Validity", (int64_t)number_of(order, "validity_s"));
    }
    (void)cJSON_AddNumberToObject(json, "Total", number_of(order, "total"));
    (void)cJSON_AddNumberToObject(json, "Queued", number_of(order, "queued"));
    (void)cJSON_AddNumberToObject(json, "Refused", number_of(order, "refused"));
    (void)cJSON_AddStringToObject(json, "CreatedAt", text_of(order, "created_at"));
    return json;
}

static err_t read_order(struct exchange *x, const char *uid, cJSON **ret)
{
    CLEANUP_BUF struct buf payload = BUF_INIT(RECORD_MAX);
    CLEANUP_JSON cJSON *order = NULL;
    err_t err =
        views_get(x->redis, VIEW_ORDER, api_partition(x->door, uid), span_str(uid), &payload);
    if (err == ERR_OK) {
        err = json_decode(buf_span(&payload), &record_limits, &order, NULL);
    }
    if (err == ERR_OK && strcmp(text_of(order, "domain"), x->domain) != 0) {
        err = ERR_ABSENT;
    }
    if (err == ERR_OK) {
        *ret = TAKE(order);
    }
    return err;
}

/* The entries of all chunks, in order: strings borrowed from `ret_chunks`, an array owned by the
 * caller. */
static err_t read_chunks(struct exchange *x, const char *uid, size_t total, cJSON **ret_chunks)
{
    size_t n = (total + CHUNK_DEVICES - 1) / CHUNK_DEVICES;
    struct views_want *wants = xcalloc(n + 1, sizeof *wants);
    struct span *payloads = xcalloc(n + 1, sizeof *payloads);
    char(*keys)[CHUNK_KEY] = xcalloc(n + 1, sizeof *keys);
    CLEANUP_BUF struct buf arena = BUF_INIT(PAGE_BYTES);
    for (size_t i = 0; i < n; i++) {
        (void)snprintf(keys[i], sizeof keys[i], "%s/%zu", uid, i);
        wants[i] = (struct views_want){.letter = VIEW_ORDER,
                                       .partition = api_partition(x->door, uid),
                                       .key = span_str(keys[i])};
    }
    err_t err = views_get_many(x->redis, wants, n, &arena, payloads);
    cJSON *chunks = cJSON_CreateArray();
    for (size_t i = 0; i < n && err == ERR_OK; i++) {
        cJSON *chunk = NULL;
        if (payloads[i].ptr != NULL) {
            err = json_decode(payloads[i], &record_limits, &chunk, NULL);
        }
        if (chunk != NULL) {
            (void)cJSON_AddItemToArray(chunks, chunk);
        }
    }
    free(wants);
    free(payloads);
    free(keys);
    *ret_chunks = chunks;
    return err;
}

err_t orders_recall(struct exchange *x, const char *order_uid, cJSON **ret_asked)
{
    CLEANUP_JSON cJSON *order = NULL;
    CLEANUP_JSON cJSON *chunks = NULL;
    CLEANUP_JSON cJSON *devices = cJSON_CreateArray();
    err_t err = read_order(x, order_uid, &order);
    if (err == ERR_OK) {
        err = read_chunks(x, order_uid, (size_t)number_of(order, "total"), &chunks);
    }
    const cJSON *chunk = NULL;
    cJSON_ArrayForEach(chunk, chunks)
    {
        const cJSON *entry = NULL;
        cJSON_ArrayForEach(entry, cJSON_GetObjectItemCaseSensitive(chunk, "devices"))
        {
            char uid[DEVICE_UID_LEN + 1];
            const char *code = "";
            if (cJSON_IsString(entry) && split_entry(entry->valuestring, uid, &code)) {
                (void)cJSON_AddItemToArray(devices, cJSON_CreateString(uid));
            }
        }
    }
    *ret_asked = err == ERR_OK ? TAKE(devices) : NULL;
    return err == ERR_ABSENT ? ERR_OK : err;
}

struct progress_counts {
    int states[OPERATION_CANCELLED + 1];
    int past;
    int refused;
};

static void count(struct progress_counts *c, const char *state)
{
    int value = 0;
    if (codec_value_of(operation_state_names, span_str(state), &value)) {
        c->states[value]++;
    } else {
        c->past++;
    }
}

/* An order that is shown. */
struct shown {
    struct uuid id;
    struct order_times times;
    struct progress_counts counts;
};

/* Up to one chunk of devices: their own records tell how far they are. */
static err_t show_chunk(struct exchange *x, struct shown *order, const cJSON *entries,
                        cJSON *devices)
{
    struct views_want *wants = xcalloc(CHUNK_DEVICES, sizeof *wants);
    struct span *payloads = xcalloc(CHUNK_DEVICES, sizeof *payloads);
    uint8_t(*raw)[DEVICE_UID_LEN / 2] = xcalloc(CHUNK_DEVICES, sizeof *raw);
    CLEANUP_BUF struct buf arena = BUF_INIT(PAGE_BYTES);
    size_t n = 0;
    const cJSON *entry = NULL;
    char uid[DEVICE_UID_LEN + 1];
    const char *code = "";
    cJSON_ArrayForEach(entry, entries)
    {
        if (n < CHUNK_DEVICES && cJSON_IsString(entry) &&
            split_entry(entry->valuestring, uid, &code) &&
            device_view_key(span_str(uid), raw[n]) == ERR_OK) {
            wants[n] = (struct views_want){.letter = VIEW_DEVICE,
                                           .partition = api_partition(x->door, uid),
                                           .key = span_of(raw[n], sizeof raw[n])};
            n++;
        }
    }
    err_t err = views_get_many(x->redis, wants, n, &arena, payloads);
    size_t i = 0;
    cJSON_ArrayForEach(entry, entries)
    {
        if (err != ERR_OK || i == n || !split_entry(entry->valuestring, uid, &code)) {
            continue;
        }
        CLEANUP(device_free) struct device *d = NULL;
        struct uuid operation = operation_of(&order->id, uid);
        const char *reason = "";
        if (payloads[i].ptr != NULL && device_unpack(span_str(uid), payloads[i], &d) != ERR_OK) {
            d = NULL;
        }
        const char *state = order_progress(d, &operation, &order->times, &reason);
        show_entry(devices, &order->id, uid, code, state, reason);
        if (code[0] != '\0') {
            order->counts.refused++;
        } else {
            count(&order->counts, state);
        }
        i++;
    }
    free(wants);
    free(payloads);
    free(raw);
    return err;
}

static void show_counts(cJSON *json, const struct progress_counts *counts)
{
    cJSON *progress_json = cJSON_AddObjectToObject(json, "Progress");
    const struct {
        const char *name;
        int value;
    } rows[] = {
        {"Queued", counts->states[OPERATION_QUEUED] + counts->states[OPERATION_AWAITING_KEY]},
        {"Issued", counts->states[OPERATION_ISSUED]},
        {"Installed", counts->states[OPERATION_INSTALLED]},
        {"Failed", counts->states[OPERATION_FAILED]},
        {"Superseded", counts->states[OPERATION_SUPERSEDED]},
        {"Cancelled", counts->states[OPERATION_CANCELLED]},
        {"Past", counts->past},
        {"Refused", counts->refused},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        (void)cJSON_AddNumberToObject(progress_json, rows[i].name, rows[i].value);
    }
}

/* One whose time cannot be read counts as being handed over. */
static int64_t fed_ms(const cJSON *order)
{
    int64_t at_ms = 0;
    bool done = strcmp(text_of(order, "state"), "done") == 0;
    return done && time_parse(span_str(text_of(order, "updated_at")), &at_ms) == ERR_OK ? at_ms : 0;
}

void orders_get(struct exchange *x, const char *order_uid)
{
    CLEANUP_JSON cJSON *order = NULL;
    CLEANUP_JSON cJSON *chunks = NULL;
    CLEANUP_JSON cJSON *json = NULL;
    struct shown shown = {.times.now_ms = x->now_ms};
    err_t err = uuid_parse(span_str(order_uid), &shown.id);
    if (err == ERR_OK) {
        err = read_order(x, order_uid, &order);
    }
    if (err == ERR_OK) {
        shown.times.fed_ms = fed_ms(order);
        json = show_header(order);
        err = read_chunks(x, order_uid, (size_t)number_of(order, "total"), &chunks);
    }
    cJSON *devices = cJSON_CreateArray();
    const cJSON *chunk = NULL;
    cJSON_ArrayForEach(chunk, chunks)
    {
        if (err == ERR_OK) {
            err =
                show_chunk(x, &shown, cJSON_GetObjectItemCaseSensitive(chunk, "devices"), devices);
        }
    }
    if (err != ERR_OK) {
        cJSON_Delete(devices);
        api_view_failed(x, err, "OrderUID", "order", order_uid);
        return;
    }
    show_counts(json, &shown.counts);
    (void)cJSON_AddItemToObject(json, "Devices", devices);
    api_reply(x, 200, TAKE(json));
}

/* ---- lists ---- */

/* The index member of an order: "<domain>/<created ms, 13 digits>/<order>". ERR_ABSENT: no such
 * order here. */
static err_t member_of(struct exchange *x, const char *uid, struct buf *to)
{
    CLEANUP_JSON cJSON *order = NULL;
    int64_t created = 0;
    err_t err = registry_uuid_valid(uid) ? read_order(x, uid, &order) : ERR_ABSENT;
    if (err == ERR_OK) {
        err = time_parse(span_str(text_of(order, "created_at")), &created);
    }
    return err != ERR_OK
               ? err
               : buf_printf(to, "%s/%0*lld/%s", x->domain, STAMP_DIGITS, (long long)created, uid);
}

static cJSON *show_row(struct exchange *x, const void *ctx, struct span payload)
{
    (void)x;
    (void)ctx;
    CLEANUP_JSON cJSON *order = NULL;
    return json_decode(payload, &record_limits, &order, NULL) == ERR_OK ? show_header(order) : NULL;
}

void orders_list(struct exchange *x)
{
    const struct api_page_body *body = x->body;
    char prefix[UUID_TEXT_SIZE + 1];
    (void)snprintf(prefix, sizeof prefix, "%s/", x->domain);
    CLEANUP_BUF struct buf after = BUF_INIT(128);
    if (body->after[0] != '\0') {
        err_t err = member_of(x, body->after, &after);
        if (err != ERR_OK) {
            api_view_failed(x, err, "After", "order", body->after);
            return;
        }
    }
    const struct page page = {.letter = VIEW_ORDER,
                              .index = "keys",
                              .partition = -1,
                              .prefix = prefix,
                              .after = buf_cstr(&after),
                              .show = show_row};
    page_reply(x, &page);
}
