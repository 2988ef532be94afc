#include "proto/registry.h"

#define UUID_WORDS "a lower-case UUID"
#define UID_WORDS  "16 lower-case hexadecimal digits"

const struct codec_name registry_account_names[] = {
    {REGISTRY_ACCOUNT_DEVELOPER, "developer"}, {REGISTRY_ACCOUNT_COMMERCIAL, "commercial"}, {0}};
const struct codec_name registry_contact_role_names[] = {{REGISTRY_CONTACT_TECHNICAL, "technical"},
                                                         {REGISTRY_CONTACT_BILLING, "billing"},
                                                         {REGISTRY_CONTACT_SECURITY, "security"},
                                                         {0}};
const struct codec_name registry_key_status_names[] = {
    {REGISTRY_KEY_ACTIVE, "ACTIVE"}, {REGISTRY_KEY_INACTIVE, "INACTIVE"}, {0}};
const struct codec_name registry_whitelist_mode_names[] = {
    {REGISTRY_WHITELIST_ON, "on"}, {REGISTRY_WHITELIST_IGNORE, "ignore"}, {0}};
const struct codec_name registry_webhook_status_names[] = {
    {REGISTRY_WEBHOOK_ACTIVE, "active"}, {REGISTRY_WEBHOOK_DISABLED, "disabled"}, {0}};

static bool profile_uid_rule(const void *member)
{
    return registry_profile_uid_valid(member);
}

#define ID(T, m, name, flags)                                                                      \
    CODEC_STR(T, m, name, flags, UUID_TEXT_SIZE - 1), CODEC_RULE(registry_uuid_valid, UUID_WORDS)
#define UID(T, m, name, flags)                                                                     \
    CODEC_STR(T, m, name, flags, REGISTRY_UID_SIZE - 1), CODEC_RULE(registry_uid_valid, UID_WORDS)
#define PROFILE_UID(T, m, name, flags)                                                             \
    CODEC_STR(T, m, name, flags, REGISTRY_PROFILE_SIZE - 1),                                       \
        CODEC_RULE(profile_uid_rule, "22 letters and digits")
#define HASH(T, m, name, flags) CODEC_STR(T, m, name, flags, 0)

/* ---- records ---- */

static const struct codec_field contact_fields[] = {
    {CODEC_STR(struct registry_contact, name, "name", CODEC_OMIT_ZERO, 0)},
    {CODEC_STR(struct registry_contact, email, "email", CODEC_REQUIRED, 3)},
    {CODEC_ENUM(struct registry_contact, role, "role", CODEC_OPTIONAL,
                registry_contact_role_names)},
};
const struct codec_table registry_contact_table =
    CODEC_TABLE(struct registry_contact, contact_fields);
static const struct codec_field contact_element = {
    CODEC_ELEMENT_OBJECT(struct registry_contact, &registry_contact_table)};

static const struct codec_field limits_fields[] = {
    {CODEC_I32(struct registry_domain_limits, cas, "cas", CODEC_REQUIRED, 0, 100000)},
    {CODEC_I32(struct registry_domain_limits, access_keys, "access_keys", CODEC_REQUIRED, 0,
               100000)},
};
static const struct codec_table limits_table =
    CODEC_TABLE(struct registry_domain_limits, limits_fields);

static const struct codec_field usage_fields[] = {
    {CODEC_I32(struct registry_domain_usage, cas, "cas", CODEC_OPTIONAL, 0, INT32_MAX)},
    {CODEC_I32(struct registry_domain_usage, access_keys, "access_keys", CODEC_OPTIONAL, 0,
               INT32_MAX)},
    {CODEC_I32(struct registry_domain_usage, profiles, "profiles", CODEC_OPTIONAL, 0, INT32_MAX)},
    {CODEC_I32(struct registry_domain_usage, webhooks, "webhooks", CODEC_OPTIONAL, 0, INT32_MAX)},
};
static const struct codec_table usage_table =
    CODEC_TABLE(struct registry_domain_usage, usage_fields);

