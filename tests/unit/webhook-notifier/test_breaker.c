/* An endpoint that fails is left alone, one that works again is found out by one probe. */
#include "breaker.h"
#include "test_support.h"

static const struct breaker_limits limits = {.failures = 3, .open_ms = 1000};

static struct breaker opened(int64_t now_ms)
{
    struct breaker b = {0};
    for (unsigned i = 0; i < limits.failures; i++) {
        assert_int_equal(breaker_gate(&b, now_ms), BREAKER_PASS);
        breaker_failure(&b, &limits, now_ms);
    }
    return b;
}

static void opens_after_failures_in_a_row_only(void **state)
{
    (void)state;
    struct breaker b = {0};
    for (int i = 0; i < 20; i++) {
        breaker_failure(&b, &limits, 5);
        breaker_failure(&b, &limits, 5);
        assert_int_equal(breaker_gate(&b, 5), BREAKER_PASS);
        breaker_success(&b);
    }
    b = opened(5);
    assert_int_equal(breaker_gate(&b, 5), BREAKER_REFUSE);
    assert_int_equal(breaker_gate(&b, 1004), BREAKER_REFUSE);
}

static void lets_one_probe_through(void **state)
{
    (void)state;
    struct breaker b = opened(5);
    assert_int_equal(breaker_gate(&b, 1005), BREAKER_PROBE);
    breaker_probe(&b);
    assert_int_equal(breaker_gate(&b, 1005), BREAKER_WAIT);
    assert_int_equal(breaker_gate(&b, 99999), BREAKER_WAIT);
}

static void the_probe_decides(void **state)
{
    (void)state;
    struct breaker b = opened(5);
    breaker_probe(&b);
    breaker_failure(&b, &limits, 2000);
    assert_int_equal(breaker_gate(&b, 2999), BREAKER_REFUSE);
    assert_int_equal(breaker_gate(&b, 3000), BREAKER_PROBE);
    breaker_probe(&b);
    breaker_unknown(&b);
    assert_int_equal(breaker_gate(&b, 3000), BREAKER_PROBE);
    breaker_probe(&b);
    breaker_success(&b);
    assert_int_equal(breaker_gate(&b, 3000), BREAKER_PASS);
    assert_int_equal(b.failures, 0);
}

static void the_endpoint_may_ask_to_be_left_alone(void **state)
{
    (void)state;
    struct breaker b = {0};
    breaker_failure(&b, &limits, 0);
    breaker_hold(&b, 50000, 0);
    assert_int_equal(breaker_gate(&b, 49999), BREAKER_REFUSE);
    assert_int_equal(breaker_asked_ms(&b, 20000), 30000);
    /* a shorter wish, or the breaker's own time, takes nothing back */
    breaker_hold(&b, 10, 100);
    for (int i = 0; i < 20; i++) {
        breaker_failure(&b, &limits, 200);
    }
    assert_int_equal(breaker_gate(&b, 49999), BREAKER_REFUSE);
    assert_int_equal(breaker_gate(&b, 50000), BREAKER_PROBE);
    assert_int_equal(breaker_asked_ms(&b, 50000), 0);
    breaker_success(&b);
    assert_int_equal(breaker_gate(&b, 300), BREAKER_PASS);
    assert_int_equal(breaker_asked_ms(&b, 300), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opens_after_failures_in_a_row_only),
        cmocka_unit_test(lets_one_probe_through),
        cmocka_unit_test(the_probe_decides),
        cmocka_unit_test(the_endpoint_may_ask_to_be_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
