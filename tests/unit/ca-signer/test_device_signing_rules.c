/*
 * What must hold before anything is signed, and what happens when it does not. What would break a
 * user: a certificate by another tenant's CA or by one that was deleted, one whose times come from
 * a clock that fell behind, an order lost to such a clock, certificates without end for a device
 * that proves none, the same refusal told every minute.
 */
#include "device_bench.h"

#define YEAR_MS (365 * BENCH_DAY_S * 1000)

/* A renewal that waits, and its pick-up. */
static struct device_outcome *pick_up(struct bench *b)
{
    struct uuid id = bench_id(1);
    return bench_apply(b, bench_pickup(b, &id));
}

static void renewal_waits(struct bench *b)
{
    bench_installed(b);
    assert_int_equal(bench_apply(b, bench_renew(b, 1))->refusal, REFUSAL_NONE);
}

static void test_only_an_active_ca_of_the_devices_domain_signs(void **state)
{
    (void)state;
    for (int deleted = 0; deleted < 2; deleted++) {
        void *bench = NULL;
        (void)bench_setup(&bench);
        struct bench *b = bench;
        renewal_waits(b);
        b->ca.state = deleted ? CA_DELETED : CA_ACTIVE;
        if (!deleted) {
            assert_ok(uuid_parse(span_str(BENCH_OTHER), &b->ca.domain));
        }
        struct device_outcome *o = pick_up(b);
        assert_int_equal(o->refusal, REFUSAL_ISSUE_FAILED);
        assert_false(o->issued);
        assert_int_equal(b->device->unconfirmed_count, 0);
        assert_false(device_has_operation(b->device));
        assert_int_equal(bench_events(o, EVENT_OPERATION_FAILED), 1);
        assert_int_equal(o->event_count, 1);
        (void)bench_teardown(&bench);
    }
}

static void test_first_certificate_waits_for_a_ca_that_may_sign(void **state)
{
    struct bench *b = *state;
    b->ca.state = CA_DELETED;
    struct device_outcome *o = bench_apply(b, bench_bootstrap(b, 1, 1));
    assert_int_equal(o->refusal, REFUSAL_ISSUE_FAILED);
    assert_int_equal(b->device->unconfirmed_count, 0);
    assert_true(device_has_operation(b->device));
    b->ca.state = CA_ACTIVE;
    assert_true(bench_apply(b, bench_bootstrap(b, 1, 1))->issued);
}

static void test_a_clock_that_fell_behind_signs_nothing_and_loses_nothing(void **state)
{
    struct bench *b = *state;
    renewal_waits(b);
    b->now_ms -= 2 * YEAR_MS;
    struct device_outcome *o = pick_up(b);
    assert_int_equal(o->refusal, REFUSAL_TRY_AGAIN);
    assert_null(o->state);
    assert_int_equal(o->event_count, 0);
    b->now_ms += 2 * YEAR_MS;
    b->sequence--; /* the very same message */
    assert_true(pick_up(b)->issued);
}

static void test_a_first_certificate_waits_for_the_clock(void **state)
{
    struct bench *b = *state;
    b->ca.created_at_ms = BENCH_NOW;
    b->now_ms -= YEAR_MS;
    struct device_outcome *o = bench_apply(b, bench_bootstrap(b, 1, 1));
    assert_int_equal(o->refusal, REFUSAL_TRY_AGAIN);
    assert_int_equal(b->device->unconfirmed_count, 0);
    b->now_ms += YEAR_MS;
    assert_true(bench_apply(b, bench_bootstrap(b, 1, 1))->issued);
    /* Replicas need not agree to the second. */
    assert_int_equal(bench_apply(b, bench_bootstrap(b, 2, 2))->refusal, REFUSAL_NONE);
    b->now_ms -= DEVICE_CLOCK_SLACK_MS / 2;
    assert_true(bench_apply(b, bench_bootstrap(b, 2, 3))->issued);
}

static void test_another_key_each_time_ends_stuck_too(void **state)
{
    struct bench *b = *state;
    for (uint8_t key = 1; key <= DEVICE_DELIVERIES_MAX; key++) {
        assert_true(bench_apply(b, bench_bootstrap(b, 1, key))->issued);
    }
    for (uint8_t key = 101; key < 104; key++) {
        struct device_outcome *o = bench_apply(b, bench_bootstrap(b, 1, key));
        assert_false(o->issued);
        assert_string_equal(b->device->reason, "stuck");
    }
    assert_false(device_has_operation(b->device));
    /* What it holds it may still prove. */
    const struct device_unconfirmed u = b->device->unconfirmed[b->device->unconfirmed_count - 1];
    struct device_outcome *o =
        bench_apply(b, bench_confirm(b, &u.operation, u.serial, DEVICE_DELIVERIES_MAX));
    assert_int_equal(o->status, 200);
    assert_string_equal(b->device->reason, "");
}

