#include "proto/webhook.h"

#include <string.h>

#define REQ  CODEC_REQUIRED
#define OMIT CODEC_OMIT_ZERO

static const struct codec_field delivery_fields[] = {
#define T struct webhook_delivery
    {CODEC_STR(T, type, "type", REQ, 1)},
    {CODEC_STR(T, id, "id", REQ, UUID_TEXT_SIZE - 1)},
    {CODEC_STR(T, webhook, "webhook", REQ, UUID_TEXT_SIZE - 1)},
    {CODEC_STR(T, domain, "domain", REQ, UUID_TEXT_SIZE - 1)},
    {CODEC_STR(T, event_id, "event_id", REQ, 1)},
    {CODEC_STR(T, event_type, "event_type", REQ, 1)},
    {CODEC_TIME(T, created_at, "created_at", REQ)},
    {CODEC_I32(T, attempts, "attempts", OMIT, 0, WEBHOOK_ATTEMPTS_MAX)},
    {CODEC_I32(T, deferred, "deferred", OMIT, 0, WEBHOOK_ATTEMPTS_MAX)},
    {CODEC_TIME(T, due_at, "due_at", OMIT)},
    {CODEC_TIME(T, failing_since, "failing_since", OMIT)},
    {CODEC_JSON(T, event, "event", REQ)},
#undef T
};
const struct codec_table webhook_delivery_table =
    CODEC_TABLE_KEEP(struct webhook_delivery, delivery_fields, extra);

const struct codec_name webhook_outcome_names[] = {
    {WEBHOOK_DELIVERED, "delivered"}, {WEBHOOK_FAILED, "failed"},
    {WEBHOOK_GIVEN_UP, "given-up"},   {WEBHOOK_GONE, "gone"},
    {WEBHOOK_CANCELLED, "cancelled"}, {0, NULL},
};

static const struct codec_field attempt_fields[] = {
#define T struct webhook_attempt
    {CODEC_STR(T, type, "type", REQ, 1)},
    {CODEC_STR(T, webhook, "webhook", REQ, UUID_TEXT_SIZE - 1)},
    {CODEC_STR(T, domain, "domain", REQ, UUID_TEXT_SIZE - 1)},
    {CODEC_STR(T, event, "event", REQ, 1)},
    {CODEC_STR(T, event_type, "event_type", REQ, 1)},
    {CODEC_STR(T, delivery, "delivery", REQ, UUID_TEXT_SIZE - 1)},
    {CODEC_I32(T, attempt, "attempt", REQ, 0, INT32_MAX)},
    {CODEC_TIME(T, at, "at", REQ)},
    {CODEC_ENUM(T, outcome, "outcome", REQ, webhook_outcome_names)},
    {CODEC_I32(T, status, "status", OMIT, 100, 999)},
    {CODEC_STR(T, error, "error", OMIT, 0)},
    {CODEC_I64(T, duration_ms, "duration_ms", REQ, 0, JSON_INTEGER_MAX)},
    {CODEC_STR(T, response, "response", OMIT, 0)},
    {CODEC_TIME(T, next_at, "next_at", OMIT)},
#undef T
};
const struct codec_table webhook_attempt_table =
    CODEC_TABLE_KEEP(struct webhook_attempt, attempt_fields, extra);

void webhook_delivery_id(const char *webhook, const char *event_id, char out[UUID_TEXT_SIZE])
{
    struct uuid id = UUID_V5(span_str(webhook), span_str(event_id));
    uuid_format(&id, out);
}

/* They end up in HTTP headers, Redis keys and requests of ours. */
static err_t check_ids(const struct webhook_delivery *d, struct fault *fault)
{
    const struct {
        const char *field, *value;
    } ids[] = {{"id", d->id}, {"webhook", d->webhook}, {"domain", d->domain}};
    struct uuid ignored;
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        if (uuid_parse(span_str(ids[i].value), &ignored) != ERR_OK) {
            return fault_set(fault, ERR_INVALID, "validation_error", ids[i].field,
                             "must be a UUID");
        }
    }
    return ERR_OK;
}

err_t webhook_delivery_decode(struct span value, struct webhook_delivery *ret, struct fault *fault)
{
    const struct json_limits limits = {
        .max_bytes = WEBHOOK_DELIVERY_MAX, .max_depth = 20, .max_values = 20000};
    err_t e = codec_decode_text(&webhook_delivery_table, CODEC_KEEP, value, &limits, ret, fault);
    if (e != ERR_OK) {
        return e;
    }
    if (strcmp(ret->type, WEBHOOK_DELIVERY_TYPE) != 0) {
        e = fault_set(fault, ERR_UNSUPPORTED, "unsupported_version", "type",
                      "must be " WEBHOOK_DELIVERY_TYPE ", is %s", ret->type);
    } else if (!cJSON_IsObject(ret->event)) {
        e = fault_set(fault, ERR_INVALID, "validation_error", "event", "must be an object");
    } else {
        e = check_ids(ret, fault);
    }
    if (e != ERR_OK) {
        codec_free(&webhook_delivery_table, ret);
    }
    return e;
}
