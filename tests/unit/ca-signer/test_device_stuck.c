/*
 * A device that is given certificates and proves none. What would break a user: certificates
 * without end, and a healthy device that is left alone because the server was away.
 */
#include "device_bench.h"

static struct device_outcome *pick_up(struct bench *b)
{
    struct uuid id = bench_id(1);
    return bench_apply(b, bench_pickup(b, &id));
}

/* What a device asked for while nobody answered is answered within a second. */
static void test_messages_that_arrive_together_are_one_delivery(void **state)
{
    struct bench *b = *state;
    bench_installed(b);
    bench_renewing(b, 1);
    for (int i = 0; i < 7; i++) {
        b->now_ms -= 1000; /* the bench's: all in one moment */
        struct device_outcome *o = pick_up(b);
        assert_int_equal(o->refusal, REFUSAL_NONE);
        assert_string_equal(bench_text(o, "serial"), "02020202020202020202020202020202");
    }
    assert_int_equal(b->device->unconfirmed[0].deliveries, 1);
    assert_string_equal(b->device->reason, "");
}

static void test_bootstraps_that_arrive_together_are_one_delivery(void **state)
{
    struct bench *b = *state;
    for (int i = 0; i < 7; i++) {
        struct device_outcome *o = bench_apply(b, bench_bootstrap(b, 1, 1));
        assert_string_equal(bench_text(o, "serial"), "01010101010101010101010101010101");
    }
    assert_int_equal(b->device->unconfirmed[0].deliveries, 1);
}

/* Five visits, each of several messages. */
static void test_visits_are_counted(void **state)
{
    struct bench *b = *state;
    bench_installed(b);
    bench_renewing(b, 1);
    for (int i = 1; i < DEVICE_DELIVERIES_MAX; i++) {
        bench_next_visit(b);
        for (int k = 0; k < 3; k++) {
            assert_int_equal(pick_up(b)->refusal, REFUSAL_NONE);
        }
        assert_int_equal(b->device->unconfirmed[0].deliveries, i + 1);
    }
    assert_int_equal(pick_up(b)->refusal, REFUSAL_NONE);
    bench_next_visit(b);
    assert_int_equal(pick_up(b)->refusal, REFUSAL_STUCK);
    assert_string_equal(b->device->reason, "stuck");
}

#define BENCH_TEST(f) cmocka_unit_test_setup_teardown(f, bench_setup, bench_teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        BENCH_TEST(test_messages_that_arrive_together_are_one_delivery),
        BENCH_TEST(test_bootstraps_that_arrive_together_are_one_delivery),
        BENCH_TEST(test_visits_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
