/*
 * Signatures of devices: checked with the public key they name, by the one algorithm that goes with
 * its kind. Any thread.
 */
#ifndef CA_SIGNER_SIGNATURE_H
#define CA_SIGNER_SIGNATURE_H

#include "common/buf.h"
#include "common/err.h"

/*
 * ECDSA (DER) and RSA PKCS #1 v1.5 over SHA-256, or Ed25519, by the kind of key in `spki`
 * (SubjectPublicKeyInfo, DER; the kinds of spki.h). ERR_UNAUTHORIZED: the signature is not this
 * key's over this message. ERR_INVALID, ERR_UNSUPPORTED: not a usable key.
 */
MUST_USE err_t signature_verify(struct span spki, struct span message, struct span signature);

#endif
