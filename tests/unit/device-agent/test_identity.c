#include "device/identity.h"

#include <openssl/err.h>
#include <openssl/pem.h>

#include "device_fixture.h"

#define UID       "0123456789abcdef"
#define OPERATION "6ba7b810-9dad-11d1-80b4-00c04fd430c8"

static void test_key_text(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "", "no key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        /* P-384: a good key, but not ours */
        "-----BEGIN PRIVATE KEY-----\n"
        "ME4CAQAwEAYHKoZIzj0CAQYFK4EEACIENzA1AgEBBDAAAAAAAAAAAAAAAAAAAAAA\n"
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE=\n"
        "-----END PRIVATE KEY-----\n"};
    EVP_PKEY *key = NULL;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_err(device_key_read(span_str(bad[i]), &key), ERR_CORRUPT);
        assert_null(key);
    }
    CLEANUP(EVP_PKEY_free) EVP_PKEY *made = NULL;
    CLEANUP(EVP_PKEY_free) EVP_PKEY *back = NULL;
    CLEANUP_BUF struct buf pem = BUF_INIT_SECRET(DEVICE_KEY_PEM_MAX);
    assert_ok(device_key_generate(&made));
    assert_ok(device_key_write(made, &pem));
    assert_ok(device_key_read(buf_span(&pem), &back));
    assert_int_equal(EVP_PKEY_eq(made, back), 1);
    assert_int_equal(ERR_peek_error(), 0);
}

/* Our own encodings are OpenSSL's, byte for byte, and other spellings of a key are read too. */
static void test_encodings_are_the_standard_ones(void **state)
{
    (void)state;
    CLEANUP(EVP_PKEY_free) EVP_PKEY *key = NULL;
    CLEANUP_BUF struct buf ours = BUF_INIT_SECRET(DEVICE_KEY_PEM_MAX);
    CLEANUP_BUF struct buf spki = BUF_INIT(DEVICE_SPKI_MAX);
    assert_ok(device_key_generate(&key));
    assert_ok(device_key_write(key, &ours));
    assert_ok(device_key_spki(key, &spki));
    BIO *bio = BIO_new(BIO_s_mem());
    assert_int_equal(PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL), 1);
    char *text = NULL;
    long len = BIO_get_mem_data(bio, &text);
    assert_true(span_eq(buf_span(&ours), span_of(text, (size_t)len)));
    BIO_free_all(bio);
    unsigned char *der = NULL;
    len = i2d_PUBKEY(key, &der);
    assert_true(span_eq(buf_span(&spki), span_of(der, (size_t)len)));
    OPENSSL_free(der);

    bio = BIO_new(BIO_s_mem());
    assert_int_equal(PEM_write_bio_PrivateKey_traditional(bio, key, NULL, NULL, 0, NULL, NULL), 1);
    len = BIO_get_mem_data(bio, &text);
    CLEANUP(EVP_PKEY_free) EVP_PKEY *back = NULL;
    assert_ok(device_key_read(span_of(text, (size_t)len), &back));
    assert_int_equal(EVP_PKEY_eq(key, back), 1);
    BIO_free_all(bio);
}

/* A text cut off anywhere, or with any letter changed, is no key or not this one; never a crash. */
static void test_damaged_key_text(void **state)
{
    (void)state;
    CLEANUP(EVP_PKEY_free) EVP_PKEY *key = NULL;
    CLEANUP_BUF struct buf pem = BUF_INIT_SECRET(DEVICE_KEY_PEM_MAX);
    assert_ok(device_key_generate(&key));
    assert_ok(device_key_write(key, &pem));
    for (size_t i = 0; i + 1 < pem.len; i++) {
        CLEANUP(EVP_PKEY_free) EVP_PKEY *back = NULL;
        err_t err = device_key_read(span_of(pem.ptr, i), &back);
        assert_true(err == ERR_CORRUPT || EVP_PKEY_eq(key, back) == 1);
        assert_int_equal(ERR_peek_error(), 0);
    }
}

