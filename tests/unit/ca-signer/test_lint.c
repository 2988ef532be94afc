#include "issue_support.h"

#include "common/cert_view.h"
#include "common/oid.h"
#include "lint.h"

/*
 * A certificate as a bag of parts: each test row takes a good one, breaks one part and says which
 * rule must notice. The last test demands that no rule is without its row.
 */
#define EXTENSIONS_MAX 20
struct bag {
    struct span version; /* [0], whole */
    struct span serial;  /* contents */
    struct span signature;
    struct span issuer;
    struct span not_before; /* whole */
    struct span not_after;
    struct span subject;
    struct span spki;
    struct span unique_id;                  /* whole */
    struct span extensions[EXTENSIONS_MAX]; /* whole */
    size_t extension_count;
    struct span trailer; /* whole, behind the extensions */
};

static struct cert_out good_certificate;
static struct cert_view good_view;
static struct lint_profile good_profile;
static struct bag good_bag;
static bool caught[LINT_RULE_COUNT];

#define TEXT(text) span_of(text, sizeof(text) - 1)

static struct span assemble(const struct bag *bag, uint8_t *buffer, size_t size)
{
    struct der_out out = der_out_of(buffer, size);
    size_t mark = der_mark(&out);
    der_put(&out, bag->trailer);
    if (bag->extension_count > 0) {
        size_t wrapper = der_mark(&out);
        for (size_t i = bag->extension_count; i-- > 0;) {
            der_put(&out, bag->extensions[i]);
        }
        der_wrap(&out, DER_SEQUENCE, wrapper);
        der_wrap(&out, DER_CONTEXT_CONSTRUCTED | 3, wrapper);
    }
    der_put(&out, bag->unique_id);
    der_put(&out, bag->spki);
    der_put(&out, bag->subject);
    size_t validity = der_mark(&out);
    der_put(&out, bag->not_after);
    der_put(&out, bag->not_before);
    der_wrap(&out, DER_SEQUENCE, validity);
    der_put(&out, bag->issuer);
    der_put(&out, bag->signature);
    der_put_item(&out, DER_INTEGER, bag->serial);
    der_put(&out, bag->version);
    der_wrap(&out, DER_SEQUENCE, mark);
    assert_false(out.overflow);
    return der_written(&out);
}

static void expect(const struct bag *bag, const struct lint_profile *profile, enum lint_rule rule,
                   const char *why)
{
    uint8_t buffer[8192];
    enum lint_rule found = lint_tbs(assemble(bag, buffer, sizeof buffer), profile);
    caught[found] = true;
    if (found != rule) {
        fail_msg("%s: %s, not %s", why, lint_rule_info(found)->name, lint_rule_info(rule)->name);
    }
}

static int lint_setup(void **state)
{
    (void)issue_setup(state);
    struct cert_request r = device_request(&devices[DEVICE_P256]);
    issue_ok(cas[0].template, &r, &good_certificate);
    assert_true(cert_parse(cert_out_der(&good_certificate), &good_view));
    const struct tbs_view *f = &good_view.fields;
    good_bag = (struct bag){
        .version = TEXT("\xa0\x03\x02\x01\x02"),
        .serial = f->serial,
        .signature = f->signature,
        .issuer = f->issuer,
        .not_before = f->not_before.whole,
        .not_after = f->not_after.whole,
        .subject = f->subject,
        .spki = f->spki,
    };
    struct span list = f->extensions;
    struct der_item item;
    while (list.len > 0) {
        assert_true(der_read(&list, &item));
        good_bag.extensions[good_bag.extension_count++] = item.whole;
    }
    struct extension_view id;
    good_profile = (struct lint_profile){
        .kind = LINT_DEVICE,
        .issuer = f->issuer,
        .signature_algorithm = f->signature,
        .issuer_not_before_s = cas[0].certificate.not_before_ms / 1000,
        .issuer_not_after_s = cas[0].certificate.not_after_ms / 1000,
        .subject = f->subject,
        .spki = f->spki,
    };
    assert_true(extension_find(f->extensions, OID(OID_AUTHORITY_KEY_ID), &id));
    good_profile.issuer_key_id = span_of(id.value.ptr + 4, KEY_ID_SIZE);
    assert_true(extension_find(f->extensions, OID(OID_SUBJECT_KEY_ID), &id));
    good_profile.key_id = span_of(id.value.ptr + 2, KEY_ID_SIZE);
    return 0;
}