/* ---- certificates that ended before they were proved ---- */

/* Asleep for longer than its certificate lives: it is given one that is valid, by the same order.
 */
static void test_an_expired_renewal_is_signed_anew(void **state)
{
    struct bench *b = *state;
    bench_installed(b);
    bench_renewing(b, 1);
    const struct device_unconfirmed old = b->device->unconfirmed[0];
    b->now_ms = old.not_after_ms - 2000;
    assert_false(pick_up(b)->issued);
    struct device_outcome *o = pick_up(b); /* its last second is over */
    assert_int_equal(o->refusal, REFUSAL_NONE);
    assert_true(o->issued);
    assert_int_equal(b->device->unconfirmed_count, 2);
    const struct device_unconfirmed new = b->device->unconfirmed[1];
    assert_true(uuid_eq(&new.operation, &old.operation));
    assert_true(new.not_after_ms > b->now_ms);
    assert_int_equal(new.deliveries, 3);
    /* Proof beats plan: that it holds the old one still counts. */
    o = bench_apply(b, bench_confirm(b, &old.operation, old.serial, 1));
    assert_int_equal(o->refusal, REFUSAL_NONE);
    assert_true(o->install.billable);
}

/* Neither by the same message again: that one is old. */
static void test_an_expired_certificate_is_not_repeated(void **state)
{
    struct bench *b = *state;
    bench_installed(b);
    bench_renewing(b, 1);
    b->now_ms = b->device->unconfirmed[0].not_after_ms;
    b->sequence--;
    struct device_outcome *o = pick_up(b);
    assert_int_equal(o->refusal, REFUSAL_STALE_SEQUENCE);
    assert_null(o->state);
}

static void test_an_expired_first_certificate_is_signed_anew(void **state)
{
    struct bench *b = *state;
    (void)bench_apply(b, bench_bootstrap(b, 1, 1));
    (void)snprintf(b->profile.ca, sizeof b->profile.ca, "%s", BENCH_CA_2);
    b->profile.heartbeat_interval_s = 86400;
    b->now_ms = b->device->unconfirmed[0].not_after_ms;
    struct device_outcome *o = bench_apply(b, bench_bootstrap(b, 1, 1));
    assert_true(o->issued);
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(o->result, "chain")), 1);
    assert_true(b->device->unconfirmed[1].not_after_ms > b->now_ms);
    /* As its profile says by then. */
    assert_true(uuid_eq(&b->device->unconfirmed[1].ca, &b->ca_2.id));
    assert_int_equal(b->device->settings.heartbeat_interval_s, 86400);
}

static struct device_request *automatic(struct bench *b)
{
    struct device_request *r = bench_renew(b, 1);
    r->of.renew.automatic = true;
    return r;
}

/* The scheduler asks again as long as the certificate is due. */
static void test_automatic_renewal_that_cannot_be_longer_is_told_once(void **state)
{
    struct bench *b = *state;
    bench_installed(b);
    int64_t ca_end_ms = b->ca.not_after_ms;
    b->ca.not_after_ms = b->device->certificate.not_after_ms;
    struct device_outcome *o = bench_apply(b, automatic(b));
    assert_int_equal(o->refusal, REFUSAL_NOT_LONGER);
    assert_int_equal(bench_events(o, EVENT_OPERATION_FAILED), 1);
    for (int i = 0; i < 3; i++) {
        o = bench_apply(b, automatic(b));
        assert_int_equal(o->refusal, REFUSAL_NOT_LONGER);
        assert_int_equal(o->event_count, 0);
        assert_null(o->state);
    }
    b->ca.not_after_ms = ca_end_ms;
    o = bench_apply(b, automatic(b));
    assert_int_equal(o->refusal, REFUSAL_NONE);
    assert_int_equal(b->device->operation.state, OPERATION_QUEUED);
}

