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

/* It cannot talk itself out of it: neither when it has handed out enough, nor when it gave up. */
static void test_a_new_installation_stays_stuck(void **state)
{
    struct bench *b = *state;
    (void)bench_apply(b, bench_bootstrap(b, 1, 1));
    const struct uuid operation = b->device->operation.id;
    for (int i = 0; i < DEVICE_ATTEMPTS_MAX; i++) {
        struct device_request *r = bench_request(b, DEVICE_SAYS_FAILED);
        r->body.signed_part.sequence = 0;
        r->of.failed.operation = operation;
        (void)bench_apply(b, r);
    }
    assert_string_equal(b->device->reason, "stuck");
    b->now_ms += 2 * DEVICE_RECENT_KEEP_MS; /* nor by waiting */
    for (uint8_t nonce = 1; nonce < 4; nonce++) {
        struct device_outcome *o = bench_apply(b, bench_bootstrap(b, nonce, nonce));
        assert_int_equal(o->status, 200);
        assert_string_equal(bench_text(o, "reason"), "stuck");
        assert_string_equal(bench_text(o, "certificate"), "");
        assert_int_equal(o->event_count, 0);
    }
    /* What it was given it may still prove. */
    const struct device_unconfirmed u = b->device->unconfirmed[0];
    (void)bench_apply(b, bench_confirm(b, &u.operation, u.serial, 1));
    assert_string_equal(b->device->reason, "");
    assert_true(device_has_certificate(b->device));
}

/* The same certificate again and again, then another installation, then another key. */
static void test_deliveries_of_all_kinds_are_one_count(void **state)
{
    struct bench *b = *state;
    (void)bench_apply(b, bench_bootstrap(b, 1, 1));
    bench_next_visit(b);
    (void)bench_apply(b, bench_bootstrap(b, 1, 1));
    (void)bench_apply(b, bench_bootstrap(b, 2, 2));
    (void)bench_apply(b, bench_bootstrap(b, 2, 3));
    bench_next_visit(b);
    assert_int_equal(bench_apply(b, bench_bootstrap(b, 2, 3))->refusal, REFUSAL_NONE);
    assert_int_equal(b->device->unconfirmed[b->device->unconfirmed_count - 1].deliveries, 5);
    assert_int_equal(bench_apply(b, bench_bootstrap(b, 3, 3))->refusal, REFUSAL_STUCK);
}

/* A renewal has a count of its own. */
static void test_what_came_before_a_proof_is_forgotten(void **state)
{
    struct bench *b = *state;
    for (uint8_t i = 1; i <= DEVICE_DELIVERIES_MAX; i++) {
        (void)bench_apply(b, bench_bootstrap(b, i, i));
    }
    const struct device_unconfirmed u = b->device->unconfirmed[DEVICE_UNCONFIRMED_MAX - 1];
    assert_int_equal(u.deliveries, DEVICE_DELIVERIES_MAX);
    (void)bench_apply(b, bench_confirm(b, &u.operation, u.serial, u.key_hash[0]));
    bench_renewing(b, 1);
    assert_int_equal(b->device->unconfirmed[0].deliveries, 1);
}

#define BENCH_TEST(f) cmocka_unit_test_setup_teardown(f, bench_setup, bench_teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        BENCH_TEST(test_messages_that_arrive_together_are_one_delivery),
        BENCH_TEST(test_bootstraps_that_arrive_together_are_one_delivery),
        BENCH_TEST(test_visits_are_counted),
        BENCH_TEST(test_a_new_installation_stays_stuck),
        BENCH_TEST(test_deliveries_of_all_kinds_are_one_count),
        BENCH_TEST(test_what_came_before_a_proof_is_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
