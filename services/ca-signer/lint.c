#include "lint.h"

#include <stdio.h>

#include "common/oid.h"
#include "extension.h"
#include "name.h"

/* 64 bits of randomness in a serial number are the least any programme asks for. */
#define SERIAL_OCTETS_MIN 8
#define SERIAL_OCTETS_MAX 20

#define PROFILE "profile"

static const struct lint_rule_info rules[LINT_RULE_COUNT] = {
    [LINT_PASSED] = {"passed", "", "every rule holds"},
    [LINT_STRUCTURE] = {"structure", "RFC 5280 4.1", "the fields of a TBSCertificate, in order"},
    [LINT_DER] = {"der", "X.690 8-11", "one encoding for each value"},
    [LINT_SIZE] = {"size", PROFILE, "at most 5120 bytes"},
    [LINT_VERSION] = {"version", "RFC 5280 4.1.2.1", "version 3"},
    [LINT_SERIAL_POSITIVE] = {"serial_positive", "RFC 5280 4.1.2.2", "a positive serial number"},
    [LINT_SERIAL_LENGTH] = {"serial_length", "RFC 5280 4.1.2.2", "at most 20 octets of serial"},
    [LINT_SERIAL_ENTROPY] = {"serial_entropy", PROFILE, "at least 8 octets of serial"},
    [LINT_SIGNATURE_ALGORITHM] = {"signature_algorithm", "RFC 5280 4.1.2.3",
                                  "the algorithm of the issuer's key"},
    [LINT_ISSUER] = {"issuer", "RFC 5280 4.1.2.4", "the issuer's subject, byte for byte"},
    [LINT_VALIDITY_ENCODING] = {"validity_encoding", "RFC 5280 4.1.2.5",
                                "UTCTime through 2049, GeneralizedTime from 2050, with seconds, Z"},
    [LINT_VALIDITY_ORDER] = {"validity_order", "RFC 5280 4.1.2.5", "notBefore before notAfter"},
    [LINT_VALIDITY_ISSUER] = {"validity_issuer", PROFILE, "validity inside the issuer's"},
    [LINT_SUBJECT] = {"subject", "RFC 5280 4.1.2.6",
                      "a non-empty name in PrintableString or UTF8String within its bounds"},
    [LINT_SUBJECT_ISSUER] = {"subject_issuer", "RFC 5280 3.2",
                             "a subject that is not the issuer's, unless it is a root"},
    [LINT_SUBJECT_REQUESTED] = {"subject_requested", PROFILE, "the subject that was asked for"},
    [LINT_KEY] = {"key", "RFC 5280 4.1.2.7", "an allowed kind and size of public key"},
    [LINT_KEY_REQUESTED] = {"key_requested", PROFILE, "the public key that was asked for"},
    [LINT_UNIQUE_IDS] = {"unique_ids", "RFC 5280 4.1.2.8", "no unique identifiers"},
    [LINT_EXTENSION_MALFORMED] = {"extension_malformed", "RFC 5280 4.1.2.9",
                                  "extensions of type, criticality and value"},
    [LINT_EXTENSION_UNKNOWN] = {"extension_unknown", PROFILE, "only the profile's extensions"},
    [LINT_EXTENSION_DUPLICATE] = {"extension_duplicate", "RFC 5280 4.2", "each extension once"},
    [LINT_EXTENSION_CRITICAL] = {"extension_critical", "RFC 5280 4.2.1",
                                 "the criticality of each extension"},
    [LINT_EXTENSION_MISSING] = {"extension_missing", "RFC 5280 4.2", "the profile's extensions"},
    [LINT_AUTHORITY_KEY_ID] = {"authority_key_id", "RFC 5280 4.2.1.1",
                               "only the issuer's subjectKeyIdentifier"},
    [LINT_SUBJECT_KEY_ID] = {"subject_key_id", "RFC 5280 4.2.1.2",
                             "the identifier of the certified key"},
    [LINT_BASIC_CONSTRAINTS] = {"basic_constraints", "RFC 5280 4.2.1.9",
                                "cA for a CA only, a path length with it only"},
    [LINT_KEY_USAGE] = {"key_usage", "RFC 5280 4.2.1.3",
                        "some usage, of those the kind of key and certificate can have"},
    [LINT_EXTENDED_USAGE] = {"extended_key_usage", "RFC 5280 4.2.1.12",
                             "purposes of the profile, each once"},
    [LINT_USAGE_CONSISTENT] = {"usage_consistent", "RFC 5280 4.2.1.12",
                               "only key usages that one of the purposes can have"},
    [LINT_ALT_NAMES] = {"subject_alt_name", "RFC 5280 4.2.1.6", "well-formed general names"},
    [LINT_CRL_POINTS] = {"crl_distribution_points", "RFC 5280 4.2.1.13",
                         "absolute http addresses as fullName"},
    [LINT_POLICIES] = {"certificate_policies", "RFC 5280 4.2.1.4", "each policy once"},
};

