/*
 * The bodies of the four exchanges: what the device writes and what it reads. The names of all
 * fields are here and nowhere else in the library. Unknown fields of an answer are ignored, so that
 * a newer server can talk to an older device. Pure functions, any thread.
 */
#ifndef DEVICE_WIRE_H
#define DEVICE_WIRE_H

#include <openssl/evp.h>

#include "device/device.h"
#include "device/http.h"

/* Each appends one JSON document. ERR_TOO_LARGE as buf_append; ERR_INTERNAL from the key. */
/* `key` is the operational key that a certificate is asked for, NULL: none. */
MUST_USE err_t device_write_bootstrap(const struct device *d, EVP_PKEY *key, int64_t now_ms,
                                      struct buf *to);
MUST_USE err_t device_write_heartbeat(const struct device *d, uint64_t sequence, struct buf *to);
MUST_USE err_t device_write_pickup(const struct device *d, const char *operation, EVP_PKEY *new_key,
                                   struct buf *to);
MUST_USE err_t device_write_confirm(const char *operation, const char *serial, const EVP_PKEY *key,
                                    int64_t now_ms, struct buf *to);

/* What every answer may carry beside its purpose, within the protocol's limits. -1 and "" where
 * absent. */
struct device_settings {
    int64_t heartbeat_interval_s, flood_interval_s, next_heartbeat_s;
    char token[DEVICE_TOKEN_TEXT_MAX + 1];
};

/* A certificate handed out, with the bytes that device_grant refers to. */
struct device_delivery {
    char operation[DEVICE_OPERATION_SIZE];
    char serial[DEVICE_CERT_SERIAL_MAX + 1];
    struct buf certificate;
    struct buf links[DEVICE_CHAIN_MAX];
    struct span chain[DEVICE_CHAIN_MAX];
    size_t chain_count;
};
void device_delivery_deinit(struct device_delivery *x);
CLEANUP_DEFINE_EMBEDDED(struct device_delivery, device_delivery_deinit);
static inline struct device_grant device_delivery_grant(const struct device_delivery *x)
{
    return (struct device_grant){x->operation,
                                 {buf_span(&x->certificate), x->chain, x->chain_count, x->serial}};
}

struct device_bootstrap_answer {
    enum device_standing standing;
    char reason[DEVICE_WORD_MAX];
    char domain[DEVICE_OPERATION_SIZE];
    struct device_settings settings;
    struct buf server_ca; /* PEM; empty: none */
    bool delivered;       /* `delivery` holds a certificate */
    struct device_delivery delivery;
};
void device_bootstrap_answer_deinit(struct device_bootstrap_answer *a);
CLEANUP_DEFINE_EMBEDDED(struct device_bootstrap_answer, device_bootstrap_answer_deinit);

struct device_heartbeat_answer {
    struct device_settings settings;
    bool work;
    char operation[DEVICE_OPERATION_SIZE];
    char kind[DEVICE_WORD_MAX];
    bool new_key;
};

/* Each reads a 200's body. ERR_INVALID names in `fault` the field that is missing or malformed;
 * *ret holds nothing then. */
MUST_USE err_t device_read_bootstrap(struct span body, struct device_bootstrap_answer *ret,
                                     struct fault *fault);
MUST_USE err_t device_read_heartbeat(struct span body, struct device_heartbeat_answer *ret,
                                     struct fault *fault);
MUST_USE err_t device_read_pickup(struct span body, struct device_delivery *ret,
                                  struct fault *fault);
/* The verdict: installed, for this operation and serial; anything else is ERR_INVALID. */
MUST_USE err_t device_read_confirm(struct span body, const char *operation, const char *serial,
                                   struct fault *fault);
/* An error answer's type and message into `fault`; type "" when the body is not of our one error
 * shape, so something else than the service answered. Never fails. */
void device_read_error(int status, struct span body, struct fault *fault);

#endif
