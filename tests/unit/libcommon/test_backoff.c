#include "common/backoff.h"

#include "test_support.h"

static void test_waits_stay_between_base_and_cap(void **state)
{
    (void)state;
    struct backoff b = BACKOFF_INIT(50, 5000);
    uint64_t random = 1;
    for (int i = 0; i < 10000; i++) {
        random = random * UINT64_C(6364136223846793005) + 1442695040888963407U;
        int64_t wait = backoff_next_ms(&b, random);
        assert_true(wait >= 50 && wait <= 5000);
    }
}

static void test_the_range_grows_threefold_and_resets(void **state)
{
    (void)state;
    struct backoff b = BACKOFF_INIT(100, 1000);
    assert_int_equal(backoff_next_ms(&b, 200), 300); /* the highest of 100..300 */
    assert_int_equal(backoff_next_ms(&b, 800), 900); /* of 100..900 */
    assert_int_equal(backoff_next_ms(&b, 900), 1000);
    assert_int_equal(backoff_next_ms(&b, 901), 100); /* 901 values: the range ends at the cap */
    assert_int_equal(backoff_next_ms(&b, 0), 100);
    b.last_ms = 1000;
    backoff_reset(&b);
    assert_int_equal(backoff_next_ms(&b, 200), 300);
}

static void test_extremes_do_not_overflow(void **state)
{
    (void)state;
    struct backoff b = BACKOFF_INIT(7, 7);
    assert_int_equal(backoff_next_ms(&b, UINT64_MAX), 7);
    struct backoff big = BACKOFF_INIT(1, INT64_MAX / 2);
    for (int i = 0; i < 100; i++) {
        assert_true(backoff_next_ms(&big, UINT64_MAX / 2) >= 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_waits_stay_between_base_and_cap),
        cmocka_unit_test(test_the_range_grows_threefold_and_resets),
        cmocka_unit_test(test_extremes_do_not_overflow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
