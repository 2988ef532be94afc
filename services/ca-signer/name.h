/*
 * X.501 Names and general names in the string types RFC 5280 asks for. Names are made once, for a
 * CA or at a device's first certificate; a renewal reuses the old bytes. Any thread, no allocation.
 */
#ifndef CA_SIGNER_NAME_H
#define CA_SIGNER_NAME_H

#include "common/der.h"

#define NAME_MAX_BYTES 1024 /* of DER */

/* Text as people write it, UTF-8; an empty span leaves the attribute out. */
struct name_fields {
    struct span country; /* two capital letters */
    struct span state;
    struct span locality;
    struct span organization;
    struct span organizational_unit;
    struct span common_name;
    struct span serial_number; /* of the device: letters, digits and the signs of PrintableString */
};

/*
 * Puts a Name, one attribute per RDN, in the order of the struct. ERR_INVALID: a text that is too
 * long (RFC 5280 appendix A.1), not UTF-8, or has control characters, or no field at all; `fault`
 * names the field. ERR_TOO_LARGE: `out` is full.
 */
MUST_USE err_t name_build(const struct name_fields *fields, struct der_out *out,
                          struct fault *fault);

/* NULL when `name` is a Name as RFC 5280 sections 4.1.2.4 and A.1 have it, with at least one
 * attribute; otherwise what is wrong with it, a constant. */
MUST_USE const char *name_problem(struct span name);

enum alt_name_kind {
    ALT_NAME_EMAIL = 1, /* the numbers of GeneralName */
    ALT_NAME_DNS = 2,
    ALT_NAME_URI = 6,
    ALT_NAME_IP = 7, /* 4 or 16 raw bytes */
};
struct alt_name {
    enum alt_name_kind kind;
    struct span value;
};
/* Puts GeneralNames, as cert_request.alt_names wants them. ERR_INVALID with `fault`; ERR_TOO_LARGE.
 */
MUST_USE err_t name_build_alt(const struct alt_name *names, size_t count, struct der_out *out,
                              struct fault *fault);
/* As name_problem, for GeneralNames: not empty, only the kinds above, each well formed. */
MUST_USE const char *name_alt_problem(struct span general_names);

#endif
