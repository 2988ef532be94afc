/*
 * A device's own settings. What would break a user: a device that is told to call in less often
 * than its certificate needs, or can never call in again; a repeated wish that undoes a newer one;
 * another domain's hand on a device.
 */
#include "device_bench.h"

#define ID_1 "aaaaaaaa-0000-4000-8000-000000000001"
#define ID_2 "aaaaaaaa-0000-4000-8000-000000000002"

static void assert_settings(const struct bench *b, int64_t heartbeat_s, int64_t flood_s)
{
    assert_int_equal(b->device->settings.heartbeat_interval_s, heartbeat_s);
    assert_int_equal(b->device->settings.flood_interval_s, flood_s);
}

static void assert_refused(struct bench *b, const struct device_outcome *o, enum refusal expected,
                           int status)
{
    assert_string_equal(refusal_code(o->refusal), refusal_code(expected));
    assert_int_equal(o->status, status);
    assert_null(o->state);
    assert_int_equal(o->event_count, 0);
    assert_true(o->fault.text[0] != 0);
    assert_string_equal(bench_text(o, "uid"), BENCH_UID); /* the door knows whom it is about */
    if (b->device != NULL) {
        assert_settings(b, 3600, 60);
    }
}

static double number(const struct device_outcome *o, const char *name)
{
    return cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(o->events[0].data, name));
}

static void test_what_is_given_changes_and_is_told(void **state)
{
    struct bench *b = *state;
    bench_installed(b);
    struct device_outcome *o = bench_apply(b, bench_settings(b, ID_1, 7200, 0));
    assert_int_equal(o->status, 200);
    assert_string_equal(bench_text(o, "status"), "updated");
    assert_string_equal(bench_text(o, "uid"), BENCH_UID);
    assert_settings(b, 7200, 60);
    assert_int_equal(bench_events(o, EVENT_SETTINGS_CHANGED), 1);
    assert_int_equal(o->event_count, 1);
    assert_true(number(o, "heartbeat_interval_s") == 7200);
    assert_true(number(o, "flood_interval_s") == 60);
    assert_true(number(o, "previous_heartbeat_interval_s") == 3600);
    assert_true(number(o, "previous_flood_interval_s") == 60);
    (void)bench_apply(b, bench_settings(b, ID_2, 0, 300));
    assert_settings(b, 7200, 300);
    /* What is running goes on. */
    bench_renewing(b, 1);
    (void)bench_apply(b, bench_settings(b, "x", 3600, 60));
    assert_settings(b, 3600, 60);
    assert_int_equal(b->device->operation.state, OPERATION_ISSUED);
}

static void test_what_is_so_already_is_not_told(void **state)
{
    struct bench *b = *state;
    bench_installed(b);
    struct device_outcome *o = bench_apply(b, bench_settings(b, ID_1, 3600, 60));
    assert_int_equal(o->status, 200);
    assert_int_equal(o->event_count, 0);
    /* It is remembered all the same: a repeat must not undo what came later. */
    (void)bench_apply(b, bench_settings(b, ID_2, 7200, 0));
    (void)bench_apply(b, bench_settings(b, ID_1, 3600, 60));
    assert_settings(b, 7200, 60);
}

static void test_a_repeat_changes_nothing(void **state)
{
    struct bench *b = *state;
    bench_installed(b);
    (void)bench_apply(b, bench_settings(b, ID_1, 7200, 0));
    (void)bench_apply(b, bench_settings(b, ID_2, 1800, 0));
    struct device_outcome *o = bench_apply(b, bench_settings(b, ID_1, 7200, 0));
    assert_int_equal(o->status, 200);
    assert_string_equal(bench_text(o, "status"), "updated");
    assert_null(o->state);
    assert_int_equal(o->event_count, 0);
    assert_settings(b, 1800, 60);
    /* the same id with another body is another wish */
    struct device_request *r = bench_settings(b, ID_1, 900, 0);
    memcpy(r->envelope.hash, "other", 6);
    (void)bench_apply(b, r);
    assert_settings(b, 900, 60);
}

