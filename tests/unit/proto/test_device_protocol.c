#include "proto/device_protocol.h"
#include "test_support.h"

#define UID       "039058c6f2c0cb49"
#define OPERATION "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
#define EMPTY_SHA "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define HELLO_SHA "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"

static void test_uid(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "039058c6f2c0cb4",
                                      "039058c6f2c0cb490",
                                      "039058C6F2C0CB49",
                                      "039058c6f2c0cb4g",
                                      "0x9058c6f2c0cb49",
                                      " 39058c6f2c0cb49"};
    uint8_t uid[DEVICE_UID_BYTES] = {0};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_err(device_uid_parse(span_str(bad[i]), uid), ERR_INVALID);
        assert_int_equal(uid[0], 0);
    }
    char text[DEVICE_UID_SIZE];
    device_uid_of_key(span_of("\x01\x02\x03", 3), uid);
    device_uid_text(uid, text);
    assert_string_equal(text, UID);
    uint8_t again[DEVICE_UID_BYTES];
    assert_ok(device_uid_parse(span_str(UID), again));
    assert_memory_equal(uid, again, sizeof uid);
}

static void test_signed_bytes_refused(void **state)
{
    (void)state;
    static const struct {
        const char *uid, *operation;
    } rows[] = {
        {"", ""},
        {"039058C6F2C0CB49", ""},
        {UID "|", ""},
        {UID, "-"},
        {UID, "6BA7B810-9DAD-11D1-80B4-00C04FD430C8"},
        {UID, "6ba7b810-9dad-11d1-80b4-00c04fd430c|"},
        {UID, OPERATION "|1"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct device_message m = {DEVICE_PICKUP, rows[i].uid, rows[i].operation, 1, {NULL, 0}};
        char out[DEVICE_SIGNED_SIZE];
        size_t len = 7;
        assert_err(device_signed_bytes(&m, out, &len), ERR_INVALID);
        assert_int_equal(len, 7);
    }
}

static void test_signed_bytes_golden(void **state)
{
    (void)state;
    static const struct {
        enum device_exchange exchange;
        const char *operation;
        uint64_t sequence;
        const char *payload, *expected;
    } rows[] = {
        {DEVICE_BOOTSTRAP, NULL, 1, "", "fleetseal-device-v1|bootstrap|" UID "|-|1|" EMPTY_SHA},
        {DEVICE_BOOTSTRAP, "", 2, "hello", "fleetseal-device-v1|bootstrap|" UID "|-|2|" HELLO_SHA},
        {DEVICE_PICKUP, OPERATION, 77, "hello",
         "fleetseal-device-v1|pickup|" UID "|" OPERATION "|77|" HELLO_SHA},
        {DEVICE_CONFIRM, OPERATION, UINT64_MAX, "hello",
         "fleetseal-device-v1|confirm|" UID "|" OPERATION "|18446744073709551615|" HELLO_SHA},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct device_message m = {rows[i].exchange, UID, rows[i].operation, rows[i].sequence,
                                   span_str(rows[i].payload)};
        char out[DEVICE_SIGNED_SIZE];
        size_t len = 0;
        assert_ok(device_signed_bytes(&m, out, &len));
        assert_string_equal(out, rows[i].expected);
        assert_int_equal(len, strlen(rows[i].expected));
    }
}

static void test_sequence(void **state)
{
    (void)state;
    static const char *const bad[] = {"",    "0",   "01",   "-1",
                                      "+1",  " 1",  "1 ",   "18446744073709551616",
                                      "1e3", "1.0", "0x10", "99999999999999999999999"};
    uint64_t value = 5;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_err(device_sequence_parse(span_str(bad[i]), &value), ERR_INVALID);
        assert_int_equal(value, 5);
    }
    assert_ok(device_sequence_parse(span_str("18446744073709551615"), &value));
    assert_true(value == UINT64_MAX);
    assert_ok(device_sequence_parse(span_str("1"), &value));
    assert_true(value == 1);
}

static void test_signature_header(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        err_t expected;
    } rows[] = {
        {"", ERR_UNSUPPORTED},       {"v2 1 AAAA", ERR_UNSUPPORTED}, {"v1", ERR_INVALID},
        {"v1 1", ERR_INVALID},       {"v1 1 ", ERR_INVALID},         {"v1 0 AAAA", ERR_INVALID},
        {"v1  1 AAAA", ERR_INVALID}, {"v1 1  AAAA", ERR_INVALID},    {"v1 1 AAAA ", ERR_INVALID},
        {"v1 1 AAA", ERR_INVALID},   {"v1 1 A-_A", ERR_INVALID},
    };
    uint64_t sequence = 0;
    uint8_t signature[DEVICE_SIGNATURE_MAX];
    size_t len = 99;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_err(device_signature_parse(span_str(rows[i].text), &sequence, signature, &len),
                   rows[i].expected);
        assert_int_equal(len, 99);
    }
    char text[DEVICE_SIGNATURE_TEXT_SIZE];
    uint8_t big[DEVICE_SIGNATURE_MAX + 1] = {1};
    assert_err(device_signature_format(1, span_of(big, sizeof big), text), ERR_TOO_LARGE);
    assert_ok(device_signature_format(UINT64_MAX, span_of(big, sizeof big - 1), text));
    assert_ok(device_signature_parse(span_str(text), &sequence, signature, &len));
    assert_true(sequence == UINT64_MAX);
    assert_int_equal(len, DEVICE_SIGNATURE_MAX);
    assert_memory_equal(signature, big, DEVICE_SIGNATURE_MAX);
    assert_ok(device_signature_format(42, span_of("\x30\x06", 2), text));
    assert_string_equal(text, "v1 42 MAY=");
}

static void test_names(void **state)
{
    (void)state;
    assert_true(device_profile_valid(span_str("000000abcdefghijklmnOP")));
    assert_false(device_profile_valid(span_str("000000abcdefghijklmnO")));
    assert_false(device_profile_valid(span_str("000000abcdefghijklmnOPQ")));
    assert_false(device_profile_valid(span_str("000000abcdefghijklmn-P")));
    assert_false(device_profile_valid(span_of("000000abcdefghijklmn\0P", 22)));
    assert_true(device_serial_valid(span_str("SN-0.1_a")));
    assert_true(device_serial_valid(span_str("0123456789abcdef")));
    assert_false(device_serial_valid(span_str("0123456789abcdefg")));
    assert_false(device_serial_valid(span_str("")));
    assert_false(device_serial_valid(span_str("a b")));
    assert_false(device_serial_valid(span_str("a|b")));
    assert_false(device_serial_valid(span_str("caf\xc3\xa9")));
    assert_true(device_fact_valid(span_str("model X (rev. 2)")));
    assert_false(device_fact_valid(span_str("")));
    assert_false(device_fact_valid(span_str("a\nb")));
}

static void test_exchanges(void **state)
{
    (void)state;
    enum device_exchange found = DEVICE_BOOTSTRAP;
    assert_false(device_exchange_find(span_str("Pickup"), &found));
    assert_false(device_exchange_find(span_str(""), &found));
    for (unsigned i = 0; i < DEVICE_EXCHANGE_COUNT; i++) {
        const char *name = device_exchange_name((enum device_exchange)i);
        assert_true(device_exchange_find(span_str(name), &found));
        assert_int_equal(found, i);
        assert_string_equal(device_exchange_path(found) + strlen("/v1/device/"), name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_uid),
        cmocka_unit_test(test_signed_bytes_refused),
        cmocka_unit_test(test_signed_bytes_golden),
        cmocka_unit_test(test_sequence),
        cmocka_unit_test(test_signature_header),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_exchanges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
