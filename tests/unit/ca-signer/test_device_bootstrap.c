/*
 * How a device comes in. What would break a user: a copy of a device gets a certificate, an
 * interrupted bootstrap leaves a device without one for ever, a device that is not on the list gets
 * in, a device that calls again gets another certificate each time.
 */
#include "device_bench.h"

static void test_refusals_change_nothing(void **state)
{
    struct bench *b = *state;
    struct device_request *r = bench_bootstrap(b, 1, 1);
    r->proof.refusal = REFUSAL_BAD_SIGNATURE;
    struct device_outcome *o = bench_apply(b, r);
    assert_int_equal(o->refusal, REFUSAL_BAD_SIGNATURE);
    assert_null(b->device);
    assert_int_equal(o->event_count, 0);

    r = bench_bootstrap(b, 1, 0);
    (void)fault_set(&r->proof.csr_fault, ERR_INVALID, "invalid_csr", "csr", "bad");
    o = bench_apply(b, r);
    assert_int_equal(o->refusal, REFUSAL_INVALID_CSR);
    assert_int_equal(o->status, 422);
    assert_null(b->device);

    (void)bench_apply(b, bench_bootstrap(b, 1, 1));
    r = bench_bootstrap(b, 1, 1);
    memcpy(r->body.rot_key.der, "evil", 4);
    o = bench_apply(b, r);
    assert_int_equal(o->refusal, REFUSAL_WRONG_KEY);
    assert_null(o->state);
    assert_int_equal(bench_events(o, EVENT_DUPLICATE), 1);
}

static void test_first_time_brings_a_certificate(void **state)
{
    struct bench *b = *state;
    struct device_outcome *o = bench_apply(b, bench_bootstrap(b, 1, 1));
    assert_int_equal(o->status, 200);
    assert_int_equal(b->device->state, DEVICE_ACTIVE);
    assert_string_equal(b->device->profile, BENCH_PROFILE);
    assert_string_equal(b->device->serial, "SN-1");
    assert_int_equal(b->device->settings.heartbeat_interval_s, 3600);
    assert_int_equal(b->device->operation.state, OPERATION_ISSUED);
    assert_int_equal(b->device->unconfirmed_count, 1);
    assert_string_equal(bench_text(o, "state"), "active");
    assert_string_equal(bench_text(o, "serial"), "01010101010101010101010101010101");
    assert_string_not_equal(bench_text(o, "certificate"), "");
    assert_true(o->issued);
    assert_false(o->install.billable);
    assert_int_equal(bench_events(o, EVENT_REGISTERED), 1);
    assert_int_equal(bench_events(o, EVENT_ACTIVATED), 1);
    assert_int_equal(bench_events(o, EVENT_CERTIFICATE_ISSUED), 1);
    assert_int_equal(o->event_count, 3);
}

static void test_same_message_again_is_the_same_answer(void **state)
{
    struct bench *b = *state;
    (void)bench_apply(b, bench_bootstrap(b, 1, 1));
    CLEANUP_FREE char *first = cJSON_PrintUnformatted(b->last->outcome.result);
    b->sequence--;
    struct device_outcome *o = bench_apply(b, bench_bootstrap(b, 1, 1));
    CLEANUP_FREE char *again = cJSON_PrintUnformatted(o->result);
    assert_string_equal(first, again);
    assert_int_equal(b->device->unconfirmed_count, 1);
    assert_int_equal(b->device->unconfirmed[0].deliveries, 1);
    assert_int_equal(o->event_count, 0);
    assert_false(o->issued);
}

static void test_interrupted_bootstrap_goes_on(void **state)
{
    struct bench *b = *state;
    (void)bench_apply(b, bench_bootstrap(b, 1, 1));
    /* Power cut before the answer: the device repeats with its nonce and a new sequence. */
    bench_next_visit(b);
    struct device_outcome *o = bench_apply(b, bench_bootstrap(b, 1, 1));
    assert_string_equal(bench_text(o, "serial"), "01010101010101010101010101010101");
    assert_int_equal(b->device->unconfirmed[0].deliveries, 2);
    assert_int_equal(o->event_count, 0);
    /* The same installation with another key: its first key was lost before it was kept. */
    o = bench_apply(b, bench_bootstrap(b, 1, 2));
    assert_string_equal(bench_text(o, "serial"), "02020202020202020202020202020202");
    assert_int_equal(b->device->unconfirmed_count, 2);
}

