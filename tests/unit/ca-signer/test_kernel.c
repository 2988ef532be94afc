#include "issue_support.h"

#include <pthread.h>
#include <stdatomic.h>

#include "common/cert_view.h"
#include "common/oid.h"

static const struct span none;

/* ---- refusals ---- */

static void expect_refused(const struct issuer_template *template,
                           const struct cert_request *request, err_t expected, const char *code)
{
    struct cert_out out;
    struct fault fault = {.code = ""};
    unsigned before = script.signatures;
    assert_err(kernel_issue(template, signer, request, &out, &fault), expected);
    assert_string_equal(fault.code, code);
    assert_int_equal(out.len, 0);
    assert_int_equal(script.signatures, before);
}

static void test_refused_requests(void **state)
{
    (void)state;
    const struct issuer_template *template = cas[0].template;
    const struct cert_request good = device_request(&devices[DEVICE_P256]);
    struct cert_request r = good;
    r.validity_s = 0;
    expect_refused(template, &r, ERR_INVALID, "validation_error");
    r.validity_s = INT64_MAX;
    expect_refused(template, &r, ERR_INVALID, "validation_error");
    r = good;
    r.backdate_s = -1;
    expect_refused(template, &r, ERR_INVALID, "validation_error");
    r = good;
    r.subject = none;
    expect_refused(template, &r, ERR_INVALID, "lint_structure");
    r.subject = span_of("\x30\x00", 2);
    expect_refused(template, &r, ERR_INVALID, "lint_subject");
    r.subject = span_of("\x30\xff", 2); /* no DER length whatever follows */
    expect_refused(template, &r, ERR_INVALID, "lint_der");
    uint8_t large[NAME_MAX_BYTES + 1] = {0};
    r.subject = span_of(large, sizeof large);
    expect_refused(template, &r, ERR_INVALID, "validation_error");
    r.subject = issuer_template_subject(template);
    expect_refused(template, &r, ERR_INVALID, "lint_subject_issuer");
    r = good;
    r.alt_names = span_of("\x30\x00", 2);
    expect_refused(template, &r, ERR_INVALID, "lint_subject_alt_name");
    r = good;
    r.spki = none;
    expect_refused(template, &r, ERR_INVALID, "invalid_key");
    r.spki.ptr = good.spki.ptr;
    r.spki.len = good.spki.len - 1;
    expect_refused(template, &r, ERR_INVALID, "invalid_key");
}

/* A subject that closes its own SEQUENCE early must not become fields of the certificate. */
static void test_subject_cannot_inject(void **state)
{
    (void)state;
    struct cert_request r = device_request(&devices[DEVICE_P256]);
    uint8_t doubled[512];
    memcpy(doubled, subject.ptr, subject.len);
    memcpy(doubled + subject.len, r.spki.ptr, r.spki.len);
    r.subject = span_of(doubled, subject.len + r.spki.len);
    expect_refused(cas[0].template, &r, ERR_INVALID, "lint_structure");
}

static void test_refused_outside_ca_validity(void **state)
{
    (void)state;
    struct cert_request r = device_request(&devices[DEVICE_P256]);
    r.now_ms = cas[0].certificate.not_before_ms - 1000;
    expect_refused(cas[0].template, &r, ERR_CONFLICT, "issuer_not_yet_valid");
    r.now_ms = cas[0].certificate.not_after_ms;
    expect_refused(cas[0].template, &r, ERR_CONFLICT, "issuer_expired");
    r.now_ms = INT64_MIN;
    expect_refused(cas[0].template, &r, ERR_CONFLICT, "issuer_not_yet_valid");
    r.now_ms = INT64_MAX;
    expect_refused(cas[0].template, &r, ERR_CONFLICT, "issuer_expired");
}

static void test_key_store_away(void **state)
{
    (void)state;
    struct cert_request r = device_request(&devices[DEVICE_P256]);
    struct cert_out out;
    script.sign = ERR_UNAVAILABLE;
    err_t e = kernel_issue(cas[0].template, signer, &r, &out, NULL);
    script.sign = ERR_OK;
    assert_err(e, ERR_UNAVAILABLE);
    assert_int_equal(out.len, 0);
}

