/* Decoding, query, routing and header values: strict, and without a second reading. */
#include "common/http_target.h"

#include <stdio.h>
#include <string.h>

#include "test_support.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void decodes_strictly(void **state)
{
    (void)state;
    static const struct {
        const char *in;
        bool plus;
        err_t expected;
        const char *out;
    } rows[] = {
        {"%", false, ERR_INVALID, ""},
        {"%4", false, ERR_INVALID, ""},
        {"%zz", false, ERR_INVALID, ""},
        {"a%2", false, ERR_INVALID, ""},
        {"a b", false, ERR_INVALID, ""},
        {"%00", false, ERR_INVALID, ""},
        {"%0a", false, ERR_INVALID, ""},
        {"%7f", false, ERR_INVALID, ""},
        {"\x01", false, ERR_INVALID, ""},
        {"%ff", false, ERR_INVALID, ""},
        {"%c0%af", false, ERR_INVALID, ""},    /* an overlong slash */
        {"%ed%a0%80", false, ERR_INVALID, ""}, /* a surrogate */
        {"", false, ERR_OK, ""},
        {"abc", false, ERR_OK, "abc"},
        {"%41%6a%2F", false, ERR_OK, "Aj/"},
        {"a+b", false, ERR_OK, "a+b"},
        {"a+b%2B", true, ERR_OK, "a b+"},
        {"%c3%a4", false, ERR_OK, "\xc3\xa4"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char text[64];
        size_t len = 99;
        (void)snprintf(text, sizeof text, "%s", rows[i].in);
        const err_t e = http_decode(text, strlen(text), rows[i].plus, &len);
        if (e != rows[i].expected || (e == ERR_OK && strcmp(text, rows[i].out) != 0)) {
            fail_msg("row %zu: %s gives %s \"%s\"", i, rows[i].in, err_name(e), text);
        }
        assert_int_equal(len, e == ERR_OK ? strlen(rows[i].out) : 99);
    }
}

static void refuses_queries(void **state)
{
    (void)state;
    static const struct {
        const char *in;
        err_t expected;
        const char *field;
    } rows[] = {
        {"=1", ERR_INVALID, ""},         {"a=%", ERR_INVALID, ""},   {"a=1&a=2", ERR_INVALID, "a"},
        {"a=1&%61=2", ERR_INVALID, "a"}, {"a=%00", ERR_INVALID, ""},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char text[64];
        struct http_query query = {.count = 77};
        struct fault fault = {0};
        (void)snprintf(text, sizeof text, "%s", rows[i].in);
        assert_err(http_query_parse(text, strlen(text), &query, &fault), rows[i].expected);
        assert_string_equal(fault.field, rows[i].field);
        assert_int_equal(query.count, 77);
    }
}

static void limits_queries(void **state)
{
    (void)state;
    static char text[HTTP_QUERY_VALUE_MAX + 64];
    struct http_query query;
    struct fault fault = {0};
    size_t len = 0;
    for (int i = 0; i <= HTTP_QUERY_PAIRS_MAX; i++) {
        len += (size_t)snprintf(text + len, sizeof text - len, "a%d=1&", i);
    }
    assert_err(http_query_parse(text, len, &query, &fault), ERR_TOO_LARGE);
    assert_non_null(strstr(fault.text, "32"));

    memset(text, 'x', sizeof text);
    memcpy(text, "long=", 5);
    text[5 + HTTP_QUERY_VALUE_MAX] = '\0';
    assert_ok(http_query_parse(text, 5 + HTTP_QUERY_VALUE_MAX, &query, &fault));
    memcpy(text, "long=", 5);
    memset(text + 5, 'x', HTTP_QUERY_VALUE_MAX + 1);
    text[6 + HTTP_QUERY_VALUE_MAX] = '\0';
    assert_err(http_query_parse(text, 6 + HTTP_QUERY_VALUE_MAX, &query, &fault), ERR_TOO_LARGE);
    assert_string_equal(fault.field, "long");
}

static void reads_queries(void **state)
{
    (void)state;
    char text[] = "&limit=50&&name=a%26b%3d+c&empty=&bare&x%20y=1";
    struct http_query query;
    assert_ok(http_query_parse(text, sizeof text - 1, &query, NULL));
    assert_int_equal(query.count, 5);
    assert_string_equal(http_query_get(&query, "limit"), "50");
    assert_string_equal(http_query_get(&query, "name"), "a&b= c");
    assert_string_equal(http_query_get(&query, "empty"), "");
    assert_string_equal(http_query_get(&query, "bare"), "");
    assert_string_equal(http_query_get(&query, "x y"), "1");
    assert_null(http_query_get(&query, "Limit"));
}

static void splits_paths(void **state)
{
    (void)state;
    static const struct {
        const char *in;
        err_t expected;
        size_t count;
        const char *last;
    } rows[] = {
        {"", ERR_INVALID, 0, NULL},
        {"v1", ERR_INVALID, 0, NULL},
        {"http://host/v1", ERR_INVALID, 0, NULL},
        {"//", ERR_INVALID, 0, NULL},
        {"/v1/", ERR_INVALID, 0, NULL},
        {"/v1//x", ERR_INVALID, 0, NULL},
        {"/v1/..", ERR_INVALID, 0, NULL},
        {"/v1/%2e%2e/x", ERR_INVALID, 0, NULL},
        {"/./x", ERR_INVALID, 0, NULL},
        {"/a/%", ERR_INVALID, 0, NULL},
        {"/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17", ERR_ABSENT, 0, NULL},
        {"/", ERR_OK, 0, NULL},
        {"/v1", ERR_OK, 1, "v1"},
        {"/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16", ERR_OK, 16, "16"},
        {"/v1/a%2Fb", ERR_OK, 2, "a/b"}, /* an escaped slash is part of its segment */
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char text[64];
        struct http_path path = {.count = 77};
        (void)snprintf(text, sizeof text, "%s", rows[i].in);
        const err_t e = http_path_parse(text, strlen(text), &path);
        if (e != rows[i].expected) {
            fail_msg("%s gives %s", rows[i].in, err_name(e));
        }
        assert_int_equal(path.count, e == ERR_OK ? rows[i].count : 77);
        if (rows[i].last != NULL) {
            assert_string_equal(path.segments[path.count - 1], rows[i].last);
        }
    }
}

static void handler(struct http_request *req, void *ctx)
{
    (void)req;
    (void)ctx;
}

#define ROUTE(m, p)                                                                                \
    {                                                                                              \
        .method = (m), .pattern = (p), .handler = handler                                          \
    }

static void refuses_tables(void **state)
{
    (void)state;
    const struct http_route rows[][2] = {
        {ROUTE(HTTP_GET, "v1"), ROUTE(HTTP_GET, "/x")},
        {ROUTE(HTTP_GET, NULL), ROUTE(HTTP_GET, "/x")},
        {ROUTE(HTTP_GET, "/v1/"), ROUTE(HTTP_GET, "/x")},
        {ROUTE(HTTP_GET, "/v1//x"), ROUTE(HTTP_GET, "/x")},
        {ROUTE(HTTP_GET, "/a{b}"), ROUTE(HTTP_GET, "/x")},
        {ROUTE(HTTP_GET, "/{}"), ROUTE(HTTP_GET, "/x")},
        {ROUTE(HTTP_GET, "/{a}/{b}/{c}/{d}/{e}/{f}/{g}"), ROUTE(HTTP_GET, "/x")},
        {ROUTE(HTTP_HEAD, "/a"), ROUTE(HTTP_GET, "/x")},
        {ROUTE(HTTP_OPTIONS, "/a"), ROUTE(HTTP_GET, "/x")},
        {{.method = HTTP_GET, .pattern = "/a"}, ROUTE(HTTP_GET, "/x")},
        {ROUTE(HTTP_GET, "/a/{b}"), ROUTE(HTTP_GET, "/a/{c}")},
        {ROUTE(HTTP_GET, "/x"), ROUTE(HTTP_GET, "/x")},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct fault fault = {0};
        assert_err(http_routes_check(rows[i], 2, &fault), ERR_INVALID);
        assert_string_not_equal(fault.text, "");
    }
}

static const struct http_route table[] = {
    ROUTE(HTTP_GET, "/"),
    ROUTE(HTTP_GET, "/v1/device/{uid}"),
    ROUTE(HTTP_DELETE, "/v1/device/{uid}"),
    ROUTE(HTTP_GET, "/v1/device/list"),
    ROUTE(HTTP_GET, "/v1/{kind}/list"),
    ROUTE(HTTP_POST, "/v1/device/{uid}/op/{op}"),
};

static void finds_routes(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        const char *allow;
        size_t row;
        enum http_method method;
        err_t expected;
    } rows[] = {
        {"/v1", "OPTIONS", 0, HTTP_GET, ERR_ABSENT},
        {"/v1/device", "OPTIONS", 0, HTTP_GET, ERR_ABSENT},
        {"/V1/device/x", "OPTIONS", 0, HTTP_GET, ERR_ABSENT},
        {"/v1/device/x/op", "OPTIONS", 0, HTTP_GET, ERR_ABSENT},
        {"/v1/device/x/op/y/z", "OPTIONS", 0, HTTP_GET, ERR_ABSENT},
        {"/v1/device/x/op/y", "POST, OPTIONS", 0, HTTP_GET, ERR_UNSUPPORTED},
        {"/v1/device/x", "GET, HEAD, DELETE, OPTIONS", 0, HTTP_PUT, ERR_UNSUPPORTED},
        {"/v1/device/x", "GET, HEAD, DELETE, OPTIONS", 0, HTTP_METHOD_COUNT_, ERR_UNSUPPORTED},
        {"/", "GET, HEAD, OPTIONS", 0, HTTP_OPTIONS, ERR_UNSUPPORTED},
        {"/", "GET, HEAD, OPTIONS", 0, HTTP_GET, ERR_OK},
        {"/v1/device/x", "GET, HEAD, DELETE, OPTIONS", 1, HTTP_GET, ERR_OK},
        {"/v1/device/x", "GET, HEAD, DELETE, OPTIONS", 1, HTTP_HEAD, ERR_OK},
        {"/v1/device/x", "GET, HEAD, DELETE, OPTIONS", 2, HTTP_DELETE, ERR_OK},
        {"/v1/device/list", "GET, HEAD, DELETE, OPTIONS", 3, HTTP_GET, ERR_OK},
        {"/v1/order/list", "GET, HEAD, OPTIONS", 4, HTTP_GET, ERR_OK},
        {"/v1/device/x/op/y", "POST, OPTIONS", 5, HTTP_POST, ERR_OK},
        {"/v1/device/list", "GET, HEAD, DELETE, OPTIONS", 2, HTTP_DELETE, ERR_OK},
    };
    assert_ok(http_routes_check(table, COUNT(table), NULL));
    for (size_t i = 0; i < COUNT(rows); i++) {
        char text[64];
        char allow[HTTP_ALLOW_SIZE];
        struct http_path path;
        struct http_match match = {0};
        (void)snprintf(text, sizeof text, "%s", rows[i].path);
        assert_ok(http_path_parse(text, strlen(text), &path));
        const err_t e = http_routes_find(table, COUNT(table), rows[i].method, &path, &match);
        http_routes_allow(table, COUNT(table), &path, allow);
        if (e != rows[i].expected || (e == ERR_OK && match.route != &table[rows[i].row]) ||
            strcmp(allow, rows[i].allow) != 0) {
            fail_msg("row %zu: %s, %s", i, err_name(e), allow);
        }
    }
}