static void test_new_nonce_starts_over(void **state)
{
    struct bench *b = *state;
    (void)bench_apply(b, bench_bootstrap(b, 1, 1));
    struct uuid first = b->device->operation.id;
    struct device_outcome *o = bench_apply(b, bench_bootstrap(b, 2, 2));
    assert_string_equal(bench_text(o, "serial"), "02020202020202020202020202020202");
    assert_false(uuid_eq(&first, &b->device->operation.id));
    assert_int_equal(b->device->recent_count, 1);
    assert_int_equal(b->device->recent[0].state, OPERATION_SUPERSEDED);
    assert_int_equal(bench_events(o, EVENT_REGISTERED), 0);
    assert_int_equal(bench_events(o, EVENT_ACTIVATED), 0);
    /* An old message with the old nonce is refused now. */
    b->sequence = 0;
    o = bench_apply(b, bench_bootstrap(b, 1, 1));
    assert_int_equal(o->refusal, REFUSAL_STALE_SEQUENCE);
    assert_null(o->state);
}

/* Whatever nonces it comes with: until one is proved they are certificates of one device. */
static void test_starting_over_often_is_bounded(void **state)
{
    struct bench *b = *state;
    unsigned told = 0;
    for (uint8_t i = 1; i <= 20; i++) {
        struct device_outcome *o = bench_apply(b, bench_bootstrap(b, i, i));
        assert_int_equal(o->issued, i <= DEVICE_DELIVERIES_MAX);
        assert_true(b->device->unconfirmed_count <= DEVICE_UNCONFIRMED_MAX);
        assert_true(b->device->recent_count <= DEVICE_RECENT_MAX);
        bool dropped = o->issued && i > DEVICE_UNCONFIRMED_MAX;
        assert_int_equal(o->status_count, dropped);
        assert_int_equal(bench_events(o, EVENT_CERTIFICATE_REPLACED), dropped);
        told += bench_events(o, EVENT_OPERATION_FAILED);
        bench_next_visit(b);
    }
    assert_int_equal(told, 1);
    assert_string_equal(b->device->reason, "stuck");
    assert_string_equal(bench_text(&b->last->outcome, "reason"), "stuck");
    assert_false(device_has_operation(b->device));
    assert_int_equal(b->device->unconfirmed[DEVICE_UNCONFIRMED_MAX - 1].serial[0],
                     DEVICE_DELIVERIES_MAX);
    /* Its owner says otherwise, for as many times again. */
    struct device_outcome *o = bench_apply(b, bench_request(b, DEVICE_ORDER_UNBLOCK));
    assert_int_equal(bench_events(o, EVENT_OPERATION_QUEUED), 1);
    for (uint8_t i = 20; i < 20 + DEVICE_DELIVERIES_MAX; i++) {
        assert_true(bench_apply(b, bench_bootstrap(b, i, i))->issued);
    }
    assert_int_equal(bench_apply(b, bench_bootstrap(b, 99, 99))->refusal, REFUSAL_STUCK);
}

static void test_copy_of_a_proved_device_gets_nothing(void **state)
{
    struct bench *b = *state;
    bench_installed(b);
    struct device_outcome *o = bench_apply(b, bench_bootstrap(b, 9, 9));
    assert_int_equal(o->refusal, REFUSAL_ALREADY_BOOTSTRAPPED);
    assert_null(o->state);
    assert_false(o->sign);
    assert_int_equal(bench_events(o, EVENT_DUPLICATE), 1);
    /* The device itself, which missed the verdict, is told that all is well. */
    o = bench_apply(b, bench_bootstrap(b, 1, 1));
    assert_int_equal(o->status, 200);
    assert_string_equal(bench_text(o, "serial"), "01010101010101010101010101010101");
    assert_null(o->state);
}

