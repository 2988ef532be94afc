/*
 * Signatures of devices. What would break a user: a key object that is used again remembers the key
 * before, a signature by another key or over other bytes passes, a malformed one crashes.
 */
#include "test_support.h"

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <string.h>

#include "common/signature.h"

struct signer {
    EVP_PKEY *key;
    uint8_t spki[600];
    size_t spki_len;
    uint8_t signature[600];
    size_t signature_len;
};

static const char message[] = "fleetseal-device-v1|confirm|0123456789abcdef|-|1|00";

static void signer_init(struct signer *s, EVP_PKEY *key)
{
    uint8_t *at = s->spki;
    assert_non_null(key);
    s->key = key;
    int len = i2d_PUBKEY(key, &at);
    assert_true(len > 0);
    s->spki_len = (size_t)len;
    s->signature_len = sizeof s->signature;
    const EVP_MD *digest = EVP_PKEY_is_a(key, "ED25519") ? NULL : EVP_sha256();
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    assert_int_equal(EVP_DigestSignInit(ctx, NULL, digest, NULL, key), 1);
    assert_int_equal(EVP_DigestSign(ctx, s->signature, &s->signature_len, (const uint8_t *)message,
                                    sizeof message),
                     1);
    EVP_MD_CTX_free(ctx);
}

static err_t verify(const struct signer *key, const struct signer *signature)
{
    return signature_verify(span_of(key->spki, key->spki_len), span_of(message, sizeof message),
                            span_of(signature->signature, signature->signature_len));
}

static void test_each_kind_by_each_other(void **state)
{
    (void)state;
    struct signer s[6];
    signer_init(&s[0], EVP_EC_gen("P-256"));
    signer_init(&s[1], EVP_EC_gen("P-256"));
    signer_init(&s[2], EVP_EC_gen("P-256"));
    signer_init(&s[3], EVP_EC_gen("P-384"));
    signer_init(&s[4], EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"));
    signer_init(&s[5], EVP_RSA_gen(2048));
    for (size_t round = 0; round < 3; round++) {
        for (size_t key = 0; key < 6; key++) {
            for (size_t by = 0; by < 6; by++) {
                assert_err(verify(&s[key], &s[by]), key == by ? ERR_OK : ERR_UNAUTHORIZED);
            }
        }
    }
    for (size_t i = 0; i < 6; i++) {
        EVP_PKEY_free(s[i].key);
    }
}

static void test_changed_bytes_are_refused(void **state)
{
    (void)state;
    struct signer s;
    signer_init(&s, EVP_EC_gen("P-256"));
    const struct span text = span_of(message, sizeof message);
    for (size_t i = 0; i < s.signature_len; i++) {
        s.signature[i] ^= 1;
        assert_int_not_equal(verify(&s, &s), ERR_OK);
        s.signature[i] ^= 1;
        assert_int_not_equal(
            signature_verify(span_of(s.spki, s.spki_len), text, span_of(s.signature, i)), ERR_OK);
    }
    assert_int_not_equal(signature_verify(span_of(s.spki, s.spki_len), span_str("other"),
                                          span_of(s.signature, s.signature_len)),
                         ERR_OK);
    assert_ok(verify(&s, &s));
    /* A point off the curve, then the good key again: nothing of the bad one stays. */
    uint8_t good = s.spki[90];
    s.spki[90] ^= 1;
    assert_int_not_equal(verify(&s, &s), ERR_OK);
    s.spki[90] = good;
    assert_ok(verify(&s, &s));
    assert_err(signature_verify(span_str("not a key"), text, span_of(s.signature, s.signature_len)),
               ERR_INVALID);
    EVP_PKEY_free(s.key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_kind_by_each_other),
        cmocka_unit_test(test_changed_bytes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