static void test_the_good_one_passes(void **state)
{
    (void)state;
    expect(&good_bag, &good_profile, LINT_PASSED, "nothing changed");
    uint8_t buffer[8192];
    assert_true(span_eq(assemble(&good_bag, buffer, sizeof buffer), good_view.tbs));
}

static void test_serial_rules(void **state)
{
    (void)state;
    static const struct {
        enum lint_rule rule;
        struct span serial;
    } rows[] = {
#define ROW(rule, text)                                                                            \
    {                                                                                              \
        rule,                                                                                      \
        {                                                                                          \
            (const uint8_t *)(text), sizeof(text) - 1                                              \
        }                                                                                          \
    }
        ROW(LINT_SERIAL_POSITIVE, "\x00"),
        ROW(LINT_SERIAL_POSITIVE, "\x80\x00\x00\x00\x00\x00\x00\x00\x00"),
        ROW(LINT_SERIAL_POSITIVE, "\xff\x00\x00\x00\x00\x00\x00\x00\x00"),
        ROW(LINT_DER, ""),
        ROW(LINT_DER, "\x00\x01\x02\x03\x04\x05\x06\x07\x08"),
        ROW(LINT_SERIAL_ENTROPY, "\x01"),
        ROW(LINT_SERIAL_ENTROPY, "1234567"),
        ROW(LINT_PASSED, "12345678"),
        ROW(LINT_PASSED, "12345678901234567890"),
        ROW(LINT_SERIAL_LENGTH, "123456789012345678901"),
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct bag bag = good_bag;
        bag.serial = rows[i].serial;
        expect(&bag, &good_profile, rows[i].rule, "serial");
    }
}

static void test_head_rules(void **state)
{
    (void)state;
    struct bag bag = good_bag;
    bag.version = TEXT("\xa0\x03\x02\x01\x01");
    expect(&bag, &good_profile, LINT_VERSION, "version 2");
    bag.version = TEXT("\xa0\x03\x02\x01\x00");
    expect(&bag, &good_profile, LINT_VERSION, "version 1 written out");
    bag.version = TEXT("");
    expect(&bag, &good_profile, LINT_VERSION, "version 1");
    bag = good_bag;
    bag.signature = key_algorithm_signature(KEY_ALGORITHM_EC_P384);
    expect(&bag, &good_profile, LINT_SIGNATURE_ALGORITHM, "another algorithm");
    bag = good_bag;
    bag.issuer = bag.subject;
    expect(&bag, &good_profile, LINT_ISSUER, "another issuer");
    bag.issuer = TEXT("\x30\x00");
    expect(&bag, &good_profile, LINT_ISSUER, "empty issuer");
    bag = good_bag;
    bag.unique_id = TEXT("\x81\x02\x00\x55");
    expect(&bag, &good_profile, LINT_UNIQUE_IDS, "issuerUniqueID");
    bag.unique_id = TEXT("\x82\x02\x00\x55");
    expect(&bag, &good_profile, LINT_UNIQUE_IDS, "subjectUniqueID");
    bag = good_bag;
    bag.trailer = TEXT("\x05\x00");
    expect(&bag, &good_profile, LINT_STRUCTURE, "something behind the extensions");
    bag = good_bag;
    bag.signature = TEXT("\x05\x00");
    expect(&bag, &good_profile, LINT_STRUCTURE, "no AlgorithmIdentifier");
    bag = good_bag;
    bag.trailer = TEXT("\x05");
    expect(&bag, &good_profile, LINT_DER, "half an item");
    static uint8_t large[LINT_TBS_MAX + 4] = {DER_OCTET_STRING, 0x82, LINT_TBS_MAX >> 8,
                                              LINT_TBS_MAX & 0xff};
    bag.trailer = span_of(large, sizeof large);
    expect(&bag, &good_profile, LINT_SIZE, "too large");
}

