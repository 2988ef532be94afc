#include "device/http.h"
#include "test_support.h"

/* Feeds the text in portions of `step` bytes. */
static err_t feed(struct device_http_reader *r, struct span text, size_t step, size_t *ret_used)
{
    size_t used = 0;
    err_t err = ERR_OK;
    while (err == ERR_OK && used < text.len && r->stage != DEVICE_HTTP_DONE) {
        size_t n = text.len - used < step ? text.len - used : step;
        size_t taken = 0;
        err = device_http_feed(r, span_of(text.ptr + used, n), &taken);
        used += err == ERR_OK ? taken : 0;
    }
    *ret_used = used;
    return err;
}

#define OK "HTTP/1.1 200 OK\r\n"

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        err_t expected;
    } rows[] = {
        {"\r\n\r\n", ERR_INVALID},
        {"HTTP/2 200\r\n\r\n", ERR_INVALID},
        {"HTTP/1.1 20 OK\r\n\r\n", ERR_INVALID},
        {"HTTP/1.1 099 OK\r\n\r\n", ERR_INVALID},
        {"HTTP/1.1 2000 OK\r\n\r\n", ERR_INVALID},
        {"ICY 200 OK\r\n\r\n", ERR_INVALID},
        {OK "Content-Length: 1\r\nContent-Length: 1\r\n\r\n", ERR_INVALID},
        {OK "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", ERR_INVALID},
        {OK "Content-Length: -1\r\n\r\n", ERR_INVALID},
        {OK "Content-Length: 1x\r\n\r\n", ERR_INVALID},
        {OK "Content-Length: \r\n\r\n", ERR_INVALID},
        {OK "Content-Length: 65537\r\n\r\n", ERR_TOO_LARGE},
        {OK "Content-Length: 99999999999999999999\r\n\r\n", ERR_INVALID},
        {OK "Transfer-Encoding: gzip\r\n\r\n", ERR_INVALID},
        {OK "Content-Length : 1\r\n\r\n", ERR_INVALID},
        {OK "X: a\r\n folded\r\n\r\n", ERR_INVALID},
        {OK "no colon\r\n\r\n", ERR_INVALID},
        {OK ": no name\r\n\r\n", ERR_INVALID},
        {"HTTP/1.1 101 Switching\r\n\r\n", ERR_INVALID},
        {OK "Transfer-Encoding: chunked\r\n\r\nzz\r\n", ERR_INVALID},
        {OK "Transfer-Encoding: chunked\r\n\r\n\x10\r\n", ERR_INVALID},
        {OK "Transfer-Encoding: chunked\r\n\r\n\r\n", ERR_INVALID},
        {OK "Transfer-Encoding: chunked\r\n\r\n1\r\nabX", ERR_INVALID},
        {OK "Transfer-Encoding: chunked\r\n\r\n123456789\r\n", ERR_INVALID},
        {OK "Transfer-Encoding: chunked\r\n\r\nfffffff\r\n", ERR_TOO_LARGE},
    };
    for (size_t step = 1; step < 200; step += 66) {
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
            struct device_http_reader r;
            device_http_reader_init(&r);
            size_t used = 0;
            err_t err = feed(&r, span_str(rows[i].text), step, &used);
            if (err != rows[i].expected) {
                print_error("row %zu\n", i);
            }
            assert_err(err, rows[i].expected);
            device_http_reader_deinit(&r);
        }
    }
}

static void test_limits(void **state)
{
    (void)state;
    struct device_http_reader r;
    size_t used = 0;
    CLEANUP_BUF struct buf text = BUF_INIT(200000);
    assert_ok(buf_append_str(&text, OK "X: "));
    while (text.len < DEVICE_HTTP_HEAD_MAX + 10) {
        assert_ok(buf_append_byte(&text, 'x'));
    }
    device_http_reader_init(&r);
    assert_err(feed(&r, buf_span(&text), 1000, &used), ERR_TOO_LARGE);
    device_http_reader_deinit(&r);

    buf_clear(&text); /* many small chunks beyond the limit of the whole */
    assert_ok(buf_append_str(&text, OK "Transfer-Encoding: chunked\r\n\r\n"));
    for (int i = 0; i < 5000; i++) {
        assert_ok(buf_append_str(&text, "10\r\n0123456789abcdef\r\n"));
    }
    device_http_reader_init(&r);
    assert_err(feed(&r, buf_span(&text), 999, &used), ERR_TOO_LARGE);
    device_http_reader_deinit(&r);

    buf_clear(&text); /* and without any length */
    assert_ok(buf_append_str(&text, OK "\r\n"));
    while (text.len < DEVICE_ANSWER_MAX + 100) {
        assert_ok(buf_append_byte(&text, 'x'));
    }
    device_http_reader_init(&r);
    assert_err(feed(&r, buf_span(&text), 999, &used), ERR_TOO_LARGE);
    device_http_reader_deinit(&r);
}