static void test_uid_is_of_the_key(void **state)
{
    (void)state;
    CLEANUP(EVP_PKEY_free) EVP_PKEY *key = NULL;
    CLEANUP_BUF struct buf spki = BUF_INIT(DEVICE_SPKI_MAX);
    assert_ok(device_key_generate(&key));
    assert_ok(device_key_spki(key, &spki));
    assert_int_equal(spki.len, 91);
    char uid[DEVICE_UID_SIZE];
    char expected[DEVICE_UID_SIZE];
    uint8_t raw[DEVICE_UID_BYTES];
    device_uid_of_key(buf_span(&spki), raw);
    device_uid_text(raw, expected);
    assert_ok(device_key_uid(key, uid));
    assert_string_equal(uid, expected);
    CLEANUP(X509_free) X509 *certificate = NULL;
    assert_ok(device_rot_certificate(key, uid, &certificate));
    assert_int_equal(X509_verify(certificate, key), 1);
    char cn[64] = "";
    (void)X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName, cn,
                                    sizeof cn);
    assert_string_equal(cn, uid);
}

static bool verifies(EVP_PKEY *key, const char *text, const uint8_t *signature, size_t len)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    assert_int_equal(EVP_DigestVerifyInit(context, NULL, EVP_sha256(), NULL, key), 1);
    int result =
        EVP_DigestVerify(context, signature, len, (const unsigned char *)text, strlen(text));
    EVP_MD_CTX_free(context);
    ERR_clear_error();
    return result == 1;
}

static void test_signature_is_over_the_signed_bytes(void **state)
{
    (void)state;
    CLEANUP(EVP_PKEY_free) EVP_PKEY *key = NULL;
    assert_ok(device_key_generate(&key));
    uint8_t signature[DEVICE_SIGNATURE_MAX];
    size_t len = 0;
    struct device_message m = {DEVICE_PICKUP, "not a uid", OPERATION, 9, span_str("hello")};
    assert_err(device_sign(key, &m, signature, &len), ERR_INVALID);
    assert_int_equal(len, 0);
    m.uid = UID;
    assert_ok(device_sign(key, &m, signature, &len));
#define HELLO "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
    assert_true(
        verifies(key, "fleetseal-device-v1|pickup|" UID "|" OPERATION "|9|" HELLO, signature, len));
    assert_false(
        verifies(key, "fleetseal-device-v1|pickup|" UID "|" OPERATION "|8|" HELLO, signature, len));
    assert_false(verifies(key, "fleetseal-device-v1|confirm|" UID "|" OPERATION "|9|" HELLO,
                          signature, len));
}

static void test_csr_is_self_consistent(void **state)
{
    (void)state;
    CLEANUP(EVP_PKEY_free) EVP_PKEY *key = NULL;
    CLEANUP_BUF struct buf der = BUF_INIT(2048);
    assert_ok(device_key_generate(&key));
    assert_ok(device_csr(key, UID, &der));
    const unsigned char *at = der.ptr;
    X509_REQ *request = d2i_X509_REQ(NULL, &at, (long)der.len);
    assert_non_null(request);
    assert_ptr_equal(at, der.ptr + der.len);
    assert_int_equal(X509_REQ_verify(request, X509_REQ_get0_pubkey(request)), 1);
    assert_int_equal(EVP_PKEY_eq(X509_REQ_get0_pubkey(request), key), 1);
    X509_REQ_free(request);
}

struct judged {
    const char *code; /* NULL: good */
    struct device_certificate certificate;
    EVP_PKEY *key;
};