static void test_validity_rules(void **state)
{
    (void)state;
#define UTC(text)         TEXT("\x17\x0d" text)
#define GENERALIZED(text) TEXT("\x18\x0f" text)
    const struct {
        enum lint_rule rule;
        struct span not_before, not_after;
    } rows[] = {
        {LINT_PASSED, UTC("261121000000Z"), UTC("271121000000Z")},
        {LINT_VALIDITY_ENCODING, GENERALIZED("20261121000000Z"), UTC("271121000000Z")},
        {LINT_VALIDITY_ENCODING, UTC("261121000000Z"), GENERALIZED("20271121000000Z")},
        {LINT_VALIDITY_ENCODING,
         TEXT("\x17\x0b"
              "2611210000Z"),
         UTC("271121000000Z")},
        {LINT_VALIDITY_ENCODING,
         TEXT("\x17\x11"
              "261121000000+0100"),
         UTC("271121000000Z")},
        {LINT_VALIDITY_ENCODING, UTC("261121000000z"), UTC("271121000000Z")},
        {LINT_VALIDITY_ENCODING, UTC("26112100000xZ"), UTC("271121000000Z")},
        {LINT_VALIDITY_ENCODING, UTC("261321000000Z"), UTC("271121000000Z")},
        {LINT_VALIDITY_ENCODING, UTC("261131000000Z"), UTC("271121000000Z")},
        {LINT_VALIDITY_ENCODING, UTC("270229000000Z"), UTC("271121000000Z")},
        {LINT_VALIDITY_ENCODING, UTC("261121240000Z"), UTC("271121000000Z")},
        {LINT_VALIDITY_ENCODING, UTC("261121006000Z"), UTC("271121000000Z")},
        {LINT_VALIDITY_ENCODING, UTC("261121000060Z"), UTC("271121000000Z")},
        {LINT_VALIDITY_ENCODING, UTC("261121000000Z"),
         TEXT("\x18\x11"
              "20500101000000.0Z")},
        {LINT_VALIDITY_ENCODING, TEXT("\x05\x00"), UTC("271121000000Z")},
        {LINT_VALIDITY_ORDER, UTC("271121000000Z"), UTC("271121000000Z")},
        {LINT_VALIDITY_ORDER, UTC("271121000001Z"), UTC("271121000000Z")},
        {LINT_VALIDITY_ISSUER, UTC("261120000000Z"), UTC("271121000000Z")},
        {LINT_VALIDITY_ISSUER, UTC("500101000000Z"), UTC("271121000000Z")}, /* 1950 */
        {LINT_VALIDITY_ISSUER, UTC("261121000000Z"), UTC("471121000000Z")},
        {LINT_VALIDITY_ISSUER, UTC("261121000000Z"), GENERALIZED("20500101000000Z")},
    };
    struct lint_profile profile = good_profile;
    profile.issuer_not_before_s = NOW_MS / 1000 - DAY_S;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char why[32];
        struct bag bag = good_bag;
        bag.not_before = rows[i].not_before;
        bag.not_after = rows[i].not_after;
        (void)snprintf(why, sizeof why, "validity row %zu", i);
        expect(&bag, &profile, rows[i].rule, why);
    }
}