static const struct codec_field domain_fields[] = {
    {CODEC_STR(struct registry_domain, type, "type", CODEC_REQUIRED, 1)},
    {ID(struct registry_domain, id, "id", CODEC_REQUIRED)},
    {CODEC_STR(struct registry_domain, name, "name", CODEC_REQUIRED, 1)},
    {CODEC_STR(struct registry_domain, company, "company", CODEC_OMIT_ZERO, 0)},
    {CODEC_STR(struct registry_domain, address, "address", CODEC_OMIT_ZERO, 0)},
    {CODEC_ARRAY(struct registry_domain, contacts, contacts_count, "contacts", CODEC_OPTIONAL, 0,
                 &contact_element)},
    {CODEC_ENUM(struct registry_domain, account_type, "account_type", CODEC_REQUIRED,
                registry_account_names)},
    {CODEC_TIME(struct registry_domain, created_at, "created_at", CODEC_REQUIRED)},
    {CODEC_OBJECT(struct registry_domain, limits, "limits", CODEC_REQUIRED, &limits_table)},
    {CODEC_OBJECT(struct registry_domain, usage, "usage", CODEC_OPTIONAL, &usage_table)},
    {CODEC_TIME(struct registry_domain, updated_at, "updated_at", CODEC_REQUIRED)},
};
const struct codec_table registry_domain_table =
    CODEC_TABLE_KEEP(struct registry_domain, domain_fields, extra);

static const struct codec_field access_key_fields[] = {
    {CODEC_STR(struct registry_access_key, type, "type", CODEC_REQUIRED, 1)},
    {ID(struct registry_access_key, id, "id", CODEC_REQUIRED)},
    {ID(struct registry_access_key, domain, "domain", CODEC_REQUIRED)},
    {CODEC_STR(struct registry_access_key, name, "name", CODEC_REQUIRED, 1)},
    {CODEC_BYTES_FIXED(struct registry_access_key, secret_hash, "secret_hash", CODEC_REQUIRED)},
    {CODEC_ENUM(struct registry_access_key, status, "status", CODEC_REQUIRED,
                registry_key_status_names)},
    {CODEC_TIME(struct registry_access_key, created_at, "created_at", CODEC_REQUIRED)},
    {CODEC_TIME(struct registry_access_key, revoked_at, "revoked_at", CODEC_OMIT_ZERO)},
    {CODEC_TIME(struct registry_access_key, updated_at, "updated_at", CODEC_REQUIRED)},
};
const struct codec_table registry_access_key_table =
    CODEC_TABLE_KEEP(struct registry_access_key, access_key_fields, extra);

static const struct codec_field features_fields[] = {
    {CODEC_BOOL(struct registry_features, zero_touch, "zero_touch", CODEC_OPTIONAL)},
    {CODEC_BOOL(struct registry_features, data_protection, "data_protection", CODEC_OPTIONAL)},
    {CODEC_BOOL(struct registry_features, chip_to_chip, "chip_to_chip", CODEC_OPTIONAL)},
};
static const struct codec_table features_table =
    CODEC_TABLE(struct registry_features, features_fields);

#define PROFILE_SETTINGS(T)                                                                        \
    {CODEC_STR(T, name, "name", CODEC_REQUIRED, 1)}, {ID(T, ca, "ca", CODEC_REQUIRED)},            \
        {CODEC_I64(T, heartbeat_interval_s, "heartbeat_interval_s", CODEC_REQUIRED,                \
                   REGISTRY_HEARTBEAT_MIN_S, REGISTRY_HEARTBEAT_MAX_S)},                           \
        {CODEC_I64(T, flood_interval_s, "flood_interval_s", CODEC_REQUIRED, 0,                     \
                   REGISTRY_FLOOD_MAX_S)},                                                         \
        {CODEC_ENUM(T, whitelist, "whitelist", CODEC_REQUIRED, registry_whitelist_mode_names)},    \
        {CODEC_STR(T, key_algorithm, "key_algorithm", CODEC_REQUIRED, 1)},                         \
    {                                                                                              \
        CODEC_OBJECT(T, features, "features", CODEC_REQUIRED, &features_table)                     \
    }