static void test_accepted(void **state)
{
    (void)state;
    static const struct {
        const char *text, *body;
        int status;
        int64_t retry;
        bool keep, until_end;
        size_t behind; /* bytes of the next answer */
    } rows[] = {
        {OK "Content-Length: 5\r\n\r\nhelloHTTP", "hello", 200, -1, true, false, 4},
        {OK "content-length:5\r\nconnection: CLOSE\r\n\r\nhello", "hello", 200, -1, false, false,
         0},
        {"HTTP/1.0 200 OK\nContent-Length: 2\n\nhi", "hi", 200, -1, false, false, 0},
        {"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n", "", 200, -1,
         true, false, 0},
        {"HTTP/1.1 204\r\n\r\n", "", 204, -1, true, false, 0},
        {"HTTP/1.1 100 Continue\r\n\r\n" OK "Content-Length: 1\r\n\r\nx", "x", 200, -1, true, false,
         0},
        {"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 2\r\n\r\n{}", "{}", 503, 7, true,
         false, 0},
        {"HTTP/1.1 429 No\r\nDate: Sat, 21 Nov 2026 05:30:00 GMT\r\n"
         "Retry-After: Sat, 21 Nov 2026 05:31:30 GMT\r\nContent-Length: 0\r\n\r\n",
         "", 429, 90, true, false, 0},
        {"HTTP/1.1 429 No\r\nRetry-After: soon\r\nContent-Length: 0\r\n\r\n", "", 429, -1, true,
         false, 0},
        {OK "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n",
         "abc0123456789", 200, -1, true, false, 0},
        {OK "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nTrailer: 1\r\n\r\nNEXT", "x", 200, -1,
         true, false, 4},
        {OK "\r\nto the end", "to the end", 200, -1, false, true, 0},
    };
    static const size_t steps[] = {1, 2, 3, 7, 1000};
    for (size_t k = 0; k < sizeof steps / sizeof steps[0]; k++) {
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
            struct device_http_reader r;
            size_t used = 0;
            device_http_reader_init(&r);
            assert_ok(feed(&r, span_str(rows[i].text), steps[k], &used));
            assert_int_equal(used, strlen(rows[i].text) - rows[i].behind);
            assert_int_equal(r.stage == DEVICE_HTTP_DONE, !rows[i].until_end);
            assert_ok(device_http_end(&r));
            assert_int_equal(r.answer.status, rows[i].status);
            assert_int_equal(r.answer.retry_after_s, rows[i].retry);
            assert_int_equal(r.answer.keep_alive, rows[i].keep);
            assert_span(buf_span(&r.answer.body), rows[i].body);
            device_http_reader_deinit(&r);
        }
    }
}

/* A connection that ends in the middle is no answer. */
static void test_cut_off(void **state)
{
    (void)state;
    static const char text[] =
        OK "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nTrailer: 1\r\n\r\n";
    for (size_t len = 0; len < sizeof text - 1; len++) {
        struct device_http_reader r;
        size_t used = 0;
        device_http_reader_init(&r);
        assert_ok(feed(&r, span_of(text, len), 1000, &used));
        assert_err(device_http_end(&r), ERR_UNAVAILABLE);
        device_http_reader_deinit(&r);
    }
}

static void test_retry_after(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        int64_t now_s, expected;
    } rows[] = {
        {"0", -1, 0},
        {"120", -1, 120},
        {"99999999999", -1, DEVICE_RETRY_MAX_S},
        {"-5", 0, -1},
        {"5 ", 0, -1},
        {"", 0, -1},
        {"Thu, 01 Jan 1970 00:01:00 GMT", 0, 60},
        {"Thu, 01 Jan 1970 00:01:00 GMT", 90, 0},
        {"Thu, 01 Jan 1970 00:01:00 GMT", -1, -1},
        {"Thu, 01 Jan 9999 00:01:00 GMT", 0, DEVICE_RETRY_MAX_S},
        {"Thu, 01 anF 1970 00:01:00 GMT", 0, -1},
        {"Thu, 01 Jan 1970 00:01:00 CET", 0, -1},
        {"Thu, 32 Jan 1970 00:01:00 GMT", 0, -1},
        {"Thursday, 01-Jan-70 00:01:00 GMT", 0, -1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(device_http_retry_after(span_str(rows[i].value), rows[i].now_s),
                         rows[i].expected);
    }
}

static void test_request(void **state)
{
    (void)state;
    struct device_http_request request = {"host:8443", "/v1/device/pickup", "v1 7 AAAA",
                                          span_str("{\"a\":1}")};
    CLEANUP_BUF struct buf out = BUF_INIT(1024);
    assert_ok(device_http_write(&request, &out));
    assert_span(buf_span(&out), "POST /v1/device/pickup HTTP/1.1\r\nHost: host:8443\r\n"
                                "User-Agent: fleetseal-device/" FLEETSEAL_VERSION "\r\n"
                                "Content-Type: application/json\r\nContent-Length: 7\r\n"
                                "Fleetseal-Signature: v1 7 AAAA\r\n\r\n{\"a\":1}");
    buf_clear(&out);
    request.signature = "";
    assert_ok(device_http_write(&request, &out));
    assert_null(strstr(buf_cstr(&out), "Signature"));
    CLEANUP_BUF struct buf small = BUF_INIT(40);
    assert_err(device_http_write(&request, &small), ERR_TOO_LARGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),     cmocka_unit_test(test_limits),
        cmocka_unit_test(test_accepted),    cmocka_unit_test(test_cut_off),
        cmocka_unit_test(test_retry_after), cmocka_unit_test(test_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