static void test_subject_and_key_rules(void **state)
{
    (void)state;
    struct bag bag = good_bag;
    bag.subject = TEXT("\x30\x00");
    expect(&bag, &good_profile, LINT_SUBJECT, "empty subject");
    bag.subject = TEXT("\x30\x0c\x31\x0a\x30\x08\x06\x03\x55\x04\x03\x14\x01x");
    expect(&bag, &good_profile, LINT_SUBJECT, "TeletexString");
    bag.subject = bag.issuer;
    expect(&bag, &good_profile, LINT_SUBJECT_ISSUER, "self-issued");
    bag.subject = TEXT("\x30\x0c\x31\x0a\x30\x08\x06\x03\x55\x04\x03\x0c\x01x");
    expect(&bag, &good_profile, LINT_SUBJECT_REQUESTED, "another subject");
    bag = good_bag;
    bag.spki = span_of(devices[DEVICE_P384].spki, devices[DEVICE_P384].spki_len);
    expect(&bag, &good_profile, LINT_KEY_REQUESTED, "another key");
    CLEANUP(EVP_PKEY_free) EVP_PKEY *weak = EVP_RSA_gen(1024);
    uint8_t *spki = NULL;
    int len = i2d_PUBKEY(weak, &spki);
    bag.spki = span_of(spki, (size_t)len);
    expect(&bag, &good_profile, LINT_KEY, "RSA-1024");
    OPENSSL_free(spki);
}

/* An extension with this value; the bytes live until the next call for the same slot. */
static struct span extension(unsigned slot, struct span oid, bool critical, struct span value)
{
    static uint8_t buffers[4][512];
    struct der_out out = der_out_of(buffers[slot], sizeof buffers[slot]);
    der_put_item(&out, DER_OCTET_STRING, value);
    if (critical) {
        der_put_item(&out, DER_BOOLEAN, TEXT("\xff"));
    }
    der_put_item(&out, DER_OID, oid);
    der_wrap(&out, DER_SEQUENCE, out.end);
    return der_written(&out);
}

/* Replaces the extension of that OID, or adds one. */
static void put_extension(struct bag *bag, struct span oid, struct span whole)
{
    struct extension_view view;
    for (size_t i = 0; i < bag->extension_count; i++) {
        struct span one = bag->extensions[i];
        if (extension_read(&one, &view) && span_eq(view.oid, oid)) {
            bag->extensions[i] = whole;
            return;
        }
    }
    bag->extensions[bag->extension_count++] = whole;
}

static struct bag with(struct span oid, struct span whole)
{
    struct bag bag = good_bag;
    put_extension(&bag, oid, whole);
    return bag;
}

static void test_extension_list_rules(void **state)
{
    (void)state;
    struct bag bag = good_bag;
    bag.extensions[bag.extension_count++] = good_bag.extensions[0];
    expect(&bag, &good_profile, LINT_EXTENSION_DUPLICATE, "twice");
    for (size_t i = 0; i < good_bag.extension_count; i++) {
        bag = good_bag;
        bag.extensions[i] = TEXT("");
        expect(&bag, &good_profile, LINT_EXTENSION_MISSING, "left out");
    }
    bag = good_bag;
    bag.extension_count = 0;
    expect(&bag, &good_profile, LINT_EXTENSION_MISSING, "none");
    bag = good_bag;
    bag.extensions[bag.extension_count++] =
        extension(0, TEXT("\x55\x1d\x1e"), true, TEXT("\x30\x00"));
    expect(&bag, &good_profile, LINT_EXTENSION_UNKNOWN, "nameConstraints");
    bag.extensions[bag.extension_count - 1] = TEXT("\x30\x02\x05\x00");
    expect(&bag, &good_profile, LINT_EXTENSION_MALFORMED, "not an Extension");
    bag.extensions[bag.extension_count - 1] = TEXT("\x30\x07\x06\x03\x55\x1d\x11\x05\x00");
    expect(&bag, &good_profile, LINT_EXTENSION_MALFORMED, "value is no OCTET STRING");
    bag.extensions[bag.extension_count - 1] =
        TEXT("\x30\x0f\x06\x03\x55\x1d\x11\x01\x01\x00\x04\x05\x30\x03\x82\x01"
             "a");
    expect(&bag, &good_profile, LINT_DER, "critical FALSE written out");
    bag = with(OID(OID_SUBJECT_ALT_NAME), extension(0, OID(OID_SUBJECT_ALT_NAME), false,
                                                    TEXT("\x30\x81\x03\x82\x01"
                                                         "a")));
    expect(&bag, &good_profile, LINT_DER, "value is BER");
}

