#include "common/json.h"

#include <stdio.h>

#include "test_support.h"

static err_t decode(const char *text, cJSON **ret, struct fault *fault)
{
    return json_decode(span_str(text), &JSON_LIMITS_DEFAULT, ret, fault);
}

/* json_read is the same reader, with another place for the tree. */
static void assert_read_refuses_too(struct span text, const struct json_limits *limits, err_t e)
{
    CLEANUP(arena_deinit) struct arena arena = {0};
    const cJSON *tree = NULL;
    assert_err(json_read(text, limits, &arena, &tree, NULL), e);
    assert_null(tree);
}

/* Every node of both, and the order of their children. */
static void assert_same_tree(const cJSON *a, const cJSON *b)
{
    assert_int_equal(a->type & 0xff, b->type & 0xff);
    assert_int_equal(a->valueint, b->valueint);
    assert_memory_equal(&a->valuedouble, &b->valuedouble, sizeof a->valuedouble);
    assert_int_equal(a->string != NULL, b->string != NULL);
    assert_string_equal(a->string ? a->string : "", b->string ? b->string : "");
    assert_string_equal(a->valuestring ? a->valuestring : "", b->valuestring ? b->valuestring : "");
    assert_int_equal(cJSON_GetArraySize(a), cJSON_GetArraySize(b));
    const cJSON *other = b->child;
    for (const cJSON *child = a->child; child != NULL; child = child->next, other = other->next) {
        assert_same_tree(child, other);
        assert_ptr_equal(child->next == NULL ? a->child->prev : child->next->prev, child);
    }
}

static void test_read_gives_the_tree_of_decode(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "null",
        " [ true , false , null ] ",
        "{\"a\":{\"b\":[[],{},[1,[2]]]},\"\":\"\"}",
        "[0,-0,7,-7,12345678901234,123456789012345,1234567890123456,-9007199254740991]",
        "[0.5,-2.25,1e2,1E-2,-0.0,2147483647,2147483648,-2147483648,-2147483649,3e0]",
        "\"\\\" \\\\ \\/ \\b\\f\\n\\r\\t\"",
        "\"\\u0041\\u00e9\\u07ff\\u0800\\uffff\\ud800\\udc00\\udbff\\udfff\\uD83D\\uDE00!\"",
        "{\"\\u006b\\n\":\"caf\xc3\xa9 \xf0\x9f\x98\x80 plain\"}",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        CLEANUP(arena_deinit) struct arena arena = {0};
        CLEANUP_JSON cJSON *decoded = NULL;
        const cJSON *read = NULL;
        assert_ok(decode(texts[i], &decoded, NULL));
        assert_ok(json_read(span_str(texts[i]), &JSON_LIMITS_DEFAULT, &arena, &read, NULL));
        assert_same_tree(read, decoded);
    }
}

static void test_refuses_what_is_not_json(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        " ",
        "{",
        "[1,2",
        "[1,]",
        "{\"a\":1,}",
        "{\"a\" 1}",
        "{a:1}",
        "{'a':1}",
        "{\"a\":1}}",
        "{} {}",
        "{}x",
        "[1 2]",
        "nul",
        "True",
        "NaN",
        "Infinity",
        "-",
        "+1",
        "01",
        "-01",
        "1.",
        ".5",
        "1e",
        "1e+",
        "0x10",
        "1e400",
        "-1e400",
        "2e16",
        "-90071992547409920.5",
        "9007199254740992",
        "-9007199254740993",
        "12345678901234567890123456789012345678901234567890123456789012345",
        "\"open",
        "\"\\",
        "\"\\u12\"",
        "\"\\u12g4\"",
        "\"\\x41\"",
        "\"a\nb\"",
        "\"\\u0000\"",
        "\"\\ud800\"",
        "\"\\ud800\\u0041\"",
        "\"\\udc00\"",
        "\"\xff\"",
        "\"\xed\xa0\x80\"",
        "\xef\xbb\xbf{}",
        "{\"a\":1,\"a\":2}",
        "{\"a\":1,\"b\":2,\"\\u0061\":3}",
        "[{\"x\":{\"k\":1,\"k\":1}}]",
        "/* c */ {}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cJSON *tree = NULL;
        struct fault fault = {0};
        err_t e = decode(bad[i], &tree, &fault);
        if (e != ERR_INVALID) {
            print_error("accepted: %s\n", bad[i]);
        }
        assert_err(e, ERR_INVALID);
        assert_null(tree);
        assert_string_equal(fault.code, "json_invalid");
        assert_true(fault.text[0] != 0);
        assert_read_refuses_too(span_str(bad[i]), &JSON_LIMITS_DEFAULT, ERR_INVALID);
    }
}

