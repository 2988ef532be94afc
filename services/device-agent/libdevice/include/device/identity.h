/*
 * Keys and certificates on the device: the root-of-trust key that is the device's identity, the
 * operational key pair, requests and signatures. Everything of OpenSSL's that the library uses
 * besides TLS is wrapped here; its error queue is drained here. Any thread, one at a time per key.
 */
#ifndef DEVICE_IDENTITY_H
#define DEVICE_IDENTITY_H

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "common/buf.h"
#include "common/cleanup.h"
#include "common/err.h"
#include "proto/device_protocol.h"

CLEANUP_DEFINE(EVP_PKEY *, EVP_PKEY_free);
CLEANUP_DEFINE(X509 *, X509_free);

#define DEVICE_KEY_PEM_MAX 1024 /* bytes of a private key as stored */

/* A fresh P-256 key pair, owned by the caller. ERR_INTERNAL when the generator fails. */
MUST_USE err_t device_key_generate(EVP_PKEY **ret);
/* A P-256 key from its private number and its public point (0x04, x, y), which are not checked
 * against each other. ERR_CORRUPT: not a key. */
MUST_USE err_t device_key_assemble(const uint8_t scalar[32], const uint8_t point[65],
                                   EVP_PKEY **ret);
/* Appends a P-256 private key as PEM (PKCS#8). `pem` should be a secret buffer. */
MUST_USE err_t device_key_write(const EVP_PKEY *key, struct buf *pem);
/* Reads what device_key_write wrote, or any unencrypted PEM of a P-256 key; else ERR_CORRUPT. */
MUST_USE err_t device_key_read(struct span pem, EVP_PKEY **ret);
/* Appends the SubjectPublicKeyInfo in DER. */
MUST_USE err_t device_key_spki(const EVP_PKEY *key, struct buf *der);
/* The identity that a root-of-trust key stands for. */
MUST_USE err_t device_key_uid(const EVP_PKEY *key, char out[DEVICE_UID_SIZE]);

/* A self-signed certificate over the key, CN = uid, that a TLS client shows. It only carries the
 * key, so its validity (1970 to 9999) says nothing. */
MUST_USE err_t device_rot_certificate(EVP_PKEY *key, const char *uid, X509 **ret);

/* Appends a PKCS#10 request for the key, subject CN = uid, in DER. */
MUST_USE err_t device_csr(EVP_PKEY *key, const char *uid, struct buf *der);

/* Signs the message's byte string: ECDSA with SHA-256, DER. ERR_INVALID as device_signed_bytes. */
MUST_USE err_t device_sign(EVP_PKEY *key, const struct device_message *message,
                           uint8_t signature[DEVICE_SIGNATURE_MAX], size_t *ret_len);

/*
 * What a certificate must satisfy before the device puts it to use: it parses, is for `key`, has
 * the serial that the answer named, and `chain` (DER, at most DEVICE_CHAIN_MAX) leads from it to a
 * self-signed certificate. Times are not judged: a device's clock may not be set. On failure
 * ERR_INVALID and a reason word in `fault`: "unparsable", "wrong_key", "wrong_serial", "bad_chain".
 */
struct device_certificate {
    struct span der;
    const struct span *chain;
    size_t chain_count;
    const char *serial; /* lower-case hex */
};
MUST_USE err_t device_certificate_check(const struct device_certificate *c, const EVP_PKEY *key,
                                        struct fault *fault);

/* Appends DER, whose form was checked before, as a PEM certificate. ERR_TOO_LARGE as buf_append. */
MUST_USE err_t device_certificate_pem(struct span der, struct buf *pem);
/* The first certificate of a PEM text. ERR_CORRUPT. */
MUST_USE err_t device_certificate_read(struct span pem, X509 **ret);

/* What people are shown of a certificate. */
struct device_certificate_facts {
    char serial[DEVICE_CERT_SERIAL_MAX + 1];
    char subject[256];
    char issuer[256];
    int64_t not_before_ms, not_after_ms;
};
MUST_USE err_t device_certificate_facts(X509 *certificate, struct device_certificate_facts *ret);

#endif