static void test_key_without_usage(void **state)
{
    (void)state;
    struct issuer_options options = {.certificate = cert_out_der(&cas[0].certificate),
                                     .key = cas[0].key,
                                     .key_usage = USAGE_KEY_AGREEMENT};
    CLEANUP(issuer_template_free) struct issuer_template *template = NULL;
    assert_ok(issuer_template_new(&options, &template, NULL));
    struct cert_request r = device_request(&devices[DEVICE_RSA]);
    expect_refused(template, &r, ERR_UNSUPPORTED, "unsupported_key");
    r = device_request(&devices[DEVICE_ED25519]);
    expect_refused(template, &r, ERR_UNSUPPORTED, "unsupported_key");
    struct cert_out out;
    r = device_request(&devices[DEVICE_P256]);
    issue_ok(template, &r, &out);
}

static void expect_no_template(const struct issuer_options *options, const char *code,
                               const char *field)
{
    struct issuer_template *template = NULL;
    struct fault fault = {.code = ""};
    assert_err(issuer_template_new(options, &template, &fault), ERR_INVALID);
    assert_string_equal(fault.code, code);
    assert_string_equal(fault.field, field);
    assert_null(template);
}

static void test_refused_templates(void **state)
{
    (void)state;
    const struct issuer_options good = {.certificate = cert_out_der(&cas[0].certificate),
                                        .key = cas[0].key};
    struct issuer_options o = good;
    o.certificate.len--;
    expect_no_template(&o, "invalid_ca_certificate", "certificate");
    o.certificate = none;
    expect_no_template(&o, "invalid_ca_certificate", "certificate");
    o = good;
    o.key = cas[KEY_ALGORITHM_EC_P384].key;
    expect_no_template(&o, "invalid_ca_certificate", "certificate");
    struct cert_out leaf;
    struct cert_request r = device_request(&devices[DEVICE_P256]);
    issue_ok(cas[0].template, &r, &leaf);
    o = good;
    o.certificate = cert_out_der(&leaf);
    expect_no_template(&o, "invalid_ca_certificate", "certificate");
    o = good;
    o.key_usage = USAGE_CERT_SIGN;
    expect_no_template(&o, "validation_error", "KeyUsage");
    o.key_usage = USAGE_DIGITAL_SIGNATURE | USAGE_KEY_ENCIPHERMENT;
    expect_no_template(&o, "validation_error", "KeyUsage"); /* no use to clientAuth */
    o.extended_key_usage = EXTENDED_SERVER_AUTH;
    o.key_usage = USAGE_DIGITAL_SIGNATURE | USAGE_NON_REPUDIATION;
    expect_no_template(&o, "validation_error", "KeyUsage");
    o = good;
    o.extended_key_usage = EXTENDED_ALL + 1;
    expect_no_template(&o, "validation_error", "ExtendedKeyUsage");
    o = good;
    o.policy_count = 1;
    expect_no_template(&o, "validation_error", "CertificatePolicies");
    o.policy_count = KERNEL_POLICIES_MAX + 1;
    expect_no_template(&o, "validation_error", "CertificatePolicies");
    uint8_t uri[CRL_URI_MAX + 1] = {0};
    o = good;
    o.crl_uri = span_of(uri, sizeof uri);
    expect_no_template(&o, "validation_error", "CRL");
}

/* ---- what is issued ---- */

static void check_parsed(const struct cert_out *out, const struct cert_request *r,
                         const struct test_ca *ca)
{
    CLEANUP(X509_free) X509 *certificate = x509_of(cert_out_der(out));
    assert_int_equal(X509_get_version(certificate), X509_VERSION_3);
    uint8_t *bytes = NULL;
    int len = i2d_X509_NAME(X509_get_subject_name(certificate), &bytes);
    assert_true(span_eq(span_of(bytes, (size_t)len), r->subject));
    OPENSSL_free(bytes);
    bytes = NULL;
    len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &bytes);
    assert_true(span_eq(span_of(bytes, (size_t)len), r->spki));
    OPENSSL_free(bytes);
    CLEANUP(X509_free) X509 *issuer = x509_of(cert_out_der(&ca->certificate));
    assert_int_equal(X509_check_issued(issuer, certificate), X509_V_OK);
    assert_int_equal(X509_check_ca(certificate), 0);
    assert_int_equal(X509_check_purpose(certificate, X509_PURPOSE_SSL_CLIENT, 0), 1);
    assert_int_equal(X509_check_purpose(certificate, X509_PURPOSE_SSL_SERVER, 0), 0);
}