static void test_changes_are_forgotten_in_time(void **state)
{
    struct bench *b = *state;
    bench_installed(b);
    char id[UUID_TEXT_SIZE];
    for (int i = 0; i < DEVICE_CHANGES_MAX + 3; i++) {
        (void)snprintf(id, sizeof id, "aaaaaaaa-0000-4000-8000-%012d", i);
        (void)bench_apply(b, bench_settings(b, id, 3600 + i, 0));
    }
    assert_int_equal(b->device->changes_count, DEVICE_CHANGES_MAX);
    b->now_ms += DEVICE_RECENT_KEEP_MS + 60000;
    (void)bench_apply(b, bench_settings(b, ID_1, 7200, 0));
    assert_int_equal(b->device->changes_count, 1);
}

static void test_strangers_and_the_gone_are_refused(void **state)
{
    struct bench *b = *state;
    struct device_outcome *o = bench_apply(b, bench_settings(b, ID_1, 7200, 0));
    assert_refused(b, o, REFUSAL_UNKNOWN_DEVICE, 404);
    bench_installed(b);
    struct device_request *r = bench_settings(b, ID_1, 7200, 0);
    (void)snprintf(r->envelope.domain, sizeof r->envelope.domain, "%s", BENCH_OTHER);
    assert_refused(b, bench_apply(b, r), REFUSAL_UNKNOWN_DEVICE, 404);
    b->device->state = DEVICE_DECOMMISSIONED;
    assert_refused(b, bench_apply(b, bench_settings(b, ID_1, 7200, 0)), REFUSAL_DECOMMISSIONED,
                   403);
    b->device->state = DEVICE_ALLOCATED;
    assert_refused(b, bench_apply(b, bench_settings(b, ID_1, 7200, 0)), REFUSAL_NOT_ACTIVE, 409);
    b->device->state = DEVICE_SUSPENDED; /* it calls in, too */
    assert_int_equal(bench_apply(b, bench_settings(b, ID_1, 7200, 0))->status, 200);
}

static void test_what_can_never_work_is_refused(void **state)
{
    struct bench *b = *state;
    bench_installed(b);
    const enum refusal flood = REFUSAL_FLOOD_ABOVE_HEARTBEAT;
    const enum refusal rare = REFUSAL_HEARTBEAT_TOO_RARE;
    assert_refused(b, bench_apply(b, bench_settings(b, ID_1, 0, 3601)), flood, 400);
    assert_refused(b, bench_apply(b, bench_settings(b, ID_1, 59, 0)), flood, 400);
    assert_refused(b, bench_apply(b, bench_settings(b, ID_1, 100, 101)), flood, 400);
    b->ca.automatic_renewal = true;
    b->ca.renew_ahead_s = 7200;
    assert_refused(b, bench_apply(b, bench_settings(b, ID_1, 7200, 0)), rare, 400);
    /* only where the interval is what changes: a CA may have moved since */
    b->ca.renew_ahead_s = 1800;
    assert_int_equal(bench_apply(b, bench_settings(b, ID_1, 0, 61))->status, 200);
    assert_int_equal(bench_apply(b, bench_settings(b, ID_2, 1799, 0))->status, 200);
    b->ca.automatic_renewal = false;
    assert_int_equal(bench_apply(b, bench_settings(b, "x", 7200, 0))->status, 200);
}

#define BENCH_TEST(f) cmocka_unit_test_setup_teardown(f, bench_setup, bench_teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        BENCH_TEST(test_what_is_given_changes_and_is_told),
        BENCH_TEST(test_what_is_so_already_is_not_told),
        BENCH_TEST(test_a_repeat_changes_nothing),
        BENCH_TEST(test_changes_are_forgotten_in_time),
        BENCH_TEST(test_strangers_and_the_gone_are_refused),
        BENCH_TEST(test_what_can_never_work_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