static void test_criticality(void **state)
{
    (void)state;
    for (size_t i = 0; i < good_bag.extension_count; i++) {
        struct bag bag = good_bag;
        struct span one = good_bag.extensions[i];
        struct extension_view view;
        assert_true(extension_read(&one, &view));
        bag.extensions[i] = extension(0, view.oid, !view.critical, view.value);
        expect(&bag, &good_profile, LINT_EXTENSION_CRITICAL, "criticality turned round");
    }
}

static void test_extension_values(void **state)
{
    (void)state;
    const struct {
        enum lint_rule rule;
        bool critical;
        struct span oid;
        struct span value;
    } rows[] = {
        {LINT_AUTHORITY_KEY_ID, false, OID(OID_AUTHORITY_KEY_ID), TEXT("\x30\x00")},
        {LINT_AUTHORITY_KEY_ID, false, OID(OID_AUTHORITY_KEY_ID), TEXT("\x30\x03\x80\x01x")},
        {LINT_AUTHORITY_KEY_ID, false, OID(OID_AUTHORITY_KEY_ID), TEXT("\x04\x01x")},
        {LINT_SUBJECT_KEY_ID, false, OID(OID_SUBJECT_KEY_ID), TEXT("\x04\x00")},
        {LINT_SUBJECT_KEY_ID, false, OID(OID_SUBJECT_KEY_ID), TEXT("\x04\x01x")},
        {LINT_BASIC_CONSTRAINTS, true, OID(OID_BASIC_CONSTRAINTS), TEXT("\x30\x03\x01\x01\xff")},
        {LINT_BASIC_CONSTRAINTS, true, OID(OID_BASIC_CONSTRAINTS), TEXT("\x30\x03\x01\x01\x00")},
        {LINT_BASIC_CONSTRAINTS, true, OID(OID_BASIC_CONSTRAINTS), TEXT("\x30\x03\x02\x01\x00")},
        {LINT_BASIC_CONSTRAINTS, true, OID(OID_BASIC_CONSTRAINTS), TEXT("\x05\x00")},
        {LINT_PASSED, true, OID(OID_KEY_USAGE), TEXT("\x03\x02\x03\x88")},
        {LINT_KEY_USAGE, true, OID(OID_KEY_USAGE), TEXT("\x03\x01\x00")},
        {LINT_KEY_USAGE, true, OID(OID_KEY_USAGE), TEXT("\x03\x02\x06\x80")}, /* ends with 0 */
        {LINT_KEY_USAGE, true, OID(OID_KEY_USAGE), TEXT("\x03\x02\x00\x00")},
        {LINT_KEY_USAGE, true, OID(OID_KEY_USAGE), TEXT("\x03\x02\x05\xa0")}, /* keyEncipherment */
        {LINT_KEY_USAGE, true, OID(OID_KEY_USAGE), TEXT("\x03\x02\x02\x84")}, /* keyCertSign */
        {LINT_KEY_USAGE, true, OID(OID_KEY_USAGE), TEXT("\x03\x02\x01\x82")}, /* cRLSign */
        {LINT_KEY_USAGE, true, OID(OID_KEY_USAGE), TEXT("\x03\x02\x00\x81")}, /* encipherOnly */
        {LINT_KEY_USAGE, true, OID(OID_KEY_USAGE), TEXT("\x03\x03\x07\x80\x80")},
        {LINT_EXTENDED_USAGE, false, OID(OID_EXTENDED_USAGE), TEXT("\x30\x00")},
        {LINT_EXTENDED_USAGE, false, OID(OID_EXTENDED_USAGE),
         TEXT("\x30\x06\x06\x04\x55\x1d\x25\x00")},
        {LINT_EXTENDED_USAGE, false, OID(OID_EXTENDED_USAGE),
         TEXT("\x30\x14\x06\x08" OID_CLIENT_AUTH "\x06\x08" OID_CLIENT_AUTH)},
        {LINT_EXTENDED_USAGE, false, OID(OID_EXTENDED_USAGE), TEXT("\x30\x02\x05\x00")},
        {LINT_EXTENDED_USAGE, false, OID(OID_EXTENDED_USAGE), TEXT("\x30\x04\x06\x02\x2a\x03")},
        {LINT_USAGE_CONSISTENT, true, OID(OID_KEY_USAGE), TEXT("\x03\x02\x06\xc0")},
        {LINT_PASSED, false, OID(OID_SUBJECT_ALT_NAME),
         TEXT("\x30\x03\x82\x01"
              "a")},
        {LINT_ALT_NAMES, false, OID(OID_SUBJECT_ALT_NAME), TEXT("\x30\x00")},
        {LINT_ALT_NAMES, false, OID(OID_SUBJECT_ALT_NAME), TEXT("\x30\x03\x82\x01_")},
        {LINT_ALT_NAMES, false, OID(OID_SUBJECT_ALT_NAME), TEXT("\x30\x02\x82\x00")},
        {LINT_ALT_NAMES, false, OID(OID_SUBJECT_ALT_NAME),
         TEXT("\x30\x05\x87\x03"
              "123")},
        {LINT_PASSED, false, OID(OID_CRL_POINTS),
         TEXT("\x30\x10\x30\x0e\xa0\x0c\xa0\x0a\x86\x08http://a")},
        {LINT_CRL_POINTS, false, OID(OID_CRL_POINTS), TEXT("\x30\x00")},
        {LINT_CRL_POINTS, false, OID(OID_CRL_POINTS), TEXT("\x30\x02\x30\x00")},
        {LINT_CRL_POINTS, false, OID(OID_CRL_POINTS),
         TEXT("\x30\x10\x30\x0e\xa0\x0c\xa0\x0a\x86\x08ldap://a")},
        {LINT_CRL_POINTS, false, OID(OID_CRL_POINTS),
         TEXT("\x30\x10\x30\x0e\xa0\x0c\xa0\x0a\x86\x08http:// ")},
        {LINT_CRL_POINTS, false, OID(OID_CRL_POINTS),
         TEXT("\x30\x0f\x30\x0d\xa0\x0b\xa0\x09\x86\x07http://")},
        {LINT_PASSED, false, OID(OID_POLICIES), TEXT("\x30\x06\x30\x04\x06\x02\x2a\x03")},
        {LINT_POLICIES, false, OID(OID_POLICIES), TEXT("\x30\x00")},
        {LINT_POLICIES, false, OID(OID_POLICIES), TEXT("\x30\x02\x30\x00")},
        {LINT_POLICIES, false, OID(OID_POLICIES),
         TEXT("\x30\x0c\x30\x04\x06\x02\x2a\x03\x30\x04\x06\x02\x2a\x03")},
        {LINT_POLICIES, false, OID(OID_POLICIES), TEXT("\x04\x00")},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char why[32];
        struct bag bag =
            with(rows[i].oid, extension(0, rows[i].oid, rows[i].critical, rows[i].value));
        (void)snprintf(why, sizeof why, "value row %zu", i);
        expect(&bag, &good_profile, rows[i].rule, why);
    }
}

