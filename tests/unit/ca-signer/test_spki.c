#include "issue_support.h"

#include "common/oid.h"

/* An RSA key info over these numbers; bytes live until the next call. */
static struct span rsa_info(struct span n, struct span e)
{
    static uint8_t buffer[2048];
    struct der_out out = der_out_of(buffer, sizeof buffer);
    size_t mark = der_mark(&out);
    der_put_unsigned(&out, e);
    der_put_unsigned(&out, n);
    der_wrap(&out, DER_SEQUENCE, mark);
    der_put_byte(&out, 0);
    der_wrap(&out, DER_BIT_STRING, mark);
    der_put(&out, span_of("\x30\x0d\x06\x09" OID_RSA_ENCRYPTION "\x05\x00", 15));
    der_wrap(&out, DER_SEQUENCE, mark);
    return der_written(&out);
}

static void expect_refused(struct span der, err_t expected, const char *code)
{
    struct spki key = {.bits = 7};
    struct fault fault = {.code = ""};
    assert_err(spki_parse(der, &key, &fault), expected);
    assert_string_equal(fault.code, code);
    assert_string_equal(fault.field, "public_key");
    assert_int_equal(key.bits, 7);
}

#define E_65537 span_of("\x01\x00\x01", 3)

static void test_rsa_rules(void **state)
{
    (void)state;
    uint8_t n[513];
    struct spki key;
    memset(n, 0xab, sizeof n);
    expect_refused(rsa_info(span_of(n, 255), E_65537), ERR_UNSUPPORTED, "weak_key");
    expect_refused(rsa_info(span_of(n, 513), E_65537), ERR_UNSUPPORTED, "weak_key");
    assert_ok(spki_parse(rsa_info(span_of(n, 512), E_65537), &key, NULL));
    assert_int_equal(key.bits, 4096);
    assert_ok(spki_parse(rsa_info(span_of(n, 256), E_65537), &key, NULL));
    n[0] = 0x7f; /* 2047 bits */
    expect_refused(rsa_info(span_of(n, 256), E_65537), ERR_UNSUPPORTED, "weak_key");
    n[0] = 0xab;
    n[255] = 0xaa; /* even */
    expect_refused(rsa_info(span_of(n, 256), E_65537), ERR_UNSUPPORTED, "weak_key");
    n[255] = 0xab;
    static const struct {
        const char *bytes;
        size_t len;
    } exponents[] = {{"\x00", 1}, {"\x01", 1}, {"\x03", 1}, {"\xff\xff", 2}, {"\x01\x00\x00", 3}};
    for (size_t i = 0; i < sizeof exponents / sizeof exponents[0]; i++) {
        expect_refused(rsa_info(span_of(n, 256), span_of(exponents[i].bytes, exponents[i].len)),
                       ERR_UNSUPPORTED, "weak_key");
    }
    expect_refused(rsa_info(span_of(n, 256), span_of(n, 33)), ERR_UNSUPPORTED, "weak_key");
}

static void test_small_factors(void **state)
{
    (void)state;
    uint8_t n[256];
    struct spki key;
    memset(n, 0, sizeof n);
    n[0] = 0x80; /* 2^2047 + 1 is divisible by 3 */
    n[255] = 1;
    assert_ok(spki_parse(rsa_info(span_of(n, sizeof n), E_65537), &key, NULL));
    struct fault fault = {.text = ""};
    assert_err(spki_check_factors(&key, &fault), ERR_UNSUPPORTED);
    assert_non_null(strstr(fault.text, "divisible by 3"));
    for (unsigned i = 0; i < DEVICE_COUNT; i++) {
        assert_ok(spki_parse(span_of(devices[i].spki, devices[i].spki_len), &key, NULL));
        assert_ok(spki_check_factors(&key, NULL));
    }
}

static void test_other_encodings_of_a_key(void **state)
{
    (void)state;
    EVP_PKEY *key = devices[DEVICE_P256].key;
    CLEANUP(EVP_PKEY_free) EVP_PKEY *compressed = EVP_PKEY_dup(key);
    assert_int_equal(EVP_PKEY_set_utf8_string_param(compressed, "point-format", "compressed"), 1);
    uint8_t *der = NULL;
    int len = i2d_PUBKEY(compressed, &der);
    assert_true(len > 0 && len < 65);
    expect_refused(span_of(der, (size_t)len), ERR_UNSUPPORTED, "unsupported_key");
    OPENSSL_free(der);
    der = NULL;
    CLEANUP(EVP_PKEY_free) EVP_PKEY *spelled_out = EVP_PKEY_dup(key);
    assert_int_equal(EVP_PKEY_set_utf8_string_param(spelled_out, "encoding", "explicit"), 1);
    len = i2d_PUBKEY(spelled_out, &der);
    assert_true(len > 91);
    expect_refused(span_of(der, (size_t)len), ERR_UNSUPPORTED, "unsupported_key");
    OPENSSL_free(der);
}

static void test_malformed(void **state)
{
    (void)state;
    struct span good = span_of(devices[DEVICE_ED25519].spki, devices[DEVICE_ED25519].spki_len);
    uint8_t copy[64];
    for (size_t cut = 0; cut < good.len; cut++) {
        expect_refused(span_of(good.ptr, cut), ERR_INVALID, "invalid_key");
    }
    memcpy(copy, good.ptr, good.len);
    copy[good.len] = 0;
    expect_refused(span_of(copy, good.len + 1), ERR_INVALID, "invalid_key");
    copy[11] = 1; /* an unused bit */
    expect_refused(span_of(copy, good.len), ERR_INVALID, "invalid_key");
    expect_refused(span_of("\x30\x0a\x30\x05\x06\x03\x2b\x65\x70\x03\x01\x00", 12), ERR_INVALID,
                   "invalid_key");
    expect_refused(span_of("\x30\x0b\x30\x05\x06\x03\x2b\x65\x70\x03\x02\x00\x55", 13),
                   ERR_UNSUPPORTED, "unsupported_key");
    static uint8_t large[SPKI_MAX + 1];
    expect_refused(span_of(large, sizeof large), ERR_UNSUPPORTED, "unsupported_key");
    struct span rsa = span_of(devices[DEVICE_RSA].spki, devices[DEVICE_RSA].spki_len);
    uint8_t damaged[600];
    memcpy(damaged, rsa.ptr, rsa.len);
    damaged[24] = DER_SET; /* where RSAPublicKey begins */
    expect_refused(span_of(damaged, rsa.len), ERR_INVALID, "invalid_key");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rsa_rules),
        cmocka_unit_test(test_small_factors),
        cmocka_unit_test(test_other_encodings_of_a_key),
        cmocka_unit_test(test_malformed),
    };
    return cmocka_run_group_tests(tests, issue_setup, issue_teardown);
}
