#include "ratchet.h"

#include <string.h>

#include "common/digest.h"
#include "common/id.h"

static const uint8_t nothing[HEARTBEAT_NONCE_BYTES];

static void mac(const struct ratchet_key *key, const uint8_t uid[DEVICE_UID_BYTES],
                const struct ratchet_token *token, uint8_t out[RATCHET_MAC_BYTES])
{
    static const char domain[] = "fleetseal-ratchet-v1";
    uint8_t message[sizeof domain + DEVICE_UID_BYTES + sizeof *token];
    memcpy(message, domain, sizeof domain);
    memcpy(message + sizeof domain, uid, DEVICE_UID_BYTES);
    memcpy(message + sizeof domain + DEVICE_UID_BYTES, token, sizeof *token);
    struct digest full = digest_hmac_sha256(span_of(key->bytes, sizeof key->bytes),
                                            span_of(message, sizeof message));
    memcpy(out, full.bytes, RATCHET_MAC_BYTES);
}

void ratchet_issue(const struct ratchet_key *key, const uint8_t uid[DEVICE_UID_BYTES],
                   const uint8_t accepted[HEARTBEAT_NONCE_BYTES], uint8_t out[RATCHET_TOKEN_BYTES])
{
    struct ratchet_token token;
    random_bytes(token.nonce, sizeof token.nonce);
    memcpy(token.parent, accepted, sizeof token.parent);
    memcpy(out, &token, sizeof token);
    mac(key, uid, &token, out + sizeof token);
}

err_t ratchet_open(const struct ratchet_key *key, const uint8_t uid[DEVICE_UID_BYTES],
                   struct span token, struct ratchet_token *ret)
{
    uint8_t expected[RATCHET_MAC_BYTES];
    struct ratchet_token opened;
    if (token.len != RATCHET_TOKEN_BYTES) {
        return ERR_INVALID;
    }
    memcpy(&opened, token.ptr, sizeof opened);
    mac(key, uid, &opened, expected);
    if (!constant_time_eq(span_of(token.ptr + sizeof opened, RATCHET_MAC_BYTES),
                          span_of(expected, sizeof expected))) {
        return ERR_INVALID;
    }
    *ret = opened;
    return ERR_OK;
}

enum ratchet_verdict ratchet_judge(const struct ratchet_token *token,
                                   const uint8_t accepted[HEARTBEAT_NONCE_BYTES])
{
    if (memcmp(accepted, nothing, sizeof nothing) == 0) {
        return RATCHET_ADOPTED;
    }
    if (memcmp(token->nonce, accepted, sizeof token->nonce) == 0 ||
        memcmp(token->parent, accepted, sizeof token->parent) == 0) {
        return RATCHET_FINE;
    }
    return RATCHET_FORK;
}