static void test_two_stages(void **state)
{
    struct bench *b = *state;
    struct device_request *r = bench_bootstrap(b, 1, 1);
    r->of.bootstrap.profile[0] = r->of.bootstrap.serial[0] = 0;
    struct device_outcome *o = bench_apply(b, r);
    assert_int_equal(o->status, 200);
    assert_int_equal(b->device->state, DEVICE_REGISTERED);
    assert_int_equal(b->device->unconfirmed_count, 0);
    assert_string_equal(bench_text(o, "state"), "registered");
    assert_int_equal(o->event_count, 1);

    o = bench_apply(b, bench_bootstrap(b, 1, 1));
    assert_int_equal(b->device->state, DEVICE_ACTIVE);
    assert_int_equal(b->device->unconfirmed_count, 1);
    assert_int_equal(bench_events(o, EVENT_REGISTERED), 0);
    assert_int_equal(bench_events(o, EVENT_ACTIVATED), 1);
}

static void test_unknown_profile_is_told_once_and_curable(void **state)
{
    struct bench *b = *state;
    b->has_profile = false;
    struct device_outcome *o = bench_apply(b, bench_bootstrap(b, 1, 1));
    assert_int_equal(b->device->state, DEVICE_REGISTERED);
    assert_string_equal(b->device->reason, "unknown_profile");
    assert_int_equal(bench_events(o, EVENT_UNKNOWN_PROFILE), 1);
    o = bench_apply(b, bench_bootstrap(b, 1, 1));
    assert_int_equal(bench_events(o, EVENT_UNKNOWN_PROFILE), 0);
    b->has_profile = true;
    (void)bench_apply(b, bench_bootstrap(b, 1, 1));
    assert_int_equal(b->device->state, DEVICE_ACTIVE);
    assert_string_equal(b->device->reason, "");
}

static void test_second_sealing_is_ignored_and_told(void **state)
{
    struct bench *b = *state;
    (void)bench_apply(b, bench_bootstrap(b, 1, 1));
    struct device_request *r = bench_bootstrap(b, 1, 1);
    memcpy(r->of.bootstrap.profile, "0000000000000000000002", 23);
    struct device_outcome *o = bench_apply(b, r);
    assert_int_equal(o->status, 200);
    assert_string_equal(b->device->sealed_profile, BENCH_PROFILE);
    assert_string_equal(b->device->profile, BENCH_PROFILE);
    assert_int_equal(bench_events(o, EVENT_SEALING_REFUSED), 1);
}

static void test_whitelist(void **state)
{
    struct bench *b = *state;
    b->profile.whitelist = REGISTRY_WHITELIST_ON;
    struct device_outcome *o = bench_apply(b, bench_bootstrap(b, 1, 1));
    assert_int_equal(b->device->state, DEVICE_ALLOCATED);
    assert_string_equal(bench_text(o, "reason"), "not_whitelisted");
    assert_int_equal(bench_events(o, EVENT_ALLOCATED), 1);
    assert_false(o->issued);
    /* Calling again costs nothing and tells nothing. */
    o = bench_apply(b, bench_bootstrap(b, 1, 1));
    assert_int_equal(o->event_count, 0);
    /* A list entry for another key does not let this one in. */
    b->is_listed = true;
    b->listed.key_len = 4;
    memcpy(b->listed.key, "evil", 4);
    (void)bench_apply(b, bench_bootstrap(b, 1, 1));
    assert_int_equal(b->device->state, DEVICE_ALLOCATED);
    o = bench_apply(b, bench_request(b, DEVICE_ORDER_UNBLOCK));
    assert_int_equal(o->refusal, REFUSAL_NOT_WHITELISTED);
    memcpy(b->listed.key, "root", 4);
    o = bench_apply(b, bench_request(b, DEVICE_ORDER_UNBLOCK));
    assert_int_equal(o->status, 200);
    assert_int_equal(b->device->state, DEVICE_ACTIVE);
    assert_int_equal(b->device->operation.kind, OPERATION_ISSUE);
    assert_int_equal(b->device->operation.state, OPERATION_QUEUED);
    assert_int_equal(bench_events(o, EVENT_ACTIVATED), 1);
    /* The device comes for it at its next heartbeat, with a key. */
    struct uuid operation = b->device->operation.id;
    struct device_request *r = bench_pickup(b, &operation);
    o = bench_apply(b, r);
    assert_int_equal(o->refusal, REFUSAL_CSR_REQUIRED);
    assert_int_equal(b->device->operation.state, OPERATION_AWAITING_KEY);
    r = bench_pickup(b, &operation);
    bench_csr(r, 3);
    o = bench_apply(b, r);
    assert_int_equal(o->status, 200);
    assert_int_equal(b->device->unconfirmed[0].key_hash[0], 3);
}

