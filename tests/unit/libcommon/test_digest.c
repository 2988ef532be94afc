#include "common/digest.h"

#include "common/id.h"
#include "test_support.h"

static void assert_digest(struct digest d, const char *hex)
{
    char text[HEX_LEN(DIGEST_LEN) + 1];
    hex_format(digest_span(&d), text);
    assert_string_equal(text, hex);
}

static void test_sha256_vectors(void **state)
{
    (void)state;
    assert_digest(digest_sha256(span_str("")),
                  "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_digest(digest_sha256(span_str("abc")),
                  "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    const struct span parts[] = {span_str("a"), span_str(""), span_str("bc")};
    assert_digest(digest_sha256_parts(parts, 3),
                  "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

static void test_hmac_vectors_of_rfc_4231(void **state)
{
    (void)state;
    assert_digest(digest_hmac_sha256(span_str("Jefe"), span_str("what do ya want for nothing?")),
                  "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    uint8_t key[131];
    memset(key, 0xaa, sizeof key);
    assert_digest(
        digest_hmac_sha256(span_of(key, sizeof key),
                           span_str("Test Using Larger Than Block-Size Key - Hash Key First")),
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    assert_digest(digest_hmac_sha256(span_str(""), span_str("")),
                  "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sha256_vectors),
        cmocka_unit_test(test_hmac_vectors_of_rfc_4231),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
