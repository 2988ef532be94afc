#include "app.h"
#include "test_support.h"

#define NOW    INT64_C(1795239000000)
#define MINUTE INT64_C(60000)
#define WEEK_S 604800
#define LOW    0u
#define HIGH   UINT32_MAX

static int64_t wait_for(int64_t next_in_ms, int64_t hold_ms, bool urgent, unsigned failures,
                        uint32_t random)
{
    struct device_state s = {.heartbeat_interval_s = WEEK_S, .next_heartbeat_ms = NOW + next_in_ms};
    return daemon_wait_ms(&s, hold_ms, urgent, failures, NOW, random);
}

static void test_due(void **state)
{
    (void)state;
    int64_t week_ms = INT64_C(1000) * WEEK_S;
    assert_int_equal(wait_for(0, 0, false, 0, HIGH), 0);
    assert_int_equal(wait_for(-week_ms, 0, false, 0, HIGH), 0);
    assert_int_equal(wait_for(5 * MINUTE, 0, false, 0, LOW), 5 * MINUTE);
    assert_in_range(wait_for(5 * MINUTE, 0, false, 0, HIGH), 14 * MINUTE, 15 * MINUTE);
    assert_int_equal(wait_for(1000, 3 * MINUTE, false, 0, LOW),
                     3 * MINUTE); /* the flood interval */
    /* a clock stepped back by years puts a heartbeat off by one interval at most */
    assert_int_equal(wait_for(300 * week_ms, 0, false, 0, LOW), week_ms);
}

static void test_urgent(void **state)
{
    (void)state;
    assert_int_equal(wait_for(5 * MINUTE, 5 * MINUTE, true, 0, HIGH), 0);
    assert_true(wait_for(5 * MINUTE, 0, true, 1, LOW) >= 15000);
}

static void test_failures_back_off(void **state)
{
    (void)state;
    int64_t last = 0;
    for (unsigned n = 1; n < 50; n++) {
        int64_t low = wait_for(0, 0, true, n, LOW);
        int64_t high = wait_for(0, 0, true, n, HIGH);
        assert_true(low >= last && low >= 15000 && high <= 60 * MINUTE);
        assert_in_range(high, 2 * low - 1, 2 * low);
        last = low;
    }
    assert_int_equal(last, 30 * MINUTE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_due),
        cmocka_unit_test(test_urgent),
        cmocka_unit_test(test_failures_back_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
