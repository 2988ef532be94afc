#include "proto/device_request.h"

#define REQ  CODEC_REQUIRED
#define OMIT CODEC_OMIT_ZERO

static bool uid_rule(const void *member)
{
    return device_uid_valid(span_str(member));
}
#define UID_WORDS "16 lower-case hex digits"

static bool profile_rule(const void *member)
{
    const char *text = member;
    return text[0] == 0 || device_profile_valid(span_str(text));
}

static bool serial_rule(const void *member)
{
    const char *text = member;
    return text[0] == 0 || device_serial_valid(span_str(text));
}

static const struct codec_field signed_fields[] = {
#define T struct device_signed
    {CODEC_STR(T, kind, "kind", REQ, 1)},
    {CODEC_STR(T, operation, "operation", REQ, 1)},
    {CODEC_I64_TEXT(T, sequence, "sequence", REQ, 1, INT64_MAX)},
    {CODEC_BYTES(T, payload, payload_len, "payload", REQ, 1)},
    {CODEC_BYTES(T, signature, signature_len, "signature", REQ, 1)},
#undef T
};
static const struct codec_table signed_table = CODEC_TABLE(struct device_signed, signed_fields);

static const struct codec_field signed_body_fields[] = {
#define T struct device_signed_body
    {CODEC_OBJECT(T, signed_part, "signed", REQ, &signed_table)},
    {CODEC_BYTES(T, rot_key.der, rot_key.len, "rot_key", REQ, 1)},
#undef T
};
const struct codec_table device_signed_body_table =
    CODEC_TABLE(struct device_signed_body, signed_body_fields);

static const struct codec_field bootstrap_fields[] = {
#define T struct device_bootstrap_payload
    {CODEC_STR(T, uid, "uid", REQ, DEVICE_UID_LEN), CODEC_RULE(uid_rule, UID_WORDS)},
    {CODEC_STR(T, profile, "profile", OMIT | CODEC_NULL, 0),
     CODEC_RULE(profile_rule, "22 letters and digits")},
    {CODEC_STR(T, serial, "serial", OMIT | CODEC_NULL, 0),
     CODEC_RULE(serial_rule, "1 to 16 of A-Z a-z 0-9 . _ -")},
    {CODEC_BYTES_FIXED(T, install_nonce, "install_nonce", REQ)},
    {CODEC_BYTES(T, csr, csr_len, "csr", OMIT | CODEC_NULL, 0)},
    {CODEC_STR(T, model, "model", OMIT | CODEC_NULL, 0)},
    {CODEC_STR(T, firmware, "firmware", OMIT | CODEC_NULL, 0)},
    {CODEC_STR(T, agent, "agent", OMIT | CODEC_NULL, 0)},
#undef T
};
const struct codec_table device_bootstrap_payload_table =
    CODEC_TABLE(struct device_bootstrap_payload, bootstrap_fields);

static const struct codec_field pickup_fields[] = {
#define T struct device_pickup_payload
    {CODEC_UUID(T, operation, "operation", REQ)},
    {CODEC_BYTES(T, csr, csr_len, "csr", OMIT | CODEC_NULL, 0)},
#undef T
};
const struct codec_table device_pickup_payload_table =
    CODEC_TABLE(struct device_pickup_payload, pickup_fields);

static const struct codec_field confirm_fields[] = {
#define T struct device_confirm_payload
    {CODEC_UUID(T, operation, "operation", REQ)},
    {CODEC_HEX_FIXED(T, serial, "serial", REQ)},
    {CODEC_BYTES(T, key.der, key.len, "key", REQ, 1)},
#undef T
};
const struct codec_table device_confirm_payload_table =
    CODEC_TABLE(struct device_confirm_payload, confirm_fields);

static const struct codec_field failed_fields[] = {
#define T struct device_failed_body
    {CODEC_UUID(T, operation, "operation", REQ)},
    {CODEC_STR(T, reason, "reason", OMIT, 0)},
#undef T
};
const struct codec_table device_failed_body_table =
    CODEC_TABLE(struct device_failed_body, failed_fields);

const struct codec_name device_fork_token_names[] = {
    {DEVICE_FORK_NO_TOKEN, "none"},
    {DEVICE_FORK_OTHER_TOKEN, "other"},
    {0, NULL},
};
static const struct codec_field fork_fields[] = {
#define T struct device_fork_body
    {CODEC_I64_TEXT(T, sequence, "sequence", REQ, 1, JSON_INTEGER_MAX)},
    {CODEC_ENUM(T, token, "token", REQ, device_fork_token_names)},
#undef T
};
const struct codec_table device_fork_body_table = CODEC_TABLE(struct device_fork_body, fork_fields);

static const struct codec_field renew_fields[] = {
#define T struct device_renew_body
    {CODEC_STR(T, uid, "uid", REQ, DEVICE_UID_LEN), CODEC_RULE(uid_rule, UID_WORDS)},
    {CODEC_UUID(T, operation, "operation", OMIT)},
    {CODEC_I64(T, validity_s, "validity_s", OMIT, 0, INT64_C(3162240000))},
    {CODEC_UUID(T, order, "order", OMIT)},
    {CODEC_BOOL(T, automatic, "automatic", OMIT)},
    {CODEC_HEX_FIXED(T, serial, "serial", OMIT)},
#undef T
};
const struct codec_table device_renew_body_table =
    CODEC_TABLE(struct device_renew_body, renew_fields);

static const struct codec_field unblock_fields[] = {
    {CODEC_STR(struct device_unblock_body, uid, "uid", OMIT, 0)},
};
const struct codec_table device_unblock_body_table =
    CODEC_TABLE(struct device_unblock_body, unblock_fields);

static const struct codec_field settings_fields[] = {
#define T struct device_settings_body
    {CODEC_STR(T, uid, "uid", REQ, DEVICE_UID_LEN), CODEC_RULE(uid_rule, UID_WORDS)},
    {CODEC_I64(T, heartbeat_interval_s, "heartbeat_interval_s", 0, 1,
               DEVICE_HEARTBEAT_INTERVAL_MAX_S),
     CODEC_HAS(T, has_heartbeat_interval)},
    {CODEC_I64(T, flood_interval_s, "flood_interval_s", 0, 1, DEVICE_FLOOD_INTERVAL_MAX_S),
     CODEC_HAS(T, has_flood_interval)},
#undef T
};
const struct codec_table device_settings_body_table =
    CODEC_TABLE(struct device_settings_body, settings_fields);
