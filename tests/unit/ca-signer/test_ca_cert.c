#include "issue_support.h"

#include "common/cert_view.h"

static const struct span none;

static void test_refused_requests(void **state)
{
    (void)state;
    static const struct {
        const char *field;
        struct ca_request request;
    } rows[] = {
#define NAME .subject = {.common_name = {(const uint8_t *)"X", 1}}
        {"CommonName", {.now_ms = NOW_MS, .validity_s = 1, .path_length = -1}},
        {"Validity", {.now_ms = NOW_MS, .validity_s = 0, .path_length = -1, NAME}},
        {"Validity", {.now_ms = NOW_MS, .validity_s = -1, .path_length = -1, NAME}},
        {"Validity", {.now_ms = NOW_MS, .validity_s = INT64_MAX, .path_length = -1, NAME}},
        {"Validity", {.now_ms = NOW_MS, .validity_s = 8000 * YEAR_S, .path_length = -1, NAME}},
        {"Validity",
         {.now_ms = NOW_MS, .validity_s = 1, .backdate_s = -1, .path_length = -1, NAME}},
        {"Validity",
         {.now_ms = NOW_MS, .validity_s = 1, .backdate_s = 100 * YEAR_S, .path_length = -1, NAME}},
        {"Validity", {.now_ms = INT64_MIN, .validity_s = 1, .path_length = -1, NAME}},
        {"Validity", {.now_ms = INT64_MAX, .validity_s = 1, .path_length = -1, NAME}},
        {"PathLength", {.now_ms = NOW_MS, .validity_s = 1, .path_length = 9, NAME}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct cert_out out;
        struct fault fault = {.field = ""};
        unsigned before = script.signatures;
        assert_err(ca_cert_root(cas[0].key, signer, &rows[i].request, &out, &fault), ERR_INVALID);
        assert_string_equal(fault.field, rows[i].field);
        assert_int_equal(script.signatures, before);
        assert_int_equal(out.len, 0);
    }
}

static void test_roots_of_every_algorithm(void **state)
{
    (void)state;
    for (unsigned i = 0; i < KEY_ALGORITHM_COUNT; i++) {
        struct span der = cert_out_der(&cas[i].certificate);
        CLEANUP(X509_free) X509 *root = x509_of(der);
        assert_int_equal(X509_check_ca(root), 1);
        assert_int_equal(X509_get_key_usage(root), KU_KEY_CERT_SIGN | KU_CRL_SIGN);
        assert_int_equal(X509_get_pathlen(root), -1);
        assert_int_equal(X509_check_issued(root, root), X509_V_OK);
        assert_int_equal(X509_self_signed(root, 1), 1);
        assert_verifies(der, der, none, NOW_MS / 1000);
    }
}

static void intermediate(struct issuer_template *parent, struct ca_key *key, int path_length,
                         struct cert_out *out)
{
    struct ca_request request = root_request("Intermediate");
    request.path_length = path_length;
    request.crl_uri = span_str("http://crl.example/root.crl");
    assert_ok(ca_cert_intermediate(parent, key, signer, &request, out, NULL));
}

static void test_chains_of_every_algorithm(void **state)
{
    (void)state;
    for (unsigned i = 0; i < KEY_ALGORITHM_COUNT; i++) {
        struct test_ca *below = &cas[(i + 1) % KEY_ALGORITHM_COUNT];
        struct cert_out middle;
        intermediate(cas[i].template, below->key, 0, &middle);
        CLEANUP(issuer_template_free)
        struct issuer_template *template = make_template(below->key, cert_out_der(&middle));
        struct cert_out leaf;
        struct cert_request r = device_request(&devices[DEVICE_P256]);
        issue_ok(template, &r, &leaf);
        struct span root = cert_out_der(&cas[i].certificate);
        assert_verifies(cert_out_der(&leaf), root, cert_out_der(&middle), NOW_MS / 1000);
        assert_int_not_equal(verify_chain(cert_out_der(&leaf), root, none, NOW_MS / 1000),
                             X509_V_OK);
        CLEANUP(X509_free) X509 *certificate = x509_of(cert_out_der(&middle));
        assert_int_equal(X509_get_pathlen(certificate), 0);
        assert_int_equal(X509_check_ca(certificate), 1);
    }
}

static void test_path_length(void **state)
{
    (void)state;
    static const struct {
        int parent, wanted, given; /* given -2: refused */
        const char *code;
    } rows[] = {
        {-1, -1, -1, ""},
        {-1, 0, 0, ""},
        {-1, 8, 8, ""},
        {-1, 9, -2, "validation_error"},
        {2, -1, 1, ""},
        {2, 1, 1, ""},
        {2, 0, 0, ""},
        {2, 2, -2, "validation_error"},
        {1, -1, 0, ""},
        {0, -1, -2, "path_length"},
        {0, 0, -2, "path_length"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct ca_request request = root_request("Parent");
        struct cert_out parent;
        struct cert_out child;
        struct fault fault = {.code = ""};
        request.path_length = rows[i].parent;
        assert_ok(ca_cert_root(cas[0].key, signer, &request, &parent, NULL));
        CLEANUP(issuer_template_free)
        struct issuer_template *template = make_template(cas[0].key, cert_out_der(&parent));
        request.path_length = rows[i].wanted;
        request.subject.common_name = span_str("Child");
        err_t e = ca_cert_intermediate(template, cas[1].key, signer, &request, &child, &fault);
        assert_int_equal(e == ERR_OK, rows[i].given != -2);
        assert_string_equal(fault.code, rows[i].code);
        if (e == ERR_OK) {
            CLEANUP(X509_free) X509 *certificate = x509_of(cert_out_der(&child));
            assert_int_equal(X509_get_pathlen(certificate), rows[i].given);
        }
    }
}

static void test_intermediate_stays_inside_parent(void **state)
{
    (void)state;
    struct cert_out out;
    struct fault fault;
    struct ca_request request = root_request("Intermediate");
    request.validity_s = 50 * YEAR_S;
    assert_ok(ca_cert_intermediate(cas[0].template, cas[1].key, signer, &request, &out, NULL));
    assert_true(out.clipped);
    assert_int_equal(out.not_after_ms, cas[0].certificate.not_after_ms);
    request.now_ms = cas[0].certificate.not_after_ms;
    assert_err(ca_cert_intermediate(cas[0].template, cas[1].key, signer, &request, &out, &fault),
               ERR_CONFLICT);
    assert_string_equal(fault.code, "issuer_expired");
    request.now_ms = cas[0].certificate.not_before_ms - 1000;
    assert_err(ca_cert_intermediate(cas[0].template, cas[1].key, signer, &request, &out, &fault),
               ERR_CONFLICT);
    assert_string_equal(fault.code, "issuer_not_yet_valid");
}

static void test_digital_signature_and_long_life(void **state)
{
    (void)state;
    struct cert_out out;
    struct ca_request request = root_request("Long");
    request.validity_s = CERT_TIME_MAX_S - NOW_MS / 1000;
    request.digital_signature = true;
    assert_ok(ca_cert_root(cas[0].key, signer, &request, &out, NULL));
    CLEANUP(X509_free) X509 *root = x509_of(cert_out_der(&out));
    assert_int_equal(X509_get_key_usage(root),
                     KU_KEY_CERT_SIGN | KU_CRL_SIGN | KU_DIGITAL_SIGNATURE);
    struct cert_view view;
    assert_true(cert_parse(cert_out_der(&out), &view));
    assert_span(view.fields.not_after.value, "99991231235959Z");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused_requests),
        cmocka_unit_test(test_roots_of_every_algorithm),
        cmocka_unit_test(test_chains_of_every_algorithm),
        cmocka_unit_test(test_path_length),
        cmocka_unit_test(test_intermediate_stays_inside_parent),
        cmocka_unit_test(test_digital_signature_and_long_life),
    };
    return cmocka_run_group_tests(tests, issue_setup, issue_teardown);
}
