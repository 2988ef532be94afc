#include "proto/device.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "common/partition.h"

const struct codec_name device_state_names[] = {
    {DEVICE_REGISTERED, "registered"},
    {DEVICE_ALLOCATED, "allocated"},
    {DEVICE_ACTIVE, "active"},
    {DEVICE_SUSPENDED, "suspended"},
    {DEVICE_DECOMMISSIONED, "decommissioned"},
    {0, NULL},
};

const struct codec_name operation_kind_names[] = {
    {OPERATION_ISSUE, "issue"},       {OPERATION_RENEW, "renew"},   {OPERATION_UPDATE, "update"},
    {OPERATION_TRANSFER, "transfer"}, {OPERATION_DELETE, "delete"}, {0, NULL},
};

const struct codec_name operation_state_names[] = {
    {OPERATION_QUEUED, "queued"},       {OPERATION_AWAITING_KEY, "awaiting-key"},
    {OPERATION_ISSUED, "issued"},       {OPERATION_INSTALLED, "installed"},
    {OPERATION_FAILED, "failed"},       {OPERATION_SUPERSEDED, "superseded"},
    {OPERATION_CANCELLED, "cancelled"}, {0, NULL},
};

#define SECONDS_MAX INT64_C(4000000000)
#define REQ         CODEC_REQUIRED
#define OMIT        CODEC_OMIT_ZERO

static const struct codec_field certificate_fields[] = {
#define T struct device_certificate
    {CODEC_HEX_FIXED(T, serial, "serial", REQ)},
    {CODEC_UUID(T, ca, "ca", REQ)},
    {CODEC_TIME(T, not_before_ms, "not_before", REQ)},
    {CODEC_TIME(T, not_after_ms, "not_after", REQ)},
    {CODEC_TIME(T, issued_at_ms, "issued_at", REQ)},
    {CODEC_TIME(T, installed_at_ms, "installed_at", REQ)},
    {CODEC_TIME(T, revoked_at_ms, "revoked_at", OMIT)},
    {CODEC_BYTES_FIXED(T, key_hash, "key_hash", REQ)},
    {CODEC_BYTES_FIXED(T, fingerprint, "fingerprint", REQ)},
    {CODEC_BYTES(T, spki.der, spki.len, "spki", REQ, 1)},
    {CODEC_BYTES(T, subject.der, subject.len, "subject", REQ, 1)},
    {CODEC_UUID(T, operation, "operation", REQ)},
#undef T
};
static const struct codec_table certificate_table =
    CODEC_TABLE(struct device_certificate, certificate_fields);

static const struct codec_field unconfirmed_fields[] = {
#define T struct device_unconfirmed
    {CODEC_HEX_FIXED(T, serial, "serial", REQ)},
    {CODEC_UUID(T, ca, "ca", REQ)},
    {CODEC_TIME(T, not_before_ms, "not_before", REQ)},
    {CODEC_TIME(T, not_after_ms, "not_after", REQ)},
    {CODEC_TIME(T, issued_at_ms, "issued_at", REQ)},
    {CODEC_BYTES_FIXED(T, key_hash, "key_hash", REQ)},
    {CODEC_BYTES_FIXED(T, fingerprint, "fingerprint", REQ)},
    {CODEC_BYTES(T, spki.der, spki.len, "spki", REQ, 1)},
    {CODEC_BYTES(T, subject.der, subject.len, "subject", REQ, 1)},
    {CODEC_UUID(T, operation, "operation", REQ)},
    {CODEC_ENUM(T, kind, "kind", REQ, operation_kind_names)},
    {CODEC_UUID(T, order, "order", OMIT)},
    {CODEC_BOOL(T, automatic, "automatic", OMIT)},
    {CODEC_BYTES(T, der, der_len, "der", OMIT, 0)},
    {CODEC_I32(T, deliveries, "deliveries", REQ, 0, INT32_MAX)},
#undef T
};
static const struct codec_table unconfirmed_table =
    CODEC_TABLE(struct device_unconfirmed, unconfirmed_fields);
static const struct codec_field unconfirmed_element = {
    CODEC_ELEMENT_OBJECT(struct device_unconfirmed, &unconfirmed_table)};

