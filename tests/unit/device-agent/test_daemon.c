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
    const struct daemon_due due = {.hold_ms = hold_ms, .urgent = urgent, .failures = failures};
    return daemon_wait_ms(&s, &due, NOW, random);
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

/* A visit that went well and leaves the device urgent is followed by a pause. */
static void test_urgent_after_a_visit(void **state)
{
    (void)state;
    struct device_state s = {.heartbeat_interval_s = WEEK_S, .next_heartbeat_ms = NOW};
    const struct daemon_due due = {.urgent = true, .visited = true};
    const struct daemon_due idle = {.visited = true};
    assert_int_equal(daemon_wait_ms(&s, &due, NOW, LOW), 15000);
    assert_in_range(daemon_wait_ms(&s, &due, NOW, HIGH), 29999, 30000);
    assert_int_equal(daemon_wait_ms(&s, &idle, NOW, HIGH), 0);
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

/* A server that wants to be left alone is, whatever the visit was for; when it has not said so, or
 * the time is over, nothing changes. */
static void test_server_says_when(void **state)
{
    (void)state;
    static const struct {
        int64_t away_ms;
        unsigned failures;
        bool urgent;
        int64_t low, high;
    } rows[] = {
        {66 * MINUTE, 1, true, 66 * MINUTE, 66 * MINUTE},
        {66 * MINUTE, 1, false, 66 * MINUTE, 66 * MINUTE},
        {66 * MINUTE, 0, true, 66 * MINUTE, 66 * MINUTE},
        {1000, 1, true, 15000, 30000},
        {-5000, 1, true, 15000, 30000},
        {-5000, 0, true, 0, 0},
    };
    struct device_state s = {.heartbeat_interval_s = WEEK_S, .next_heartbeat_ms = NOW};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct daemon_due due = {
            .away_ms = rows[i].away_ms, .failures = rows[i].failures, .urgent = rows[i].urgent};
        assert_in_range(daemon_wait_ms(&s, &due, NOW, LOW), rows[i].low, rows[i].high);
        assert_in_range(daemon_wait_ms(&s, &due, NOW, HIGH), rows[i].low, rows[i].high);
    }
}

/* A clock that is known to be wrong is looked at often: a device that is never on for an hour would
 * not notice otherwise that it was set. */
static void test_clock_is_looked_at_again(void **state)
{
    (void)state;
    int64_t week_ms = INT64_C(1000) * WEEK_S;
    const struct {
        int64_t sent_ms, next_ms, now_ms;
        int64_t expected;
    } rows[] = {
        {NOW, NOW + week_ms, NOW, 60 * MINUTE},
        {NOW, NOW + week_ms, NOW + week_ms / 2, 60 * MINUTE},
        {NOW, NOW + week_ms, NOW + 2 * week_ms, 60 * MINUTE},
        {0, 0, NOW, 60 * MINUTE}, /* nothing is known yet */
        {0, 0, 0, 60 * MINUTE},
        {NOW, NOW + week_ms, NOW - 1, MINUTE}, /* before the last heartbeat */
        {NOW, NOW + week_ms, 0, MINUTE},
        {NOW, NOW + MINUTE, 0, MINUTE},
        {0, NOW + week_ms, 0, MINUTE}, /* only bootstrapped: before that answer */
        {0, NOW + week_ms, NOW - 1, MINUTE},
        {0, NOW + week_ms, NOW, 60 * MINUTE},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct device_state s = {.heartbeat_interval_s = WEEK_S,
                                       .heartbeat_sent_ms = rows[i].sent_ms,
                                       .next_heartbeat_ms = rows[i].next_ms};
        assert_int_equal(daemon_look_again_ms(&s, rows[i].now_ms), rows[i].expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_due),
        cmocka_unit_test(test_urgent),
        cmocka_unit_test(test_urgent_after_a_visit),
        cmocka_unit_test(test_failures_back_off),
        cmocka_unit_test(test_server_says_when),
        cmocka_unit_test(test_clock_is_looked_at_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
