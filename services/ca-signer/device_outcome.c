#include "device_outcome.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

#include "common/clock.h"

static const struct {
    const char *code;
    int status;
} refusals[REFUSAL_COUNT] = {
    [REFUSAL_NONE] = {"none", 200},
    [REFUSAL_BAD_SIGNATURE] = {"bad_signature", 403},
    [REFUSAL_WRONG_KEY] = {"wrong_key", 403},
    [REFUSAL_STALE_SEQUENCE] = {"stale_sequence", 409},
    [REFUSAL_ALREADY_BOOTSTRAPPED] = {"already_bootstrapped", 409},
    [REFUSAL_DECOMMISSIONED] = {"decommissioned", 403},
    [REFUSAL_UNKNOWN_DEVICE] = {"unknown_device", 404},
    [REFUSAL_NOT_ACTIVE] = {"not_active", 409},
    [REFUSAL_UNKNOWN_OPERATION] = {"unknown_operation", 404},
    [REFUSAL_OPERATION_FINISHED] = {"operation_finished", 409},
    [REFUSAL_OPERATION_IN_PROGRESS] = {"operation_in_progress", 409},
    [REFUSAL_CSR_REQUIRED] = {"csr_required", 409},
    [REFUSAL_INVALID_CSR] = {"invalid_csr", 422},
    [REFUSAL_UNEXPECTED_KEY] = {"unexpected_key", 422},
    [REFUSAL_UNKNOWN_CERTIFICATE] = {"unknown_certificate", 409},
    [REFUSAL_STUCK] = {"stuck", 409},
    [REFUSAL_NO_CERTIFICATE] = {"no_certificate", 409},
    [REFUSAL_NOT_MANAGED] = {"not_managed", 409},
    [REFUSAL_REVOKED] = {"revoked", 409},
    [REFUSAL_NOT_LONGER] = {"not_longer", 409},
    [REFUSAL_NOT_DUE] = {"not_due", 409},
    [REFUSAL_CERTIFICATE_CHANGED] = {"certificate_changed", 409},
    [REFUSAL_NOT_WHITELISTED] = {"not_whitelisted", 409},
    [REFUSAL_FLOOD_ABOVE_HEARTBEAT] = {"flood_above_heartbeat", 400},
    [REFUSAL_HEARTBEAT_TOO_RARE] = {"heartbeat_too_rare", 400},
    [REFUSAL_ISSUE_FAILED] = {"issue_failed", 409},
    [REFUSAL_TRY_AGAIN] = {"try_again", 503},
};

const char *refusal_code(enum refusal refusal)
{
    return refusals[refusal].code;
}

int refusal_status(enum refusal refusal)
{
    return refusals[refusal].status;
}

void device_outcome_deinit(struct device_outcome *o)
{
    device_free(o->state);
    for (unsigned i = 0; i < o->event_count; i++) {
        cJSON_Delete(o->events[i].data);
    }
    cJSON_Delete(o->result);
    *o = (struct device_outcome){0};
}

void outcome_refuse(struct device_outcome *o, enum refusal refusal, const char *field,
                    const char *format, ...)
{
    char text[FAULT_TEXT_MAX];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    (void)fault_set(&o->fault, ERR_CONFLICT, refusal_code(refusal), field, "%s", text);
    o->refusal = refusal;
    o->status = refusal_status(refusal);
    cJSON_Delete(o->result);
    o->result = NULL;
}

void outcome_event(struct device_outcome *o, const char *type, const uint8_t *serial, cJSON *data)
{
    assert(o->event_count < OUTCOME_EVENTS_MAX); /* a decision has a handful of facts */
    struct outcome_event *event = &o->events[o->event_count++];
    event->type = type;
    event->data = data;
    event->distinct[0] = 0;
    if (serial != NULL) {
        hex_format(span_of(serial, CERTIFICATE_SERIAL), event->distinct);
    }
}

void outcome_status(struct device_outcome *o, const struct uuid *ca,
                    const uint8_t serial[CERTIFICATE_SERIAL], enum certificate_status status,
                    const struct uuid *operation)
{
    assert(o->status_count < OUTCOME_STATUSES_MAX);
    struct outcome_status *s = &o->statuses[o->status_count++];
    s->ca = *ca;
    memcpy(s->serial, serial, CERTIFICATE_SERIAL);
    s->status = status;
    s->operation = *operation;
}

cJSON *outcome_answer(struct device_outcome *o)
{
    o->status = 200;
    if (o->result == NULL) {
        o->result = cJSON_CreateObject();
        assert(o->result != NULL);
    }
    return o->result;
}

void json_add_uuid(cJSON *to, const char *name, const struct uuid *id)
{
    char text[UUID_TEXT_SIZE];
    if (!uuid_is_zero(id)) {
        uuid_format(id, text);
        (void)cJSON_AddStringToObject(to, name, text);
    }
}

void json_add_hex(cJSON *to, const char *name, struct span bytes)
{
    CLEANUP_BUF struct buf text = BUF_INIT(1024);
    (void)hex_append(&text, bytes);
    (void)cJSON_AddStringToObject(to, name, buf_cstr(&text));
}

void json_add_base64(cJSON *to, const char *name, struct span bytes)
{
    CLEANUP_BUF struct buf text = BUF_INIT(65536);
    (void)base64_append(&text, bytes, BASE64_STANDARD);
    (void)cJSON_AddStringToObject(to, name, buf_cstr(&text));
}

void json_add_time(cJSON *to, const char *name, int64_t ms)
{
    char text[TIME_TEXT_SIZE];
    time_format(ms, text);
    (void)cJSON_AddStringToObject(to, name, text);
}

void json_add_text(cJSON *to, const char *name, const char *text)
{
    if (text[0] != 0) {
        (void)cJSON_AddStringToObject(to, name, text);
    }
}