static void assert_queued(const struct bench *b, const struct device_outcome *o, uint8_t id)
{
    struct uuid expected = bench_id(id);
    assert_int_equal(o->refusal, REFUSAL_NONE);
    assert_string_equal(bench_text(o, "status"), "queued");
    assert_true(uuid_eq(&b->device->operation.id, &expected));
    assert_int_equal(b->device->operation.state, OPERATION_QUEUED);
}

/* The owner's wish took its place and failed: the certificate is as due as it was, and the
 * scheduler's id for it is the same. */
static void test_automatic_renewal_that_was_superseded_is_tried_anew(void **state)
{
    struct bench *b = *state;
    bench_installed(b);
    assert_queued(b, bench_apply(b, automatic(b)), 1);
    assert_queued(b, bench_apply(b, bench_renew(b, 2)), 2);
    struct device_outcome *o = bench_apply(b, automatic(b)); /* while the other one waits */
    assert_string_equal(bench_text(o, "status"), "superseded");
    assert_int_equal(o->event_count, 0);
    b->ca.state = CA_DELETED;
    struct uuid id = bench_id(2);
    assert_int_equal(bench_apply(b, bench_pickup(b, &id))->refusal, REFUSAL_ISSUE_FAILED);
    b->ca.state = CA_ACTIVE;
    assert_queued(b, bench_apply(b, automatic(b)), 1);
    assert_true(pick_up(b)->issued);
}

static void test_automatic_renewal_that_failed_is_tried_anew(void **state)
{
    struct bench *b = *state;
    bench_installed(b);
    assert_queued(b, bench_apply(b, automatic(b)), 1);
    b->ca.state = CA_DELETED;
    assert_int_equal(pick_up(b)->refusal, REFUSAL_ISSUE_FAILED);
    b->ca.state = CA_ACTIVE;
    assert_queued(b, bench_apply(b, automatic(b)), 1);
}

/* But not while the device is left alone, and nobody is told of that again. */
static void test_automatic_renewal_that_got_stuck_waits_for_the_owner(void **state)
{
    struct bench *b = *state;
    bench_installed(b);
    (void)bench_apply(b, automatic(b));
    for (int i = 0; i <= DEVICE_DELIVERIES_MAX; i++) {
        (void)pick_up(b);
        bench_next_visit(b);
    }
    assert_string_equal(b->device->reason, "stuck");
    struct device_outcome *o = bench_apply(b, automatic(b));
    assert_null(o->state);
    assert_int_equal(o->event_count, 0);
    assert_string_equal(bench_text(o, "status"), "failed");
}

/* Superseded before, too short now: that is news, once. */
static void test_another_reason_is_told(void **state)
{
    struct bench *b = *state;
    bench_installed(b);
    (void)bench_apply(b, automatic(b));
    (void)bench_apply(b, bench_renew(b, 2));
    b->ca.state = CA_DELETED;
    struct uuid id = bench_id(2);
    (void)bench_apply(b, bench_pickup(b, &id));
    b->ca.state = CA_ACTIVE;
    b->ca.not_after_ms = b->device->certificate.not_after_ms;
    for (unsigned i = 0; i < 3; i++) {
        struct device_outcome *o = bench_apply(b, automatic(b));
        assert_int_equal(o->refusal, REFUSAL_NOT_LONGER);
        assert_int_equal(bench_events(o, EVENT_OPERATION_FAILED), i == 0);
    }
}

/* The scheduler's clock may be ahead, and the settings may have changed since it looked: each
 * renewal is paid for. */
static void test_automatic_renewal_that_is_not_due(void **state)
{
    struct bench *b = *state;
    bench_installed(b);
    b->ca.renew_ahead_s = 30 * BENCH_DAY_S;
    for (unsigned i = 0; i < 2; i++) {
        struct device_outcome *o = bench_apply(b, automatic(b));
        assert_int_equal(o->refusal, REFUSAL_NOT_DUE);
        assert_int_equal(o->event_count, 0);
        assert_null(o->state);
        b->ca.renew_ahead_s = 366 * BENCH_DAY_S;
        b->ca.automatic_renewal = false;
    }
    b->ca.automatic_renewal = true;
    assert_queued(b, bench_apply(b, automatic(b)), 1);
    b->ca.automatic_renewal = false;
    struct device_outcome *o = pick_up(b);
    assert_int_equal(o->refusal, REFUSAL_OPERATION_FINISHED);
    assert_false(o->issued);
    assert_int_equal(bench_events(o, EVENT_OPERATION_FAILED), 1);
    assert_false(device_has_operation(b->device));
    b->ca.automatic_renewal = true;
    b->ca.renew_ahead_s = 30 * BENCH_DAY_S;
    b->now_ms = b->device->certificate.not_after_ms - 20 * BENCH_DAY_S * 1000;
    assert_queued(b, bench_apply(b, automatic(b)), 1);
    assert_true(pick_up(b)->issued);
}