static void test_certificate_is_judged(void **state)
{
    (void)state;
    struct fixture_ca ca = fixture_ca_new("ca");
    struct fixture_ca other = fixture_ca_new("other ca");
    CLEANUP(EVP_PKEY_free) EVP_PKEY *key = NULL;
    CLEANUP(EVP_PKEY_free) EVP_PKEY *stranger = NULL;
    assert_ok(device_key_generate(&key));
    assert_ok(device_key_generate(&stranger));
    CLEANUP_BUF struct buf leaf = BUF_INIT(DEVICE_CERT_MAX);
    CLEANUP_BUF struct buf trailing = BUF_INIT(DEVICE_CERT_MAX);
    fixture_issue(&ca, key, 0x1122334455667788, &leaf);
    assert_ok(buf_append_span(&trailing, buf_span(&leaf)));
    assert_ok(buf_append_byte(&trailing, 0));

    struct span whole = buf_span(&leaf);
    const struct span good_chain[1] = {buf_span(&ca.der)};
    const struct span bad_chain[1] = {buf_span(&other.der)};
    const struct span torn_chain[1] = {span_of(ca.der.ptr, ca.der.len - 1)};
    const struct span leaf_chain[1] = {whole};
    const char *serial = "1122334455667788";
    const struct judged rows[] = {
        {"unparsable", {span_of(NULL, 0), good_chain, 1, serial}, key},
        {"unparsable", {span_of(leaf.ptr, leaf.len - 1), good_chain, 1, serial}, key},
        {"unparsable", {buf_span(&trailing), good_chain, 1, serial}, key},
        {"wrong_key", {whole, good_chain, 1, serial}, stranger},
        {"wrong_serial", {whole, good_chain, 1, "1122334455667789"}, key},
        {"wrong_serial", {whole, good_chain, 1, ""}, key},
        {"bad_chain", {whole, NULL, 0, serial}, key},
        {"bad_chain", {whole, bad_chain, 1, serial}, key},
        {"bad_chain", {whole, torn_chain, 1, serial}, key},
        {"bad_chain", {whole, leaf_chain, 1, serial}, key},
        {"bad_chain", {whole, good_chain, DEVICE_CHAIN_MAX + 1, serial}, key},
        {NULL, {whole, good_chain, 1, serial}, key},
        {NULL, {whole, good_chain, 1, "00001122334455667788"}, key},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct fault fault = {.code = ""};
        err_t err = device_certificate_check(&rows[i].certificate, rows[i].key, &fault);
        assert_err(err, rows[i].code != NULL ? ERR_INVALID : ERR_OK);
        assert_string_equal(fault.code, rows[i].code != NULL ? rows[i].code : "");
        assert_int_equal(ERR_peek_error(), 0);
    }
    fixture_ca_free(&ca);
    fixture_ca_free(&other);
}

static void test_facts(void **state)
{
    (void)state;
    struct fixture_ca ca = fixture_ca_new("the ca");
    CLEANUP_BUF struct buf pem = BUF_INIT(DEVICE_CERT_MAX);
    CLEANUP(X509_free) X509 *certificate = NULL;
    assert_err(device_certificate_read(span_str("x"), &certificate), ERR_CORRUPT);
    assert_ok(device_certificate_pem(buf_span(&ca.der), &pem));
    assert_ok(device_certificate_read(buf_span(&pem), &certificate));
    struct device_certificate_facts facts;
    assert_ok(device_certificate_facts(certificate, &facts));
    assert_string_equal(facts.serial, "01");
    assert_string_equal(facts.subject, "CN=the ca");
    assert_string_equal(facts.issuer, "CN=the ca");
    assert_true(facts.not_after_ms - facts.not_before_ms == 90000 * 1000);
    fixture_ca_free(&ca);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_key_text),
        cmocka_unit_test(test_encodings_are_the_standard_ones),
        cmocka_unit_test(test_damaged_key_text),
        cmocka_unit_test(test_uid_is_of_the_key),
        cmocka_unit_test(test_signature_is_over_the_signed_bytes),
        cmocka_unit_test(test_csr_is_self_consistent),
        cmocka_unit_test(test_certificate_is_judged),
        cmocka_unit_test(test_facts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
