#include "extension.h"

#include "common/oid.h"

unsigned key_usage_possible(enum key_kind kind)
{
    switch (kind) {
    case KEY_KIND_RSA:
        return USAGE_CA_ALL | USAGE_NON_REPUDIATION | USAGE_KEY_ENCIPHERMENT |
               USAGE_DATA_ENCIPHERMENT;
    case KEY_KIND_ED25519:
        return USAGE_CA_ALL | USAGE_NON_REPUDIATION;
    default:
        return USAGE_CA_ALL | USAGE_NON_REPUDIATION | USAGE_KEY_AGREEMENT;
    }
}

unsigned key_usage_consistent(unsigned purposes)
{
    unsigned usage = 0;
    if ((purposes & EXTENDED_CLIENT_AUTH) != 0) {
        usage |= USAGE_DIGITAL_SIGNATURE | USAGE_KEY_AGREEMENT;
    }
    if ((purposes & EXTENDED_SERVER_AUTH) != 0) {
        usage |= USAGE_DIGITAL_SIGNATURE | USAGE_KEY_ENCIPHERMENT | USAGE_KEY_AGREEMENT;
    }
    return usage;
}

/* Closes an extension whose value was written since `mark`. */
static void finish(struct der_out *out, size_t mark, struct span oid, bool critical)
{
    der_wrap(out, DER_OCTET_STRING, mark);
    if (critical) {
        der_put_item(out, DER_BOOLEAN, span_of("\xff", 1));
    }
    der_put_item(out, DER_OID, oid);
    der_wrap(out, DER_SEQUENCE, mark);
}

void extension_put_basic_constraints(struct der_out *out, bool ca, int path_length)
{
    size_t mark = der_mark(out);
    if (ca) {
        if (path_length >= 0) {
            uint8_t length = (uint8_t)path_length;
            der_put_unsigned(out, span_of(&length, 1));
        }
        der_put_item(out, DER_BOOLEAN, span_of("\xff", 1));
    }
    der_wrap(out, DER_SEQUENCE, mark);
    finish(out, mark, OID(OID_BASIC_CONSTRAINTS), true);
}

void extension_put_key_usage(struct der_out *out, unsigned bits)
{
    /* Bit 0 of the list is the top bit of the octet; trailing zero bits are left out. All bits in
     * use fit one octet. */
    uint8_t octet = 0;
    uint8_t unused = 7;
    for (uint8_t bit = 0; bit < 8; bit++) {
        if ((bits >> bit & 1) != 0) {
            octet |= (uint8_t)(0x80 >> bit);
            unused = (uint8_t)(7 - bit);
        }
    }
    size_t mark = der_mark(out);
    der_put_byte(out, octet);
    der_put_byte(out, unused);
    der_wrap(out, DER_BIT_STRING, mark);
    finish(out, mark, OID(OID_KEY_USAGE), true);
}

void extension_put_extended_usage(struct der_out *out, unsigned purposes)
{
    size_t mark = der_mark(out);
    if ((purposes & EXTENDED_SERVER_AUTH) != 0) {
        der_put_item(out, DER_OID, OID(OID_SERVER_AUTH));
    }
    if ((purposes & EXTENDED_CLIENT_AUTH) != 0) {
        der_put_item(out, DER_OID, OID(OID_CLIENT_AUTH));
    }
    der_wrap(out, DER_SEQUENCE, mark);
    finish(out, mark, OID(OID_EXTENDED_USAGE), false);
}

void extension_put_authority_key_id(struct der_out *out, struct span key_id)
{
    size_t mark = der_mark(out);
    der_put_item(out, DER_CONTEXT | 0, key_id);
    der_wrap(out, DER_SEQUENCE, mark);
    finish(out, mark, OID(OID_AUTHORITY_KEY_ID), false);
}

void extension_put_subject_key_id(struct der_out *out, struct span key_id)
{
    size_t mark = der_mark(out);
    der_put_item(out, DER_OCTET_STRING, key_id);
    finish(out, mark, OID(OID_SUBJECT_KEY_ID), false);
}

void extension_put_alt_names(struct der_out *out, struct span general_names)
{
    size_t mark = der_mark(out);
    der_put(out, general_names);
    finish(out, mark, OID(OID_SUBJECT_ALT_NAME), false);
}

void extension_put_crl_point(struct der_out *out, struct span uri)
{
    size_t mark = der_mark(out);
    der_put_item(out, DER_CONTEXT | 6, uri);      /* uniformResourceIdentifier */
    der_wrap(out, DER_CONTEXT_CONSTRUCTED, mark); /* fullName */
    der_wrap(out, DER_CONTEXT_CONSTRUCTED, mark); /* distributionPoint */
    der_wrap(out, DER_SEQUENCE, mark);            /* one DistributionPoint */
    der_wrap(out, DER_SEQUENCE, mark);
    finish(out, mark, OID(OID_CRL_POINTS), false);
}

void extension_put_policies(struct der_out *out, const struct span *oids, size_t count)
{
    size_t mark = der_mark(out);
    for (size_t i = count; i-- > 0;) {
        size_t policy = der_mark(out);
        der_put_item(out, DER_OID, oids[i]);
        der_wrap(out, DER_SEQUENCE, policy);
    }
    der_wrap(out, DER_SEQUENCE, mark);
    finish(out, mark, OID(OID_POLICIES), false);
}
