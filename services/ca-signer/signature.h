/*
 * Signatures of devices, checked with the public key they name. Decoding a key costs more than the
 * check itself in OpenSSL 3.0, so a thread keeps one P-256 key object and gives it the point of the
 * moment. Any thread.
 */
#ifndef CA_SIGNER_SIGNATURE_H
#define CA_SIGNER_SIGNATURE_H

#include <stdbool.h>

#include "common/buf.h"
#include "common/err.h"
#include "spki.h"

/* Whether `key` made this signature over `message`: ECDSA (DER) or RSA PKCS #1 v1.5 over the digest
 * of that name, Ed25519 with `digest` NULL. False also for a point that is not on its curve. */
MUST_USE bool signature_holds(const struct spki *key, const char *digest, struct span message,
                              struct span signature);

/*
 * The signature of a device's message: over SHA-256, or Ed25519, by the kind of key in `spki`
 * (SubjectPublicKeyInfo, DER). ERR_UNAUTHORIZED: it is not this key's over this message.
 * ERR_INVALID, ERR_UNSUPPORTED: not a usable key.
 */
MUST_USE err_t signature_verify(struct span spki, struct span message, struct span signature);

#endif
