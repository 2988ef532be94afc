/*
 * Whitelists as CSV. What would break a user: a line that is skipped without a word, a list cut off
 * at its limit, a key that is stored in a form no device will match.
 */
#include "test_support.h"

#include <stdio.h>

#include "whitelist_csv.h"

/* A P-256 public key info. */
#define KEY                                                                                        \
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpZP40Li/"        \
    "hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q=="

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *field;
    } cases[] = {
        {"", "line 1"},
        {"\n\r\n  \n", "line 1"},
        {"RoTPublicUID,PublicKey\n", "line 1"},
        {"0011223344556677\n001122334455667\n", "line 2.RoTPublicUID"},
        {"00112233445566778\n", "line 1.RoTPublicUID"},
        {"001122334455667g\n", "line 1.RoTPublicUID"},
        {"0011223344556677\nRoTPublicUID\n", "line 2.RoTPublicUID"}, /* a header only at the top */
        {"0011223344556677,AAAA\n", "line 1.PublicKey"},
        {"0011223344556677," KEY "AA\n", "line 1.PublicKey"},
        {"0011223344556677,,x\n", "line 1"},
        {"0011223344556677\n," KEY "\n", "line 2.RoTPublicUID"}, /* a key without its device */
        {"0011223344556677\n,,x\n", "line 2"},
        {"\xef\xbb\xbf", "line 1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CLEANUP(whitelist_entries_deinit) struct whitelist_entries e = {0};
        struct fault fault = {0};
        assert_err(whitelist_csv_read(span_str(cases[i].text), &e, &fault), ERR_INVALID);
        assert_string_equal(fault.field, cases[i].field);
    }
}

static void test_read(void **state)
{
    (void)state;
    static const char text[] = "rotpublicuid,publickey\r\n"
                               "0011223344556677\r\n"
                               "\r\n"
                               " AABBCCDDEEFF0011 , " KEY " \n"
                               "\"0011223344556688\",\n"
                               "0011223344556699"; /* no end of line at the end */
    CLEANUP(whitelist_entries_deinit) struct whitelist_entries e = {0};
    struct fault fault = {0};
    assert_ok(whitelist_csv_read(span_str(text), &e, &fault));
    assert_int_equal(e.count, 4);
    assert_string_equal(e.items[0].uid, "0011223344556677");
    assert_int_equal(e.items[0].key_len, 0);
    assert_string_equal(e.items[1].uid, "aabbccddeeff0011");
    assert_int_equal(e.items[1].key_len, 91);
    assert_string_equal(e.items[2].uid, "0011223344556688");
    assert_string_equal(e.items[3].uid, "0011223344556699");
}

static void test_a_spreadsheets_mark_at_the_start(void **state)
{
    (void)state;
    static const char *const texts[] = {"\xef\xbb\xbfRoTPublicUID\r\n0011223344556677\r\n",
                                        "\xef\xbb\xbf"
                                        "0011223344556677"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        CLEANUP(whitelist_entries_deinit) struct whitelist_entries e = {0};
        struct fault fault = {0};
        assert_ok(whitelist_csv_read(span_str(texts[i]), &e, &fault));
        assert_int_equal(e.count, 1);
        assert_string_equal(e.items[0].uid, "0011223344556677");
    }
}

static void test_limit(void **state)
{
    (void)state;
    CLEANUP_BUF struct buf text = BUF_INIT((size_t)4 * 1024 * 1024);
    for (int i = 0; i <= WHITELIST_LINES_MAX; i++) {
        (void)buf_printf(&text, "%016d\n", i);
    }
    assert_true(buf_ok(&text));
    CLEANUP(whitelist_entries_deinit) struct whitelist_entries e = {0};
    struct fault fault = {0};
    assert_err(whitelist_csv_read(buf_span(&text), &e, &fault), ERR_INVALID);
    assert_string_equal(fault.field, "line 100001");
    assert_int_equal(e.count, WHITELIST_LINES_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_read),
        cmocka_unit_test(test_a_spreadsheets_mark_at_the_start),
        cmocka_unit_test(test_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
