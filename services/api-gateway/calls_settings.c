/*
 * Settings of single devices: a wish for each of them goes to its owner, and the answers are shown
 * one by one.
 */
#include <stdio.h>

#include "calls.h"
#include "devices.h"
#include "duration.h"
#include "orders.h"
#include "proto/device_request.h"
#include "proto/topics.h"
#include "write.h"

#define DEVICES_MAX 100
#define ITEMS_PER_S 50 /* how much longer a long list may take */

struct update_body {
    API_BODY_HEAD;
    struct devices_uid *devices;
    size_t devices_count;
    struct device_settings_body settings;
    char heartbeat[DURATION_TEXT_SIZE];
    char flood[DURATION_TEXT_SIZE];
};
static const struct codec_field update_fields[] = {
#define T struct update_body
    API_DOMAIN_ROW(T),
    {CODEC_ARRAY_HEAP(T, devices, devices_count, "RoTPublicUIDs", CODEC_REQUIRED, 1, DEVICES_MAX,
                      &devices_uid_element)},
    {CODEC_STR(T, heartbeat, "HeartbeatInterval", 0, 1), CODEC_RULE(duration_valid, DURATION_WORDS),
     CODEC_HAS(T, settings.has_heartbeat_interval)},
    {CODEC_STR(T, flood, "FloodInterval", 0, 1), CODEC_RULE(duration_valid, DURATION_WORDS),
     CODEC_HAS(T, settings.has_flood_interval)},
#undef T
};
static const struct codec_table update_table = CODEC_TABLE(struct update_body, update_fields);

/* ---- what is shown ---- */

static const char *text_of(const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
    return cJSON_IsString(item) ? item->valuestring : "";
}

/* A device of somebody else is told by the word that every call has for it. */
static void show_refusal(cJSON *device, const cJSON *reply)
{
    const char *code = text_of(reply, "type");
    const char *message = text_of(reply, "message");
    if (strcmp(code, "unknown_device") == 0) {
        code = "not_found";
        message = orders_code_text(code);
    }
    (void)cJSON_AddStringToObject(device, "Status", "refused");
    (void)cJSON_AddStringToObject(device, "Code", code[0] != '\0' ? code : "internal_error");
    api_add_text(device, "Message", message);
}

/* Adds the device of a reply; true when it was refused. */
static bool show_device(cJSON *devices, const cJSON *reply)
{
    const cJSON *result = cJSON_GetObjectItemCaseSensitive(reply, "result");
    cJSON *device = cJSON_CreateObject();
    (void)cJSON_AddStringToObject(device, "RoTPublicUID", text_of(result, "uid"));
    bool updated = strcmp(text_of(result, "status"), "updated") == 0;
    if (updated) {
        (void)cJSON_AddStringToObject(device, "Status", "updated");
    } else {
        show_refusal(device, reply);
    }
    (void)cJSON_AddItemToArray(devices, device);
    return !updated;
}

static const cJSON *reply_about(const cJSON *replies, const char *uid)
{
    const cJSON *reply = NULL;
    cJSON_ArrayForEach(reply, replies)
    {
        if (strcmp(text_of(cJSON_GetObjectItemCaseSensitive(reply, "result"), "uid"), uid) == 0) {
            return reply;
        }
    }
    return NULL;
}

/* In the order of the request where that is known. */
static cJSON *show_result(const cJSON *replies, const cJSON *asked)
{
    int refused = 0;
    int total = cJSON_GetArraySize(replies);
    CLEANUP_JSON cJSON *devices = cJSON_CreateArray();
    const cJSON *list = asked != NULL ? asked : replies;
    const cJSON *item = NULL;
    cJSON_ArrayForEach(item, list)
    {
        const cJSON *reply = asked != NULL ? reply_about(replies, item->valuestring) : item;
        if (reply == NULL) {
            return NULL; /* an owner that does not say whom it speaks of */
        }
        refused += show_device(devices, reply);
    }
    cJSON *json = cJSON_CreateObject();
    (void)cJSON_AddNumberToObject(json, "Updated", total - refused);
    (void)cJSON_AddNumberToObject(json, "Refused", refused);
    (void)cJSON_AddItemToObject(json, "Devices", TAKE(devices));
    return json;
}

/* ---- asking ---- */

