#include "proto/ledger.h"

#include <stdio.h>
#include <string.h>

#include "common/clock.h"

#define REQ  CODEC_REQUIRED
#define OMIT CODEC_OMIT_ZERO

static const struct codec_field confirmation_fields[] = {
#define T struct ledger_confirmation
    {CODEC_BYTES(T, payload, payload_len, "payload", REQ, 1)},
    {CODEC_BYTES(T, signature, signature_len, "signature", REQ, 1)},
    {CODEC_I64_TEXT(T, sequence, "sequence", REQ, 1, INT64_MAX)},
#undef T
};
static const struct codec_table confirmation_table =
    CODEC_TABLE(struct ledger_confirmation, confirmation_fields);

static const struct codec_field install_fields[] = {
#define T struct ledger_install
    {CODEC_STR(T, uid, "uid", REQ, DEVICE_UID_LEN)},
    {CODEC_HEX_FIXED(T, serial, "serial", REQ)},
    {CODEC_HEX_FIXED(T, previous_serial, "previous_serial", OMIT)},
    {CODEC_UUID(T, ca, "ca", REQ)},
    {CODEC_UUID(T, operation, "operation", REQ)},
    {CODEC_UUID(T, order, "order", OMIT)},
    {CODEC_ENUM(T, kind, "kind", REQ, operation_kind_names)},
    {CODEC_BOOL(T, automatic, "automatic", REQ)},
    {CODEC_TIME(T, installed_at_ms, "installed_at", REQ)},
    {CODEC_STR(T, profile, "profile", OMIT, 0)},
    {CODEC_BYTES(T, certificate, certificate_len, "certificate", REQ, 1)},
    {CODEC_OBJECT(T, confirmation, "confirmation", REQ, &confirmation_table)},
#undef T
};
const struct codec_table ledger_install_table = CODEC_TABLE(struct ledger_install, install_fields);

static const struct codec_field charge_fields[] = {
#define T struct charge_record
    {CODEC_STR(T, type, "type", REQ, 1)},
    {CODEC_UUID(T, id, "id", REQ)},
    {CODEC_UUID(T, domain, "domain", REQ)},
    {CODEC_STR(T, uid, "uid", REQ, DEVICE_UID_LEN)},
    {CODEC_HEX_FIXED(T, serial, "serial", REQ)},
    {CODEC_ENUM(T, kind, "kind", REQ, operation_kind_names)},
    {CODEC_BOOL(T, automatic, "automatic", REQ)},
    {CODEC_UUID(T, operation, "operation", REQ)},
    {CODEC_UUID(T, order, "order", OMIT)},
    {CODEC_TIME(T, installed_at_ms, "installed_at", REQ)},
    {CODEC_HEX_FIXED(T, confirmation_hash, "confirmation_hash", REQ)},
    {CODEC_I32(T, partition, "partition", REQ, 0, INT32_MAX)},
    {CODEC_I64_TEXT(T, offset, "offset", REQ, 0, INT64_MAX)},
#undef T
};
const struct codec_table charge_record_table =
    CODEC_TABLE_KEEP(struct charge_record, charge_fields, extra);

static const struct codec_field usage_fields[] = {
#define T struct usage_record
    {CODEC_STR(T, type, "type", REQ, 1)},
    {CODEC_UUID(T, domain, "domain", REQ)},
    {CODEC_STR(T, month, "month", REQ, 7)},
    {CODEC_I64_TEXT(T, renew, "renew", REQ, 0, INT64_MAX)},
    {CODEC_I64_TEXT(T, update, "update", REQ, 0, INT64_MAX)},
    {CODEC_I64_TEXT(T, transfer, "transfer", REQ, 0, INT64_MAX)},
    {CODEC_I64_TEXT(T, total, "total", REQ, 0, INT64_MAX)},
#undef T
};
const struct codec_table usage_record_table =
    CODEC_TABLE_KEEP(struct usage_record, usage_fields, extra);

struct uuid ledger_charge_id(const struct uuid *domain, const char *uid,
                             const uint8_t serial[CERTIFICATE_SERIAL], enum operation_kind kind)
{
    const char *name = codec_name_of(operation_kind_names, kind);
    return UUID_V5(uuid_span(domain), span_str(uid), span_of(serial, CERTIFICATE_SERIAL),
                   span_str(name));
}

bool ledger_billable(enum operation_kind kind)
{
    return kind == OPERATION_RENEW || kind == OPERATION_UPDATE || kind == OPERATION_TRANSFER;
}

static void make_key(const struct uuid *domain, const char *kind, const char *id,
                     char out[LEDGER_KEY_SIZE])
{
    char domain_text[UUID_TEXT_SIZE];
    uuid_format(domain, domain_text);
    (void)snprintf(out, LEDGER_KEY_SIZE, "%s/%s/%s", domain_text, kind, id);
}

void ledger_charge_key(const struct uuid *domain, const struct uuid *charge,
                       char out[LEDGER_KEY_SIZE])
{
    char id[UUID_TEXT_SIZE];
    uuid_format(charge, id);
    make_key(domain, "charge", id, out);
}

void ledger_usage_key(const struct uuid *domain, const char *month, char out[LEDGER_KEY_SIZE])
{
    make_key(domain, "usage", month, out);
}

void ledger_install_key(const struct uuid *domain, const struct uuid *charge,
                        char out[LEDGER_KEY_SIZE])
{
    char id[UUID_TEXT_SIZE];
    uuid_format(charge, id);
    make_key(domain, "install", id, out);
}

void ledger_month(int64_t ms, char out[8])
{
    char time[TIME_TEXT_SIZE];
    time_format(ms, time);
    memcpy(out, time, 7);
    out[7] = 0;
}
