/* Headers that two parsers could read differently must be refused. */
#include "common/http_framing.h"

#include "test_support.h"

#define MAX_HEADERS 5
struct row {
    const char *headers[MAX_HEADERS][2];
    enum http_method method;
    const char *fault_field; /* NULL: accepted */
};

static err_t judge(const struct row *row, struct http_framing *framing, struct fault *fault)
{
    for (size_t i = 0; i < MAX_HEADERS && row->headers[i][0] != NULL; i++) {
        http_framing_add(framing, span_str(row->headers[i][0]), span_str(row->headers[i][1]));
    }
    return http_framing_judge(framing, row->method, fault);
}

static void judges(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {{{"Accept", "*"}}, HTTP_GET, "Host"},
        {{{"Host", ""}}, HTTP_GET, "Host"},
        {{{"Host", "a"}, {"host", "b"}}, HTTP_GET, "Host"},
        {{{"Host", "a b"}}, HTTP_GET, "Host"},
        {{{"Host", "a/b"}}, HTTP_GET, "Host"},
        {{{"Host", "user@a"}}, HTTP_GET, "Host"},
        {{{"Host", "a\""}}, HTTP_GET, "Host"},
        {{{"Host", "\xc3\xa4"}}, HTTP_GET, "Host"},
        {{{"Host", "a"}, {"Content-Length", "3"}, {"Content-Length", "3"}},
         HTTP_POST,
         "Content-Length"},
        {{{"Host", "a"}, {"Content-Length", "3"}, {"content-length", "4"}},
         HTTP_POST,
         "Content-Length"},
        {{{"Host", "a"}, {"Content-Length", "+3"}}, HTTP_POST, "Content-Length"},
        {{{"Host", "a"}, {"Content-Length", "3, 3"}}, HTTP_POST, "Content-Length"},
        {{{"Host", "a"}, {"Content-Length", ""}}, HTTP_POST, "Content-Length"},
        {{{"Host", "a"}, {"Content-Length", "0x3"}}, HTTP_POST, "Content-Length"},
        {{{"Host", "a"}, {"Content-Length", "9999999999999999999"}}, HTTP_POST, "Content-Length"},
        {{{"Host", "a"}, {"Content-Length", "3"}, {"Transfer-Encoding", "chunked"}},
         HTTP_POST,
         "Content-Length"},
        {{{"Host", "a"}, {"Transfer-Encoding", "gzip, chunked"}}, HTTP_POST, "Transfer-Encoding"},
        {{{"Host", "a"}, {"Transfer-Encoding", "identity"}}, HTTP_POST, "Transfer-Encoding"},
        {{{"Host", "a"}, {"Transfer-Encoding", ""}}, HTTP_POST, "Transfer-Encoding"},
        {{{"Host", "a"}, {"Transfer-Encoding", "chunked"}, {"Transfer-Encoding", "chunked"}},
         HTTP_POST,
         "Transfer-Encoding"},
        {{{"Host", "a"}, {"Content-Length ", "3"}}, HTTP_POST, ""},
        {{{"Host", "a"}, {"", "3"}}, HTTP_GET, ""},
        {{{"Host", "a"}, {"X-A", "a\001b"}}, HTTP_GET, ""},
        {{{"Host", "a"}}, HTTP_POST, "Content-Length"},
        {{{"Host", "a"}}, HTTP_PUT, "Content-Length"},
        {{{"Host", "a"}}, HTTP_PATCH, "Content-Length"},
        {{{"Host", "a"}, {"Authorization", "x"}, {"authorization", "x"}},
         HTTP_GET,
         "Authorization"},
        {{{"Host", "a"}, {"Idempotency-Key", "x"}, {"Idempotency-Key", "y"}},
         HTTP_GET,
         "Idempotency-Key"},
        {{{"Host", "a"}}, HTTP_GET, NULL},
        {{{"Host", "a"}}, HTTP_DELETE, NULL},
        {{{"Host", "devices.example:8443"}}, HTTP_GET, NULL},
        {{{"Host", "a_b-c.example"}}, HTTP_GET, NULL},
        {{{"Host", "[fe80::1%25eth0]:443"}}, HTTP_GET, NULL},
        {{{"HOST", "a"}, {"Content-Length", "0"}}, HTTP_POST, NULL},
        {{{"Host", "a"}, {"Content-Length", "12 "}}, HTTP_POST, NULL},
        {{{"Host", "a"}, {"Transfer-Encoding", "Chunked"}}, HTTP_POST, NULL},
        {{{"Host", "a"}, {"Accept", "x"}, {"Accept", "y"}}, HTTP_GET, NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct http_framing framing = {0};
        struct fault fault = {0};
        const err_t e = judge(&rows[i], &framing, &fault);
        const bool accepted = rows[i].fault_field == NULL;
        if (e != (accepted ? ERR_OK : ERR_INVALID) ||
            (!accepted && strcmp(fault.field, rows[i].fault_field) != 0)) {
            fail_msg("row %zu: %s at \"%s\": %s", i, err_name(e), fault.field, fault.text);
        }
    }
}

static void tells_the_body(void **state)
{
    (void)state;
    static const struct row none = {{{"Host", "a"}, {"Content-Length", "0"}}, HTTP_POST, NULL};
    static const struct row some = {{{"Host", "a"}, {"Content-Length", "1234"}}, HTTP_POST, NULL};
    static const struct row parts = {
        {{"Host", "a"}, {"Transfer-Encoding", "chunked"}}, HTTP_POST, NULL};
    struct http_framing framing = {0};
    assert_ok(judge(&none, &framing, NULL));
    assert_false(http_framing_has_body(&framing));
    framing = (struct http_framing){0};
    assert_ok(judge(&some, &framing, NULL));
    assert_true(http_framing_has_body(&framing));
    assert_false(http_framing_chunked(&framing));
    assert_int_equal(framing.content_length, 1234);
    framing = (struct http_framing){0};
    assert_ok(judge(&parts, &framing, NULL));
    assert_true(http_framing_has_body(&framing));
    assert_true(http_framing_chunked(&framing));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(judges),
        cmocka_unit_test(tells_the_body),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