/* The good certificate as a CA's. */
static struct bag ca_with(struct span constraints, struct span usage)
{
    struct bag bag = with(OID(OID_EXTENDED_USAGE), TEXT(""));
    put_extension(&bag, OID(OID_BASIC_CONSTRAINTS),
                  extension(0, OID(OID_BASIC_CONSTRAINTS), true, constraints));
    put_extension(&bag, OID(OID_KEY_USAGE), extension(1, OID(OID_KEY_USAGE), true, usage));
    return bag;
}

/* A CA is not a device and a device is not a CA. */
static void test_kinds(void **state)
{
    (void)state;
    const struct {
        enum lint_rule rule;
        struct span constraints;
        struct span usage;
    } rows[] = {
        {LINT_PASSED, TEXT("\x30\x03\x01\x01\xff"), TEXT("\x03\x02\x01\x06")},
        {LINT_PASSED, TEXT("\x30\x06\x01\x01\xff\x02\x01\x00"), TEXT("\x03\x02\x01\x86")},
        {LINT_BASIC_CONSTRAINTS, TEXT("\x30\x00"), TEXT("\x03\x02\x01\x06")},
        {LINT_BASIC_CONSTRAINTS, TEXT("\x30\x06\x01\x01\xff\x02\x01\xff"),
         TEXT("\x03\x02\x01\x06")},
        {LINT_BASIC_CONSTRAINTS, TEXT("\x30\x08\x01\x01\xff\x02\x01\x00\x05\x00"),
         TEXT("\x03\x02\x01\x06")},
        {LINT_KEY_USAGE, TEXT("\x30\x03\x01\x01\xff"), TEXT("\x03\x02\x01\x02")},
        {LINT_KEY_USAGE, TEXT("\x30\x03\x01\x01\xff"), TEXT("\x03\x02\x01\x26")},
    };
    struct lint_profile profile = good_profile;
    profile.kind = LINT_INTERMEDIATE;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct bag bag = ca_with(rows[i].constraints, rows[i].usage);
        expect(&bag, &profile, rows[i].rule, "CA row");
    }
    struct bag bag = ca_with(rows[0].constraints, rows[0].usage);
    put_extension(&bag, OID(OID_SUBJECT_ALT_NAME),
                  extension(2, OID(OID_SUBJECT_ALT_NAME), false,
                            TEXT("\x30\x03\x82\x01"
                                 "a")));
    expect(&bag, &profile, LINT_EXTENSION_UNKNOWN, "subjectAltName in a CA");
    profile.kind = LINT_ROOT;
    expect(&bag, &profile, LINT_SUBJECT_ISSUER, "a root is its own issuer");
}