static void test_unblock_belongs_to_the_domain(void **state)
{
    struct bench *b = *state;
    b->profile.whitelist = REGISTRY_WHITELIST_ON;
    (void)bench_apply(b, bench_bootstrap(b, 1, 1));
    b->is_listed = true;
    struct device_request *r = bench_request(b, DEVICE_ORDER_UNBLOCK);
    (void)snprintf(r->envelope.domain, sizeof r->envelope.domain, "%s", BENCH_OTHER);
    struct device_outcome *o = bench_apply(b, r);
    assert_int_equal(o->refusal, REFUSAL_UNKNOWN_DEVICE);
    assert_null(o->state);
}

/* Nothing can be renewed yet: listing the device again is its owner's word. */
static void test_unblock_begins_a_stuck_first_certificate_again(void **state)
{
    struct bench *b = *state;
    for (int i = 0; i <= DEVICE_DELIVERIES_MAX; i++) {
        (void)bench_apply(b, bench_bootstrap(b, 1, 1));
        bench_next_visit(b);
    }
    assert_string_equal(b->device->reason, "stuck");
    assert_int_equal(bench_apply(b, bench_renew(b, 1))->refusal, REFUSAL_NO_CERTIFICATE);
    struct device_outcome *o = bench_apply(b, bench_request(b, DEVICE_ORDER_UNBLOCK));
    assert_int_equal(o->status, 200);
    assert_int_equal(bench_events(o, EVENT_OPERATION_QUEUED), 1);
    assert_string_equal(b->device->reason, "");
    /* The very same certificate, for as many times again. */
    for (int i = 0; i < DEVICE_DELIVERIES_MAX; i++) {
        o = bench_apply(b, bench_bootstrap(b, 1, 1));
        assert_int_equal(o->refusal, REFUSAL_NONE);
        assert_string_equal(bench_text(o, "serial"), "01010101010101010101010101010101");
        bench_next_visit(b);
    }
    assert_int_equal(bench_apply(b, bench_bootstrap(b, 1, 1))->refusal, REFUSAL_STUCK);
    assert_int_equal(b->device->unconfirmed_count, 1);
    /* A device that is not stuck is left as it is. */
    (void)bench_apply(b, bench_request(b, DEVICE_ORDER_UNBLOCK));
    assert_string_equal(b->device->reason, "");
    assert_null(bench_apply(b, bench_request(b, DEVICE_ORDER_UNBLOCK))->state);
}

static void test_zero_touch_off_gives_no_certificate(void **state)
{
    struct bench *b = *state;
    b->profile.features.zero_touch = false;
    struct device_outcome *o = bench_apply(b, bench_bootstrap(b, 1, 1));
    assert_int_equal(b->device->state, DEVICE_ACTIVE);
    assert_false(device_has_operation(b->device));
    assert_false(o->issued);
}

