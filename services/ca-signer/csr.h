/*
 * Certificate requests (PKCS#10, RFC 2986) of devices. A request is a proof of possession and a
 * public key, nothing more: its subject, attributes and requested extensions are ignored, because
 * what a certificate says is decided by the owner of the device and not by the device.
 * Any thread.
 */
#ifndef CA_SIGNER_CSR_H
#define CA_SIGNER_CSR_H

#include "common/spki.h"
#include "keystore.h"

#define CSR_MAX 8192 /* bytes of DER */

struct csr {
    struct spki key;                 /* borrows from the request */
    uint8_t key_hash[KEY_HASH_SIZE]; /* SHA-256 of key.der */
};

/*
 * Reads a request and verifies its signature with the key it carries (one check, the only one in a
 * device's life that also shows that the key is on its curve). Signatures: ECDSA with SHA-256, -384
 * or -512, Ed25519, RSA PKCS #1 v1.5 with SHA-256, -384 or -512. `fault` says what is wrong:
 *
 *   ERR_TOO_LARGE    over CSR_MAX
 *   ERR_INVALID      not a PKCS#10 request in DER, or the signature is wrong ("invalid_csr")
 *   ERR_UNSUPPORTED  a key or a signature algorithm that is not accepted
 */
MUST_USE err_t csr_check(struct span der, struct csr *ret, struct fault *fault);

#endif