static const struct codec_field profile_fields[] = {
    {CODEC_STR(struct registry_profile, type, "type", CODEC_REQUIRED, 1)},
    {PROFILE_UID(struct registry_profile, uid, "uid", CODEC_REQUIRED)},
    {ID(struct registry_profile, domain, "domain", CODEC_REQUIRED)},
    PROFILE_SETTINGS(struct registry_profile),
    {CODEC_TIME(struct registry_profile, created_at, "created_at", CODEC_REQUIRED)},
    {CODEC_TIME(struct registry_profile, updated_at, "updated_at", CODEC_REQUIRED)},
};
const struct codec_table registry_profile_table =
    CODEC_TABLE_KEEP(struct registry_profile, profile_fields, extra);

static const struct codec_field whitelist_fields[] = {
    {CODEC_STR(struct registry_whitelist, type, "type", CODEC_REQUIRED, 1)},
    {UID(struct registry_whitelist, uid, "uid", CODEC_REQUIRED)},
    {ID(struct registry_whitelist, domain, "domain", CODEC_REQUIRED)},
    {CODEC_BYTES(struct registry_whitelist, key, key_len, "key", CODEC_OMIT_ZERO, 0)},
    {CODEC_TIME(struct registry_whitelist, created_at, "created_at", CODEC_REQUIRED)},
    {CODEC_TIME(struct registry_whitelist, updated_at, "updated_at", CODEC_REQUIRED)},
};
const struct codec_table registry_whitelist_table =
    CODEC_TABLE_KEEP(struct registry_whitelist, whitelist_fields, extra);

static const struct codec_field event_element = {CODEC_ELEMENT_STR(REGISTRY_EVENT_SIZE, 1)};

#define WEBHOOK_SETTINGS(T)                                                                        \
    {CODEC_STR(T, url, "url", CODEC_REQUIRED, 1)},                                                 \
        {CODEC_ARRAY(T, events, events_count, "events", CODEC_REQUIRED, 1, &event_element)},       \
        {CODEC_STR(T, description, "description", CODEC_OMIT_ZERO, 0)},                            \
    {                                                                                              \
        CODEC_BYTES(T, secret_sealed, secret_sealed_len, "secret_sealed", CODEC_OMIT_ZERO, 0)      \
    }

static const struct codec_field webhook_fields[] = {
    {CODEC_STR(struct registry_webhook, type, "type", CODEC_REQUIRED, 1)},
    {ID(struct registry_webhook, id, "id", CODEC_REQUIRED)},
    {ID(struct registry_webhook, domain, "domain", CODEC_REQUIRED)},
    WEBHOOK_SETTINGS(struct registry_webhook),
    {CODEC_ENUM(struct registry_webhook, status, "status", CODEC_REQUIRED,
                registry_webhook_status_names)},
    {CODEC_STR(struct registry_webhook, reason, "reason", CODEC_OMIT_ZERO, 0)},
    {CODEC_TIME(struct registry_webhook, created_at, "created_at", CODEC_REQUIRED)},
    {CODEC_TIME(struct registry_webhook, updated_at, "updated_at", CODEC_REQUIRED)},
};
const struct codec_table registry_webhook_table =
    CODEC_TABLE_KEEP(struct registry_webhook, webhook_fields, extra);

