/*
 * Shared by the template, the kernel and the CA maker: the immutable template, the thread's
 * signer, and the assembly of a certificate around a finished tbsCertificate.
 */
#ifndef CA_SIGNER_KERNEL_INTERNAL_H
#define CA_SIGNER_KERNEL_INTERNAL_H

#include "kernel.h"
#include "lint.h"

/* Behind the tbsCertificate: the AlgorithmIdentifier (<= 16) and the BIT STRING with its header. */
#define KERNEL_TAIL_MAX     (16 + 5 + KEY_SIGNATURE_MAX)
#define KERNEL_CONSTANT_MAX 1024

/* The parts in the order of the certificate, each as it is copied into place. */
struct issuer_template {
    struct ca_key *key;
    struct span certificate; /* the bytes below */
    uint8_t *certificate_bytes;
    struct span subject; /* inside `certificate` */
    struct span key_id;  /* likewise */
    int64_t not_before_s;
    int64_t not_after_s;
    int path_length; /* of the CA's basicConstraints; -1: no limit */
    struct span algorithm;
    /* The extensions that do not depend on the key, and keyUsage by kind of key (empty: the
     * profile has no usage for that kind). */
    uint8_t extension_bytes[KERNEL_CONSTANT_MAX];
    struct span extensions;
    uint8_t key_usage_bytes[KEY_KIND_COUNT][24];
    struct span key_usage[KEY_KIND_COUNT];
};

/* A random serial: 128 bits from the system's generator, drawn again while the first octet is 00,
 * so that decoders which drop leading zeros and we agree on its text. */
void kernel_serial(uint8_t serial[KERNEL_SERIAL_SIZE]);

/*
 * RFC 7093 section 2 method 1: the first 160 bits of the SHA-256 of the key's bits. Not the SHA-1
 * of RFC 5280 4.2.1.2 (1): nothing here should depend on a hash that security policies switch off.
 */
MUST_USE err_t kernel_key_id(struct kernel_signer *signer, struct span key,
                             uint8_t ret[KEY_ID_SIZE]);

/* ERR_CONFLICT outside the CA's own validity, as kernel_issue says. */
MUST_USE err_t kernel_check_issuer(const struct issuer_template *t, int64_t now_s,
                                   struct fault *fault);

/* A der_out over `out` that leaves room for what follows the tbsCertificate. */
struct der_out kernel_begin(struct cert_out *out);
/* Signs the tbsCertificate written into kernel_begin's der_out and completes the certificate. */
MUST_USE err_t kernel_finish(struct kernel_signer *signer, struct ca_key *key,
                             struct span algorithm, struct der_out *tbs, struct cert_out *out);

/* Puts version, serial, signature, issuer, validity, subject, key and [3], given the extensions
 * (contents of the SEQUENCE OF) as already written since `mark`. */
struct tbs_parts {
    struct span serial;
    struct span algorithm;
    struct span issuer;
    int64_t not_before_s;
    int64_t not_after_s;
    struct span subject;
    struct span spki;
};
void kernel_put_tbs(struct der_out *out, size_t mark, const struct tbs_parts *parts);

#endif
