#include "common/id.h"
#include "test_support.h"

static void test_uuid_v5_matches_rfc_9562_appendix(void **state)
{
    (void)state;
    struct uuid dns;
    assert_ok(uuid_parse(span_str("6ba7b810-9dad-11d1-80b4-00c04fd430c8"), &dns));
    struct uuid u = uuid_v5_of(&dns, span_str("www.example.com"));
    char text[UUID_TEXT_SIZE];
    uuid_format(&u, text);
    assert_string_equal(text, "2ed6657d-e927-568b-95e1-2665a8aea6a2");
}

static void test_uuid_v5_parts_are_unambiguous(void **state)
{
    (void)state;
    struct uuid ab_c = UUID_V5(span_str("ab"), span_str("c"));
    struct uuid a_bc = UUID_V5(span_str("a"), span_str("bc"));
    struct uuid abc = UUID_V5(span_str("abc"));
    struct uuid abc_empty = UUID_V5(span_str("abc"), span_str(""));
    assert_false(uuid_eq(&ab_c, &a_bc));
    assert_false(uuid_eq(&ab_c, &abc));
    assert_false(uuid_eq(&abc, &abc_empty));
    struct uuid again = UUID_V5(span_str("ab"), span_str("c"));
    assert_true(uuid_eq(&ab_c, &again));
}

/* Derived ids are a contract with everyone who stored one: this value must never change. */
static void test_uuid_v5_is_frozen(void **state)
{
    (void)state;
    struct uuid u = UUID_V5(span_str("A1B2C3D4E5F60718"), span_str("auto"));
    char text[UUID_TEXT_SIZE];
    uuid_format(&u, text);
    assert_string_equal(text, "8a441ed6-1b42-5641-a042-3f30d19fa15d");
}

static void test_uuid_v4_is_random_and_marked(void **state)
{
    (void)state;
    struct uuid a = uuid_v4();
    struct uuid b = uuid_v4();
    assert_false(uuid_eq(&a, &b));
    assert_int_equal(a.bytes[6] >> 4, 4);
    assert_int_equal(a.bytes[8] >> 6, 2);
    assert_false(uuid_is_zero(&a));
    assert_true(uuid_is_zero(&(struct uuid){{0}}));
}

static void test_uuid_parse_refuses(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "2ed6657de927568b95e12665a8aea6a2",
        "2ed6657d-e927-568b-95e1-2665a8aea6a",
        "2ed6657d-e927-568b-95e1-2665a8aea6a22",
        "2ed6657d-e927-568b-95e1-2665a8aea6ag",
        "2ed6657d-e927-568b-95e12-665a8aea6a2",
        "{2ed6657d-e927-568b-95e1-2665a8aea6a}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct uuid u = {{7}};
        assert_err(uuid_parse(span_str(bad[i]), &u), ERR_INVALID);
        assert_int_equal(u.bytes[0], 7);
    }
    struct uuid lower;
    struct uuid upper;
    assert_ok(uuid_parse(span_str("2ed6657d-e927-568b-95e1-2665a8aea6a2"), &lower));
    assert_ok(uuid_parse(span_str("2ED6657D-E927-568B-95E1-2665A8AEA6A2"), &upper));
    assert_true(uuid_eq(&lower, &upper));
}

static void test_hex(void **state)
{
    (void)state;
    uint8_t out[4];
    size_t len = 99;
    assert_err(hex_decode(span_str("abc"), out, sizeof out, &len), ERR_INVALID);
    assert_err(hex_decode(span_str("zz"), out, sizeof out, &len), ERR_INVALID);
    assert_err(hex_decode(span_str("0x12"), out, sizeof out, &len), ERR_INVALID);
    assert_err(hex_decode(span_str("0102030405"), out, sizeof out, &len), ERR_TOO_LARGE);
    assert_int_equal(len, 99);
    assert_ok(hex_decode(span_str(""), out, sizeof out, &len));
    assert_int_equal(len, 0);
    assert_ok(hex_decode(span_str("00fFAa"), out, sizeof out, &len));
    CLEANUP_BUF struct buf text = BUF_INIT(6);
    assert_ok(hex_append(&text, span_of(out, len)));
    assert_span(buf_span(&text), "00ffaa");
    assert_err(hex_append(&text, span_of(out, 1)), ERR_TOO_LARGE);
    assert_span(buf_span(&text), "00ffaa");
    for (unsigned c = 0; c < 256; c++) {
        const uint8_t pairs[2][2] = {{(uint8_t)c, '0'}, {'0', (uint8_t)c}};
        bool good = c != 0 && strchr("0123456789abcdefABCDEF", (int)c) != NULL;
        for (size_t i = 0; i < 2; i++) {
            assert_err(hex_decode(span_of(pairs[i], 2), out, sizeof out, &len),
                       good ? ERR_OK : ERR_INVALID);
        }
    }
}

