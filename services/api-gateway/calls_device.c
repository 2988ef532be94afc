/*
 * Devices and their certificates: get and list. Both lists take the same filters.
 */
#include <stdio.h>

#include "calls.h"
#include "devices.h"

struct get_body {
    API_BODY_HEAD;
    char uid[DEVICE_UID_LEN + 1];
};
static const struct codec_field get_fields[] = {
    API_DOMAIN_ROW(struct get_body),
    {CODEC_STR(struct get_body, uid, "RoTPublicUID", CODEC_REQUIRED, DEVICE_UID_LEN),
     CODEC_RULE(devices_uid_rule, "16 hexadecimal digits")},
};
static const struct codec_table get_table = CODEC_TABLE(struct get_body, get_fields);

static bool profile_rule(const void *text)
{
    const char *uid = text;
    return uid[0] == '\0' || registry_profile_uid_valid(uid);
}

static bool after_rule(const void *text)
{
    const char *uid = text;
    return uid[0] == '\0' || devices_uid_rule(uid);
}

struct list_body {
    API_BODY_HEAD;
    int64_t limit;
    bool has_limit;
    char after[DEVICE_UID_LEN + 1];
    int order;
    struct devices_filter filter;
};
static const struct codec_field list_fields[] = {
#define T struct list_body
    API_DOMAIN_ROW(T),
    {CODEC_I64(T, limit, "Limit", 0, INT32_MIN, INT32_MAX), CODEC_HAS(T, has_limit)},
    {CODEC_STR(T, after, "After", CODEC_OMIT_ZERO, 0),
     CODEC_RULE(after_rule, "a RoTPublicUID: 16 hexadecimal digits")},
    {CODEC_ENUM(T, order, "Order", 0, api_order_names)},
    {CODEC_ENUM(T, filter.state, "State", CODEC_OMIT_ZERO, device_state_names),
     CODEC_HAS(T, filter.has_state)},
    {CODEC_UUID(T, filter.ca, "RootCAUID", CODEC_OMIT_ZERO)},
    {CODEC_STR(T, filter.profile, "DeviceProfileUID", CODEC_OMIT_ZERO, 0),
     CODEC_RULE(profile_rule, "22 letters and digits")},
    {CODEC_TIME(T, filter.expires_after_ms, "ExpiresAfter", CODEC_OMIT_ZERO)},
    {CODEC_TIME(T, filter.expires_before_ms, "ExpiresBefore", CODEC_OMIT_ZERO)},
    {CODEC_STR(T, filter.search, "Search", CODEC_OMIT_ZERO, 0)},
#undef T
};
static const struct codec_table list_table = CODEC_TABLE(struct list_body, list_fields);

static struct device *read_named(struct exchange *x)
{
    struct get_body *body = x->body;
    devices_lower(body->uid);
    return devices_read(x, body->uid);
}

static cJSON *show_device(struct exchange *x, const struct device *d)
{
    cJSON *json = devices_show(d);
    api_add_time(json, "LastHeartbeatAt", devices_last_heartbeat(x, d->uid));
    return json;
}

static void get_device(struct exchange *x)
{
    CLEANUP(device_free) struct device *d = read_named(x);
    if (d != NULL) {
        api_reply(x, 200, show_device(x, d));
    }
}

static cJSON *show_certificate(struct exchange *x, const struct device *d)
{
    return devices_show_certificate(d, x->now_ms);
}

static void get_certificate(struct exchange *x)
{
    CLEANUP(device_free) struct device *d = read_named(x);
    if (d == NULL) {
        return;
    }
    if (!device_has_certificate(d)) {
        api_refuse(x, ERR_ABSENT, "no_certificate", "RoTPublicUID",
                   "device %s has no certificate yet", d->uid);
        return;
    }
    api_reply(x, 200, show_certificate(x, d));
}

static void list(struct exchange *x, bool certificates)
{
    struct list_body *body = x->body;
    struct devices_page page = {.limit = api_limit(body->has_limit, body->limit),
                                .order = body->order};
    devices_lower(body->after);
    memcpy(page.after, body->after, sizeof page.after);
    body->filter.with_certificate = certificates;
    devices_list(x, &body->filter, &page, certificates ? show_certificate : show_device);
}

static void list_devices(struct exchange *x)
{
    list(x, false);
}

static void list_certificates(struct exchange *x)
{
    list(x, true);
}

#define READS .access = API_DOMAIN, .max_body = 4096, .max_values = 32
const struct api_call calls_device[] = {
    {.path = "/v1/device/get", READS, .body = &get_table, .serve = get_device},
    {.path = "/v1/device/list", READS, .body = &list_table, .serve = list_devices},
    {.path = "/v1/ztp/devicecertificate/get", READS, .body = &get_table, .serve = get_certificate},
    {.path = "/v1/ztp/devicecertificate/list",
     READS,
     .body = &list_table,
     .serve = list_certificates},
    {0},
};
