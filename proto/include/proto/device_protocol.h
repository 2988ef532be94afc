/*
 * What a device and the services say to each other beneath JSON: names, limits, the device's
 * identity and the byte string that a device signs. Used by the device library, the device door,
 * ca-signer and billing-meter; libc and SHA-256 only, so that it runs on a device. Pure functions,
 * any thread.
 */
#ifndef PROTO_DEVICE_PROTOCOL_H
#define PROTO_DEVICE_PROTOCOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"

#define DEVICE_UID_BYTES       8
#define DEVICE_UID_SIZE        17 /* 16 lower-case hex digits and a NUL */
#define DEVICE_PROFILE_LEN     22 /* characters of a DeviceProfileUID: base62 */
#define DEVICE_PROFILE_SIZE    (DEVICE_PROFILE_LEN + 1)
#define DEVICE_SERIAL_MAX      16 /* characters of the sealed device serial */
#define DEVICE_SERIAL_SIZE     (DEVICE_SERIAL_MAX + 1)
#define DEVICE_NONCE_BYTES     16                  /* install nonce */
#define DEVICE_OPERATION_SIZE  37                  /* a UUID's text and a NUL */
#define DEVICE_CERT_SERIAL_MAX 40                  /* hex digits: RFC 5280 allows 20 octets */
#define DEVICE_FACT_MAX        64                  /* characters of model, firmware, agent */
#define DEVICE_REASON_MAX      200                 /* characters of a failure's reason */
#define DEVICE_TOKEN_MAX       64                  /* bytes of a ratchet token */
#define DEVICE_REQUEST_MAX     ((size_t)16 * 1024) /* bytes of a request body */
#define DEVICE_ANSWER_MAX      ((size_t)64 * 1024) /* bytes of an answer body */
#define DEVICE_SERVER_CA_MAX   ((size_t)32 * 1024) /* bytes of PEM that a device keeps of it */
#define DEVICE_CHAIN_MAX       8                   /* certificates above the device's own */
#define DEVICE_CERT_MAX        ((size_t)8 * 1024)  /* bytes of one certificate in DER */
#define DEVICE_SPKI_MAX        600 /* bytes of a SubjectPublicKeyInfo: RSA-4096 fits */
#define DEVICE_SIGNATURE_MAX   512 /* bytes of one signature */

#define DEVICE_HEARTBEAT_INTERVAL_MAX_S INT64_C(31622400) /* 366 days */
#define DEVICE_FLOOD_INTERVAL_MAX_S     86400

/* "Fleetseal-Signature: v1 <sequence> <base64 of the signature>" on every signed exchange. */
#define DEVICE_SIGNATURE_HEADER "Fleetseal-Signature"

enum device_exchange {
    DEVICE_BOOTSTRAP, /* signed by the root-of-trust key */
    DEVICE_HEARTBEAT, /* not signed: the TLS client key vouches */
    DEVICE_PICKUP,    /* signed by the root-of-trust key */
    DEVICE_CONFIRM,   /* signed by the operational key that the certificate is for */
    DEVICE_EXCHANGE_COUNT,
};
/* "bootstrap", "heartbeat", "pickup", "confirm": the kind in the signed byte string. Never NULL. */
const char *device_exchange_name(enum device_exchange exchange);
/* "/v1/device/<name>". Never NULL. */
const char *device_exchange_path(enum device_exchange exchange);
/* Finds the exchange by its name; false when there is none. */
bool device_exchange_find(struct span name, enum device_exchange *ret);

/* The identity of a root-of-trust key: the first 8 bytes of SHA-256 over its SubjectPublicKeyInfo
 * (DER). */
void device_uid_of_key(struct span spki, uint8_t out[DEVICE_UID_BYTES]);
void device_uid_text(const uint8_t uid[DEVICE_UID_BYTES], char out[DEVICE_UID_SIZE]);
/* Reads exactly 16 lower-case hex digits; ERR_INVALID leaves `out` alone. */
MUST_USE err_t device_uid_parse(struct span text, uint8_t out[DEVICE_UID_BYTES]);

/* 22 base62 characters. */
bool device_profile_valid(struct span text);
/* 1..16 of A-Z a-z 0-9 '.' '_' '-'. */
bool device_serial_valid(struct span text);
/* Model, firmware and agent names: 1..64 printable ASCII characters. */
bool device_fact_valid(struct span text);

/*
 * The byte string that is signed:
 *     fleetseal-device-v1|<kind>|<uid>|<operation or ->|<sequence>|<lower-case hex SHA-256 of
 * payload> `payload` is the exact HTTP body. `operation` is "" or NULL where none is meant. Writes
 * at most DEVICE_SIGNED_SIZE bytes with a NUL and sets *ret_len without it.
 */
#define DEVICE_SIGNED_SIZE 192
struct device_message {
    enum device_exchange exchange;
    const char *uid;
    const char *operation;
    uint64_t sequence;
    struct span payload;
};
/* ERR_INVALID when uid or operation do not have their form: nothing else may reach a signature. */
MUST_USE err_t device_signed_bytes(const struct device_message *message,
                                   char out[DEVICE_SIGNED_SIZE], size_t *ret_len);

/* Value of the signature header for a signature of at most DEVICE_SIGNATURE_MAX bytes, else
 * ERR_TOO_LARGE. */
#define DEVICE_SIGNATURE_TEXT_SIZE 720
MUST_USE err_t device_signature_format(uint64_t sequence, struct span signature,
                                       char out[DEVICE_SIGNATURE_TEXT_SIZE]);
/* Reads it back. ERR_UNSUPPORTED: not v1; ERR_INVALID: not the form; ERR_TOO_LARGE. */
MUST_USE err_t device_signature_parse(struct span text, uint64_t *ret_sequence,
                                      uint8_t signature[DEVICE_SIGNATURE_MAX], size_t *ret_len);

/* A sequence number as messages carry it: decimal, no sign, no leading zero, 1..2^64-1. */
MUST_USE err_t device_sequence_parse(struct span text, uint64_t *ret);

#endif
