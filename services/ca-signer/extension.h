/*
 * The certificate extensions this product issues (RFC 5280 section 4.2.1), written front to back
 * into a der_out by the template and the CA maker. No allocation, any thread.
 */
#ifndef CA_SIGNER_EXTENSION_H
#define CA_SIGNER_EXTENSION_H

#include "common/der.h"
#include "common/spki.h"

/* Bit n of KeyUsage is 1 << n (RFC 5280 section 4.2.1.3). */
enum key_usage {
    USAGE_DIGITAL_SIGNATURE = 1 << 0,
    USAGE_NON_REPUDIATION = 1 << 1,
    USAGE_KEY_ENCIPHERMENT = 1 << 2,
    USAGE_DATA_ENCIPHERMENT = 1 << 3,
    USAGE_KEY_AGREEMENT = 1 << 4,
    USAGE_CERT_SIGN = 1 << 5,
    USAGE_CRL_SIGN = 1 << 6,
};
#define USAGE_DEVICE_ALL                                                                           \
    (USAGE_DIGITAL_SIGNATURE | USAGE_NON_REPUDIATION | USAGE_KEY_ENCIPHERMENT |                    \
     USAGE_DATA_ENCIPHERMENT | USAGE_KEY_AGREEMENT)
#define USAGE_CA_ALL (USAGE_DIGITAL_SIGNATURE | USAGE_CERT_SIGN | USAGE_CRL_SIGN)

/* The bits a key of this kind can be used for (RFC 3279 2.3.1, RFC 5480 3, RFC 8410 5). */
unsigned key_usage_possible(enum key_kind kind);

enum extended_usage {
    EXTENDED_CLIENT_AUTH = 1 << 0,
    EXTENDED_SERVER_AUTH = 1 << 1,
};
#define EXTENDED_ALL (EXTENDED_CLIENT_AUTH | EXTENDED_SERVER_AUTH)

/* The bits that have a use in any of these purposes (RFC 5280 section 4.2.1.12). */
unsigned key_usage_consistent(unsigned purposes);

#define KEY_ID_SIZE    20
#define CRL_URI_MAX    512 /* bytes */
#define POLICY_OID_MAX 32  /* contents octets */

/* path_length < 0: no limit; it is only meaningful for a CA. */
void extension_put_basic_constraints(struct der_out *out, bool ca, int path_length);
/* `bits` is not 0. */
void extension_put_key_usage(struct der_out *out, unsigned bits);
/* `purposes` is not 0. */
void extension_put_extended_usage(struct der_out *out, unsigned purposes);
void extension_put_authority_key_id(struct der_out *out, struct span key_id);
void extension_put_subject_key_id(struct der_out *out, struct span key_id);
/* GeneralNames; critical where the subject is empty (not issued here). */
void extension_put_alt_names(struct der_out *out, struct span general_names);
void extension_put_crl_point(struct der_out *out, struct span uri);
/* `oids`: contents octets of each policy, distinct. */
void extension_put_policies(struct der_out *out, const struct span *oids, size_t count);

#endif