/* What was queued by an order may be refused when its turn has come. Who asks for the order must
 * not be told "queued" for ever, nor the one who feeds it wait for the device to take it. */
static void test_a_refused_wish_of_an_order_is_found_at_the_device(void **state)
{
    struct bench *b = *state;
    bench_installed(b);
    bench_renewing(b, 1);
    for (unsigned i = 0; i < 2; i++) {
        struct device_request *r = bench_renew(b, 2);
        r->of.renew.order = bench_id(9);
        r->envelope.reply_to[0] = 0;
        struct device_outcome *o = bench_apply(b, r);
        assert_int_equal(bench_events(o, EVENT_OPERATION_FAILED), i == 0);
        struct uuid running = bench_id(1);
        struct uuid refused = bench_id(2);
        assert_true(uuid_eq(&b->device->operation.id, &running));
        const struct device_recent *last = &b->device->recent[b->device->recent_count - 1];
        assert_true(uuid_eq(&last->id, &refused));
        assert_int_equal(last->state, OPERATION_FAILED);
        assert_string_equal(last->reason, "operation_in_progress");
    }
    assert_int_equal(bench_apply(b, bench_renew(b, 3))->refusal, REFUSAL_OPERATION_IN_PROGRESS);
    struct uuid asked = bench_id(3);
    assert_false(
        uuid_eq(&b->device->recent[b->device->recent_count - 1].id, &asked)); /* it was answered */
}

/* By an order, whatever the settings say. */
static void test_an_ordered_renewal_need_not_be_due(void **state)
{
    struct bench *b = *state;
    bench_installed(b);
    b->ca.automatic_renewal = false;
    (void)bench_apply(b, bench_renew(b, 1));
    assert_true(pick_up(b)->issued);
}

/* What nobody can repeat any more is no repeat, even where nothing has pushed it out. */
static void test_memory_ends_by_itself(void **state)
{
    struct bench *b = *state;
    renewal_waits(b);
    assert_true(pick_up(b)->issued);
    const struct device_unconfirmed u = b->device->unconfirmed[0];
    (void)bench_apply(b, bench_confirm(b, &u.operation, u.serial, 1));
    b->now_ms += DEVICE_RECENT_KEEP_MS - 10000;
    assert_string_equal(bench_text(bench_apply(b, bench_renew(b, 1)), "status"), "installed");
    assert_int_equal(pick_up(b)->refusal, REFUSAL_OPERATION_FINISHED);
    b->now_ms += 10000;
    assert_int_equal(pick_up(b)->refusal, REFUSAL_UNKNOWN_OPERATION);
    assert_queued(b, bench_apply(b, bench_renew(b, 1)), 1);
}

#define BENCH_TEST(f) cmocka_unit_test_setup_teardown(f, bench_setup, bench_teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_an_active_ca_of_the_devices_domain_signs),
        BENCH_TEST(test_first_certificate_waits_for_a_ca_that_may_sign),
        BENCH_TEST(test_a_clock_that_fell_behind_signs_nothing_and_loses_nothing),
        BENCH_TEST(test_a_first_certificate_waits_for_the_clock),
        BENCH_TEST(test_another_key_each_time_ends_stuck_too),
        BENCH_TEST(test_an_expired_renewal_is_signed_anew),
        BENCH_TEST(test_an_expired_certificate_is_not_repeated),
        BENCH_TEST(test_an_expired_first_certificate_is_signed_anew),
        BENCH_TEST(test_automatic_renewal_that_cannot_be_longer_is_told_once),
        BENCH_TEST(test_automatic_renewal_that_was_superseded_is_tried_anew),
        BENCH_TEST(test_automatic_renewal_that_failed_is_tried_anew),
        BENCH_TEST(test_automatic_renewal_that_got_stuck_waits_for_the_owner),
        BENCH_TEST(test_another_reason_is_told),
        BENCH_TEST(test_automatic_renewal_that_is_not_due),
        BENCH_TEST(test_an_ordered_renewal_need_not_be_due),
        BENCH_TEST(test_a_refused_wish_of_an_order_is_found_at_the_device),
        BENCH_TEST(test_memory_ends_by_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