static void test_refuses_a_nul_byte(void **state)
{
    (void)state;
    cJSON *tree = NULL;
    assert_err(json_decode(span_of("{}\0", 3), &JSON_LIMITS_DEFAULT, &tree, NULL), ERR_INVALID);
    assert_err(json_decode(span_of("\"a\0b\"", 5), &JSON_LIMITS_DEFAULT, &tree, NULL), ERR_INVALID);
    assert_err(json_decode(span_of(NULL, 0), &JSON_LIMITS_DEFAULT, &tree, NULL), ERR_INVALID);
    assert_read_refuses_too(span_of("\"a\0b\"", 5), &JSON_LIMITS_DEFAULT, ERR_INVALID);
    assert_read_refuses_too(span_of(NULL, 0), &JSON_LIMITS_DEFAULT, ERR_INVALID);
}

/* Strings are read eight bytes at a time: each byte value at each place of them, beside each kind
 * of neighbour. */
static void test_each_byte_at_each_place_of_a_string(void **state)
{
    (void)state;
    static const char *const fillings[] = {"aaaaaaaaaaaaaaaaaaa", "!!!!!!!!!!!!!!!!!!!",
                                           "~~~~~~~~~~~~~~~~~~~",
                                           "\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f"
                                           "\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f"
                                           "\x7f\x7f\x7f"};
    for (size_t filling = 0; filling < sizeof fillings / sizeof fillings[0]; filling++) {
        for (size_t at = 1; at < 18; at++) {
            for (unsigned byte = 1; byte < 256; byte++) {
                char text[22] = "\"";
                memcpy(text + 1, fillings[filling], 19);
                text[at] = (char)byte;
                text[20] = '"';
                bool good = byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\';
                CLEANUP_JSON cJSON *tree = NULL;
                assert_err(decode(text, &tree, NULL), good ? ERR_OK : ERR_INVALID);
                if (good) {
                    assert_memory_equal(tree->valuestring, text + 1, 19);
                    assert_int_equal(tree->valuestring[19], 0);
                }
            }
        }
    }
}

static void test_limits_are_exact(void **state)
{
    (void)state;
    struct json_limits limits = {.max_bytes = 7, .max_depth = 2, .max_values = 3};
    cJSON *tree = NULL;
    struct fault fault = {0};
    assert_err(json_decode(span_str("[[[]]]"), &limits, &tree, &fault), ERR_TOO_LARGE);
    assert_string_equal(fault.code, "json_too_large");
    assert_err(json_decode(span_str("[1,2,3]"), &limits, &tree, &fault), ERR_TOO_LARGE);
    assert_err(json_decode(span_str("[1,  22]"), &limits, &tree, &fault), ERR_TOO_LARGE);
    assert_ok(json_decode(span_str("[[ 1 ]]"), &limits, &tree, &fault));
    assert_read_refuses_too(span_str("[[[]]]"), &limits, ERR_TOO_LARGE);
    assert_read_refuses_too(span_str("[1,2,3]"), &limits, ERR_TOO_LARGE);
    assert_read_refuses_too(span_str("[1,  22]"), &limits, ERR_TOO_LARGE);
    cJSON_Delete(tree);
}

/* A tree this deep would exhaust the stack of anyone who recurses into it. */
static void test_deep_nesting_costs_nothing(void **state)
{
    (void)state;
    CLEANUP_BUF struct buf deep = BUF_INIT(1 << 21);
    for (int i = 0; i < 200000; i++) {
        assert_ok(buf_append_str(&deep, "[{\"a\":"));
    }
    struct json_limits limits = {.max_bytes = 1 << 21, .max_depth = 32, .max_values = 1 << 20};
    cJSON *tree = NULL;
    assert_err(json_decode(buf_span(&deep), &limits, &tree, NULL), ERR_TOO_LARGE);
}

static void test_many_members_are_compared_quickly(void **state)
{
    (void)state;
    CLEANUP_BUF struct buf text = BUF_INIT(1 << 20);
    for (int i = 0; i < 50000; i++) {
        assert_ok(buf_printf(&text, "%c\"k%d\":0", i == 0 ? '{' : ',', i));
    }
    assert_ok(buf_append_str(&text, ",\"k25000\":1}"));
    struct json_limits limits = {.max_bytes = 1 << 20, .max_depth = 1, .max_values = 100000};
    cJSON *tree = NULL;
    struct fault fault;
    assert_err(json_decode(buf_span(&text), &limits, &tree, &fault), ERR_INVALID);
    assert_string_equal(fault.field, "k25000");
}

