#include "device_request.h"

#include <stdlib.h>
#include <string.h>

#include "common/json.h"

static const struct {
    const char *type;
    const char *signed_kind; /* NULL: not signed by the device */
    const struct codec_table *table;
} kinds[DEVICE_REQUEST_KINDS] = {
    [DEVICE_ASKS_BOOTSTRAP] = {DEVICE_REQUEST_BOOTSTRAP, "bootstrap",
                               &device_bootstrap_payload_table},
    [DEVICE_ASKS_PICKUP] = {DEVICE_REQUEST_PICKUP, "pickup", &device_pickup_payload_table},
    [DEVICE_ASKS_CONFIRM] = {DEVICE_REQUEST_CONFIRM, "confirm", &device_confirm_payload_table},
    [DEVICE_SAYS_FAILED] = {DEVICE_REQUEST_FAILED, NULL, &device_failed_body_table},
    [DEVICE_SEEN_FORKED] = {DEVICE_REQUEST_FORK, NULL, &device_fork_body_table},
    [DEVICE_ORDER_RENEW] = {DEVICE_REQUEST_RENEW, NULL, &device_renew_body_table},
    [DEVICE_ORDER_UNBLOCK] = {DEVICE_REQUEST_UNBLOCK, NULL, &device_unblock_body_table},
    [DEVICE_ORDER_SETTINGS] = {DEVICE_REQUEST_SETTINGS, NULL, &device_settings_body_table},
};

static err_t find_kind(const char *type, enum device_request_kind *ret, struct fault *fault)
{
    for (int i = 0; i < DEVICE_REQUEST_KINDS; i++) {
        if (strcmp(type, kinds[i].type) == 0) {
            *ret = (enum device_request_kind)i;
            return ERR_OK;
        }
    }
    return fault_set(fault, ERR_UNSUPPORTED, "unknown_type", "type",
                     "must be a device request of major version 1, is %.40s", type);
}

static err_t same(struct span a, struct span b, const char *field, const char *with,
                  struct fault *fault)
{
    if (span_eq(a, b)) {
        return ERR_OK;
    }
    return fault_set(fault, ERR_INVALID, "contradiction", field, "must agree with %s", with);
}

static err_t same_as_key(const struct device_request *r, const char *uid, struct fault *fault)
{
    return same(span_str(r->uid), span_str(uid), "uid", "the record's key", fault);
}

/* What is signed outside the payload (kind, operation) must be what the payload says. */
static err_t check_signed(const struct device_request *r, struct fault *fault)
{
    const struct device_signed *s = &r->body.signed_part;
    err_t e = same(span_str(s->kind), span_str(kinds[r->kind].signed_kind), "signed.kind",
                   "the request's type", fault);
    if (e != ERR_OK) {
        return e;
    }
    char operation[UUID_TEXT_SIZE] = "-";
    if (r->kind == DEVICE_ASKS_PICKUP) {
        uuid_format(&r->of.pickup.operation, operation);
    } else if (r->kind == DEVICE_ASKS_CONFIRM) {
        uuid_format(&r->of.confirm.operation, operation);
    } else {
        e = same_as_key(r, r->of.bootstrap.uid, fault);
    }
    return e != ERR_OK ? e
                       : same(span_str(s->operation), span_str(operation), "signed.operation",
                              "the payload", fault);
}

static err_t decode_signed(struct device_request *r, struct fault *fault)
{
    err_t e =
        codec_decode(&device_signed_body_table, CODEC_KEEP, r->envelope.body, &r->body, fault);
    if (e != ERR_OK) {
        return e;
    }
    const struct json_limits limits = {(size_t)DEVICE_REQUEST_MAX, 4, 64};
    e = codec_decode_text(kinds[r->kind].table, CODEC_KEEP,
                          span_of(r->body.signed_part.payload, r->body.signed_part.payload_len),
                          &limits, &r->of, fault);
    return e != ERR_OK ? e : check_signed(r, fault);
}

/* The envelope's id is the operation's. */
static err_t check_renew(struct device_request *r, struct fault *fault)
{
    struct uuid id;
    err_t e = uuid_parse(span_str(r->envelope.id), &id);
    if (e == ERR_OK && !uuid_is_zero(&r->of.renew.operation)) {
        e = same(uuid_span(&r->of.renew.operation), uuid_span(&id), "operation",
                 "the envelope's id", fault);
    }
    r->of.renew.operation = id;
    return e != ERR_OK ? e : same_as_key(r, r->of.renew.uid, fault);
}

static err_t check_settings(const struct device_request *r, struct fault *fault)
{
    const struct device_settings_body *b = &r->of.settings;
    if (!b->has_heartbeat_interval && !b->has_flood_interval) {
        return fault_set(fault, ERR_INVALID, "missing_field", "heartbeat_interval_s",
                         "is required, or flood_interval_s is");
    }
    return same_as_key(r, b->uid, fault);
}

static err_t decode_plain(struct device_request *r, struct fault *fault)
{
    err_t e = codec_decode(kinds[r->kind].table, CODEC_KEEP, r->envelope.body, &r->of, fault);
    if (e == ERR_OK && r->kind == DEVICE_ORDER_RENEW) {
        e = check_renew(r, fault);
    } else if (e == ERR_OK && r->kind == DEVICE_ORDER_UNBLOCK && r->of.unblock.uid[0] != 0) {
        e = same_as_key(r, r->of.unblock.uid, fault);
    } else if (e == ERR_OK && r->kind == DEVICE_ORDER_SETTINGS) {
        e = check_settings(r, fault);
    }
    return e;
}

err_t device_request_decode(struct span key, struct span value, struct device_request **ret,
                            struct fault *fault)
{
    if (!device_uid_valid(key)) {
        return fault_set(fault, ERR_INVALID, "invalid_key", "key",
                         "the record key must be a UID: 16 lower-case hex digits");
    }
    CLEANUP(device_request_free) struct device_request *r = xcalloc(1, sizeof *r);
    memcpy(r->uid, key.ptr, key.len);
    err_t e = envelope_decode(value, &r->envelope, fault);
    if (e == ERR_OK) {
        e = find_kind(r->envelope.type, &r->kind, fault);
    }
    if (e == ERR_OK) {
        e = kinds[r->kind].signed_kind != NULL ? decode_signed(r, fault) : decode_plain(r, fault);
    }
    if (e != ERR_OK) {
        return e;
    }
    *ret = TAKE(r);
    return ERR_OK;
}

void device_request_free(struct device_request *r)
{
    if (r != NULL) {
        envelope_deinit(&r->envelope);
        device_outcome_deinit(&r->outcome);
        free(r->certificate);
        free(r);
    }
}