static void test_all_ca_and_device_keys(void **state)
{
    (void)state;
    for (unsigned ca = 0; ca < KEY_ALGORITHM_COUNT; ca++) {
        for (unsigned device = 0; device < DEVICE_COUNT; device++) {
            struct cert_out out;
            struct cert_request r = device_request(&devices[device]);
            issue_ok(cas[ca].template, &r, &out);
            check_parsed(&out, &r, &cas[ca]);
            assert_verifies(cert_out_der(&out), cert_out_der(&cas[ca].certificate), none,
                            NOW_MS / 1000);
            assert_int_equal(out.not_before_ms, NOW_MS - 300000);
            assert_int_equal(out.not_after_ms, NOW_MS + YEAR_S * 1000);
            assert_false(out.clipped);
        }
    }
}

static void test_tampered_certificate_fails(void **state)
{
    (void)state;
    struct cert_out out;
    struct cert_request r = device_request(&devices[DEVICE_P256]);
    issue_ok(cas[0].template, &r, &out);
    out.buffer[out.start + out.len / 2] ^= 1;
    assert_int_not_equal(
        verify_chain(cert_out_der(&out), cert_out_der(&cas[0].certificate), none, NOW_MS / 1000),
        X509_V_OK);
}

static void test_renewal_keeps_identity(void **state)
{
    (void)state;
    struct cert_out first;
    struct cert_out second;
    struct cert_view before;
    struct cert_view after;
    struct cert_request r = device_request(&devices[DEVICE_P256]);
    issue_ok(cas[0].template, &r, &first);
    assert_true(cert_parse(cert_out_der(&first), &before));
    r.subject = before.fields.subject;
    r.spki = before.fields.spki;
    r.now_ms += 300 * DAY_S * 1000;
    issue_ok(cas[0].template, &r, &second);
    assert_true(cert_parse(cert_out_der(&second), &after));
    assert_true(span_eq(before.fields.subject, after.fields.subject));
    assert_true(span_eq(before.fields.spki, after.fields.spki));
    assert_true(span_eq(before.fields.extensions, after.fields.extensions));
    assert_false(span_eq(before.fields.serial, after.fields.serial));
    assert_memory_not_equal(first.serial, second.serial, KERNEL_SERIAL_SIZE);
}

static void test_serials(void **state)
{
    (void)state;
    struct cert_request r = device_request(&devices[DEVICE_P256]);
    uint8_t all_or[KERNEL_SERIAL_SIZE] = {0};
    uint8_t all_and[KERNEL_SERIAL_SIZE];
    memset(all_and, 0xff, sizeof all_and);
    for (unsigned i = 0; i < 400; i++) {
        struct cert_out out;
        struct cert_view view;
        issue_ok(cas[0].template, &r, &out);
        assert_true(cert_parse(cert_out_der(&out), &view));
        struct span serial = view.fields.serial;
        assert_int_not_equal(out.serial[0], 0);
        assert_int_equal(serial.len, out.serial[0] >= 0x80 ? 17 : 16);
        assert_memory_equal(serial.ptr + serial.len - 16, out.serial, 16);
        for (unsigned b = 0; b < KERNEL_SERIAL_SIZE; b++) {
            all_or[b] |= out.serial[b];
            all_and[b] &= out.serial[b];
        }
    }
    for (unsigned b = 0; b < KERNEL_SERIAL_SIZE; b++) { /* no bit stands still: 128 random bits */
        assert_int_equal(all_or[b], 0xff);
        assert_int_equal(all_and[b], 0);
    }
}

/* ---- validity ---- */

