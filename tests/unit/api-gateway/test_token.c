/*
 * Tokens. What would break a user: a forged, foreign or expired token that is let in, a refresh
 * token that works as an access token.
 */
#include "test_support.h"

#include "token.h"

#define KEY    "0123456789abcdef0123456789abcdef"
#define API    "11111111-1111-4111-8111-111111111111"
#define DOMAIN "22222222-2222-4222-8222-222222222222"
#define NOW    INT64_C(1795000000000)

static err_t check(struct span text, enum token_kind kind, int64_t now_ms, struct fault *fault)
{
    struct token token;
    return token_check(span_str(KEY), text, kind, now_ms, &token, fault);
}

static void make(enum token_kind kind, struct buf *to)
{
    assert_ok(token_make(span_str(KEY), kind, API, DOMAIN, NOW, to));
}

static void test_not_a_token(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        ".",
        "..",
        "a.b.c",
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9",
        "\xff\xff.\xff.\xff",
        /* alg none, signed with nothing */
        "eyJhbGciOiJub25lIn0.eyJpc3MiOiJmbGVldHNlYWwifQ.",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct fault fault;
        assert_err(check(span_str(bad[i]), TOKEN_ACCESS, NOW, &fault), ERR_UNAUTHORIZED);
        assert_string_equal(fault.code, "invalid_auth");
    }
}

static void test_every_changed_byte_is_noticed(void **state)
{
    (void)state;
    CLEANUP_BUF struct buf text = BUF_INIT(TOKEN_TEXT_MAX);
    make(TOKEN_ACCESS, &text);
    for (size_t i = 0; i < text.len; i++) {
        text.ptr[i] ^= 1;
        assert_err(check(buf_span(&text), TOKEN_ACCESS, NOW, NULL), ERR_UNAUTHORIZED);
        text.ptr[i] ^= 1;
    }
    for (size_t len = 0; len < text.len; len++) {
        assert_err(check(span_of(text.ptr, len), TOKEN_ACCESS, NOW, NULL), ERR_UNAUTHORIZED);
    }
    assert_ok(check(buf_span(&text), TOKEN_ACCESS, NOW, NULL));
}

static void test_another_key(void **state)
{
    (void)state;
    CLEANUP_BUF struct buf text = BUF_INIT(TOKEN_TEXT_MAX);
    make(TOKEN_ACCESS, &text);
    struct token token;
    assert_err(token_check(span_str("ffffffffffffffffffffffffffffffff"), buf_span(&text),
                           TOKEN_ACCESS, NOW, &token, NULL),
               ERR_UNAUTHORIZED);
}

static void test_kinds_do_not_mix(void **state)
{
    (void)state;
    CLEANUP_BUF struct buf access = BUF_INIT(TOKEN_TEXT_MAX);
    CLEANUP_BUF struct buf refresh = BUF_INIT(TOKEN_TEXT_MAX);
    make(TOKEN_ACCESS, &access);
    make(TOKEN_REFRESH, &refresh);
    assert_err(check(buf_span(&refresh), TOKEN_ACCESS, NOW, NULL), ERR_UNAUTHORIZED);
    assert_err(check(buf_span(&access), TOKEN_REFRESH, NOW, NULL), ERR_UNAUTHORIZED);
    assert_ok(check(buf_span(&refresh), TOKEN_REFRESH, NOW, NULL));
}

static void test_times(void **state)
{
    (void)state;
    CLEANUP_BUF struct buf text = BUF_INIT(TOKEN_TEXT_MAX);
    make(TOKEN_ACCESS, &text);
    struct fault fault;
    assert_ok(check(buf_span(&text), TOKEN_ACCESS, NOW + INT64_C(3599999), NULL));
    assert_err(check(buf_span(&text), TOKEN_ACCESS, NOW + INT64_C(3600000), &fault),
               ERR_UNAUTHORIZED);
    assert_string_equal(fault.code, "token_expired");
    /* made a little ahead of this replica's clock: fine; an hour: not */
    assert_ok(check(buf_span(&text), TOKEN_ACCESS, NOW - 30000, NULL));
    assert_err(check(buf_span(&text), TOKEN_ACCESS, NOW - 3600000, NULL), ERR_UNAUTHORIZED);
}

static void test_says_who(void **state)
{
    (void)state;
    CLEANUP_BUF struct buf text = BUF_INIT(TOKEN_TEXT_MAX);
    make(TOKEN_ACCESS, &text);
    struct token token;
    assert_ok(token_check(span_str(KEY), buf_span(&text), TOKEN_ACCESS, NOW, &token, NULL));
    assert_string_equal(token.api_key, API);
    assert_string_equal(token.domain, DOMAIN);
    assert_int_equal(token.expires_s - token.issued_s, 3600);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_not_a_token), cmocka_unit_test(test_every_changed_byte_is_noticed),
        cmocka_unit_test(test_another_key), cmocka_unit_test(test_kinds_do_not_mix),
        cmocka_unit_test(test_times),       cmocka_unit_test(test_says_who),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
