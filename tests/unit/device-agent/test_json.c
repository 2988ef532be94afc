#include "device/json.h"
#include "test_support.h"

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        err_t expected;
    } rows[] = {
        {"", ERR_INVALID},
        {" ", ERR_INVALID},
        {"{", ERR_INVALID},
        {"}", ERR_INVALID},
        {"{\"a\"}", ERR_INVALID},
        {"{\"a\":}", ERR_INVALID},
        {"{\"a\":1,}", ERR_INVALID},
        {"{a:1}", ERR_INVALID},
        {"{'a':1}", ERR_INVALID},
        {"{\"a\":1 \"b\":2}", ERR_INVALID},
        {"{\"a\":1,\"a\":2}", ERR_INVALID},
        {"[1,]", ERR_INVALID},
        {"[,1]", ERR_INVALID},
        {"[1", ERR_INVALID},
        {"[1]]", ERR_INVALID},
        {"1 2", ERR_INVALID},
        {"01", ERR_INVALID},
        {"-", ERR_INVALID},
        {"+1", ERR_INVALID},
        {".5", ERR_INVALID},
        {"1.", ERR_INVALID},
        {"1e", ERR_INVALID},
        {"0x10", ERR_INVALID},
        {"NaN", ERR_INVALID},
        {"tru", ERR_INVALID},
        {"True", ERR_INVALID},
        {"nul", ERR_INVALID},
        {"\"a", ERR_INVALID},
        {"\"\n\"", ERR_INVALID},
        {"\"\\x\"", ERR_INVALID},
        {"\"\\u12\"", ERR_INVALID},
        {"\"\\u12g4\"", ERR_INVALID},
        {"\"\\ud800\"", ERR_INVALID},
        {"\"\\udc00\"", ERR_INVALID},
        {"\"\\ud800\\u0041\"", ERR_INVALID},
        {"\"\xff\"", ERR_INVALID},
        {"\"\xc3\"", ERR_INVALID},
        {"\"\\", ERR_INVALID},
        {"// no\n1", ERR_INVALID},
        {"\xef\xbb\xbf{}", ERR_INVALID},
        {"[[[[[[[[[1]]]]]]]]]", ERR_TOO_LARGE},
    };
    struct device_json doc;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        err_t err = device_json_parse(&doc, span_str(rows[i].text));
        if (err != rows[i].expected) {
            print_error("row %zu: %s\n", i, rows[i].text);
        }
        assert_err(err, rows[i].expected);
    }
    CLEANUP_BUF struct buf many = BUF_INIT(4096);
    assert_ok(buf_append_str(&many, "[0"));
    for (int i = 0; i < DEVICE_JSON_VALUES; i++) {
        assert_ok(buf_append_str(&many, ",0"));
    }
    assert_ok(buf_append_str(&many, "]"));
    assert_err(device_json_parse(&doc, buf_span(&many)), ERR_TOO_LARGE);
    assert_err(device_json_parse(&doc, span_of("\"a\0b\"", 5)), ERR_INVALID);
}

static void test_accepted(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "0",    "-0", "1.5e+10", " null ",           "true",
        "\"\"", "[]", "{}",      "[[[[[[[[]]]]]]]]", "{\"\":{\"a\":[1,{\"b\":null}]}}"};
    struct device_json doc;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_ok(device_json_parse(&doc, span_str(rows[i])));
        assert_int_equal(doc.values[0].next, doc.count);
    }
}

static void test_strings(void **state)
{
    (void)state;
    static const struct {
        const char *text, *expected;
    } rows[] = {
        {"\"plain\"", "plain"},
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t"},
        {"\"\\u0041\\u00e9\\u20ac\\ud83d\\ude00\"", "A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"},
        {"\"\xc3\xa9-\\u00E9\"", "\xc3\xa9-\xc3\xa9"},
        {"\"x\\u0000\"", NULL}, /* no C string may hide its end */
        {"\"0123456789abcdef0123456789abcde\"", "0123456789abcdef0123456789abcde"},
        {"\"0123456789abcdef0123456789abcdef\"", NULL}, /* one too long */
        {"5", NULL},
        {"[\"a\"]", NULL},
    };
    struct device_json doc;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char out[32] = "untouched";
        assert_ok(device_json_parse(&doc, span_str(rows[i].text)));
        err_t err = device_json_text(&doc.values[0], out, sizeof out);
        assert_int_equal(err == ERR_OK, rows[i].expected != NULL);
        assert_string_equal(out, rows[i].expected != NULL ? rows[i].expected : "untouched");
    }
    assert_err(device_json_text(NULL, (char[4]){0}, 4), ERR_INVALID);
}

static void test_integers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool ok;
        int64_t value;
    } rows[] = {
        {"0", true, 0},
        {"-100", true, -100},
        {"100", true, 100},
        {"101", false, 0},
        {"-101", false, 0},
        {"1.0", false, 0},
        {"1e1", false, 0},
        {"\"1\"", false, 0},
        {"true", false, 0},
        {"99999999999999999999999", false, 0},
        {"-9223372036854775808", false, 0},
    };
    struct device_json doc;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int64_t value = 7;
        assert_ok(device_json_parse(&doc, span_str(rows[i].text)));
        err_t err = device_json_integer(&doc.values[0], -100, 100, &value);
        assert_err(err, rows[i].ok ? ERR_OK : ERR_INVALID);
        assert_int_equal(value, rows[i].ok ? rows[i].value : 7);
    }
}

static void test_members(void **state)
{
    (void)state;
    struct device_json doc;
    assert_ok(device_json_parse(
        &doc, span_str("{\"deep\":{\"b\":[1,[2,3],4]},\"b\":\"outer\",\"n\":null,\"z\":true}")));
    const struct device_json_value *root = &doc.values[0];
    assert_null(device_json_member(&doc, root, "absent"));
    assert_null(device_json_member(&doc, root, "n"));
    assert_null(device_json_member(&doc, NULL, "b"));
    assert_null(device_json_member(&doc, device_json_member(&doc, root, "z"), "b"));
    assert_span(device_json_member(&doc, root, "b")->text, "outer");
    assert_int_equal(device_json_member(&doc, root, "z")->type, DEVICE_JSON_TRUE);
    const struct device_json_value *list =
        device_json_member(&doc, device_json_member(&doc, root, "deep"), "b");
    assert_int_equal(list->children, 3);
    assert_span(device_json_element(&doc, list, 1)->text, "[2,3]");
    assert_span(device_json_element(&doc, list, 2)->text, "4");
    assert_null(device_json_element(&doc, list, 3));
    assert_null(device_json_element(&doc, root, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused), cmocka_unit_test(test_accepted),
        cmocka_unit_test(test_strings), cmocka_unit_test(test_integers),
        cmocka_unit_test(test_members),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