const struct lint_rule_info *lint_rule_info(enum lint_rule rule)
{
    return &rules[rule];
}

err_t lint_fault(enum lint_rule rule, struct fault *fault)
{
    char code[FAULT_CODE_MAX];
    (void)snprintf(code, sizeof code, "lint_%s", rules[rule].name);
    return fault_set(fault, ERR_INVALID, code, "", "not signed, the certificate must have: %s (%s)",
                     rules[rule].text, rules[rule].reference);
}

/* What the checks of extensions know about the certificate. */
struct subject_facts {
    const struct lint_profile *profile;
    enum key_kind key_kind;
    bool is_ca;
    unsigned usage;    /* enum key_usage, once read */
    unsigned purposes; /* enum extended_usage, once read */
};

static bool authority_key_id_holds(struct span value, struct subject_facts *facts)
{
    struct der_item sequence;
    struct der_item id;
    return der_read_only(value, DER_SEQUENCE, &sequence) &&
           der_read_only(sequence.value, DER_CONTEXT | 0, &id) &&
           span_eq(id.value, facts->profile->issuer_key_id);
}

static bool subject_key_id_holds(struct span value, struct subject_facts *facts)
{
    struct der_item id;
    return der_read_only(value, DER_OCTET_STRING, &id) && span_eq(id.value, facts->profile->key_id);
}

static bool basic_constraints_hold(struct span value, struct subject_facts *facts)
{
    struct der_item sequence;
    struct der_item item;
    if (!der_read_only(value, DER_SEQUENCE, &sequence)) {
        return false;
    }
    if (!facts->is_ca) {
        return sequence.value.len == 0;
    }
    if (!der_read_tag(&sequence.value, DER_BOOLEAN, &item) || item.value.ptr[0] != 0xff) {
        return false;
    }
    if (sequence.value.len == 0) {
        return true;
    }
    return der_read_only(sequence.value, DER_INTEGER, &item) && item.value.len == 1 &&
           item.value.ptr[0] < 0x80;
}

static bool key_usage_holds(struct span value, struct subject_facts *facts)
{
    struct der_item bits;
    /* A named bit list ends with a 1 (X.690 11.2.2); all usages of the profile fit one octet. */
    if (!der_read_only(value, DER_BIT_STRING, &bits) || bits.value.len != 2 ||
        (bits.value.ptr[1] >> bits.value.ptr[0] & 1) == 0) {
        return false;
    }
    unsigned usage = 0;
    for (unsigned bit = 0; bit < 8; bit++) {
        usage |= (bits.value.ptr[1] >> (7 - bit) & 1u) << bit;
    }
    unsigned possible = key_usage_possible(facts->key_kind) &
                        (unsigned)(facts->is_ca ? USAGE_CA_ALL : USAGE_DEVICE_ALL);
    if (facts->is_ca && (usage & USAGE_CERT_SIGN) == 0) {
        return false;
    }
    facts->usage = usage;
    return (usage & ~possible) == 0;
}

/* Takes one item of `tag` off a SEQUENCE OF that has it and everything after it only once. */
static bool take_distinct(struct span *list, uint8_t tag, struct der_item *ret)
{
    if (!der_read_tag(list, tag, ret)) {
        return false;
    }
    struct span others = *list;
    struct der_item other;
    while (others.len > 0) {
        if (!der_read(&others, &other) || span_eq(other.whole, ret->whole)) {
            return false;
        }
    }
    return true;
}

static unsigned purpose_of(struct span oid)
{
    if (span_eq(oid, OID(OID_CLIENT_AUTH))) {
        return EXTENDED_CLIENT_AUTH;
    }
    return span_eq(oid, OID(OID_SERVER_AUTH)) ? EXTENDED_SERVER_AUTH : 0;
}

static bool extended_usage_holds(struct span value, struct subject_facts *facts)
{
    struct der_item sequence;
    struct der_item oid;
    if (!der_read_only(value, DER_SEQUENCE, &sequence) || sequence.value.len == 0) {
        return false;
    }
    while (sequence.value.len > 0) {
        if (!take_distinct(&sequence.value, DER_OID, &oid) || purpose_of(oid.value) == 0) {
            return false;
        }
        facts->purposes |= purpose_of(oid.value);
    }
    return true;
}

static bool alt_names_hold(struct span value, struct subject_facts *facts)
{
    (void)facts;
    return name_alt_problem(value) == NULL;
}

