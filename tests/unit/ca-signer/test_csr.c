#include "issue_support.h"

#include "csr.h"

struct request {
    uint8_t *der;
    size_t len;
};

static void request_deinit(struct request *request)
{
    OPENSSL_free(request->der);
}
CLEANUP_DEFINE_EMBEDDED(struct request, request_deinit);

/* A request over `key` signed with `signing_key`; subject and extensions as a device might wish. */
static struct request make_request(EVP_PKEY *key, EVP_PKEY *signing_key, const char *digest,
                                   size_t padding)
{
    CLEANUP(X509_REQ_free) X509_REQ *request = X509_REQ_new();
    X509_NAME *name = X509_REQ_get_subject_name(request);
    assert_int_equal(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                                                (const uint8_t *)"I am the CA", -1, -1, 0),
                     1);
    STACK_OF(X509_EXTENSION) *wishes = sk_X509_EXTENSION_new_null();
    X509_EXTENSION *wish =
        X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints, "critical,CA:TRUE");
    assert_true(sk_X509_EXTENSION_push(wishes, wish) > 0);
    assert_int_equal(X509_REQ_add_extensions(request, wishes), 1);
    sk_X509_EXTENSION_pop_free(wishes, X509_EXTENSION_free);
    if (padding > 0) {
        CLEANUP_FREE uint8_t *text = xcalloc(padding, 1);
        memset(text, 'x', padding);
        assert_int_equal(X509_REQ_add1_attr_by_NID(request, NID_pkcs9_challengePassword,
                                                   MBSTRING_ASC, text, (int)padding),
                         1);
    }
    assert_int_equal(X509_REQ_set_pubkey(request, key), 1);
    assert_true(X509_REQ_sign(request, signing_key,
                              digest != NULL ? EVP_get_digestbyname(digest) : NULL) > 0);
    struct request made = {NULL, 0};
    made.len = (size_t)i2d_X509_REQ(request, &made.der);
    return made;
}

static void expect_refused(struct span der, err_t expected, const char *code)
{
    struct csr csr;
    struct fault fault = {.code = ""};
    err_t e = csr_check(der, &csr, &fault);
    if (e != expected || strcmp(fault.code, code) != 0) {
        fail_msg("%s %s (%s), not %s %s", err_name(e), fault.code, fault.text, err_name(expected),
                 code);
    }
}

static void test_wrong_signatures(void **state)
{
    (void)state;
    EVP_PKEY *p256 = devices[DEVICE_P256].key;
    CLEANUP(EVP_PKEY_free) EVP_PKEY *other = EVP_EC_gen("P-256");
    CLEANUP(request_deinit) struct request foreign = make_request(p256, other, "SHA256", 0);
    expect_refused(span_of(foreign.der, foreign.len), ERR_INVALID, "invalid_csr");
    CLEANUP(request_deinit)
    struct request mixed = make_request(p256, devices[DEVICE_RSA].key, "SHA256", 0);
    expect_refused(span_of(mixed.der, mixed.len), ERR_UNSUPPORTED, "unsupported_signature");
    CLEANUP(request_deinit) struct request sha1 = make_request(p256, p256, "SHA1", 0);
    expect_refused(span_of(sha1.der, sha1.len), ERR_UNSUPPORTED, "unsupported_signature");
    CLEANUP(request_deinit)
    struct request rsa_sha1 =
        make_request(devices[DEVICE_RSA].key, devices[DEVICE_RSA].key, "SHA1", 0);
    expect_refused(span_of(rsa_sha1.der, rsa_sha1.len), ERR_UNSUPPORTED, "unsupported_signature");
}

static void test_refused_keys(void **state)
{
    (void)state;
    CLEANUP(EVP_PKEY_free) EVP_PKEY *p521 = EVP_EC_gen("P-521");
    CLEANUP(request_deinit) struct request curve = make_request(p521, p521, "SHA256", 0);
    expect_refused(span_of(curve.der, curve.len), ERR_UNSUPPORTED, "unsupported_key");
    CLEANUP(EVP_PKEY_free) EVP_PKEY *k1 = EVP_EC_gen("secp256k1");
    CLEANUP(request_deinit) struct request koblitz = make_request(k1, k1, "SHA256", 0);
    expect_refused(span_of(koblitz.der, koblitz.len), ERR_UNSUPPORTED, "unsupported_key");
    CLEANUP(EVP_PKEY_free) EVP_PKEY *short_rsa = EVP_RSA_gen(1024);
    CLEANUP(request_deinit) struct request weak = make_request(short_rsa, short_rsa, "SHA256", 0);
    expect_refused(span_of(weak.der, weak.len), ERR_UNSUPPORTED, "weak_key");
    CLEANUP(EVP_PKEY_free) EVP_PKEY *ed448 = EVP_PKEY_Q_keygen(NULL, NULL, "ED448");
    CLEANUP(request_deinit) struct request goldilocks = make_request(ed448, ed448, NULL, 0);
    expect_refused(span_of(goldilocks.der, goldilocks.len), ERR_UNSUPPORTED, "unsupported_key");
}

