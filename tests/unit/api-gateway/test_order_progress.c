/*
 * How far a device is with an order. What would break a user: an order of long ago that is queued
 * again, so that a wait never ends; one that is called past while its owner has not come to it.
 */
#include "order_progress.h"
#include "test_support.h"

#define NOW    INT64_C(1795000000000)
#define DAY_MS INT64_C(86400000)

static const struct uuid operation = {{7}};

static const char *state_of(const struct device *d, int64_t fed_ms)
{
    const char *reason = NULL;
    const char *state = order_progress(d, &operation, &(struct order_times){NOW, fed_ms}, &reason);
    assert_non_null(reason);
    return state;
}

/* A device with as many other operations, the last of which ended a minute ago. */
static struct device after_others(size_t n, int64_t first_ms)
{
    struct device d = {.recent_count = n};
    for (size_t i = 0; i < n; i++) {
        d.recent[i] = (struct device_recent){.id = {{1, (uint8_t)i}},
                                             .state = OPERATION_INSTALLED,
                                             .at_ms = i == 0 ? first_ms : NOW - 60000};
    }
    return d;
}

static void what_the_device_knows_counts(void **state)
{
    (void)state;
    struct device d = after_others(3, NOW);
    d.operation = (struct device_operation){.id = operation, .state = OPERATION_ISSUED};
    assert_string_equal(state_of(&d, NOW - 30 * DAY_MS), "issued");
    d.operation = (struct device_operation){0};
    d.recent[1].id = operation;
    d.recent[1].state = OPERATION_FAILED;
    assert_string_equal(state_of(&d, NOW - 30 * DAY_MS), "failed");
    d = after_others(DEVICE_RECENT_MAX, NOW);
    d.certificate.operation = operation;
    assert_string_equal(state_of(&d, NOW - 30 * DAY_MS), "installed");
}

static void what_it_must_have_forgotten_is_past(void **state)
{
    (void)state;
    struct device d = after_others(2, NOW - DAY_MS);
    assert_string_equal(state_of(&d, NOW - 9 * DAY_MS), "past");
    assert_string_equal(state_of(NULL, NOW - 9 * DAY_MS), "past");
    d = after_others(DEVICE_RECENT_MAX, NOW - DAY_MS + 1);
    assert_string_equal(state_of(&d, NOW - DAY_MS), "past");
}

static void what_it_may_not_have_heard_of_is_queued(void **state)
{
    (void)state;
    struct device d = after_others(2, NOW - DAY_MS);
    assert_string_equal(state_of(&d, NOW - 8 * DAY_MS), "queued");
    assert_string_equal(state_of(NULL, NOW - 8 * DAY_MS), "queued");
    assert_string_equal(state_of(&d, 0), "queued"); /* not handed over yet */
    d = after_others(DEVICE_RECENT_MAX, NOW - 2 * DAY_MS);
    assert_string_equal(state_of(&d, NOW - DAY_MS), "queued");
    d = after_others(DEVICE_RECENT_MAX - 1, NOW);
    assert_string_equal(state_of(&d, NOW - DAY_MS), "queued");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_the_device_knows_counts),
        cmocka_unit_test(what_it_must_have_forgotten_is_past),
        cmocka_unit_test(what_it_may_not_have_heard_of_is_queued),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