static void test_base64_rfc_4648_vectors(void **state)
{
    (void)state;
    static const struct {
        const char *plain, *standard, *url;
    } rows[] = {
        {"", "", ""},
        {"f", "Zg==", "Zg"},
        {"fo", "Zm8=", "Zm8"},
        {"foo", "Zm9v", "Zm9v"},
        {"foob", "Zm9vYg==", "Zm9vYg"},
        {"fooba", "Zm9vYmE=", "Zm9vYmE"},
        {"foobar", "Zm9vYmFy", "Zm9vYmFy"},
        {"\xfb\xff\xfe", "+//+", "-__-"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        CLEANUP_BUF struct buf standard = BUF_INIT(64);
        CLEANUP_BUF struct buf url = BUF_INIT(64);
        assert_ok(base64_append(&standard, span_str(rows[i].plain), BASE64_STANDARD));
        assert_ok(base64_append(&url, span_str(rows[i].plain), BASE64_URL));
        assert_span(buf_span(&standard), rows[i].standard);
        assert_span(buf_span(&url), rows[i].url);
        uint8_t out[8];
        size_t len = 99;
        assert_ok(base64_decode(buf_span(&standard), BASE64_STANDARD, out, sizeof out, &len));
        assert_span(span_of(out, len), rows[i].plain);
        assert_ok(base64_decode(buf_span(&url), BASE64_URL, out, sizeof out, &len));
        assert_span(span_of(out, len), rows[i].plain);
    }
}

static void test_base64_refuses_other_spellings(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum base64_form form;
    } bad[] = {
        {"Zg", BASE64_STANDARD},
        {"Zg=", BASE64_STANDARD},
        {"Z", BASE64_URL},
        {"Zg==", BASE64_URL},
        {"Zh==", BASE64_STANDARD},
        {"Zm9=", BASE64_STANDARD},
        {"Zh", BASE64_URL},
        {"Zm 9", BASE64_STANDARD},
        {"Zm9v\n", BASE64_STANDARD},
        {"-__-", BASE64_STANDARD},
        {"+//+", BASE64_URL},
        {"====", BASE64_STANDARD},
        {"Zg==Zg==", BASE64_STANDARD},
        {"Z===", BASE64_STANDARD},
        {"Zg=v", BASE64_STANDARD},
        {"Zm9vZ", BASE64_URL},
        {"Zm9\xc3", BASE64_STANDARD},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        uint8_t out[16];
        size_t len = 99;
        assert_err(base64_decode(span_str(bad[i].text), bad[i].form, out, sizeof out, &len),
                   ERR_INVALID);
        assert_int_equal(len, 99);
    }
    uint8_t out[2];
    size_t len = 99;
    assert_err(base64_decode(span_str("Zm9v"), BASE64_STANDARD, out, 2, &len), ERR_TOO_LARGE);
}

static void test_base64_survives_every_length(void **state)
{
    (void)state;
    uint8_t bytes[100];
    uint8_t back[100];
    random_bytes(bytes, sizeof bytes);
    for (size_t n = 0; n <= sizeof bytes; n++) {
        CLEANUP_BUF struct buf text = BUF_INIT(BASE64_LEN(sizeof bytes));
        size_t len = 0;
        assert_ok(base64_append(&text, span_of(bytes, n), BASE64_STANDARD));
        assert_ok(base64_decode(buf_span(&text), BASE64_STANDARD, back, n, &len));
        assert_int_equal(len, n);
        assert_memory_equal(back, bytes, n);
    }
}

static void test_constant_time_eq(void **state)
{
    (void)state;
    assert_true(constant_time_eq(span_str("secret"), span_str("secret")));
    assert_true(constant_time_eq(span_str(""), span_str("")));
    assert_false(constant_time_eq(span_str("secret"), span_str("secreT")));
    assert_false(constant_time_eq(span_str("secret"), span_str("secret1")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_uuid_v5_matches_rfc_9562_appendix),
        cmocka_unit_test(test_uuid_v5_parts_are_unambiguous),
        cmocka_unit_test(test_uuid_v5_is_frozen),
        cmocka_unit_test(test_uuid_v4_is_random_and_marked),
        cmocka_unit_test(test_uuid_parse_refuses),
        cmocka_unit_test(test_hex),
        cmocka_unit_test(test_base64_rfc_4648_vectors),
        cmocka_unit_test(test_base64_refuses_other_spellings),
        cmocka_unit_test(test_base64_survives_every_length),
        cmocka_unit_test(test_constant_time_eq),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