static const struct codec_field operation_fields[] = {
#define T struct device_operation
    {CODEC_UUID(T, id, "id", REQ)},
    {CODEC_ENUM(T, kind, "kind", REQ, operation_kind_names)},
    {CODEC_ENUM(T, state, "state", REQ, operation_state_names)},
    {CODEC_TIME(T, requested_at_ms, "requested_at", REQ)},
    {CODEC_TIME(T, updated_at_ms, "updated_at", REQ)},
    {CODEC_UUID(T, order, "order", OMIT)},
    {CODEC_STR(T, actor, "actor", OMIT, 0)},
    {CODEC_UUID(T, ca, "ca", OMIT)},
    {CODEC_I64(T, validity_s, "validity_s", OMIT, 0, SECONDS_MAX)},
    {CODEC_STR(T, reason, "reason", OMIT, 0)},
    {CODEC_I32(T, attempts, "attempts", REQ, 0, INT32_MAX)},
    {CODEC_BOOL(T, automatic, "automatic", REQ)},
#undef T
};
static const struct codec_table operation_table =
    CODEC_TABLE(struct device_operation, operation_fields);

static const struct codec_field recent_fields[] = {
#define T struct device_recent
    {CODEC_UUID(T, id, "id", REQ)},
    {CODEC_ENUM(T, kind, "kind", REQ, operation_kind_names)},
    {CODEC_ENUM(T, state, "state", REQ, operation_state_names)},
    {CODEC_TIME(T, at_ms, "at", REQ)},
    {CODEC_STR(T, reason, "reason", OMIT, 0)},
#undef T
};
static const struct codec_table recent_table = CODEC_TABLE(struct device_recent, recent_fields);
static const struct codec_field recent_element = {
    CODEC_ELEMENT_OBJECT(struct device_recent, &recent_table)};

static const struct codec_field settings_fields[] = {
#define T struct device_settings
    {CODEC_I64(T, heartbeat_interval_s, "heartbeat_interval_s", REQ, 1, SECONDS_MAX)},
    {CODEC_I64(T, flood_interval_s, "flood_interval_s", REQ, 0, SECONDS_MAX)},
#undef T
};
static const struct codec_table settings_table =
    CODEC_TABLE(struct device_settings, settings_fields);

static const struct codec_field fork_fields[] = {
#define T struct device_fork
    {CODEC_TIME(T, at_ms, "at", REQ)},
    {CODEC_I64_TEXT(T, sequence, "sequence", REQ, 1, INT64_MAX)},
#undef T
};
static const struct codec_table fork_table = CODEC_TABLE(struct device_fork, fork_fields);

static const struct codec_field change_fields[] = {
    {CODEC_UUID(struct device_change, id, "id", REQ)},
    {CODEC_TIME(struct device_change, at_ms, "at", REQ)},
};
static const struct codec_table change_table = CODEC_TABLE(struct device_change, change_fields);
static const struct codec_field change_element = {
    CODEC_ELEMENT_OBJECT(struct device_change, &change_table)};

static bool uid_rule(const void *member)
{
    return device_uid_valid(span_str(member));
}

static const struct codec_field device_fields[] = {
#define T struct device
    {CODEC_STR(T, type, "type", REQ, 1)},
    {CODEC_STR(T, uid, "uid", REQ, DEVICE_UID_LEN),
     CODEC_RULE(uid_rule, "16 lower-case hex digits")},
    {CODEC_BYTES(T, rot_key.der, rot_key.len, "rot_key", REQ, 1)},
    {CODEC_UUID(T, domain, "domain", OMIT)},
    {CODEC_ENUM(T, state, "state", REQ, device_state_names)},
    {CODEC_STR(T, reason, "reason", OMIT, 0)},
    {CODEC_STR(T, profile, "profile", OMIT, 0)},
    {CODEC_STR(T, sealed_profile, "sealed_profile", OMIT, 0)},
    {CODEC_STR(T, serial, "serial", OMIT, 0)},
    {CODEC_BYTES_FIXED(T, install_nonce, "install_nonce", REQ)},
    {CODEC_TIME(T, registered_at_ms, "registered_at", REQ)},
    {CODEC_TIME(T, activated_at_ms, "activated_at", OMIT)},
    {CODEC_STR(T, model, "model", OMIT, 0)},
    {CODEC_STR(T, firmware, "firmware", OMIT, 0)},
    {CODEC_STR(T, agent, "agent", OMIT, 0)},
    {CODEC_OBJECT(T, settings, "settings", REQ, &settings_table)},
    {CODEC_I64_TEXT(T, sequence, "sequence", REQ, 0, INT64_MAX)},
    {CODEC_I32(T, key_generation, "key_generation", REQ, 0, INT32_MAX)},
    {CODEC_OBJECT(T, certificate, "certificate", OMIT, &certificate_table)},
    {CODEC_ARRAY(T, unconfirmed, unconfirmed_count, "unconfirmed", OMIT, 0, &unconfirmed_element)},
    {CODEC_OBJECT(T, operation, "operation", OMIT, &operation_table)},
    {CODEC_ARRAY(T, recent, recent_count, "recent", OMIT, 0, &recent_element)},
    {CODEC_OBJECT(T, fork, "fork", OMIT, &fork_table)},
    {CODEC_ARRAY(T, changes, changes_count, "changes", OMIT, 0, &change_element)},
    {CODEC_TIME(T, updated_at_ms, "updated_at", REQ)},
#undef T
};
const struct codec_table device_table = CODEC_TABLE_KEEP(struct device, device_fields, extra);

