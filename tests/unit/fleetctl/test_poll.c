/*
 * Waiting at a server. What would break a user: a wait that ends although nothing is wrong, one
 * that asks a busy server every second, one that never ends.
 */
#include "poll.h"
#include "test_support.h"

static void what_passes_does_not_end_it(void **state)
{
    (void)state;
    struct poll p = {.pause_ms = 1000, .most_ms = 10000};
    assert_int_equal(poll_judge(&p, ERR_OK, true), POLL_LOOK);
    static const err_t passing[] = {ERR_BUSY, ERR_TIMEOUT, ERR_UNAVAILABLE};
    for (size_t i = 0; i < sizeof passing / sizeof passing[0]; i++) {
        assert_int_equal(poll_judge(&p, passing[i], true), POLL_PAUSE);
    }
    static const err_t final[] = {ERR_INVALID,  ERR_FORBIDDEN, ERR_ABSENT,
                                  ERR_CONFLICT, ERR_CORRUPT,   ERR_INTERNAL};
    for (size_t i = 0; i < sizeof final / sizeof final[0]; i++) {
        assert_int_equal(poll_judge(&p, final[i], true), POLL_END);
    }
}

static void a_token_is_renewed_once_until_it_was_believed(void **state)
{
    (void)state;
    struct poll p = {.pause_ms = 1000, .most_ms = 10000};
    assert_int_equal(poll_judge(&p, ERR_UNAUTHORIZED, false), POLL_END);
    assert_int_equal(poll_judge(&p, ERR_UNAUTHORIZED, true), POLL_RENEW);
    assert_int_equal(poll_judge(&p, ERR_UNAVAILABLE, true), POLL_PAUSE);
    assert_int_equal(poll_judge(&p, ERR_UNAUTHORIZED, true), POLL_END);
    assert_int_equal(poll_judge(&p, ERR_OK, true), POLL_LOOK);
    assert_int_equal(poll_judge(&p, ERR_UNAUTHORIZED, true), POLL_RENEW);
}

static void pauses_grow_and_end_with_the_time(void **state)
{
    (void)state;
    struct poll p = {.pause_ms = 1000, .most_ms = 10000};
    int64_t left_ms = 600000;
    int asked = 0;
    int64_t last_ms = 0;
    for (int64_t ms; (ms = poll_take_pause(&p, left_ms, 0)) >= 0; left_ms -= ms, asked++) {
        assert_true(ms <= 10000 && (ms >= last_ms || ms == left_ms));
        last_ms = ms;
    }
    assert_true(left_ms == 0 && asked < 70);

    p = (struct poll){.pause_ms = 1000, .most_ms = 10000};
    assert_true(poll_take_pause(&p, 60000, 7) == 7000);
    assert_true(poll_take_pause(&p, 60000, 1) == 1500);
    assert_true(poll_take_pause(&p, 60000, 61) < 0);
    assert_true(poll_take_pause(&p, 0, 0) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_passes_does_not_end_it),
        cmocka_unit_test(a_token_is_renewed_once_until_it_was_believed),
        cmocka_unit_test(pauses_grow_and_end_with_the_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
