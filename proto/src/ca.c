#include "proto/ca.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"

const struct codec_name ca_kind_names[] = {
    {CA_ROOT, "root"}, {CA_INTERMEDIATE, "intermediate"}, {0, NULL}};
const struct codec_name ca_state_names[] = {
    {CA_ACTIVE, "active"}, {CA_DELETED, "deleted"}, {0, NULL}};
const struct codec_name ca_key_usage_names[] = {
    {CA_USAGE_DIGITAL_SIGNATURE, "digitalSignature"},
    {CA_USAGE_NON_REPUDIATION, "nonRepudiation"},
    {CA_USAGE_KEY_ENCIPHERMENT, "keyEncipherment"},
    {CA_USAGE_DATA_ENCIPHERMENT, "dataEncipherment"},
    {CA_USAGE_KEY_AGREEMENT, "keyAgreement"},
    {0, NULL},
};
const struct codec_name ca_extended_usage_names[] = {
    {CA_EXTENDED_CLIENT_AUTH, "clientAuth"}, {CA_EXTENDED_SERVER_AUTH, "serverAuth"}, {0, NULL}};

#define REQ  CODEC_REQUIRED
#define OMIT CODEC_OMIT_ZERO

static const struct codec_field subject_fields[] = {
#define T struct ca_subject
    {CODEC_STR(T, common_name, "common_name", REQ, 1)},
    {CODEC_STR(T, organization, "organization", OMIT, 1)},
    {CODEC_STR(T, organizational_unit, "organizational_unit", OMIT, 1)},
    {CODEC_STR(T, country, "country", OMIT, 2)},
    {CODEC_STR(T, state, "state", OMIT, 1)},
    {CODEC_STR(T, locality, "locality", OMIT, 1)},
#undef T
};
static const struct codec_table subject_table = CODEC_TABLE(struct ca_subject, subject_fields);

static const struct codec_field request_fields[] = {
#define T struct ca_answered
    {CODEC_UUID(T, id, "id", REQ)},
    {CODEC_STR(T, hash, "hash", OMIT, 0)},
    {CODEC_TIME(T, at_ms, "at", REQ)},
    {CODEC_I32(T, status, "status", REQ, 100, 599)},
#undef T
};
static const struct codec_table request_table = CODEC_TABLE(struct ca_answered, request_fields);
static const struct codec_field request_element = {
    CODEC_ELEMENT_OBJECT(struct ca_answered, &request_table)};
static const struct codec_field usage_element = {CODEC_ELEMENT_ENUM(ca_key_usage_names)};
static const struct codec_field extended_element = {CODEC_ELEMENT_ENUM(ca_extended_usage_names)};

static const struct codec_field ca_fields[] = {
#define T struct ca
    {CODEC_STR(T, type, "type", REQ, 1)},
    {CODEC_UUID(T, id, "id", REQ)},
    {CODEC_UUID(T, domain, "domain", REQ)},
    {CODEC_STR(T, name, "name", REQ, 1)},
    {CODEC_ENUM(T, kind, "kind", REQ, ca_kind_names)},
    {CODEC_OBJECT(T, subject, "subject", REQ, &subject_table)},
    {CODEC_STR(T, key_algorithm, "key_algorithm", REQ, 1)},
    {CODEC_BYTES(T, certificate, certificate_len, "certificate", REQ, 1)},
    {CODEC_TIME(T, not_before_ms, "not_before", REQ)},
    {CODEC_TIME(T, not_after_ms, "not_after", REQ)},
    {CODEC_I64(T, device_validity_s, "device_validity_s", REQ, 1, CA_VALIDITY_MAX_S)},
    {CODEC_BOOL(T, automatic_renewal, "automatic_renewal", REQ)},
    {CODEC_I64(T, renew_ahead_s, "renew_ahead_s", REQ, 0, CA_RENEW_AHEAD_MAX_S)},
    {CODEC_ARRAY(T, key_usage, key_usage_count, "key_usage", REQ, 1, &usage_element)},
    {CODEC_ARRAY(T, extended_key_usage, extended_key_usage_count, "extended_key_usage", REQ, 0,
                 &extended_element)},
    {CODEC_ENUM(T, state, "state", REQ, ca_state_names)},
    {CODEC_TIME(T, created_at_ms, "created_at", REQ)},
    {CODEC_STR(T, request_hash, "request_hash", OMIT, 0)},
    {CODEC_ARRAY(T, requests, requests_count, "requests", OMIT, 0, &request_element)},
    {CODEC_TIME(T, updated_at_ms, "updated_at", REQ)},
#undef T
};
const struct codec_table ca_table = CODEC_TABLE_KEEP(struct ca, ca_fields, extra);

