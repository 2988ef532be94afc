/*
 * What TOPIC_CERTIFICATES holds: every certificate ever signed, committed before it is handed out,
 * and what became of it. Partition key is the device's UID; record key "<ca>/<serial>" for the
 * certificate, "<ca>/<serial>/status" for its status, of which the newest counts. Written by
 * ca-signer in the transaction of the decision. Pure functions, any thread.
 */
#ifndef PROTO_CERTIFICATE_H
#define PROTO_CERTIFICATE_H

#include "common/codec.h"
#include "proto/device.h"

#define CERTIFICATE_TYPE        "certificate.v1"
#define CERTIFICATE_STATUS_TYPE "certificate-status.v1"
#define CERTIFICATE_RECORD_MAX  16384

enum certificate_status { CERTIFICATE_INSTALLED = 1, CERTIFICATE_SUPERSEDED, CERTIFICATE_REVOKED };
extern const struct codec_name certificate_status_names[];

struct certificate_record {
    char type[32];
    struct uuid ca;
    uint8_t serial[CERTIFICATE_SERIAL];
    char uid[DEVICE_UID_LEN + 1];
    struct uuid domain;
    uint8_t der[DEVICE_DER_MAX];
    size_t der_len;
    int64_t not_before_ms, not_after_ms;
    struct uuid operation;
    enum operation_kind kind;
    int64_t issued_at_ms;
};
extern const struct codec_table certificate_record_table;

struct certificate_status_record {
    char type[32];
    struct uuid ca;
    uint8_t serial[CERTIFICATE_SERIAL];
    char uid[DEVICE_UID_LEN + 1];
    enum certificate_status status;
    int64_t at_ms;
    struct uuid operation; /* that brought the change */
};
extern const struct codec_table certificate_status_table;

/* Record keys; NUL-terminated. */
#define CERTIFICATE_KEY_SIZE 80
void certificate_key(const struct uuid *ca, const uint8_t serial[CERTIFICATE_SERIAL],
                     char out[CERTIFICATE_KEY_SIZE]);
void certificate_status_key(const struct uuid *ca, const uint8_t serial[CERTIFICATE_SERIAL],
                            char out[CERTIFICATE_KEY_SIZE]);

#endif
