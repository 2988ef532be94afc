/*
 * The signing kernel: device certificates assembled from a template per CA and one signature each.
 *
 * An `issuer_template` holds everything that is the same in all certificates of one CA under one
 * profile, as finished DER; it is immutable and shared by all threads. A `kernel_signer` is what a
 * thread needs to sign; one per thread, for all templates. kernel_issue() puts serial, validity,
 * subject, key and key identifier between the constant parts, lints the result (lint.h) as it is
 * going to be signed, and signs it. Once a signer has met a key, only OpenSSL allocates on that
 * path.
 *
 *     CLEANUP(issuer_template_free) struct issuer_template *template = NULL;
 *     e = issuer_template_new(&options, &template, &fault);
 *     CLEANUP(kernel_signer_free) struct kernel_signer *signer = kernel_signer_new();
 *     struct cert_out out;
 *     e = kernel_issue(template, signer, &request, &out, &fault);
 *     publish(cert_out_der(&out));
 *
 * What never comes from the device: everything but its public key. Subject and extensions of its
 * request are not looked at (csr.h). A renewal passes the subject and the key of the certificate
 * it renews, byte for byte, and gets another serial.
 */
#ifndef CA_SIGNER_KERNEL_H
#define CA_SIGNER_KERNEL_H

#include "extension.h"
#include "keystore.h"

#define KERNEL_SERIAL_SIZE  16
#define KERNEL_POLICIES_MAX 4
#define KERNEL_CERT_MAX     6144 /* bytes; every limit below together stays under it */

struct issuer_template;
struct kernel_signer;

struct issuer_options {
    struct span certificate; /* of the CA, DER; copied */
    struct ca_key *key;      /* its key; the template takes its own reference */
    /* enum key_usage bits for the devices. 0: digitalSignature, and keyEncipherment for RSA keys
     * where the purposes have a use for it. Bits a kind of key cannot have (key_usage_possible) are
     * left out of the certificates of such keys. */
    unsigned key_usage;
    unsigned extended_key_usage; /* enum extended_usage bits, 0: clientAuth */
    struct span crl_uri;         /* http(s) address of the CRL, shard included; empty: none */
    struct span policies[KERNEL_POLICIES_MAX]; /* contents octets of policy OIDs, distinct */
    size_t policy_count;
};

/* Bits as above. ERR_INVALID with a fault: no device certificate can have them. A CA is asked about
 * before it is made, so that the refusal reaches who asked. Pure, any thread. */
MUST_USE err_t issuer_check_usages(unsigned key_usage, unsigned extended_key_usage,
                                   struct fault *fault);
/*
 * ERR_INVALID or ERR_UNSUPPORTED with a fault: not a CA certificate, one that may not sign, a key
 * that is not its key, an option out of range, or usages that issuer_check_usages refuses. Any
 * thread.
 */
MUST_USE err_t issuer_template_new(const struct issuer_options *options,
                                   struct issuer_template **ret, struct fault *fault);
/* No thread may be issuing from it. */
void issuer_template_free(struct issuer_template *template);
CLEANUP_DEFINE(struct issuer_template *, issuer_template_free);
/* The CA's subject (DER), borrowed from the template. */
struct span issuer_template_subject(const struct issuer_template *template);

/* Owner thread only. Never NULL. */
struct kernel_signer *kernel_signer_new(void);
void kernel_signer_free(struct kernel_signer *signer);
CLEANUP_DEFINE(struct kernel_signer *, kernel_signer_free);

/* All spans are borrowed for the call. */
struct cert_request {
    int64_t now_ms;
    int64_t validity_s;    /* notAfter = now + validity; at least 1 */
    int64_t backdate_s;    /* notBefore = now - backdate: for devices whose clock is behind; >= 0 */
    struct span subject;   /* Name, DER: name_build for a first certificate, the old bytes after */
    struct span spki;      /* SubjectPublicKeyInfo, DER: csr.h, or the old bytes */
    struct span alt_names; /* GeneralNames, DER: name_build_alt; empty: none */
};

/* One certificate, in the caller's memory; plain data that may be copied. */
struct cert_out {
    uint8_t buffer[KERNEL_CERT_MAX];
    size_t start;
    size_t len;
    uint8_t serial[KERNEL_SERIAL_SIZE]; /* never begins with 00: its hex has 32 digits everywhere */
    int64_t not_before_ms;              /* whole seconds */
    int64_t not_after_ms;
    bool clipped; /* notAfter is the CA's: the requested validity went beyond it */
};
static inline struct span cert_out_der(const struct cert_out *out)
{
    return (struct span){out->buffer + out->start, out->len};
}

/*
 * Issues one certificate. On failure `out` has no certificate and nothing was signed.
 *
 *   ERR_INVALID, ERR_UNSUPPORTED  the request breaks a rule, or lint stopped the result: refuse it
 *   ERR_CONFLICT  the CA is not valid now: code "issuer_expired" or "issuer_not_yet_valid"
 *   ERR_UNAVAILABLE  the key store is away: park the request and try again
 *   ERR_INTERNAL  the signature failed
 */
MUST_USE err_t kernel_issue(const struct issuer_template *template, struct kernel_signer *signer,
                            const struct cert_request *request, struct cert_out *out,
                            struct fault *fault);

#endif