void device_free(struct device *d)
{
    if (d != NULL) {
        cJSON_Delete(d->extra);
        free(d);
    }
}

struct device *device_copy(const struct device *d)
{
    struct device *copy = xcalloc(1, sizeof *copy);
    *copy = *d;
    copy->extra = NULL;
    if (d->extra != NULL) {
        copy->extra = cJSON_Duplicate(d->extra, 1);
        assert(copy->extra != NULL);
    }
    return copy;
}

err_t device_decode(struct span json, struct device **ret, struct fault *fault)
{
    struct json_limits limits = JSON_LIMITS_DEFAULT;
    limits.max_bytes = DEVICE_RECORD_MAX;
    CLEANUP(arena_deinit) struct arena arena = {0};
    const cJSON *root = NULL;
    err_t e = json_read(json, &limits, &arena, &root, fault);
    if (e != ERR_OK) {
        return e;
    }
    const char *type = NULL;
    e = json_get_string(root, "type", &type, fault);
    if (e != ERR_OK) {
        return e;
    }
    if (strcmp(type, DEVICE_TYPE) != 0) {
        return fault_set(fault, ERR_UNSUPPORTED, "unsupported_type", "type", "must be %s, is %.40s",
                         DEVICE_TYPE, type);
    }
    CLEANUP(device_free) struct device *d = xcalloc(1, sizeof *d);
    e = codec_decode(&device_table, CODEC_KEEP, root, d, fault);
    if (e != ERR_OK) {
        return e;
    }
    *ret = TAKE(d);
    return ERR_OK;
}

err_t device_encode(const struct device *d, struct buf *to)
{
    return codec_encode(&device_table, d, to);
}

bool device_uid_valid(struct span uid)
{
    if (uid.len != DEVICE_UID_LEN) {
        return false;
    }
    for (size_t i = 0; i < uid.len; i++) {
        uint8_t c = uid.ptr[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) {
            return false;
        }
    }
    return true;
}

err_t device_view_key(struct span uid, uint8_t out[DEVICE_UID_LEN / 2])
{
    size_t len = 0;
    if (!device_uid_valid(uid)) {
        return ERR_INVALID;
    }
    return hex_decode(uid, out, DEVICE_UID_LEN / 2, &len);
}

struct uuid device_issue_id(const char *uid, const uint8_t install_nonce[DEVICE_NONCE_BYTES])
{
    return UUID_V5(span_str(uid), span_of(install_nonce, DEVICE_NONCE_BYTES), span_str("issue"));
}

int64_t device_due_ms(const char *uid, int64_t not_before_ms, int64_t not_after_ms)
{
    int64_t life_s = (not_after_ms - not_before_ms) / 1000;
    int64_t window_s = life_s > 0 ? life_s / 20 : 0;
    int64_t spread_s = (int64_t)stable_hash(span_str(uid)) % (window_s + 1);
    return not_after_ms - spread_s * 1000;
}

const struct device_unconfirmed *device_unconfirmed_of(const struct device *d,
                                                       const struct uuid *operation)
{
    for (size_t i = d->unconfirmed_count; i > 0; i--) {
        if (uuid_eq(&d->unconfirmed[i - 1].operation, operation)) {
            return &d->unconfirmed[i - 1];
        }
    }
    return NULL;
}