static void test_serial_of_another_device_is_told_once(void **state)
{
    struct bench *b = *state;
    b->has_profile = false;
    b->serial_holder = "00112233445566aa";
    struct device_outcome *o = bench_apply(b, bench_bootstrap(b, 1, 1));
    assert_int_equal(bench_events(o, EVENT_SERIAL_DUPLICATE), 0); /* it has no owner yet */
    b->has_profile = true;
    o = bench_apply(b, bench_bootstrap(b, 1, 1));
    assert_int_equal(b->device->state, DEVICE_ACTIVE);
    assert_true(o->issued);
    assert_int_equal(bench_events(o, EVENT_SERIAL_DUPLICATE), 1);
    for (unsigned i = 0; i < o->event_count; i++) {
        if (strcmp(o->events[i].type, EVENT_SERIAL_DUPLICATE) == 0) {
            const cJSON *holder = cJSON_GetObjectItem(o->events[i].data, "holder");
            const cJSON *serial = cJSON_GetObjectItem(o->events[i].data, "device_serial");
            assert_string_equal(holder->valuestring, "00112233445566aa");
            assert_string_equal(serial->valuestring, "SN-1");
        }
    }
    o = bench_apply(b, bench_bootstrap(b, 2, 2));
    assert_int_equal(bench_events(o, EVENT_SERIAL_DUPLICATE), 0);
}

static void test_serial_of_its_own_is_not_told(void **state)
{
    struct bench *b = *state;
    b->serial_holder = BENCH_UID; /* a round that was given up had noted it */
    struct device_outcome *o = bench_apply(b, bench_bootstrap(b, 1, 1));
    assert_int_equal(bench_events(o, EVENT_SERIAL_DUPLICATE), 0);
}

static const char *claimed(const struct bench *b, struct device_request *r)
{
    static char serial[DEVICE_SERIAL_MAX + 1];
    r->snapshots.profile = b->has_profile ? &b->profile : NULL;
    (void)snprintf(serial, sizeof serial, "%s", device_claimed_serial(b->device, r));
    device_request_free(r);
    return serial;
}

/* Else whoever is refused is reported as the first one with the serial, and the true one as its
 * copy. */
static void test_what_is_refused_claims_no_serial(void **state)
{
    struct bench *b = *state;
    assert_string_equal(claimed(b, bench_bootstrap(b, 1, 1)), "SN-1");
    struct device_request *r = bench_bootstrap(b, 1, 0);
    r->proof.refusal = REFUSAL_BAD_SIGNATURE;
    assert_string_equal(claimed(b, r), "");
    r = bench_bootstrap(b, 1, 0);
    (void)fault_set(&r->proof.csr_fault, ERR_INVALID, "invalid_csr", "csr", "bad");
    assert_string_equal(claimed(b, r), "");
    b->has_profile = false; /* it is known, and has no owner */
    assert_string_equal(claimed(b, bench_bootstrap(b, 1, 1)), "");
    (void)bench_apply(b, bench_bootstrap(b, 1, 1));
    b->has_profile = true;
    assert_string_equal(claimed(b, bench_bootstrap(b, 1, 1)), "SN-1");
    assert_string_equal(claimed(b, bench_bootstrap(b, 2, 1)), "SN-1");
    b->sequence = 0;
    assert_string_equal(claimed(b, bench_bootstrap(b, 1, 1)), "");
    assert_string_equal(claimed(b, bench_bootstrap(b, 2, 1)), "");
    b->sequence = 100;
    r = bench_bootstrap(b, 1, 1);
    memcpy(r->body.rot_key.der, "evil", 4);
    assert_string_equal(claimed(b, r), "");
    b->device->state = DEVICE_DECOMMISSIONED;
    assert_string_equal(claimed(b, bench_bootstrap(b, 1, 1)), "");
    b->device->state = DEVICE_REGISTERED;
    (void)bench_apply(b, bench_bootstrap(b, 1, 1)); /* it has an owner */
    assert_string_equal(claimed(b, bench_bootstrap(b, 1, 1)), "");
}

/* ---- a profile that changes ---- */

static void change_profile(struct bench *b)
{
    (void)snprintf(b->profile.ca, sizeof b->profile.ca, "%s", BENCH_CA_2);
    b->profile.heartbeat_interval_s = 86400;
    b->profile.flood_interval_s = 600;
}

static void assert_settings(const struct bench *b, int64_t heartbeat_s, int64_t flood_s)
{
    assert_int_equal(b->device->settings.heartbeat_interval_s, heartbeat_s);
    assert_int_equal(b->device->settings.flood_interval_s, flood_s);
}

