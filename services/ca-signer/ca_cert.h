/*
 * Certificates of CAs: a self-signed root, or an intermediate under another CA of ours. Made when
 * an operator asks, so nothing here is hurried, but lint and assembly are those of the kernel.
 */
#ifndef CA_SIGNER_CA_CERT_H
#define CA_SIGNER_CA_CERT_H

#include "kernel.h"
#include "name.h"

#define CA_PATH_LENGTH_MAX 8

struct ca_request {
    int64_t now_ms;
    int64_t validity_s; /* at least 1 */
    int64_t backdate_s; /* >= 0 */
    struct name_fields subject;
    int path_length;        /* how many CAs may follow below; -1: no limit */
    bool digital_signature; /* adds digitalSignature to keyCertSign and cRLSign: OCSP by the CA */
    struct span crl_uri;    /* of the issuer's CRL; intermediates only; empty: none */
};

/*
 * A root: subject = issuer, signed by `key`. ERR_INVALID with a fault names the field; otherwise as
 * kernel_issue. `signer` as there.
 */
MUST_USE err_t ca_cert_root(struct ca_key *key, struct kernel_signer *signer,
                            const struct ca_request *request, struct cert_out *out,
                            struct fault *fault);

/*
 * An intermediate for `key` under the CA of `parent`; notAfter is clipped to the parent's and the
 * path length must fit below the parent's (-1 becomes the most it allows). ERR_CONFLICT in addition
 * when the parent allows no CA below it (code "path_length").
 */
MUST_USE err_t ca_cert_intermediate(const struct issuer_template *parent, struct ca_key *key,
                                    struct kernel_signer *signer, const struct ca_request *request,
                                    struct cert_out *out, struct fault *fault);

#endif