static void test_validity_boundary_2050(void **state)
{
    (void)state;
    struct ca_request request = root_request("Century CA");
    request.validity_s = 200 * YEAR_S;
    struct cert_out root;
    assert_ok(ca_cert_root(cas[0].key, signer, &request, &root, NULL));
    CLEANUP(issuer_template_free)
    struct issuer_template *template = make_template(cas[0].key, cert_out_der(&root));
    static const struct {
        int64_t now_s;
        int64_t validity_s;
        uint8_t before, after;
        const char *after_text;
    } rows[] = {
        {INT64_C(2524607999) - 10, 10, DER_UTC_TIME, DER_UTC_TIME, "491231235959Z"},
        {INT64_C(2524607999) - 10, 11, DER_UTC_TIME, DER_GENERALIZED_TIME, "20500101000000Z"},
        {INT64_C(2524607999) + 300, 60, DER_UTC_TIME, DER_GENERALIZED_TIME, "20500101000559Z"},
        {INT64_C(2524607999) + 301, 60, DER_GENERALIZED_TIME, DER_GENERALIZED_TIME,
         "20500101000600Z"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct cert_out out;
        struct cert_view view;
        struct cert_request r = device_request(&devices[DEVICE_P256]);
        r.now_ms = rows[i].now_s * 1000 + 999;
        r.validity_s = rows[i].validity_s;
        issue_ok(template, &r, &out);
        assert_true(cert_parse(cert_out_der(&out), &view));
        assert_int_equal(view.fields.not_before.tag, rows[i].before);
        assert_int_equal(view.fields.not_after.tag, rows[i].after);
        assert_span(view.fields.not_after.value, rows[i].after_text);
        assert_verifies(cert_out_der(&out), cert_out_der(&root), none, rows[i].now_s);
        assert_int_equal(out.not_after_ms, (rows[i].now_s + rows[i].validity_s) * 1000);
    }
}

static void test_clipped_to_ca(void **state)
{
    (void)state;
    struct cert_out out;
    struct cert_request r = device_request(&devices[DEVICE_P256]);
    r.validity_s = 10 * YEAR_S;
    issue_ok(cas[0].template, &r, &out);
    assert_false(out.clipped);
    assert_int_equal(out.not_after_ms, cas[0].certificate.not_after_ms);
    r.validity_s++;
    issue_ok(cas[0].template, &r, &out);
    assert_true(out.clipped);
    assert_int_equal(out.not_after_ms, cas[0].certificate.not_after_ms);
    r.now_ms = cas[0].certificate.not_after_ms - 1000;
    r.validity_s = 60;
    issue_ok(cas[0].template, &r, &out);
    assert_true(out.clipped);
    r = device_request(&devices[DEVICE_P256]);
    r.now_ms = cas[0].certificate.not_before_ms;
    issue_ok(cas[0].template, &r, &out);
    assert_int_equal(out.not_before_ms, cas[0].certificate.not_before_ms);
}

/* ---- extensions ---- */

static void test_options_in_certificate(void **state)
{
    (void)state;
    uint8_t alt_bytes[256];
    struct der_out alt = der_out_of(alt_bytes, sizeof alt_bytes);
    const struct alt_name names[] = {
        {ALT_NAME_DNS, span_str("pump-7.plant.example")},
        {ALT_NAME_URI, span_str("urn:dev:mac:0024befffe804ff1")},
        {ALT_NAME_IP, span_of("\x0a\x00\x00\x07", 4)},
        {ALT_NAME_EMAIL, span_str("ops@plant.example")},
    };
    assert_ok(name_build_alt(names, 4, &alt, NULL));
    struct issuer_options options = {
        .certificate = cert_out_der(&cas[0].certificate),
        .key = cas[0].key,
        .key_usage = USAGE_DIGITAL_SIGNATURE | USAGE_KEY_AGREEMENT,
        .extended_key_usage = EXTENDED_CLIENT_AUTH | EXTENDED_SERVER_AUTH,
        .crl_uri = span_str("http://crl.example/ca/17.crl"),
        .policies = {span_of("\x2b\x06\x01\x04\x01\x82\x37\x01", 8), span_of("\x2a\x03", 2)},
        .policy_count = 2,
    };
    CLEANUP(issuer_template_free) struct issuer_template *template = NULL;
    assert_ok(issuer_template_new(&options, &template, NULL));
    struct cert_out out;
    struct cert_request r = device_request(&devices[DEVICE_P256]);
    r.alt_names = der_written(&alt);
    issue_ok(template, &r, &out);
    CLEANUP(X509_free) X509 *certificate = x509_of(cert_out_der(&out));
    assert_int_equal(X509_get_key_usage(certificate), KU_DIGITAL_SIGNATURE | KU_KEY_AGREEMENT);
    assert_int_equal(X509_get_extended_key_usage(certificate), XKU_SSL_CLIENT | XKU_SSL_SERVER);
    assert_int_equal(X509_check_host(certificate, "pump-7.plant.example", 0, 0, NULL), 1);
    assert_int_equal(X509_check_ip_asc(certificate, "10.0.0.7", 0), 1);
    CRL_DIST_POINTS *points =
        X509_get_ext_d2i(certificate, NID_crl_distribution_points, NULL, NULL);
    assert_non_null(points);
    const GENERAL_NAME *uri =
        sk_GENERAL_NAME_value(sk_DIST_POINT_value(points, 0)->distpoint->name.fullname, 0);
    assert_string_equal((const char *)ASN1_STRING_get0_data(uri->d.uniformResourceIdentifier),
                        "http://crl.example/ca/17.crl");
    CRL_DIST_POINTS_free(points);
    assert_int_equal(X509_get_ext_count(certificate), 8);
    assert_verifies(cert_out_der(&out), cert_out_der(&cas[0].certificate), none, NOW_MS / 1000);
}

/* Key encipherment is for RSA keys of servers (RFC 5280 4.2.1.12). */
static void test_default_key_usage(void **state)
{
    (void)state;
    struct issuer_options options = {.certificate = cert_out_der(&cas[0].certificate),
                                     .key = cas[0].key};
    for (unsigned purposes = 1; purposes <= EXTENDED_ALL; purposes++) {
        options.extended_key_usage = purposes;
        CLEANUP(issuer_template_free) struct issuer_template *template = NULL;
        assert_ok(issuer_template_new(&options, &template, NULL));
        bool server = (purposes & EXTENDED_SERVER_AUTH) != 0;
        for (unsigned i = 0; i < DEVICE_COUNT; i++) {
            struct cert_out out;
            struct cert_request r = device_request(&devices[i]);
            issue_ok(template, &r, &out);
            CLEANUP(X509_free) X509 *certificate = x509_of(cert_out_der(&out));
            assert_int_equal(X509_get_key_usage(certificate),
                             KU_DIGITAL_SIGNATURE |
                                 (i == DEVICE_RSA && server ? KU_KEY_ENCIPHERMENT : 0));
            assert_int_equal(X509_get_extended_key_usage(certificate),
                             ((purposes & EXTENDED_CLIENT_AUTH) != 0 ? XKU_SSL_CLIENT : 0) |
                                 (server ? XKU_SSL_SERVER : 0));
        }
    }
}

/* RFC 7093 method 1 and the chain of key identifiers. */
static void test_key_identifiers(void **state)
{
    (void)state;
    struct cert_out out;
    struct cert_request r = device_request(&devices[DEVICE_P256]);
    issue_ok(cas[0].template, &r, &out);
    CLEANUP(X509_free) X509 *certificate = x509_of(cert_out_der(&out));
    CLEANUP(X509_free) X509 *issuer = x509_of(cert_out_der(&cas[0].certificate));
    uint8_t digest[32];
    assert_int_equal(EVP_Digest(r.spki.ptr + r.spki.len - 65, 65, digest, NULL, EVP_sha256(), NULL),
                     1);
    const ASN1_OCTET_STRING *id = X509_get0_subject_key_id(certificate);
    assert_int_equal(ASN1_STRING_length(id), KEY_ID_SIZE);
    assert_memory_equal(ASN1_STRING_get0_data(id), digest, KEY_ID_SIZE);
    assert_int_equal(ASN1_OCTET_STRING_cmp(X509_get0_authority_key_id(certificate),
                                           X509_get0_subject_key_id(issuer)),
                     0);
}

/* The largest of everything that is allowed fits: no limit is promised that cannot be kept. */
static void test_largest_certificate(void **state)
{
    (void)state;
    static char long_text[200];
    static char uri[CRL_URI_MAX + 1];
    uint8_t subject_buffer[NAME_MAX_BYTES];
    uint8_t alt_buffer[NAME_MAX_BYTES];
    memset(long_text, 'x', sizeof long_text);
    (void)snprintf(uri, sizeof uri, "http://%0*d", CRL_URI_MAX - 7, 0);
    struct name_fields fields = {
        .state = span_of(long_text, 128),
        .locality = span_of(long_text, 128),
        .organization = span_of(long_text, 64),
        .organizational_unit = span_of(long_text, 64),
        .common_name = span_of(long_text, 64),
        .serial_number = span_of(long_text, 64),
    };
    struct der_out name = der_out_of(subject_buffer, sizeof subject_buffer);
    assert_ok(name_build(&fields, &name, NULL));
    struct ca_request request = root_request("largest");
    request.subject = fields;
    request.subject.common_name = span_of(long_text, 63);
    struct ca_key *key = cas[KEY_ALGORITHM_RSA_4096].key;
    struct cert_out root;
    assert_ok(ca_cert_root(key, signer, &request, &root, NULL));
    struct issuer_options options = {.certificate = cert_out_der(&root),
                                     .key = key,
                                     .extended_key_usage = EXTENDED_ALL,
                                     .crl_uri = span_of(uri, CRL_URI_MAX),
                                     .policy_count = KERNEL_POLICIES_MAX};
    uint8_t policies[KERNEL_POLICIES_MAX][POLICY_OID_MAX];
    for (size_t i = 0; i < KERNEL_POLICIES_MAX; i++) {
        memset(policies[i], (int)i + 1, POLICY_OID_MAX);
        options.policies[i] = span_of(policies[i], POLICY_OID_MAX);
    }
    CLEANUP(issuer_template_free) struct issuer_template *template = NULL;
    assert_ok(issuer_template_new(&options, &template, NULL));
    struct alt_name names[4] = {
        {ALT_NAME_URI, span_of(uri, 250)},
        {ALT_NAME_URI, span_of(uri, 250)},
        {ALT_NAME_URI, span_of(uri, 250)},
        {ALT_NAME_URI, span_of(uri, 250)},
    };
    struct der_out alt = der_out_of(alt_buffer, sizeof alt_buffer);
    assert_ok(name_build_alt(names, 4, &alt, NULL));
    struct cert_out out;
    struct cert_request r = device_request(&devices[DEVICE_RSA]);
    r.subject = der_written(&name);
    r.alt_names = der_written(&alt);
    r.spki = ca_key_public(key); /* RSA-4096 */
    issue_ok(template, &r, &out);
    assert_verifies(cert_out_der(&out), cert_out_der(&root), none, NOW_MS / 1000);
}

/* One template, many threads: each with its own signer, none in another's way. */
static void *issue_many(void *failures)
{
    struct kernel_signer *mine = kernel_signer_new();
    for (unsigned i = 0; i < 60; i++) {
        const struct test_ca *ca = &cas[i % 3];
        struct cert_out out;
        struct cert_request r = device_request(&devices[i % DEVICE_COUNT]);
        err_t e = kernel_issue(ca->template, mine, &r, &out, NULL);
        if (e != ERR_OK || verify_chain(cert_out_der(&out), cert_out_der(&ca->certificate), none,
                                        NOW_MS / 1000) != X509_V_OK) {
            (void)atomic_fetch_add((atomic_uint *)failures, 1);
        }
    }
    kernel_signer_free(mine);
    return NULL;
}

static void test_threads_share_templates(void **state)
{
    (void)state;
    pthread_t threads[4];
    atomic_uint failures = 0;
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, issue_many, &failures), 0);
    }
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(atomic_load(&failures), 0);
}

