/*
 * The ledger: what ca-signer tells billing-meter when a device has proved that a certificate is
 * installed, and what follows from it. An install is evidence: it carries the certificate and the
 * confirmation the device signed with the new key, so that anybody can check a charge years later
 * without asking us. Pure functions, any thread.
 */
#ifndef PROTO_LEDGER_H
#define PROTO_LEDGER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/codec.h"
#include "proto/device.h"

#define LEDGER_INSTALL_TYPE "ledger.install.v1"
#define CHARGE_TYPE         "charge.v1"
#define USAGE_TYPE          "usage.v1"
#define CHARGE_EVENT_TYPE   "io.fleetseal.billing.charge.v1"

#define LEDGER_CERTIFICATE_MAX 4096
#define LEDGER_PAYLOAD_MAX     16384

/* The signed confirmation, byte for byte as the device sent it. */
struct ledger_confirmation {
    uint8_t payload[LEDGER_PAYLOAD_MAX];
    size_t payload_len;
    uint8_t signature[DEVICE_SIGNATURE_MAX];
    size_t signature_len;
    int64_t sequence;
};

/* Body of ledger.install.v1; the envelope's id is the charge id (ledger_charge_id), its domain
 * pays. */
struct ledger_install {
    char uid[DEVICE_UID_LEN + 1];
    uint8_t serial[CERTIFICATE_SERIAL];
    uint8_t previous_serial[CERTIFICATE_SERIAL]; /* zero: none */
    struct uuid ca;
    struct uuid operation;
    struct uuid order; /* zero: none */
    enum operation_kind kind;
    bool automatic;
    int64_t installed_at_ms;
    char profile[DEVICE_PROFILE_LEN + 1];
    uint8_t certificate[LEDGER_CERTIFICATE_MAX];
    size_t certificate_len;
    struct ledger_confirmation confirmation;
};
extern const struct codec_table ledger_install_table;

/* "<domain>/charge/<id>": one per charge, for ever; the proof that it was counted once. */
struct charge_record {
    char type[16];
    struct uuid id;
    struct uuid domain;
    char uid[DEVICE_UID_LEN + 1];
    uint8_t serial[CERTIFICATE_SERIAL];
    enum operation_kind kind;
    bool automatic;
    struct uuid operation;
    struct uuid order;
    int64_t installed_at_ms;
    uint8_t confirmation_hash[32]; /* SHA-256 of the signature's bytes */
    int32_t partition;             /* of the install in TOPIC_LEDGER_REQUESTS */
    int64_t offset;
    cJSON *extra;
};
extern const struct codec_table charge_record_table;

/* "<domain>/usage/<YYYY-MM>": charges by the month (UTC) of their installation. */
struct usage_record {
    char type[16];
    struct uuid domain;
    char month[8];
    int64_t renew, update, transfer, total;
    cJSON *extra;
};
extern const struct codec_table usage_record_table;

/* uuid5(domain, uid, serial, kind): the same install always has the same charge. */
struct uuid ledger_charge_id(const struct uuid *domain, const char *uid,
                             const uint8_t serial[CERTIFICATE_SERIAL], enum operation_kind kind);
/* True for what is paid for: renew, update, transfer. */
bool ledger_billable(enum operation_kind kind);

/* Record keys. */
#define LEDGER_KEY_SIZE 96
void ledger_charge_key(const struct uuid *domain, const struct uuid *charge,
                       char out[LEDGER_KEY_SIZE]);
void ledger_usage_key(const struct uuid *domain, const char *month, char out[LEDGER_KEY_SIZE]);
/* Record key of an install request: "<domain>/install/<charge id>". */
void ledger_install_key(const struct uuid *domain, const struct uuid *charge,
                        char out[LEDGER_KEY_SIZE]);
/* "YYYY-MM" of a time, UTC. */
void ledger_month(int64_t ms, char out[8]);

#endif