static bool within(const uint8_t *at, struct span s)
{
    return at >= s.ptr && at < s.ptr + s.len;
}

/* Any flipped bit is caught, unless it lies where another value is as right as this one: serial,
 * times, and usages the purpose and an EC key can have. */
static void test_flipped_bits(void **state)
{
    (void)state;
    uint8_t tbs[2048];
    const struct tbs_view *f = &good_view.fields;
    struct span good = good_view.tbs;
    struct extension_view usage;
    assert_true(extension_find(f->extensions, OID(OID_KEY_USAGE), &usage));
    memcpy(tbs, good.ptr, good.len);
    for (size_t i = 0; i < 8 * good.len; i++) {
        const uint8_t *at = good.ptr + i / 8;
        tbs[i / 8] ^= (uint8_t)(1u << i % 8);
        if (lint_tbs(span_of(tbs, good.len), &good_profile) == LINT_PASSED &&
            !within(at, f->serial) && !within(at, f->not_before.value) &&
            !within(at, f->not_after.value) && !within(at, usage.value)) {
            fail_msg("byte %zu bit %zu", i / 8, i % 8);
        }
        tbs[i / 8] ^= (uint8_t)(1u << i % 8);
    }
}

static void test_every_rule_has_its_row(void **state)
{
    (void)state;
    for (unsigned rule = 0; rule < LINT_RULE_COUNT; rule++) {
        const struct lint_rule_info *info = lint_rule_info(rule);
        struct fault fault;
        assert_non_null(info->name);
        if (!caught[rule]) {
            fail_msg("no test breaks %s", info->name);
        }
        assert_err(lint_fault(rule, &fault), ERR_INVALID);
        assert_non_null(strstr(fault.code, info->name));
        assert_non_null(strstr(fault.text, info->reference));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_good_one_passes),
        cmocka_unit_test(test_serial_rules),
        cmocka_unit_test(test_head_rules),
        cmocka_unit_test(test_validity_rules),
        cmocka_unit_test(test_subject_and_key_rules),
        cmocka_unit_test(test_extension_list_rules),
        cmocka_unit_test(test_criticality),
        cmocka_unit_test(test_extension_values),
        cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_flipped_bits),
        cmocka_unit_test(test_every_rule_has_its_row),
    };
    return cmocka_run_group_tests(tests, lint_setup, issue_teardown);
}