static void test_size_limit(void **state)
{
    (void)state;
    EVP_PKEY *key = devices[DEVICE_P256].key;
    CLEANUP(request_deinit) struct request largest = make_request(key, key, "SHA256", 7000);
    struct csr csr;
    assert_true(largest.len < CSR_MAX);
    assert_ok(csr_check(span_of(largest.der, largest.len), &csr, NULL));
    CLEANUP(request_deinit) struct request larger = make_request(key, key, "SHA256", 8000);
    assert_true(larger.len > CSR_MAX);
    expect_refused(span_of(larger.der, larger.len), ERR_TOO_LARGE, "invalid_csr");
}

/* Every prefix and every flipped bit is refused: nothing in a request is without its signature. */
static void test_damaged_requests(void **state)
{
    (void)state;
    EVP_PKEY *key = devices[DEVICE_P256].key;
    CLEANUP(request_deinit) struct request good = make_request(key, key, "SHA256", 0);
    struct csr csr;
    for (size_t len = 0; len < good.len; len++) {
        expect_refused(span_of(good.der, len), ERR_INVALID, "invalid_csr");
    }
    for (size_t i = 0; i < 8 * good.len; i++) {
        good.der[i / 8] ^= (uint8_t)(1u << i % 8);
        if (csr_check(span_of(good.der, good.len), &csr, NULL) == ERR_OK) {
            fail_msg("byte %zu bit %zu", i / 8, i % 8);
        }
        good.der[i / 8] ^= (uint8_t)(1u << i % 8);
    }
    CLEANUP_FREE uint8_t *longer = xcalloc(good.len + 1, 1);
    memcpy(longer, good.der, good.len);
    expect_refused(span_of(longer, good.len + 1), ERR_INVALID, "invalid_csr");
    expect_refused(span_str("-----BEGIN CERTIFICATE REQUEST-----"), ERR_INVALID, "invalid_csr");
}

static void test_accepted_requests(void **state)
{
    (void)state;
    static const struct {
        unsigned device;
        const char *digest;
        enum key_kind kind;
        unsigned bits;
    } rows[] = {
        {DEVICE_P256, "SHA256", KEY_KIND_EC_P256, 256},
        {DEVICE_P256, "SHA384", KEY_KIND_EC_P256, 256},
        {DEVICE_P256, "SHA512", KEY_KIND_EC_P256, 256},
        {DEVICE_P384, "SHA384", KEY_KIND_EC_P384, 384},
        {DEVICE_ED25519, NULL, KEY_KIND_ED25519, 255},
        {DEVICE_RSA, "SHA256", KEY_KIND_RSA, 2048},
        {DEVICE_RSA, "SHA384", KEY_KIND_RSA, 2048},
        {DEVICE_RSA, "SHA512", KEY_KIND_RSA, 2048},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct test_device *device = &devices[rows[i].device];
        CLEANUP(request_deinit)
        struct request made = make_request(device->key, device->key, rows[i].digest, 0);
        struct csr csr;
        uint8_t hash[KEY_HASH_SIZE];
        assert_ok(csr_check(span_of(made.der, made.len), &csr, NULL));
        assert_int_equal(csr.key.kind, rows[i].kind);
        assert_int_equal(csr.key.bits, rows[i].bits);
        assert_true(span_eq(csr.key.der, span_of(device->spki, device->spki_len)));
        assert_ok(key_hash_of(csr.key.der, hash));
        assert_memory_equal(csr.key_hash, hash, sizeof hash);
    }
}

/* The request asked to be called "I am the CA", with CA:TRUE; the certificate knows nothing of it.
 */
static void test_wishes_are_ignored(void **state)
{
    (void)state;
    EVP_PKEY *key = devices[DEVICE_P256].key;
    CLEANUP(request_deinit) struct request made = make_request(key, key, "SHA256", 0);
    struct csr csr;
    struct cert_out out;
    assert_ok(csr_check(span_of(made.der, made.len), &csr, NULL));
    struct cert_request r = device_request(&devices[DEVICE_P256]);
    r.spki = csr.key.der;
    issue_ok(cas[0].template, &r, &out);
    CLEANUP(X509_free) X509 *certificate = x509_of(cert_out_der(&out));
    assert_int_equal(X509_check_ca(certificate), 0);
    assert_null(memmem(cert_out_der(&out).ptr, out.len, "I am the CA", 11));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wrong_signatures),  cmocka_unit_test(test_refused_keys),
        cmocka_unit_test(test_size_limit),        cmocka_unit_test(test_damaged_requests),
        cmocka_unit_test(test_accepted_requests), cmocka_unit_test(test_wishes_are_ignored),
    };
    return cmocka_run_group_tests(tests, issue_setup, issue_teardown);
}