static const struct codec_field seat_fields[] = {
    {CODEC_STR(struct registry_seat, type, "type", CODEC_REQUIRED, 1)},
    {ID(struct registry_seat, id, "id", CODEC_REQUIRED)},
    {ID(struct registry_seat, domain, "domain", CODEC_REQUIRED)},
    {CODEC_STR(struct registry_seat, name, "name", CODEC_REQUIRED, 1)},
    {HASH(struct registry_seat, request_hash, "request_hash", CODEC_OMIT_ZERO)},
    {CODEC_TIME(struct registry_seat, created_at, "created_at", CODEC_REQUIRED)},
    {CODEC_TIME(struct registry_seat, updated_at, "updated_at", CODEC_REQUIRED)},
};
const struct codec_table registry_seat_table =
    CODEC_TABLE_KEEP(struct registry_seat, seat_fields, extra);

static const struct codec_field result_fields[] = {
    {CODEC_STR(struct registry_result, type, "type", CODEC_REQUIRED, 1)},
    {ID(struct registry_result, id, "id", CODEC_REQUIRED)},
    {ID(struct registry_result, domain, "domain", CODEC_REQUIRED)},
    {CODEC_STR(struct registry_result, request_type, "request_type", CODEC_REQUIRED, 1)},
    {HASH(struct registry_result, hash, "hash", CODEC_OMIT_ZERO)},
    {CODEC_I32(struct registry_result, status, "status", CODEC_REQUIRED, 200, 599)},
    {CODEC_JSON(struct registry_result, result, "result", CODEC_OMIT_ZERO)},
    {CODEC_TIME(struct registry_result, at, "at", CODEC_REQUIRED)},
    {CODEC_TIME(struct registry_result, expires_at, "expires_at", CODEC_REQUIRED)},
    {CODEC_TIME(struct registry_result, updated_at, "updated_at", CODEC_REQUIRED)},
};
const struct codec_table registry_result_table =
    CODEC_TABLE_KEEP(struct registry_result, result_fields, extra);

/* ---- requests ---- */

static const struct codec_field domain_create_fields[] = {
    {CODEC_STR(struct registry_domain_create, name, "name", CODEC_REQUIRED, 1)},
    {CODEC_STR(struct registry_domain_create, company, "company", CODEC_OMIT_ZERO, 0)},
    {CODEC_STR(struct registry_domain_create, address, "address", CODEC_OMIT_ZERO, 0)},
    {CODEC_ARRAY(struct registry_domain_create, contacts, contacts_count, "contacts",
                 CODEC_OPTIONAL, 0, &contact_element)},
    {CODEC_ENUM(struct registry_domain_create, account_type, "account_type", CODEC_REQUIRED,
                registry_account_names)},
};
const struct codec_table registry_domain_create_table =
    CODEC_TABLE(struct registry_domain_create, domain_create_fields);

static const struct codec_field key_create_fields[] = {
    {ID(struct registry_key_create, id, "id", CODEC_REQUIRED)},
    {CODEC_STR(struct registry_key_create, name, "name", CODEC_REQUIRED, 1)},
    {CODEC_BYTES_FIXED(struct registry_key_create, secret_hash, "secret_hash", CODEC_REQUIRED)},
};
const struct codec_table registry_key_create_table =
    CODEC_TABLE(struct registry_key_create, key_create_fields);

static const struct codec_field profile_create_fields[] = {
    {PROFILE_UID(struct registry_profile_create, uid, "uid", CODEC_REQUIRED)},
    PROFILE_SETTINGS(struct registry_profile_create),
};
const struct codec_table registry_profile_create_table =
    CODEC_TABLE(struct registry_profile_create, profile_create_fields);

static const struct codec_field features_update_fields[] = {
#define T struct registry_features_update
    {CODEC_BOOL(T, zero_touch, "zero_touch", 0), CODEC_HAS(T, has_zero_touch)},
    {CODEC_BOOL(T, data_protection, "data_protection", 0), CODEC_HAS(T, has_data_protection)},
    {CODEC_BOOL(T, chip_to_chip, "chip_to_chip", 0), CODEC_HAS(T, has_chip_to_chip)},
#undef T
};
static const struct codec_table features_update_table =
    CODEC_TABLE(struct registry_features_update, features_update_fields);

