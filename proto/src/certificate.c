#include "proto/certificate.h"

#include <string.h>

const struct codec_name certificate_status_names[] = {
    {CERTIFICATE_INSTALLED, "installed"},
    {CERTIFICATE_SUPERSEDED, "superseded"},
    {CERTIFICATE_REVOKED, "revoked"},
    {0, NULL},
};

#define REQ CODEC_REQUIRED

static const struct codec_field record_fields[] = {
#define T struct certificate_record
    {CODEC_STR(T, type, "type", REQ, 1)},
    {CODEC_UUID(T, ca, "ca", REQ)},
    {CODEC_HEX_FIXED(T, serial, "serial", REQ)},
    {CODEC_STR(T, uid, "uid", REQ, DEVICE_UID_LEN)},
    {CODEC_UUID(T, domain, "domain", REQ)},
    {CODEC_BYTES(T, der, der_len, "der", REQ, 1)},
    {CODEC_TIME(T, not_before_ms, "not_before", REQ)},
    {CODEC_TIME(T, not_after_ms, "not_after", REQ)},
    {CODEC_UUID(T, operation, "operation", REQ)},
    {CODEC_ENUM(T, kind, "kind", REQ, operation_kind_names)},
    {CODEC_TIME(T, issued_at_ms, "issued_at", REQ)},
#undef T
};
const struct codec_table certificate_record_table =
    CODEC_TABLE(struct certificate_record, record_fields);

static const struct codec_field status_fields[] = {
#define T struct certificate_status_record
    {CODEC_STR(T, type, "type", REQ, 1)},
    {CODEC_UUID(T, ca, "ca", REQ)},
    {CODEC_HEX_FIXED(T, serial, "serial", REQ)},
    {CODEC_STR(T, uid, "uid", REQ, DEVICE_UID_LEN)},
    {CODEC_ENUM(T, status, "status", REQ, certificate_status_names)},
    {CODEC_TIME(T, at_ms, "at", REQ)},
    {CODEC_UUID(T, operation, "operation", REQ)},
#undef T
};
const struct codec_table certificate_status_table =
    CODEC_TABLE(struct certificate_status_record, status_fields);

void certificate_key(const struct uuid *ca, const uint8_t serial[CERTIFICATE_SERIAL],
                     char out[CERTIFICATE_KEY_SIZE])
{
    uuid_format(ca, out);
    out[UUID_TEXT_SIZE - 1] = '/';
    hex_format(span_of(serial, CERTIFICATE_SERIAL), out + UUID_TEXT_SIZE);
}

void certificate_status_key(const struct uuid *ca, const uint8_t serial[CERTIFICATE_SERIAL],
                            char out[CERTIFICATE_KEY_SIZE])
{
    static const char suffix[] = "/status";
    certificate_key(ca, serial, out);
    memcpy(out + UUID_TEXT_SIZE + (size_t)HEX_LEN(CERTIFICATE_SERIAL), suffix, sizeof suffix);
}
