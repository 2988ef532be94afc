/*
 * Our profile of RFC 5280, checked on the TBSCertificate exactly as it is going to be signed. It
 * reads the bytes anew and trusts nothing that assembled them, so that a mistake there costs a
 * refusal and not a wrong certificate. About a microsecond; any thread, no allocation.
 */
#ifndef CA_SIGNER_LINT_H
#define CA_SIGNER_LINT_H

#include "common/cert_view.h"
#include "common/spki.h"

enum lint_rule {
    LINT_PASSED,
    LINT_STRUCTURE,
    LINT_DER,
    LINT_SIZE,
    LINT_VERSION,
    LINT_SERIAL_POSITIVE,
    LINT_SERIAL_LENGTH,
    LINT_SERIAL_ENTROPY,
    LINT_SIGNATURE_ALGORITHM,
    LINT_ISSUER,
    LINT_VALIDITY_ENCODING,
    LINT_VALIDITY_ORDER,
    LINT_VALIDITY_ISSUER,
    LINT_SUBJECT,
    LINT_SUBJECT_ISSUER,
    LINT_SUBJECT_REQUESTED,
    LINT_KEY,
    LINT_KEY_REQUESTED,
    LINT_UNIQUE_IDS,
    LINT_EXTENSION_MALFORMED,
    LINT_EXTENSION_UNKNOWN,
    LINT_EXTENSION_DUPLICATE,
    LINT_EXTENSION_CRITICAL,
    LINT_EXTENSION_MISSING,
    LINT_AUTHORITY_KEY_ID,
    LINT_SUBJECT_KEY_ID,
    LINT_BASIC_CONSTRAINTS,
    LINT_KEY_USAGE,
    LINT_EXTENDED_USAGE,
    LINT_USAGE_CONSISTENT,
    LINT_ALT_NAMES,
    LINT_CRL_POINTS,
    LINT_POLICIES,
    LINT_RULE_COUNT,
};

enum lint_kind {
    LINT_DEVICE,
    LINT_INTERMEDIATE,
    LINT_ROOT,
    LINT_KIND_COUNT,
};

/* What the certificate has to agree with. All spans borrowed for the call. */
struct lint_profile {
    enum lint_kind kind;
    struct span issuer;              /* Name of the CA, as in its certificate */
    struct span issuer_key_id;       /* its subjectKeyIdentifier */
    struct span signature_algorithm; /* AlgorithmIdentifier of the CA's signatures */
    int64_t issuer_not_before_s;
    int64_t issuer_not_after_s;
    struct span subject; /* what was asked for: the Name, */
    struct span spki;    /* the key, */
    struct span key_id;  /* and its identifier */
};

/* Bytes of a tbsCertificate; above any that can be asked for. */
#define LINT_TBS_MAX 5120

/* The first rule that is broken, LINT_PASSED for none. */
MUST_USE enum lint_rule lint_tbs(struct span tbs, const struct lint_profile *profile);

struct lint_rule_info {
    const char *name;      /* "serial_positive": stable, for messages and metrics */
    const char *reference; /* "RFC 5280 4.1.2.2" */
    const char *text;      /* what must hold */
};
const struct lint_rule_info *lint_rule_info(enum lint_rule rule);
/* Fills `fault` for a broken rule (code "lint_<name>"); returns ERR_INVALID. */
err_t lint_fault(enum lint_rule rule, struct fault *fault);

#endif