static const struct codec_field profile_update_fields[] = {
#define T struct registry_profile_update
    {PROFILE_UID(T, uid, "uid", CODEC_REQUIRED)},
    {CODEC_STR(T, name, "name", 0, 1), CODEC_HAS(T, has_name)},
    {ID(T, ca, "ca", 0), CODEC_HAS(T, has_ca)},
    {CODEC_I64(T, heartbeat_interval_s, "heartbeat_interval_s", 0, REGISTRY_HEARTBEAT_MIN_S,
               REGISTRY_HEARTBEAT_MAX_S),
     CODEC_HAS(T, has_heartbeat_interval)},
    {CODEC_I64(T, flood_interval_s, "flood_interval_s", 0, 0, REGISTRY_FLOOD_MAX_S),
     CODEC_HAS(T, has_flood_interval)},
    {CODEC_ENUM(T, whitelist, "whitelist", 0, registry_whitelist_mode_names),
     CODEC_HAS(T, has_whitelist)},
    {CODEC_OBJECT(T, features, "features", 0, &features_update_table), CODEC_HAS(T, has_features)},
    {ID(T, checked_ca, "checked_ca", CODEC_OMIT_ZERO)},
    {CODEC_I64(T, heartbeat_below_s, "heartbeat_below_s", CODEC_OMIT_ZERO, 1, INT64_C(3162240000))},
#undef T
};
const struct codec_table registry_profile_update_table =
    CODEC_TABLE(struct registry_profile_update, profile_update_fields);

static const struct codec_field whitelist_entry_fields[] = {
    {UID(struct registry_whitelist_entry, uid, "uid", CODEC_REQUIRED)},
    {CODEC_BYTES(struct registry_whitelist_entry, key, key_len, "key", CODEC_OMIT_ZERO, 0)},
};
static const struct codec_table whitelist_entry_table =
    CODEC_TABLE(struct registry_whitelist_entry, whitelist_entry_fields);
static const struct codec_field whitelist_entry_element = {
    CODEC_ELEMENT_OBJECT(struct registry_whitelist_entry, &whitelist_entry_table)};
static const struct codec_field whitelist_change_fields[] = {
    {ID(struct registry_whitelist_change, first, "first", CODEC_OMIT_ZERO)},
    {CODEC_ARRAY_HEAP(struct registry_whitelist_change, devices, devices_count, "devices",
                      CODEC_REQUIRED, 1, REGISTRY_WHITELIST_CHUNK, &whitelist_entry_element)},
};
const struct codec_table registry_whitelist_change_table =
    CODEC_TABLE(struct registry_whitelist_change, whitelist_change_fields);

static const struct codec_field webhook_create_fields[] = {
    WEBHOOK_SETTINGS(struct registry_webhook_create),
};
const struct codec_table registry_webhook_create_table =
    CODEC_TABLE(struct registry_webhook_create, webhook_create_fields);

static const struct codec_field target_fields[] = {
    {ID(struct registry_target, id, "id", CODEC_REQUIRED)},
    {CODEC_STR(struct registry_target, reason, "reason", CODEC_OMIT_ZERO, 0)},
};
const struct codec_table registry_target_table = CODEC_TABLE(struct registry_target, target_fields);

static const struct codec_field expire_element = {
    CODEC_ELEMENT_STR(UUID_TEXT_SIZE, UUID_TEXT_SIZE - 1)};
static const struct codec_field expire_fields[] = {
    {CODEC_ARRAY(struct registry_expire, ids, ids_count, "ids", CODEC_REQUIRED, 1,
                 &expire_element)},
};
const struct codec_table registry_expire_table = CODEC_TABLE(struct registry_expire, expire_fields);

static const struct codec_field ca_create_fields[] = {
    {CODEC_STR(struct registry_ca_create, name, "name", CODEC_REQUIRED, 1)},
};
const struct codec_table registry_ca_create_table =
    CODEC_TABLE(struct registry_ca_create, ca_create_fields);
