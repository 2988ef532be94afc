/*
 * Output for people. What would break a user: columns that do not line up, a device name that
 * drives the terminal.
 */
#include "test_support.h"

#include "common/json.h"
#include "show.h"

static const struct column columns[] = {{"UID", "DEVICE"}, {"Sub.State", "STATE"}, {NULL, NULL}};

static cJSON *parse(const char *text)
{
    cJSON *json = NULL;
    assert_ok(json_decode(span_str(text), &JSON_LIMITS_DEFAULT, &json, NULL));
    return json;
}

static void test_table(void **state)
{
    (void)state;
    static const struct {
        const char *rows;
        const char *shown;
    } cases[] = {
        {"[]", ""},
        {"[{\"UID\":\"1\"}]", "DEVICE  STATE\n1       \n"},
        {"[{\"UID\":\"12345678\",\"Sub\":{\"State\":\"a\"}},{\"UID\":\"2\",\"Sub\":{\"State\":7}}]",
         "DEVICE    STATE\n12345678  a\n2         7\n"},
        {"[{\"UID\":\"\\u001b[2J\\n\"}]", "DEVICE  STATE\n?[2J?   \n"},
        {"[{\"UID\":\"\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\"}]",
         "DEVICE   STATE\n\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9  \n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CLEANUP_JSON cJSON *rows = parse(cases[i].rows);
        CLEANUP_BUF struct buf text = BUF_INIT(4096);
        show_table(columns, rows, &text);
        assert_span(buf_span(&text), cases[i].shown);
    }
}

static void test_object(void **state)
{
    (void)state;
    CLEANUP_JSON cJSON *json =
        parse("{\"A\":true,\"B\":{\"C\":[\"x\",\"y\"],\"D\":null},\"E\":\"l1\\nl2\\n\",\"F\":[1]}");
    CLEANUP_BUF struct buf text = BUF_INIT(4096);
    show_object(json, "F", &text);
    assert_span(buf_span(&text), "A                            yes\n"
                                 "B.C                          x, y\n"
                                 "B.D                          \n"
                                 "E:\nl1\nl2\n");
}

static void test_error(void **state)
{
    (void)state;
    CLEANUP_JSON cJSON *json = parse("{\"type\":\"validation_error\",\"message\":\"m\",\"fields\":["
                                     "{\"field\":\"Name\",\"message\":\"m\"},"
                                     "{\"field\":\"URL\",\"message\":\"n\"}]}");
    CLEANUP_BUF struct buf text = BUF_INIT(4096);
    show_error(json, &text);
    assert_span(buf_span(&text), "m (validation_error)\n  Name\n  URL: n\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_table), cmocka_unit_test(test_object),
                                       cmocka_unit_test(test_error)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
