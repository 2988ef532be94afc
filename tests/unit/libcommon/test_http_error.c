/* What clients switch on: status and type of each error code, and the one error shape. */
#include "common/http_error.h"

#include "test_support.h"

static void maps_codes(void **state)
{
    (void)state;
    static const struct {
        err_t e;
        unsigned status;
        const char *type;
    } rows[] = {
        {ERR_INVALID, 400, "validation_error"},  {ERR_TOO_LARGE, 413, "too_large"},
        {ERR_UNAUTHORIZED, 401, "unauthorized"}, {ERR_FORBIDDEN, 403, "forbidden"},
        {ERR_UNSUPPORTED, 400, "unsupported"},   {ERR_LIMIT, 403, "account_limit_exceeded"},
        {ERR_ABSENT, 404, "not_found"},          {ERR_EXISTS, 409, "duplicate"},
        {ERR_CONFLICT, 409, "conflict"},         {ERR_STALE, 409, "stale"},
        {ERR_BUSY, 429, "too_many_requests"},    {ERR_TIMEOUT, 504, "timeout"},
        {ERR_UNAVAILABLE, 503, "unavailable"},   {ERR_STOPPING, 503, "stopping"},
        {ERR_CORRUPT, 500, "internal_error"},    {ERR_FENCED, 500, "internal_error"},
        {ERR_INTERNAL, 500, "internal_error"},   {ERR_OK, 500, "internal_error"},
        {ERR_COUNT_, 500, "internal_error"},     {(err_t)-1, 500, "internal_error"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(http_error_status(rows[i].e), rows[i].status);
        assert_string_equal(http_error_type(rows[i].e), rows[i].type);
        assert_string_not_equal(http_error_message(rows[i].e), "");
    }
    /* Every code there is has a row: none may fall through to 500 unnoticed. */
    for (int e = ERR_OK + 1; e < ERR_COUNT_; e++) {
        const bool broken = err_class((err_t)e) == ERR_CLASS_BROKEN;
        assert_int_equal(http_error_status((err_t)e) == 500, broken);
    }
}

static void writes_the_shape(void **state)
{
    (void)state;
    const struct http_error_field fields[] = {{"Name", "say \"please\""}, {"Age", "1..9"}};
    CLEANUP_BUF struct buf to = BUF_INIT(4096);
    size_t at = 0;
    assert_ok(http_error_append(&to, 400, "validation_error", "two\nlines", fields, 2, &at));
    assert_span(buf_span(&to),
                "{\"object\":\"error\",\"code\":400,\"type\":\"validation_error\","
                "\"message\":\"two\\nlines\","
                "\"request_id\":\"00000000-0000-0000-0000-000000000000\",\"fields\":["
                "{\"field\":\"Name\",\"message\":\"say \\\"please\\\"\"},"
                "{\"field\":\"Age\",\"message\":\"1..9\"}]}");
    assert_memory_equal(to.ptr + at, "00000000-0000-0000-0000-000000000000\"", 37);
    buf_clear(&to);
    assert_ok(http_error_append(&to, 404, "not_found", "no", NULL, 0, &at));
    assert_non_null(strstr(buf_cstr(&to), "\"fields\":[]}"));
}

static void says_when_it_does_not_fit(void **state)
{
    (void)state;
    CLEANUP_BUF struct buf to = BUF_INIT(100);
    size_t at = 0;
    assert_err(http_error_append(&to, 404, "not_found", "no", NULL, 0, &at), ERR_TOO_LARGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(maps_codes),
        cmocka_unit_test(writes_the_shape),
        cmocka_unit_test(says_when_it_does_not_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