static void gives_parameters(void **state)
{
    (void)state;
    char text[] = "/v1/device/a%2Fb/op/7";
    struct http_path path;
    struct http_match match;
    assert_ok(http_path_parse(text, sizeof text - 1, &path));
    assert_ok(http_routes_find(table, COUNT(table), HTTP_POST, &path, &match));
    assert_int_equal(match.params, 2);
    assert_span(match.names[0], "uid");
    assert_string_equal(match.values[0], "a/b");
    assert_span(match.names[1], "op");
    assert_string_equal(match.values[1], "7");
}

static void compares_content_types(void **state)
{
    (void)state;
    assert_false(http_content_type_matches(NULL, "application/json"));
    assert_false(http_content_type_matches("", "application/json"));
    assert_false(http_content_type_matches("application/jsonx", "application/json"));
    assert_false(http_content_type_matches("application/jso", "application/json"));
    assert_false(http_content_type_matches("text/plain", "application/json, text/csv"));
    assert_false(http_content_type_matches("; charset=utf-8", "application/json"));
    assert_true(http_content_type_matches("Application/JSON ; charset=x", "application/json"));
    assert_true(http_content_type_matches(" text/csv", "application/json, text/csv"));
}

static void judges_traceparents(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool valid;
    } rows[] = {
        {"", false},
        {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0", false},
        {"00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", false},
        {"00-00000000000000000000000000000000-b7ad6b7169203331-01", false},
        {"00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", false},
        {"ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", false},
        {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x", false},
        {"00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", false},
        {"01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01x", false},
        {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", true},
        {"01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x", true},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        if (http_traceparent_valid(span_str(rows[i].text)) != rows[i].valid) {
            fail_msg("%s", rows[i].text);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decodes_strictly),       cmocka_unit_test(refuses_queries),
        cmocka_unit_test(limits_queries),         cmocka_unit_test(reads_queries),
        cmocka_unit_test(splits_paths),           cmocka_unit_test(refuses_tables),
        cmocka_unit_test(finds_routes),           cmocka_unit_test(gives_parameters),
        cmocka_unit_test(compares_content_types), cmocka_unit_test(judges_traceparents),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
