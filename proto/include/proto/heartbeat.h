/*
 * Heartbeats: the short record each one leaves in TOPIC_HEARTBEATS (record key and partition key:
 * the device's UID), and the guard that the device door keeps of it in Redis (`g:h:<8 raw UID
 * bytes>`), rebuilt from those records. Readers of the guard (the operators' API) only need the
 * time. Pure functions, any thread.
 */
#ifndef PROTO_HEARTBEAT_H
#define PROTO_HEARTBEAT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/codec.h"
#include "proto/device.h"

#define HEARTBEAT_TYPE        "heartbeat.v1"
#define HEARTBEAT_NONCE_BYTES 8
#define HEARTBEAT_GUARD_BYTES 28
#define HEARTBEAT_GUARD_KEY   12 /* bytes of a guard's key */

struct heartbeat {
    char type[16];
    char uid[DEVICE_UID_LEN + 1];
    int64_t time_ms;
    int64_t sequence;
    uint8_t installed[CERTIFICATE_SERIAL];   /* zero: the device said none */
    uint8_t accepted[HEARTBEAT_NONCE_BYTES]; /* ratchet nonce in force from now on */
};
extern const struct codec_table heartbeat_table;

/* What the guard says of a device. All numbers are big endian in its bytes. */
struct heartbeat_guard {
    int64_t time_ms;                         /* of the last opening heartbeat */
    int64_t sequence;                        /* highest seen in a heartbeat */
    uint8_t accepted[HEARTBEAT_NONCE_BYTES]; /* zero: unknown, the next good token is adopted */
    uint32_t flood_s;                        /* flood interval in force */
};
void heartbeat_guard_encode(const struct heartbeat_guard *g, uint8_t out[HEARTBEAT_GUARD_BYTES]);
/* ERR_CORRUPT: not one of ours. */
err_t heartbeat_guard_decode(struct span bytes, struct heartbeat_guard *ret) MUST_USE;
void heartbeat_guard_key(const uint8_t uid[DEVICE_UID_BYTES], uint8_t out[HEARTBEAT_GUARD_KEY]);

#endif
