/*
 * Signatures of others, checked with the public key they name. Decoding a key costs more than the
 * check itself in OpenSSL 3.0, so a thread keeps one P-256 key object and gives it the point of the
 * moment. Any thread.
 */
#ifndef COMMON_SIGNATURE_H
#define COMMON_SIGNATURE_H

#include "common/buf.h"
#include "common/err.h"
#include "common/spki.h"

/*
 * Whether `key` made this signature over `message`, by the AlgorithmIdentifier (DER) that stands
 * beside it: ECDSA or RSA PKCS #1 v1.5 over SHA-256, SHA-384 or SHA-512, or Ed25519.
 * ERR_UNSUPPORTED: another algorithm, or not one of this kind of key. ERR_UNAUTHORIZED: it is not
 * this key's over this message, or the key's point is not on its curve.
 */
MUST_USE err_t signature_verify_by(const struct spki *key, struct span algorithm,
                                   struct span message, struct span signature);

/*
 * The signature of a device's message: over SHA-256, or Ed25519, by the kind of key in `spki`
 * (SubjectPublicKeyInfo, DER). ERR_UNAUTHORIZED: it is not this key's over this message.
 * ERR_INVALID, ERR_UNSUPPORTED: not a usable key.
 */
MUST_USE err_t signature_verify(struct span spki, struct span message, struct span signature);

#endif
