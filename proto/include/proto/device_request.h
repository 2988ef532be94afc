/*
 * Requests on TOPIC_DEVICE_REQUESTS (partition key and record key: the device's UID): their bodies,
 * and the payloads that devices sign. A door puts the device's exact bytes, sequence and signature
 * into the body; the owner believes only what the signature covers. Tables for codec_decode in mode
 * CODEC_KEEP: fields a newer device adds are passed over. Any thread.
 */
#ifndef PROTO_DEVICE_REQUEST_H
#define PROTO_DEVICE_REQUEST_H

#include "proto/device.h"

#define DEVICE_REQUEST_BOOTSTRAP "device.bootstrap.v1"
#define DEVICE_REQUEST_PICKUP    "device.pickup.v1"
#define DEVICE_REQUEST_CONFIRM   "device.confirm.v1"
#define DEVICE_REQUEST_FAILED    "device.failed.v1"
#define DEVICE_REQUEST_FORK      "device.fork.v1"
#define DEVICE_REQUEST_RENEW     "device.renew.v1"
#define DEVICE_REQUEST_UNBLOCK   "device.unblock.v1"
#define DEVICE_REQUEST_SETTINGS  "device.settings.v1"

#define DEVICE_CSR_MAX 8192 /* bytes of PKCS#10 DER */

/* "signed" of bootstrap, pickup and confirm: what device_signed_bytes (proto/device_protocol.h) is
 * made of. */
struct device_signed {
    char kind[16];
    char operation[UUID_TEXT_SIZE]; /* "-" if none */
    int64_t sequence;               /* from 1 */
    uint8_t payload[DEVICE_REQUEST_MAX];
    size_t payload_len;
    uint8_t signature[DEVICE_SIGNATURE_MAX];
    size_t signature_len;
};

/* Body of bootstrap, pickup and confirm. */
struct device_signed_body {
    struct device_signed signed_part;
    struct device_key rot_key; /* of the TLS client, as the door saw it */
};
extern const struct codec_table device_signed_body_table;

/* Payloads: the HTTP bodies of the device door. */
struct device_bootstrap_payload {
    char uid[DEVICE_UID_LEN + 1];
    char profile[DEVICE_PROFILE_LEN + 1]; /* "": not sealed yet */
    char serial[DEVICE_SERIAL_MAX + 1];
    uint8_t install_nonce[DEVICE_NONCE_BYTES];
    uint8_t csr[DEVICE_CSR_MAX];
    size_t csr_len;
    char model[DEVICE_FACT_MAX + 1], firmware[DEVICE_FACT_MAX + 1], agent[DEVICE_FACT_MAX + 1];
};
extern const struct codec_table device_bootstrap_payload_table;

struct device_pickup_payload {
    struct uuid operation;
    uint8_t csr[DEVICE_CSR_MAX];
    size_t csr_len;
};
extern const struct codec_table device_pickup_payload_table;

struct device_confirm_payload {
    struct uuid operation;
    uint8_t serial[CERTIFICATE_SERIAL];
    struct device_key key; /* of the certificate */
};
extern const struct codec_table device_confirm_payload_table;

/* Body of failed: what the device said in a heartbeat about its last work. Not signed. */
struct device_failed_body {
    struct uuid operation;
    char reason[DEVICE_REASON_MAX + 1];
};
extern const struct codec_table device_failed_body_table;

/* Body of fork: the door saw a heartbeat whose ratchet token does not follow the last accepted one.
 * Not signed. */
enum device_fork_token {
    DEVICE_FORK_NO_TOKEN,    /* the device has lost it, or never had it */
    DEVICE_FORK_OTHER_TOKEN, /* ours, of another line: it was copied */
};
extern const struct codec_name device_fork_token_names[];
struct device_fork_body {
    int64_t sequence; /* of the heartbeat */
    enum device_fork_token token;
};
extern const struct codec_table device_fork_body_table;

/* Body of renew; the envelope's id is the operation's id. */
struct device_renew_body {
    char uid[DEVICE_UID_LEN + 1];
    struct uuid operation; /* zero, or the envelope's id */
    int64_t validity_s;    /* 0: what the CA says */
    struct uuid order;     /* zero: none */
    bool automatic;
    uint8_t serial[CERTIFICATE_SERIAL]; /* zero, or the certificate it was decided on */
};
extern const struct codec_table device_renew_body_table;

/* Body of unblock: nothing. The owner looks the whitelist up itself. */
struct device_unblock_body {
    char uid[DEVICE_UID_LEN + 1]; /* optional */
};
extern const struct codec_table device_unblock_body_table;

/* Body of settings: what is not given stays. */
struct device_settings_body {
    char uid[DEVICE_UID_LEN + 1];
    int64_t heartbeat_interval_s;
    bool has_heartbeat_interval;
    int64_t flood_interval_s;
    bool has_flood_interval;
};
extern const struct codec_table device_settings_body_table;

#endif
