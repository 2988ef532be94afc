/*
 * Public keys: which kinds a certificate may carry, and the checks that need no state. One
 * encoding is accepted for each key, so that the hash of the key info stands for the key. Any
 * thread; results borrow from the input.
 */
#ifndef COMMON_SPKI_H
#define COMMON_SPKI_H

#include "common/buf.h"
#include "common/err.h"

enum key_kind {
    KEY_KIND_EC_P256,
    KEY_KIND_EC_P384,
    KEY_KIND_ED25519,
    KEY_KIND_RSA,
    KEY_KIND_COUNT,
};

#define SPKI_RSA_BITS_MIN 2048
#define SPKI_RSA_BITS_MAX 4096
#define SPKI_MAX          1024 /* bytes of DER; RSA-4096 needs 550 */

struct spki {
    enum key_kind kind;
    unsigned bits;     /* of the modulus or the field */
    struct span der;   /* the whole SubjectPublicKeyInfo */
    struct span key;   /* contents of its BIT STRING without the octet that counts unused bits */
    struct span rsa_n; /* the modulus, big-endian; RSA only */
};

/*
 * Reads a SubjectPublicKeyInfo. ERR_UNSUPPORTED: a kind, curve, size or encoding that is not
 * issued (P-256 and P-384 as uncompressed points, Ed25519, RSA of 2048 to 4096 bits with an odd
 * exponent from 65537); ERR_INVALID: not a SubjectPublicKeyInfo. `fault` says which. That a point
 * lies on its curve is not checked here: the proof of possession shows it.
 */
MUST_USE err_t spki_parse(struct span der, struct spki *ret, struct fault *fault);

/* ERR_UNSUPPORTED when an RSA modulus has a prime factor below 752: a broken generator. Costs some
 * microseconds per key, so it belongs where a new key comes in, not where one is renewed. */
MUST_USE err_t spki_check_factors(const struct spki *key, struct fault *fault);

/* "EC-P256", "EC-P384", "Ed25519", "RSA". */
const char *key_kind_name(enum key_kind kind);

#endif