static void test_what_is_accepted_comes_back_the_same(void **state)
{
    (void)state;
    static const char *const same[] = {
        "{}",
        "[]",
        "null",
        "true",
        "0",
        "-1",
        "9007199254740991",
        "-9007199254740991",
        "0.25",
        "\"\"",
        "\"caf\xc3\xa9 \xf0\x9f\x98\x80 \\\" \\\\ / \\n\"",
        "{\"b\":[1,{\"a\":null}],\"a\":false}",
    };
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        CLEANUP_JSON cJSON *tree = NULL;
        CLEANUP_BUF struct buf out = BUF_INIT(1024);
        assert_ok(decode(same[i], &tree, NULL));
        assert_ok(json_encode(tree, &out));
        assert_span(buf_span(&out), same[i]);
    }
    CLEANUP_JSON cJSON *tree = NULL;
    CLEANUP_BUF struct buf out = BUF_INIT(1024);
    assert_ok(decode(" { \"a\" : [ 1e2 , \"\\ud83d\\ude00\\u0041\\/\" ] } \r\n\t", &tree, NULL));
    assert_ok(json_encode(tree, &out));
    assert_span(buf_span(&out), "{\"a\":[100,\"\xf0\x9f\x98\x80\x41/\"]}");
    CLEANUP_BUF struct buf small = BUF_INIT(8);
    assert_err(json_encode(tree, &small), ERR_TOO_LARGE);
}

static void test_getters_name_the_path(void **state)
{
    (void)state;
    CLEANUP_JSON cJSON *tree = NULL;
    assert_ok(decode("{\"a\":{\"s\":\"x\",\"n\":7,\"f\":1.5,\"t\":true},\"z\":null}", &tree, NULL));
    struct fault fault = {0};
    const char *text = NULL;
    int64_t number = 0;
    bool flag = false;
    assert_ok(json_get_string(tree, "a.s", &text, &fault));
    assert_string_equal(text, "x");
    assert_ok(json_get_int(tree, "a.n", 7, 7, &number, &fault));
    assert_int_equal(number, 7);
    assert_ok(json_get_bool(tree, "a.t", &flag, &fault));
    assert_true(flag);
    assert_err(json_get_string(tree, "a.n", &text, &fault), ERR_INVALID);
    assert_string_equal(fault.field, "a.n");
    assert_string_equal(fault.text, "must be a string, is a number");
    assert_err(json_get_string(tree, "a.missing", &text, &fault), ERR_INVALID);
    assert_string_equal(fault.text, "must be a string, is missing");
    assert_err(json_get_string(tree, "a.s.deeper", &text, &fault), ERR_INVALID);
    assert_err(json_get_int(tree, "a.n", 8, 10, &number, &fault), ERR_INVALID);
    assert_string_equal(fault.text, "must be a whole number from 8 to 10");
    assert_err(json_get_int(tree, "a.f", 0, 10, &number, &fault), ERR_INVALID);
    assert_err(json_get_bool(tree, "z", &flag, &fault), ERR_INVALID);
    assert_string_equal(fault.text, "must be true or false, is null");
}

/* What stands where a value should is not called a number. */
static void test_missing_values_are_told_as_such(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } rows[] = {
        {"{\"a\":}", "a value is expected at byte 5"},
        {"[1,]", "a value is expected at byte 3"},
        {"\xef\xbb\xbf{}", "a value is expected at byte 0"},
        {"NaN", "a value is expected at byte 0"},
        {"-x", "not a JSON number at byte 1"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        cJSON *tree = NULL;
        struct fault fault = {0};
        assert_err(decode(rows[i].text, &tree, &fault), ERR_INVALID);
        assert_string_equal(fault.text, rows[i].says);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_missing_values_are_told_as_such),
        cmocka_unit_test(test_refuses_what_is_not_json),
        cmocka_unit_test(test_refuses_a_nul_byte),
        cmocka_unit_test(test_each_byte_at_each_place_of_a_string),
        cmocka_unit_test(test_limits_are_exact),
        cmocka_unit_test(test_deep_nesting_costs_nothing),
        cmocka_unit_test(test_many_members_are_compared_quickly),
        cmocka_unit_test(test_what_is_accepted_comes_back_the_same),
        cmocka_unit_test(test_read_gives_the_tree_of_decode),
        cmocka_unit_test(test_getters_name_the_path),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
