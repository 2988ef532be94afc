#include "common/ratelimit.h"

#include "test_support.h"

static void test_burst_then_rate(void **state)
{
    (void)state;
    struct ratelimit r;
    int64_t wait = -1;
    ratelimit_init(&r, 10, 3, 1000);
    for (int i = 0; i < 3; i++) {
        assert_true(ratelimit_take(&r, 1, 1000, &wait));
    }
    assert_false(ratelimit_take(&r, 1, 1000, &wait));
    assert_int_equal(wait, 100);
    assert_false(ratelimit_take(&r, 1, 1099, &wait));
    assert_int_equal(wait, 1);
    assert_true(ratelimit_take(&r, 1, 1100, &wait));
    assert_false(ratelimit_take(&r, 3, 1100, &wait));
    assert_int_equal(wait, 300);
    assert_true(ratelimit_take(&r, 3, 1400, &wait));
}

static void test_the_promised_wait_is_kept(void **state)
{
    (void)state;
    struct ratelimit r;
    int64_t wait = 0;
    ratelimit_init(&r, 7, 5, 0);
    assert_true(ratelimit_take(&r, 5, 0, &wait));
    assert_false(ratelimit_take(&r, 4, 1, &wait));
    assert_false(ratelimit_take(&r, 4, wait, &wait));
    assert_true(ratelimit_take(&r, 4, 572, &wait)); /* 4 / 7 s, rounded up */
}

static void test_a_full_bucket_does_not_overflow(void **state)
{
    (void)state;
    struct ratelimit r;
    int64_t wait = 0;
    ratelimit_init(&r, 1000000, 2, 0);
    assert_true(ratelimit_take(&r, 2, INT64_MAX, &wait));
    assert_false(ratelimit_take(&r, 1, INT64_MAX, &wait));
}

static void test_time_stepping_back_adds_nothing(void **state)
{
    (void)state;
    struct ratelimit r;
    int64_t wait = 0;
    ratelimit_init(&r, 1, 1, 10000);
    assert_true(ratelimit_take(&r, 1, 10000, &wait));
    assert_false(ratelimit_take(&r, 1, 0, &wait));
    assert_int_equal(wait, 1000);
    assert_true(ratelimit_take(&r, 1, 1000, &wait));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_burst_then_rate),
        cmocka_unit_test(test_the_promised_wait_is_kept),
        cmocka_unit_test(test_a_full_bucket_does_not_overflow),
        cmocka_unit_test(test_time_stepping_back_adds_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