static bool read_times(struct exchange *x, struct update_body *body)
{
    struct device_settings_body *s = &body->settings;
    const struct {
        const char *field, *text, *rule;
        bool given;
        int64_t max_s;
        int64_t *to;
    } rows[] = {
        {"HeartbeatInterval", body->heartbeat, "must be 1s..366d", s->has_heartbeat_interval,
         DEVICE_HEARTBEAT_INTERVAL_MAX_S, &s->heartbeat_interval_s},
        {"FloodInterval", body->flood, "must be 1s..24h", s->has_flood_interval,
         DEVICE_FLOOD_INTERVAL_MAX_S, &s->flood_interval_s},
    };
    if (!s->has_heartbeat_interval && !s->has_flood_interval) {
        api_refuse(x, ERR_INVALID, "missing_field", "",
                   "nothing to change; accepted: HeartbeatInterval, FloodInterval");
        return false;
    }
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i].given &&
            (duration_parse(rows[i].text, rows[i].to) != ERR_OK || *rows[i].to > rows[i].max_s)) {
            api_refuse(x, ERR_INVALID, "validation_error", rows[i].field, "%s", rows[i].rule);
            return false;
        }
    }
    return true;
}

/*
 * Each device's owner knows its own wishes only, so that a used key is not for another body is
 * looked at here, before anything is sent. Should Redis lose it, the devices take the second body
 * as what it is, another wish.
 */
static bool key_is_for(struct exchange *x, const struct uuid *id, const char *hash)
{
    if (http_request_header(x->req, "Idempotency-Key") == NULL) {
        return true;
    }
    char text[UUID_TEXT_SIZE];
    char key[64];
    uuid_format(id, text);
    (void)snprintf(key, sizeof key, "g:t:ik:%s", text);
    CLEANUP(redis_reply_free) struct redis_reply *reply = NULL;
    err_t err = redis_command_str(x->redis, NULL, "SET", key, hash, "NX", "EX", ASK_KEY_TTL_S,
                                  (char *)NULL);
    if (err == ERR_OK) {
        err = redis_command_str(x->redis, &reply, "GET", key, (char *)NULL);
    }
    if (err != ERR_OK) {
        api_view_failed(x, ERR_UNAVAILABLE, "", "", "");
        return false;
    }
    if (!span_eq(redis_reply_span(reply), span_str(hash))) {
        http_reply(x->req,
                   http_response_error(
                       422, "idempotency_key_reused",
                       "this key was used with another body; use a new key for a "
                       "new request",
                       &(struct http_error_field){"Idempotency-Key", "was used with another body"},
                       1));
        return false;
    }
    return true;
}

static void make_items(struct ask *ask, const struct uuid *id, struct update_body *body)
{
    ask->item_count = body->devices_count;
    ask->items = xcalloc(ask->item_count, sizeof *ask->items);
    ask->asked = cJSON_CreateArray();
    for (size_t i = 0; i < ask->item_count; i++) {
        struct ask_item *item = &ask->items[i];
        const char *uid = body->devices[i].text;
        devices_lower(body->devices[i].text);
        memcpy(body->settings.uid, uid, sizeof body->settings.uid);
        memcpy(item->key, uid, sizeof body->settings.uid);
        item->id = ask_item_id(id, i);
        item->body = write_body(&device_settings_body_table, &body->settings);
        (void)cJSON_AddItemToArray(ask->asked, cJSON_CreateString(uid));
    }
}

static void update(struct exchange *x)
{
    struct update_body *body = x->body;
    struct ask ask;
    struct uuid id;
    /* the devices' owner knows devices, not domains */
    if (!read_times(x, body) || devices_named_twice(x, body->devices, body->devices_count) ||
        !registry_domain_exists(x) || !write_begin(x, DEVICE_REQUEST_SETTINGS, &ask, &id) ||
        !key_is_for(x, &id, ask.hash)) {
        return;
    }
    ask.topic = TOPIC_DEVICE_REQUESTS;
    make_items(&ask, &id, body);
    ask.deadline_ms =
        x->door->config->answer_timeout_ms + (int64_t)(ask.item_count / ITEMS_PER_S) * 1000;
    ask_send(x, &ask);
}

const struct api_call calls_settings[] = {
    {.path = "/v1/device/update",
     .access = API_DOMAIN,
     .write = true,
     .body = &update_table,
     .max_body = 16384,
     .max_values = 128,
     .serve = update,
     .each = true,
     .show = show_result},
    {0},
};
