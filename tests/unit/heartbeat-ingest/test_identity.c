/* Who calls in. What would break a user: somebody else is taken for a device, a certificate with a
 * changed byte passes, a device that signs its certificate over another digest is locked out, a
 * malformed certificate crashes the door. */
#include "identity.h"

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "common/digest.h"
#include "test_support.h"

struct made {
    uint8_t der[2048];
    struct span span;
};

static void set_name(X509_NAME *name, const char *text)
{
    assert_int_equal(
        X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const uint8_t *)text, -1, -1, 0), 1);
}

/* A certificate for `key`, signed by `signer` in the name of `issuer`. */
static void make(EVP_PKEY *key, EVP_PKEY *signer, const char *issuer, const EVP_MD *digest,
                 struct made *ret)
{
    X509 *c = X509_new();
    assert_int_equal(X509_set_version(c, X509_VERSION_3), 1);
    assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(c), 1), 1);
    set_name(X509_get_subject_name(c), "device");
    set_name(X509_get_issuer_name(c), issuer);
    (void)X509_gmtime_adj(X509_getm_notBefore(c), -7200);
    (void)X509_gmtime_adj(X509_getm_notAfter(c), -3600); /* over: the key is what counts */
    assert_int_equal(X509_set_pubkey(c, key), 1);
    assert_true(X509_sign(c, signer, digest) > 0);
    uint8_t *at = ret->der;
    int len = i2d_X509(c, NULL);
    assert_in_range(len, 1, sizeof ret->der);
    ret->span = span_of(ret->der, (size_t)i2d_X509(c, &at));
    X509_free(c);
}

static struct identity_rules *rules;

static err_t judge(struct span der, struct identity **ret, struct fault *fault)
{
    return identity_of_chain(rules, &der, 1, ret, fault);
}

static void refuse(struct span der, const char *reason)
{
    struct identity *identity = NULL;
    struct fault fault = {0};
    assert_err(judge(der, &identity, &fault), ERR_UNAUTHORIZED);
    assert_string_equal(fault.code, "client_certificate_invalid");
    assert_non_null(strstr(fault.text, reason));
    assert_null(identity);
}

static void the_key_is_the_identity(void **state)
{
    (void)state;
    EVP_PKEY *key = EVP_EC_gen("P-256");
    const EVP_MD *digests[] = {EVP_sha256(), EVP_sha384(), EVP_sha512()};
    uint8_t spki[128];
    uint8_t *at = spki;
    int len = i2d_PUBKEY(key, &at);
    struct digest uid = digest_sha256(span_of(spki, (size_t)len));
    for (size_t i = 0; i < sizeof digests / sizeof digests[0]; i++) {
        struct made made;
        struct identity *identity = NULL;
        make(key, key, "device", digests[i], &made);
        assert_ok(judge(made.span, &identity, NULL));
        assert_true(
            span_eq(span_of(identity->spki, identity->spki_len), span_of(spki, (size_t)len)));
        assert_memory_equal(identity->uid, uid.bytes, sizeof identity->uid);
        free(identity);
    }
    EVP_PKEY_free(key);
}

static void others_are_refused(void **state)
{
    (void)state;
    EVP_PKEY *key = EVP_EC_gen("P-256");
    EVP_PKEY *other = EVP_EC_gen("P-256");
    EVP_PKEY *larger = EVP_EC_gen("P-384");
    EVP_PKEY *rsa = EVP_RSA_gen(2048);
    EVP_PKEY *edwards = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    const struct {
        EVP_PKEY *key, *signer;
        const char *issuer;
        const EVP_MD *digest;
        const char *reason;
    } cases[] = {
        {key, other, "device", EVP_sha256(), "self-signed"},
        {key, other, "maker", EVP_sha256(), "self-signed"},
        {key, key, "maker", EVP_sha256(), "self-signed"},
        {key, key, "device", EVP_sha1(), "self-signed"},
        {key, rsa, "device", EVP_sha256(), "self-signed"},
        {larger, larger, "device", EVP_sha256(), "P-256"},
        {rsa, rsa, "device", EVP_sha256(), "P-256"},
        {edwards, edwards, "device", NULL, "P-256"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct made made;
        make(cases[i].key, cases[i].signer, cases[i].issuer, cases[i].digest, &made);
        refuse(made.span, cases[i].reason);
    }
    EVP_PKEY_free(key);
    EVP_PKEY_free(other);
    EVP_PKEY_free(larger);
    EVP_PKEY_free(rsa);
    EVP_PKEY_free(edwards);
}

/* Each byte is either signed or part of the signature. */
static void each_byte_counts(void **state)
{
    (void)state;
    EVP_PKEY *key = EVP_EC_gen("P-256");
    struct made made;
    make(key, key, "device", EVP_sha256(), &made);
    for (size_t i = 0; i < made.span.len; i++) {
        refuse(span_of(made.der, i), "cannot be read");
        for (unsigned bit = 0; bit < 8; bit++) {
            made.der[i] ^= (uint8_t)(1u << bit);
            refuse(made.span, "");
            made.der[i] ^= (uint8_t)(1u << bit);
        }
    }
    made.der[made.span.len] = 0;
    refuse(span_of(made.der, made.span.len + 1), "cannot be read");
    EVP_PKEY_free(key);
}

static int open_rules(void **state)
{
    (void)state;
    assert_ok(identity_rules_new("", &rules, NULL));
    return 0;
}

static int close_rules(void **state)
{
    (void)state;
    identity_rules_free(rules);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_key_is_the_identity),
        cmocka_unit_test(others_are_refused),
        cmocka_unit_test(each_byte_counts),
    };
    return cmocka_run_group_tests(tests, open_rules, close_rules);
}