/* With the certificate of the CA that signed it: without, no device takes it. */
static void assert_handed_out(const struct device_outcome *o, uint8_t serial)
{
    char text[2 * CERTIFICATE_SERIAL + 1];
    uint8_t bytes[CERTIFICATE_SERIAL];
    memset(bytes, serial, sizeof bytes);
    hex_format(span_of(bytes, sizeof bytes), text);
    assert_int_equal(o->refusal, REFUSAL_NONE);
    assert_string_equal(bench_text(o, "serial"), text);
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(o->result, "chain")), 1);
}

static void test_a_device_on_board_keeps_settings_and_ca(void **state)
{
    struct bench *b = *state;
    bench_installed(b);
    change_profile(b);
    struct device_outcome *o = bench_apply(b, bench_bootstrap(b, 1, 1)); /* missed the verdict */
    assert_int_equal(o->status, 200);
    assert_settings(b, 3600, 60);
    assert_true(uuid_eq(&b->device->certificate.ca, &b->ca.id));
    bench_renewing(b, 1);
    assert_settings(b, 3600, 60);
    assert_true(uuid_eq(&b->device->unconfirmed[0].ca, &b->ca.id));
}

static void test_a_certificate_handed_out_keeps_its_settings(void **state)
{
    struct bench *b = *state;
    (void)bench_apply(b, bench_bootstrap(b, 1, 1));
    change_profile(b);
    struct device_outcome *o = bench_apply(b, bench_bootstrap(b, 1, 1)); /* interrupted */
    assert_handed_out(o, 1);
    assert_true(uuid_eq(&b->device->unconfirmed[0].ca, &b->ca.id));
    assert_true(uuid_eq(&b->device->operation.ca, &b->ca.id));
    assert_settings(b, 3600, 60);
    struct uuid operation = b->device->operation.id;
    struct device_request *r = bench_pickup(b, &operation);
    bench_csr(r, 1);
    assert_handed_out(bench_apply(b, r), 1);
    b->sequence--; /* and the very same message */
    r = bench_pickup(b, &operation);
    assert_handed_out(bench_apply(b, r), 1);
    o = bench_apply(b, bench_bootstrap(b, 2, 2)); /* starts over: all as the profile says now */
    assert_handed_out(o, 2);
    assert_settings(b, 86400, 600);
    assert_true(uuid_eq(&b->device->unconfirmed[1].ca, &b->ca_2.id));
    assert_true(uuid_eq(&b->device->operation.ca, &b->ca_2.id));
}

static void test_a_waiting_device_is_let_in_as_the_profile_says_then(void **state)
{
    struct bench *b = *state;
    b->profile.whitelist = REGISTRY_WHITELIST_ON;
    (void)bench_apply(b, bench_bootstrap(b, 1, 1));
    assert_int_equal(b->device->state, DEVICE_ALLOCATED);
    assert_settings(b, 3600, 60);
    change_profile(b);
    b->is_listed = true;
    (void)bench_apply(b, bench_request(b, DEVICE_ORDER_UNBLOCK));
    assert_int_equal(b->device->state, DEVICE_ACTIVE);
    assert_settings(b, 86400, 600);
    assert_true(uuid_eq(&b->device->operation.ca, &b->ca_2.id));
}

static void test_a_stuck_device_begins_again_as_the_profile_says_then(void **state)
{
    struct bench *b = *state;
    for (int i = 0; i <= DEVICE_DELIVERIES_MAX; i++) {
        (void)bench_apply(b, bench_bootstrap(b, 1, 1));
        bench_next_visit(b);
    }
    assert_string_equal(b->device->reason, "stuck");
    change_profile(b);
    struct device_outcome *o = bench_apply(b, bench_request(b, DEVICE_ORDER_UNBLOCK));
    assert_settings(b, 86400, 600);
    assert_true(uuid_eq(&b->device->operation.ca, &b->ca_2.id));
    assert_int_equal(bench_events(o, EVENT_CERTIFICATE_REPLACED), 1);
    assert_int_equal(o->status_count, 1);
    assert_handed_out(bench_apply(b, bench_bootstrap(b, 1, 1)), 2);
    assert_int_equal(b->device->unconfirmed_count, 1);
    assert_true(uuid_eq(&b->device->unconfirmed[0].ca, &b->ca_2.id));
}

