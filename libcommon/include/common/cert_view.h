/*
 * A certificate taken apart: its fields as views of its DER, and the times of the profile. Reading
 * is structural only; what the fields must hold is lint's business. Any thread, no allocation.
 */
#ifndef COMMON_CERT_VIEW_H
#define COMMON_CERT_VIEW_H

#include "common/der.h"

/* The fields of a TBSCertificate (RFC 5280 section 4.1). Spans with tag and length unless said. */
struct tbs_view {
    struct span version; /* contents octets of the INTEGER inside [0]; empty where [0] is absent */
    struct span serial;  /* contents octets */
    struct span signature;
    struct span issuer;
    struct der_item not_before;
    struct der_item not_after;
    struct span subject;
    struct span spki;
    bool unique_ids;        /* issuerUniqueID or subjectUniqueID is there */
    struct span extensions; /* contents octets of the SEQUENCE OF; empty where [3] is absent */
};

struct cert_view {
    struct span tbs;
    struct tbs_view fields;
    struct span algorithm; /* AlgorithmIdentifier of the signature */
    struct span signature; /* contents of the BIT STRING behind the unused-bits octet */
};

struct extension_view {
    struct span oid; /* contents octets */
    bool critical;
    bool critical_encoded; /* the DEFAULT FALSE was written out, which DER forbids */
    struct span value;     /* contents octets of the OCTET STRING */
};

/* False: not a certificate, or something behind it. */
MUST_USE bool tbs_parse(struct span tbs, struct tbs_view *ret);
MUST_USE bool cert_parse(struct span der, struct cert_view *ret);
/* Takes the next extension off `list` (tbs_view.extensions). False: malformed. */
MUST_USE bool extension_read(struct span *list, struct extension_view *ret);
/* False: no such extension. `oid` is contents octets. */
MUST_USE bool extension_find(struct span list, struct span oid, struct extension_view *ret);

/* Seconds since 1970, years 1950 to 9999. False unless it is UTCTime YYMMDDHHMMSSZ or
 * GeneralizedTime YYYYMMDDHHMMSSZ of a date that exists. */
MUST_USE bool cert_time_read(const struct der_item *time, int64_t *ret_s);
/* UTCTime through 2049, GeneralizedTime from 2050 (RFC 5280 section 4.1.2.5). */
void cert_time_put(struct der_out *out, int64_t seconds);
/* What that rule gives for a time. */
uint8_t cert_time_tag(int64_t seconds);

/* 1950-01-01T00:00:00Z and 9999-12-31T23:59:59Z: what a certificate can say. */
#define CERT_TIME_MIN_S INT64_C(-631152000)
#define CERT_TIME_MAX_S INT64_C(253402300799)

#endif
