/* Proofs of a device request, on worker threads: the device's signature, and its CSR. */
#include <string.h>

#include "common/digest.h"
#include "common/signature.h"
#include "csr.h"
#include "device_request.h"
#include "proto/device_protocol.h"

static bool signature_is_good(const struct device_request *r, const struct device_key *key)
{
    const struct device_signed *s = &r->body.signed_part;
    enum device_exchange exchange = DEVICE_BOOTSTRAP;
    if (!device_exchange_find(span_str(s->kind), &exchange)) {
        return false;
    }
    const struct device_message message = {
        .exchange = exchange,
        .uid = r->uid,
        .operation = strcmp(s->operation, "-") == 0 ? NULL : s->operation,
        .sequence = (uint64_t)s->sequence,
        .payload = span_of(s->payload, s->payload_len),
    };
    char text[DEVICE_SIGNED_SIZE];
    size_t len = 0;
    return device_signed_bytes(&message, text, &len) == ERR_OK &&
           signature_verify(span_of(key->der, key->len), span_of(text, len),
                            span_of(s->signature, s->signature_len)) == ERR_OK;
}

/* The UID is the hash of the root-of-trust key: a key of another device cannot speak for this one.
 */
static bool key_is_of_uid(const struct device_request *r)
{
    uint8_t uid[DEVICE_UID_BYTES];
    char text[DEVICE_UID_SIZE];
    device_uid_of_key(span_of(r->body.rot_key.der, r->body.rot_key.len), uid);
    device_uid_text(uid, text);
    return strcmp(text, r->uid) == 0;
}

/* The certificate's key is another one than the root of trust, which must outlive every
 * certificate. */
static bool is_root_of_trust(const struct device_request *r, struct span spki)
{
    return span_eq(spki, span_of(r->body.rot_key.der, r->body.rot_key.len));
}

static void verify_csr(struct device_request *r, const uint8_t *der, size_t len)
{
    struct device_proof *proof = &r->proof;
    if (len == 0) {
        return;
    }
    struct csr csr;
    if (csr_check(span_of(der, len), &csr, &proof->csr_fault) != ERR_OK) {
        return;
    }
    if (csr.key.der.len > sizeof proof->key.der) {
        (void)fault_set(&proof->csr_fault, ERR_TOO_LARGE, "invalid_csr", "csr",
                        "a public key has at most %u bytes", DEVICE_SPKI_MAX);
        return;
    }
    if (is_root_of_trust(r, csr.key.der)) {
        (void)fault_set(&proof->csr_fault, ERR_INVALID, "invalid_csr", "csr",
                        "must be for a key of its own, not for the root-of-trust key");
        return;
    }
    memcpy(proof->key.der, csr.key.der.ptr, csr.key.der.len);
    proof->key.len = csr.key.der.len;
    memcpy(proof->csr_hash, csr.key_hash, sizeof proof->csr_hash);
    proof->has_csr = true;
}

void device_request_verify(struct device_request *r)
{
    struct device_proof *proof = &r->proof;
    const struct device_key *key = &r->body.rot_key;
    switch (r->kind) {
    case DEVICE_ASKS_BOOTSTRAP:
        verify_csr(r, r->of.bootstrap.csr, r->of.bootstrap.csr_len);
        break;
    case DEVICE_ASKS_PICKUP:
        verify_csr(r, r->of.pickup.csr, r->of.pickup.csr_len);
        break;
    case DEVICE_ASKS_CONFIRM:
        key = &r->of.confirm.key;
        memcpy(proof->key_hash, digest_sha256(span_of(key->der, key->len)).bytes, DIGEST_LEN);
        break;
    default:
        return; /* nothing in it is signed */
    }
    if (r->kind != DEVICE_ASKS_CONFIRM && !key_is_of_uid(r)) {
        proof->refusal = REFUSAL_WRONG_KEY;
    } else if (!signature_is_good(r, key)) {
        proof->refusal = REFUSAL_BAD_SIGNATURE;
    }
}