static bool is_http(struct span uri)
{
    static const char *const schemes[] = {"http://", "https://"};
    for (size_t i = 0; i < 2; i++) {
        size_t len = strlen(schemes[i]);
        if (uri.len > len && uri.len <= CRL_URI_MAX && memcmp(uri.ptr, schemes[i], len) == 0) {
            return true;
        }
    }
    return false;
}

static bool crl_point_holds(struct span point)
{
    struct der_item name;
    struct der_item full;
    struct der_item uri;
    if (!der_read_only(point, DER_CONTEXT_CONSTRUCTED | 0, &name) ||
        !der_read_only(name.value, DER_CONTEXT_CONSTRUCTED | 0, &full) ||
        !der_read_only(full.value, DER_CONTEXT | ALT_NAME_URI, &uri) || !is_http(uri.value)) {
        return false;
    }
    for (size_t i = 0; i < uri.value.len; i++) {
        if (uri.value.ptr[i] <= 0x20 || uri.value.ptr[i] >= 0x7f) {
            return false;
        }
    }
    return true;
}

static bool crl_points_hold(struct span value, struct subject_facts *facts)
{
    struct der_item sequence;
    struct der_item point;
    (void)facts;
    if (!der_read_only(value, DER_SEQUENCE, &sequence) || sequence.value.len == 0) {
        return false;
    }
    while (sequence.value.len > 0) {
        if (!der_read_tag(&sequence.value, DER_SEQUENCE, &point) || !crl_point_holds(point.value)) {
            return false;
        }
    }
    return true;
}

static bool policies_hold(struct span value, struct subject_facts *facts)
{
    struct der_item sequence;
    struct der_item policy;
    struct der_item oid;
    (void)facts;
    if (!der_read_only(value, DER_SEQUENCE, &sequence) || sequence.value.len == 0) {
        return false;
    }
    while (sequence.value.len > 0) {
        if (!take_distinct(&sequence.value, DER_SEQUENCE, &policy) ||
            !der_read_only(policy.value, DER_OID, &oid)) {
            return false;
        }
    }
    return true;
}

enum presence {
    NEVER,
    MAY,
    MUST,
};

static const struct extension_rule {
    struct span oid;
    enum presence presence[LINT_KIND_COUNT]; /* device, intermediate, root */
    bool critical;
    enum lint_rule rule;
    bool (*holds)(struct span value, struct subject_facts *facts);
} extension_rules[] = {
    {OID_INIT(OID_BASIC_CONSTRAINTS),
     {MUST, MUST, MUST},
     true,
     LINT_BASIC_CONSTRAINTS,
     basic_constraints_hold},
    {OID_INIT(OID_KEY_USAGE), {MUST, MUST, MUST}, true, LINT_KEY_USAGE, key_usage_holds},
    {OID_INIT(OID_EXTENDED_USAGE),
     {MUST, NEVER, NEVER},
     false,
     LINT_EXTENDED_USAGE,
     extended_usage_holds},
    {OID_INIT(OID_SUBJECT_KEY_ID),
     {MUST, MUST, MUST},
     false,
     LINT_SUBJECT_KEY_ID,
     subject_key_id_holds},
    {OID_INIT(OID_AUTHORITY_KEY_ID),
     {MUST, MUST, MAY},
     false,
     LINT_AUTHORITY_KEY_ID,
     authority_key_id_holds},
    {OID_INIT(OID_CRL_POINTS), {MAY, MAY, NEVER}, false, LINT_CRL_POINTS, crl_points_hold},
    {OID_INIT(OID_POLICIES), {MAY, MAY, NEVER}, false, LINT_POLICIES, policies_hold},
    {OID_INIT(OID_SUBJECT_ALT_NAME), {MAY, NEVER, NEVER}, false, LINT_ALT_NAMES, alt_names_hold},
};
#define EXTENSION_RULE_COUNT (sizeof extension_rules / sizeof extension_rules[0])

static enum lint_rule check_extension(const struct extension_view *extension,
                                      struct subject_facts *facts, unsigned *seen)
{
    for (unsigned i = 0; i < EXTENSION_RULE_COUNT; i++) {
        const struct extension_rule *rule = &extension_rules[i];
        if (!span_eq(rule->oid, extension->oid)) {
            continue;
        }
        if (rule->presence[facts->profile->kind] == NEVER) {
            return LINT_EXTENSION_UNKNOWN;
        }
        if ((*seen >> i & 1) != 0) {
            return LINT_EXTENSION_DUPLICATE;
        }
        *seen |= 1u << i;
        if (extension->critical != rule->critical) {
            return LINT_EXTENSION_CRITICAL;
        }
        if (extension->critical_encoded || !der_canonical(extension->value)) {
            return LINT_DER;
        }
        return rule->holds(extension->value, facts) ? LINT_PASSED : rule->rule;
    }
    return LINT_EXTENSION_UNKNOWN;
}

