/*
 * Orders: renewing a list of devices, and what became of it. The scheduler owns orders; how far
 * each device is stands in its own view.
 */
#include "calls.h"
#include "common/json.h"
#include "devices.h"
#include "duration.h"
#include "orders.h"
#include "proto/ca.h"
#include "proto/topics.h"
#include "write.h"

#define DEVICES_MAX 10000
#define BODY_MAX    ((size_t)1024 * 1024)
#define VALUES_MAX  20000

struct renew_body {
    API_BODY_HEAD;
    struct devices_uid *devices;
    size_t devices_count;
    char validity[DURATION_TEXT_SIZE];
};
static const struct codec_field renew_fields[] = {
    API_DOMAIN_ROW(struct renew_body),
    {CODEC_ARRAY_HEAP(struct renew_body, devices, devices_count, "RoTPublicUIDs", CODEC_REQUIRED, 1,
                      DEVICES_MAX, &devices_uid_element)},
    {CODEC_STR(struct renew_body, validity, "Validity", CODEC_OMIT_ZERO, 1),
     CODEC_RULE(duration_valid, DURATION_WORDS)},
};
static const struct codec_table renew_table = CODEC_TABLE(struct renew_body, renew_fields);

static const struct codec_field get_fields[] = API_NAMED_FIELDS("OrderUID");
static const struct codec_table get_table = CODEC_TABLE(struct api_named_body, get_fields);

static cJSON *order_request(struct renew_body *body, int64_t validity_s)
{
    cJSON *json = cJSON_CreateObject();
    (void)cJSON_AddStringToObject(json, "kind", "renew");
    if (validity_s > 0) {
        (void)cJSON_AddNumberToObject(json, "validity_s", (double)validity_s);
    }
    cJSON *devices = cJSON_AddArrayToObject(json, "devices");
    for (size_t i = 0; i < body->devices_count; i++) {
        devices_lower(body->devices[i].text);
        (void)cJSON_AddItemToArray(devices, cJSON_CreateString(body->devices[i].text));
    }
    return json;
}

static void renew(struct exchange *x)
{
    struct renew_body *body = x->body;
    int64_t validity_s = 0;
    if (body->validity[0] != '\0' &&
        (duration_parse(body->validity, &validity_s) != ERR_OK || validity_s > CA_VALIDITY_MAX_S)) {
        api_refuse(x, ERR_INVALID, "validation_error", "Validity", "must be at most 100y");
        return;
    }
    struct ask ask;
    struct uuid id;
    /* the orders' owner knows devices, not domains */
    if (devices_named_twice(x, body->devices, body->devices_count) || !registry_domain_exists(x) ||
        !write_begin(x, "order.create.v1", &ask, &id)) {
        return;
    }
    ask.topic = TOPIC_ORDER_REQUESTS;
    uuid_format(&id, ask.key); /* the order is the aggregate */
    ask_one(x, &ask, &id, order_request(body, validity_s));
    ask.asked =
        cJSON_Duplicate(cJSON_GetObjectItemCaseSensitive(ask.items[0].body, "devices"), true);
    ask_send(x, &ask);
}

static void get(struct exchange *x)
{
    const struct api_named_body *body = x->body;
    orders_get(x, body->uid);
}

static void list(struct exchange *x)
{
    orders_list(x);
}

const struct api_call calls_order[] = {
    {.path = "/v1/ztp/devicecertificate/renew",
     .access = API_DOMAIN,
     .write = true,
     .body = &renew_table,
     .max_body = BODY_MAX,
     .max_values = VALUES_MAX,
     .serve = renew,
     .show = orders_show_result,
     .recall = orders_recall},
    {.path = "/v1/ztp/order/get",
     .access = API_DOMAIN,
     .body = &get_table,
     API_SMALL,
     .serve = get},
    {.path = "/v1/ztp/order/list",
     .access = API_DOMAIN,
     .body = &api_page_table,
     API_SMALL,
     .serve = list},
    {0},
};
