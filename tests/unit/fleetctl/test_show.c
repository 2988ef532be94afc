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
        {"[{\"UID\":\"\xc2\x9b"
         "2J\xc2\xa0\"}]",
         "DEVICE  STATE\n??2J\xc2\xa0   \n"},
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

static void test_long_cells_are_cut(void **state)
{
    (void)state;
    char long_text[301];
    memset(long_text, 'x', sizeof long_text - 1);
    long_text[300] = '\0';
    memcpy(long_text + 199, "\xc3\xa9", 2); /* the cut would go through it */
    CLEANUP_JSON cJSON *rows = cJSON_CreateArray();
    cJSON *row = cJSON_CreateObject();
    (void)cJSON_AddStringToObject(row, "UID", long_text);
    (void)cJSON_AddItemToArray(rows, row);
    CLEANUP_BUF struct buf text = BUF_INIT(4096);
    show_table(columns, rows, &text);
    assert_non_null(strstr(buf_cstr(&text), "\nxxx"));
    assert_non_null(strstr(buf_cstr(&text), "xxx...  "));
    assert_null(strstr(buf_cstr(&text), "\xc3"));
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
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_table),
                                       cmocka_unit_test(test_long_cells_are_cut),
                                       cmocka_unit_test(test_object), cmocka_unit_test(test_error)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