static enum lint_rule check_extensions(struct span list, struct subject_facts *facts)
{
    unsigned seen = 0;
    while (list.len > 0) {
        struct extension_view extension;
        if (!extension_read(&list, &extension)) {
            return LINT_EXTENSION_MALFORMED;
        }
        enum lint_rule rule = check_extension(&extension, facts, &seen);
        if (rule != LINT_PASSED) {
            return rule;
        }
    }
    for (unsigned i = 0; i < EXTENSION_RULE_COUNT; i++) {
        if (extension_rules[i].presence[facts->profile->kind] == MUST && (seen >> i & 1) == 0) {
            return LINT_EXTENSION_MISSING;
        }
    }
    if (!facts->is_ca && (facts->usage & ~key_usage_consistent(facts->purposes)) != 0) {
        return LINT_USAGE_CONSISTENT;
    }
    return LINT_PASSED;
}

static enum lint_rule check_serial(struct span serial)
{
    if (serial.len == 0 || serial.ptr[0] >= 0x80 || (serial.len == 1 && serial.ptr[0] == 0)) {
        return LINT_SERIAL_POSITIVE;
    }
    if (serial.len > SERIAL_OCTETS_MAX) {
        return LINT_SERIAL_LENGTH;
    }
    return serial.len < SERIAL_OCTETS_MIN ? LINT_SERIAL_ENTROPY : LINT_PASSED;
}

static enum lint_rule check_validity(const struct tbs_view *tbs, const struct lint_profile *p)
{
    int64_t from = 0;
    int64_t to = 0;
    if (!cert_time_read(&tbs->not_before, &from) || !cert_time_read(&tbs->not_after, &to) ||
        tbs->not_before.tag != cert_time_tag(from) || tbs->not_after.tag != cert_time_tag(to)) {
        return LINT_VALIDITY_ENCODING;
    }
    if (from >= to) {
        return LINT_VALIDITY_ORDER;
    }
    if (from < p->issuer_not_before_s || to > p->issuer_not_after_s) {
        return LINT_VALIDITY_ISSUER;
    }
    return LINT_PASSED;
}

static enum lint_rule check_names(const struct tbs_view *tbs, const struct lint_profile *p)
{
    if (!span_eq(tbs->issuer, p->issuer)) {
        return LINT_ISSUER;
    }
    if (name_problem(tbs->subject) != NULL) {
        return LINT_SUBJECT;
    }
    if (span_eq(tbs->subject, tbs->issuer) != (p->kind == LINT_ROOT)) {
        return LINT_SUBJECT_ISSUER;
    }
    if (!span_eq(tbs->subject, p->subject)) {
        return LINT_SUBJECT_REQUESTED;
    }
    return LINT_PASSED;
}

static enum lint_rule check_head(const struct tbs_view *tbs, const struct lint_profile *p)
{
    if (!span_eq(tbs->version, span_of("\x02", 1))) {
        return LINT_VERSION;
    }
    enum lint_rule rule = check_serial(tbs->serial);
    if (rule != LINT_PASSED) {
        return rule;
    }
    if (!span_eq(tbs->signature, p->signature_algorithm)) {
        return LINT_SIGNATURE_ALGORITHM;
    }
    rule = check_validity(tbs, p);
    return rule != LINT_PASSED ? rule : check_names(tbs, p);
}

enum lint_rule lint_tbs(struct span tbs, const struct lint_profile *profile)
{
    struct tbs_view view;
    struct spki key;
    if (tbs.len > LINT_TBS_MAX) {
        return LINT_SIZE;
    }
    if (!der_canonical(tbs)) {
        return LINT_DER;
    }
    if (!tbs_parse(tbs, &view)) {
        return LINT_STRUCTURE;
    }
    enum lint_rule rule = check_head(&view, profile);
    if (rule != LINT_PASSED) {
        return rule;
    }
    if (spki_parse(view.spki, &key, NULL) != ERR_OK) {
        return LINT_KEY;
    }
    if (!span_eq(view.spki, profile->spki)) {
        return LINT_KEY_REQUESTED;
    }
    if (view.unique_ids) {
        return LINT_UNIQUE_IDS;
    }
    struct subject_facts facts = {
        .profile = profile,
        .key_kind = key.kind,
        .is_ca = profile->kind != LINT_DEVICE,
    };
    return check_extensions(view.extensions, &facts);
}