static const struct codec_field key_fields[] = {
#define T struct ca_key_record
    {CODEC_STR(T, type, "type", REQ, 1)},
    {CODEC_UUID(T, id, "id", REQ)},
    {CODEC_UUID(T, domain, "domain", REQ)},
    {CODEC_BYTES_FIXED(T, key_hash, "key_hash", REQ)},
    {CODEC_BYTES(T, sealed, sealed_len, "sealed", REQ, 1)},
#undef T
};
const struct codec_table ca_key_table = CODEC_TABLE_KEEP(struct ca_key_record, key_fields, extra);

static const struct codec_field create_fields[] = {
#define T struct ca_create
    {CODEC_STR(T, name, "name", REQ, 1)},
    {CODEC_OBJECT(T, subject, "subject", REQ, &subject_table)},
    {CODEC_STR(T, key_algorithm, "key_algorithm", OMIT, 0)},
    {CODEC_I64(T, validity_s, "validity_s", REQ, 1, CA_VALIDITY_MAX_S)},
    {CODEC_I64(T, device_validity_s, "device_validity_s", REQ, 1, CA_VALIDITY_MAX_S)},
    {CODEC_BOOL(T, automatic_renewal, "automatic_renewal", 0)},
    {CODEC_I64(T, renew_ahead_s, "renew_ahead_s", OMIT, 0, CA_RENEW_AHEAD_MAX_S)},
    {CODEC_ARRAY(T, key_usage, key_usage_count, "key_usage", OMIT, 0, &usage_element)},
    {CODEC_ARRAY(T, extended_key_usage, extended_key_usage_count, "extended_key_usage", OMIT, 0,
                 &extended_element)},
#undef T
};
const struct codec_table ca_create_table = CODEC_TABLE(struct ca_create, create_fields);

static const struct codec_field update_fields[] = {
#define T struct ca_update
    {CODEC_UUID(T, id, "id", REQ)},
    {CODEC_STR(T, name, "name", 0, 1), CODEC_HAS(T, has_name)},
    {CODEC_I64(T, device_validity_s, "device_validity_s", 0, 1, CA_VALIDITY_MAX_S),
     CODEC_HAS(T, has_device_validity)},
    {CODEC_BOOL(T, automatic_renewal, "automatic_renewal", 0), CODEC_HAS(T, has_automatic_renewal)},
    {CODEC_I64(T, renew_ahead_s, "renew_ahead_s", 0, 1, CA_RENEW_AHEAD_MAX_S),
     CODEC_HAS(T, has_renew_ahead)},
#undef T
};
const struct codec_table ca_update_table = CODEC_TABLE(struct ca_update, update_fields);

void ca_free(struct ca *ca)
{
    if (ca != NULL) {
        cJSON_Delete(ca->extra);
        free(ca);
    }
}

struct ca *ca_copy(const struct ca *ca)
{
    struct ca *copy = xcalloc(1, sizeof *copy);
    codec_copy(&ca_table, ca, copy);
    return copy;
}

/* Reads the document and refuses another type before any field is looked at. */
static err_t decode_typed(const struct codec_table *table, const char *type, struct span json,
                          void *out, struct fault *fault)
{
    struct json_limits limits = JSON_LIMITS_DEFAULT;
    limits.max_bytes = CA_RECORD_MAX;
    CLEANUP_JSON cJSON *root = NULL;
    err_t e = json_decode(json, &limits, &root, fault);
    if (e != ERR_OK) {
        return e;
    }
    const char *found = NULL;
    e = json_get_string(root, "type", &found, fault);
    if (e != ERR_OK) {
        return e;
    }
    if (strcmp(found, type) != 0) {
        return fault_set(fault, ERR_UNSUPPORTED, "unsupported_type", "type", "must be %s, is %.40s",
                         type, found);
    }
    return codec_decode(table, CODEC_KEEP, root, out, fault);
}

err_t ca_decode(struct span json, struct ca **ret, struct fault *fault)
{
    CLEANUP(ca_free) struct ca *ca = xcalloc(1, sizeof *ca);
    err_t e = decode_typed(&ca_table, CA_TYPE, json, ca, fault);
    if (e != ERR_OK) {
        return e;
    }
    *ret = TAKE(ca);
    return ERR_OK;
}

err_t ca_encode(const struct ca *ca, struct buf *to)
{
    return codec_encode(&ca_table, ca, to);
}

err_t ca_key_decode(struct span json, struct ca_key_record *ret, struct fault *fault)
{
    return decode_typed(&ca_key_table, CA_KEY_TYPE, json, ret, fault);
}

cJSON *ca_public(const struct ca *ca)
{
    CLEANUP_BUF struct buf json = BUF_INIT(CA_RECORD_MAX);
    err_t e = ca_encode(ca, &json);
    assert(e == ERR_OK); /* every field is bounded, together below the maximum */
    (void)e;
    cJSON *tree = cJSON_Parse(buf_cstr(&json));
    assert(tree != NULL);
    cJSON_DeleteItemFromObjectCaseSensitive(tree, "requests");
    cJSON_DeleteItemFromObjectCaseSensitive(tree, "request_hash");
    return tree;
}