/* More CAs than a signer keeps sessions for, used in turn. */
static void test_many_cas_in_turn(void **state)
{
    (void)state;
    enum { MANY = 20 };
    struct ca_key *many_keys[MANY];
    struct cert_out roots[MANY];
    struct issuer_template *templates[MANY];
    for (unsigned i = 0; i < MANY; i++) {
        struct ca_request request = root_request("One of many");
        many_keys[i] = make_key(KEY_ALGORITHM_EC_P256);
        assert_ok(ca_cert_root(many_keys[i], signer, &request, &roots[i], NULL));
        templates[i] = make_template(many_keys[i], cert_out_der(&roots[i]));
    }
    struct cert_request r = device_request(&devices[DEVICE_P256]);
    for (unsigned i = 0; i < 3 * MANY; i++) {
        struct cert_out out;
        issue_ok(templates[i % MANY], &r, &out);
        assert_verifies(cert_out_der(&out), cert_out_der(&roots[i % MANY]), none, NOW_MS / 1000);
    }
    for (unsigned i = 0; i < MANY; i++) {
        issuer_template_free(templates[i]);
        ca_key_unref(many_keys[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused_requests),
        cmocka_unit_test(test_subject_cannot_inject),
        cmocka_unit_test(test_refused_outside_ca_validity),
        cmocka_unit_test(test_key_store_away),
        cmocka_unit_test(test_key_without_usage),
        cmocka_unit_test(test_refused_templates),
        cmocka_unit_test(test_all_ca_and_device_keys),
        cmocka_unit_test(test_tampered_certificate_fails),
        cmocka_unit_test(test_renewal_keeps_identity),
        cmocka_unit_test(test_serials),
        cmocka_unit_test(test_validity_boundary_2050),
        cmocka_unit_test(test_clipped_to_ca),
        cmocka_unit_test(test_options_in_certificate),
        cmocka_unit_test(test_default_key_usage),
        cmocka_unit_test(test_key_identifiers),
        cmocka_unit_test(test_largest_certificate),
        cmocka_unit_test(test_threads_share_templates),
        cmocka_unit_test(test_many_cas_in_turn),
    };
    return cmocka_run_group_tests(tests, issue_setup, issue_teardown);
}