static void test_key_away_keeps_the_wish(void **state)
{
    struct bench *b = *state;
    b->has_key = false;
    struct device_outcome *o = bench_apply(b, bench_bootstrap(b, 1, 1));
    assert_int_equal(o->refusal, REFUSAL_TRY_AGAIN);
    assert_int_equal(o->status, 503);
    assert_int_equal(b->device->state, DEVICE_ACTIVE);
    b->has_key = true;
    b->sequence--; /* the very same message */
    o = bench_apply(b, bench_bootstrap(b, 1, 1));
    assert_int_equal(o->status, 200);
    assert_true(o->issued);
}

static void test_never_confirmed_is_stuck(void **state)
{
    struct bench *b = *state;
    for (int i = 0; i < DEVICE_DELIVERIES_MAX; i++) {
        struct device_outcome *o = bench_apply(b, bench_bootstrap(b, 1, 1));
        assert_string_equal(bench_text(o, "serial"), "01010101010101010101010101010101");
        bench_next_visit(b);
    }
    struct device_outcome *o = bench_apply(b, bench_bootstrap(b, 1, 1));
    assert_int_equal(o->refusal, REFUSAL_STUCK);
    assert_string_equal(b->device->reason, "stuck");
    assert_false(device_has_operation(b->device));
    assert_int_equal(bench_events(o, EVENT_OPERATION_FAILED), 1);
    o = bench_apply(b, bench_bootstrap(b, 1, 1));
    assert_int_equal(o->status, 200);
    assert_string_equal(bench_text(o, "reason"), "stuck");
    assert_string_equal(bench_text(o, "certificate"), "");
    /* Its late proof still counts. */
    const struct device_unconfirmed u = b->device->unconfirmed[0];
    o = bench_apply(b, bench_confirm(b, &u.operation, u.serial, 1));
    assert_int_equal(o->status, 200);
    assert_true(device_has_certificate(b->device));
    assert_string_equal(b->device->reason, "");
}

#define BENCH_TEST(f) cmocka_unit_test_setup_teardown(f, bench_setup, bench_teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        BENCH_TEST(test_refusals_change_nothing),
        BENCH_TEST(test_copy_of_a_proved_device_gets_nothing),
        BENCH_TEST(test_first_time_brings_a_certificate),
        BENCH_TEST(test_same_message_again_is_the_same_answer),
        BENCH_TEST(test_interrupted_bootstrap_goes_on),
        BENCH_TEST(test_new_nonce_starts_over),
        BENCH_TEST(test_starting_over_often_is_bounded),
        BENCH_TEST(test_two_stages),
        BENCH_TEST(test_unknown_profile_is_told_once_and_curable),
        BENCH_TEST(test_second_sealing_is_ignored_and_told),
        BENCH_TEST(test_whitelist),
        BENCH_TEST(test_unblock_belongs_to_the_domain),
        BENCH_TEST(test_unblock_begins_a_stuck_first_certificate_again),
        BENCH_TEST(test_zero_touch_off_gives_no_certificate),
        BENCH_TEST(test_serial_of_another_device_is_told_once),
        BENCH_TEST(test_serial_of_its_own_is_not_told),
        BENCH_TEST(test_what_is_refused_claims_no_serial),
        BENCH_TEST(test_a_device_on_board_keeps_settings_and_ca),
        BENCH_TEST(test_a_certificate_handed_out_keeps_its_settings),
        BENCH_TEST(test_a_waiting_device_is_let_in_as_the_profile_says_then),
        BENCH_TEST(test_a_stuck_device_begins_again_as_the_profile_says_then),
        BENCH_TEST(test_key_away_keeps_the_wish),
        BENCH_TEST(test_never_confirmed_is_stuck),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
