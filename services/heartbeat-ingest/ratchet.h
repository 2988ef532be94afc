/*
 * The anti-cloning ratchet. Each heartbeat is answered with a token the device must show next time:
 * nonce | parent | MAC(UID, nonce, parent), where parent is the nonce the token follows. The server
 * keeps 8 bytes per device, the nonce `accepted` last. A token whose nonce is `accepted` says that
 * the last answer was lost; one whose parent is `accepted` says that it arrived; any other token
 * with a good MAC was made from a copy: two devices share one identity. Pure functions over a key
 * that all replicas share; any thread.
 */
#ifndef HEARTBEAT_INGEST_RATCHET_H
#define HEARTBEAT_INGEST_RATCHET_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"
#include "proto/heartbeat.h"

#define RATCHET_MAC_BYTES   16
#define RATCHET_TOKEN_BYTES (2 * HEARTBEAT_NONCE_BYTES + RATCHET_MAC_BYTES)

struct ratchet_token {
    uint8_t nonce[HEARTBEAT_NONCE_BYTES];
    uint8_t parent[HEARTBEAT_NONCE_BYTES];
};

struct ratchet_key {
    uint8_t bytes[32];
};

/* The token that follows `accepted`, with a fresh random nonce. */
void ratchet_issue(const struct ratchet_key *key, const uint8_t uid[DEVICE_UID_BYTES],
                   const uint8_t accepted[HEARTBEAT_NONCE_BYTES], uint8_t out[RATCHET_TOKEN_BYTES]);
/* Opens a token. ERR_INVALID: not the form, or the MAC is not ours for this device: refuse. */
err_t ratchet_open(const struct ratchet_key *key, const uint8_t uid[DEVICE_UID_BYTES],
                   struct span token, struct ratchet_token *ret) MUST_USE;

enum ratchet_verdict {
    RATCHET_FINE,    /* accepted := nonce */
    RATCHET_ADOPTED, /* nothing was known: accepted := nonce, said once */
    RATCHET_FORK,    /* good MAC, foreign line: to be reported; accepted stays */
};
/* `accepted` zero: nothing known. */
enum ratchet_verdict ratchet_judge(const struct ratchet_token *token,
                                   const uint8_t accepted[HEARTBEAT_NONCE_BYTES]);

#endif
