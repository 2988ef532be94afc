/*
 * Renewals from the order to the proof. What would break a user: a bill without a proof, a proof
 * without effect, a certificate for a key that the device's root of trust did not speak for, a
 * replayed message that changes something, an order that silently vanishes.
 */
#include "device_bench.h"

/* ---- orders ---- */

struct renew_case {
    const char *name;
    void (*arrange)(struct bench *b, struct device_request *r);
    enum refusal expected;
};

static void other_domain(struct bench *b, struct device_request *r)
{
    (void)b;
    (void)snprintf(r->envelope.domain, sizeof r->envelope.domain, "%s", BENCH_OTHER);
}
static void suspended(struct bench *b, struct device_request *r)
{
    (void)r;
    b->device->state = DEVICE_SUSPENDED;
}
static void no_certificate(struct bench *b, struct device_request *r)
{
    (void)r;
    memset(&b->device->certificate, 0, sizeof b->device->certificate);
}
static void revoked(struct bench *b, struct device_request *r)
{
    (void)r;
    b->device->certificate.revoked_at_ms = BENCH_NOW;
}
static void ca_gone(struct bench *b, struct device_request *r)
{
    (void)r;
    b->has_ca = false;
}
static void ca_deleted(struct bench *b, struct device_request *r)
{
    (void)r;
    b->ca.state = CA_DELETED;
}
static void too_short(struct bench *b, struct device_request *r)
{
    (void)b;
    r->of.renew.validity_s = BENCH_DAY_S;
}
static void ca_ends(struct bench *b, struct device_request *r)
{
    (void)r;
    b->ca.not_after_ms = b->device->certificate.not_after_ms;
}
static void other_serial(struct bench *b, struct device_request *r)
{
    (void)b;
    r->of.renew.automatic = true;
    memset(r->of.renew.serial, 0x77, CERTIFICATE_SERIAL);
}
static void stuck_and_automatic(struct bench *b, struct device_request *r)
{
    memcpy(b->device->reason, "stuck", 6);
    r->of.renew.automatic = true;
}
static void automatic_behind_wish(struct bench *b, struct device_request *r)
{
    (void)bench_apply(b, bench_renew(b, 50));
    r->of.renew.automatic = true;
}
static void handed_out_already(struct bench *b, struct device_request *r)
{
    (void)r;
    bench_renewing(b, 50);
}

static void test_renew_refusals(void **state)
{
    (void)state;
    static const struct renew_case table[] = {
        {"another domain's device", other_domain, REFUSAL_UNKNOWN_DEVICE},
        {"suspended", suspended, REFUSAL_NOT_ACTIVE},
        {"no certificate", no_certificate, REFUSAL_NO_CERTIFICATE},
        {"revoked", revoked, REFUSAL_REVOKED},
        {"its CA is gone", ca_gone, REFUSAL_NOT_MANAGED},
        {"its CA is deleted", ca_deleted, REFUSAL_NOT_MANAGED},
        {"shorter than what is there", too_short, REFUSAL_NOT_LONGER},
        {"the CA ends", ca_ends, REFUSAL_NOT_LONGER},
        {"decided on another certificate", other_serial, REFUSAL_CERTIFICATE_CHANGED},
        {"automatic for a stuck device", stuck_and_automatic, REFUSAL_STUCK},
        {"automatic behind a wish", automatic_behind_wish, REFUSAL_OPERATION_IN_PROGRESS},
        {"handed out already", handed_out_already, REFUSAL_OPERATION_IN_PROGRESS},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        void *bench = NULL;
        (void)bench_setup(&bench);
        struct bench *b = bench;
        bench_installed(b);
        struct device_request *r = bench_renew(b, 1);
        table[i].arrange(b, r);
        struct device_outcome *o = bench_apply(b, r);
        if (o->refusal != table[i].expected) {
            print_error("%s: %s, not %s\n", table[i].name, refusal_code(o->refusal),
                        refusal_code(table[i].expected));
            fail();
        }
        assert_null(o->state);
        assert_true(o->status >= 400);
        assert_string_equal(o->fault.code, refusal_code(table[i].expected));
        (void)bench_teardown(&bench);
    }
}

static void test_unknown_device_is_refused(void **state)
{
    struct bench *b = *state;
    assert_int_equal(bench_apply(b, bench_renew(b, 1))->refusal, REFUSAL_UNKNOWN_DEVICE);
    struct uuid id = bench_id(1);
    assert_int_equal(bench_apply(b, bench_pickup(b, &id))->refusal, REFUSAL_UNKNOWN_DEVICE);
    uint8_t serial[CERTIFICATE_SERIAL] = {1};
    assert_int_equal(bench_apply(b, bench_confirm(b, &id, serial, 1))->refusal,
                     REFUSAL_UNKNOWN_DEVICE);
    assert_int_equal(bench_apply(b, bench_request(b, DEVICE_ORDER_UNBLOCK))->refusal,
                     REFUSAL_UNKNOWN_DEVICE);
    assert_null(b->device);
}

static void test_refused_feed_is_told_by_event(void **state)
{
    struct bench *b = *state;
    bench_installed(b);
    struct device_request *r = bench_renew(b, 1);
    r->of.renew.order = bench_id(9);
    r->of.renew.validity_s = 1;
    struct device_outcome *o = bench_apply(b, r);
    assert_int_equal(o->refusal, REFUSAL_NOT_LONGER);
    assert_int_equal(bench_events(o, EVENT_OPERATION_FAILED), 1);
    r = bench_renew(b, 1);
    r->of.renew.order = bench_id(9);
    r->of.renew.validity_s = 1;
    memcpy(r->envelope.reply_to, "channel", 8);
    assert_int_equal(bench_events(bench_apply(b, r), EVENT_OPERATION_FAILED), 0);
}

static void test_order_is_idempotent(void **state)
{
    struct bench *b = *state;
    bench_installed(b);
    struct device_outcome *o = bench_apply(b, bench_renew(b, 1));
    assert_int_equal(o->event_count, 1);
    assert_string_equal(bench_text(o, "status"), "queued");
    o = bench_apply(b, bench_renew(b, 1));
    assert_int_equal(o->status, 200);
    assert_null(o->state);
    assert_int_equal(o->event_count, 0);
    /* Also when it is long done. */
    struct uuid id = bench_id(1);
    (void)bench_apply(b, bench_pickup(b, &id));
    const struct device_unconfirmed u = b->device->unconfirmed[0];
    (void)bench_apply(b, bench_confirm(b, &id, u.serial, 1));
    o = bench_apply(b, bench_renew(b, 1));
    assert_string_equal(bench_text(o, "status"), "installed");
    assert_null(o->state);
}

static void test_newer_wish_replaces_one_that_waits(void **state)
{
    struct bench *b = *state;
    bench_installed(b);
    (void)bench_apply(b, bench_renew(b, 1));
    struct device_outcome *o = bench_apply(b, bench_renew(b, 2));
    assert_int_equal(o->status, 200);
    assert_int_equal(bench_events(o, EVENT_OPERATION_SUPERSEDED), 1);
    assert_int_equal(bench_events(o, EVENT_OPERATION_QUEUED), 1);
    struct uuid first = bench_id(1);
    o = bench_apply(b, bench_pickup(b, &first));
    assert_int_equal(o->refusal, REFUSAL_OPERATION_FINISHED);
    assert_null(o->state);
}

/* ---- pick-up ---- */

static void test_pickup_needs_the_root_of_trust(void **state)
{
    struct bench *b = *state;
    bench_installed(b);
    (void)bench_apply(b, bench_renew(b, 1));
    struct uuid id = bench_id(1);
    static const enum refusal proofs[] = {REFUSAL_BAD_SIGNATURE, REFUSAL_WRONG_KEY};
    for (size_t i = 0; i < sizeof proofs / sizeof proofs[0]; i++) {
        struct device_request *r = bench_pickup(b, &id);
        r->proof.refusal = proofs[i];
        struct device_outcome *o = bench_apply(b, r);
        assert_int_equal(o->refusal, proofs[i]);
        assert_null(o->state);
        assert_false(o->sign);
    }
    struct device_request *r = bench_pickup(b, &id);
    memcpy(r->body.rot_key.der, "evil", 4);
    assert_int_equal(bench_apply(b, r)->refusal, REFUSAL_WRONG_KEY);
    r = bench_pickup(b, &id);
    bench_csr(r, 66); /* a renewal keeps the key */
    assert_int_equal(bench_apply(b, r)->refusal, REFUSAL_UNEXPECTED_KEY);
    assert_int_equal(b->device->operation.state, OPERATION_QUEUED);
}

static void test_renewal_keeps_key_and_subject(void **state)
{
    struct bench *b = *state;
    bench_installed(b);
    const struct device_certificate before = b->device->certificate;
    bench_renewing(b, 1);
    const struct device_unconfirmed *u = &b->device->unconfirmed[0];
    assert_memory_equal(u->key_hash, before.key_hash, 32);
    assert_int_equal(u->spki.len, before.spki.len);
    assert_memory_equal(b->last->outcome.ask.subject.der, before.subject.der, before.subject.len);
    assert_memory_not_equal(u->serial, before.serial, CERTIFICATE_SERIAL);
    assert_int_equal(u->kind, OPERATION_RENEW);
    /* The old one stays the installed one until the proof. */
    assert_memory_equal(b->device->certificate.serial, before.serial, CERTIFICATE_SERIAL);
}

static void test_pickup_sequences(void **state)
{
    struct bench *b = *state;
    bench_installed(b);
    bench_renewing(b, 1);
    struct uuid id = bench_id(1);
    CLEANUP_FREE char *first = cJSON_PrintUnformatted(b->last->outcome.result);
    b->sequence--;
    struct device_outcome *o = bench_apply(b, bench_pickup(b, &id));
    CLEANUP_FREE char *again = cJSON_PrintUnformatted(o->result);
    assert_string_equal(first, again);
    assert_null(o->state);
    /* A newer message gets the same certificate, and it is counted. */
    bench_next_visit(b);
    o = bench_apply(b, bench_pickup(b, &id));
    assert_string_equal(bench_text(o, "serial"), "02020202020202020202020202020202");
    assert_int_equal(b->device->unconfirmed[0].deliveries, 2);
    assert_int_equal(o->event_count, 0);
    /* An operation that was not handed out with that sequence is no repeat. */
    const struct device_unconfirmed u = b->device->unconfirmed[0];
    (void)bench_apply(b, bench_confirm(b, &id, u.serial, 1));
    (void)bench_apply(b, bench_renew(b, 2));
    b->sequence = 1;
    id = bench_id(2);
    o = bench_apply(b, bench_pickup(b, &id));
    assert_int_equal(o->refusal, REFUSAL_STALE_SEQUENCE);
    assert_null(o->state);
}

static void test_pickup_without_the_ca_key_leaves_no_trace(void **state)
{
    struct bench *b = *state;
    bench_installed(b);
    (void)bench_apply(b, bench_renew(b, 1));
    struct uuid id = bench_id(1);
    b->has_key = false;
    struct device_outcome *o = bench_apply(b, bench_pickup(b, &id));
    assert_int_equal(o->refusal, REFUSAL_TRY_AGAIN);
    assert_null(o->state);
    b->has_key = true;
    b->sequence--;
    o = bench_apply(b, bench_pickup(b, &id));
    assert_int_equal(o->status, 200);
    assert_true(o->issued);
}

static void test_signing_that_can_never_work_fails_the_order(void **state)
{
    struct bench *b = *state;
    bench_installed(b);
    (void)bench_apply(b, bench_renew(b, 1));
    struct uuid id = bench_id(1);
    struct device_request *r = bench_pickup(b, &id);
    r->snapshots.ca = &b->ca;
    r->snapshots.template = (struct issuer_template *)(void *)b;
    device_decide(b->device, r, b->now_ms);
    assert_true(r->outcome.sign);
    const struct fault why = {.code = "issuer_expired", .text = "the CA is not valid now"};
    device_not_issued(r, ERR_CONFLICT, &why, b->now_ms);
    assert_int_equal(r->outcome.refusal, REFUSAL_ISSUE_FAILED);
    assert_false(device_has_operation(r->outcome.state));
    assert_int_equal(r->outcome.state->recent[r->outcome.state->recent_count - 1].state,
                     OPERATION_FAILED);
    assert_int_equal(bench_events(&r->outcome, EVENT_OPERATION_FAILED), 1);
    device_request_free(r);
}

static void test_deliveries_without_proof_end(void **state)
{
    struct bench *b = *state;
    bench_installed(b);
    bench_renewing(b, 1);
    struct uuid id = bench_id(1);
    for (int i = 1; i < DEVICE_DELIVERIES_MAX; i++) {
        bench_next_visit(b);
        assert_int_equal(bench_apply(b, bench_pickup(b, &id))->status, 200);
    }
    bench_next_visit(b);
    struct device_outcome *o = bench_apply(b, bench_pickup(b, &id));
    assert_int_equal(o->refusal, REFUSAL_STUCK);
    assert_string_equal(b->device->reason, "stuck");
    assert_int_equal(bench_events(o, EVENT_OPERATION_FAILED), 1);
    o = bench_apply(b, bench_pickup(b, &id));
    assert_int_equal(o->refusal, REFUSAL_STUCK);
    assert_null(o->state);
    /* The owner says otherwise. */
    o = bench_apply(b, bench_renew(b, 2));
    assert_int_equal(o->status, 200);
    assert_string_equal(b->device->reason, "");
}

static void test_reported_failures_end_it_too(void **state)
{
    struct bench *b = *state;
    bench_installed(b);
    bench_renewing(b, 1);
    for (int i = 0; i < DEVICE_ATTEMPTS_MAX; i++) {
        struct device_request *r = bench_request(b, DEVICE_SAYS_FAILED);
        r->body.signed_part.sequence = 0;
        r->of.failed.operation = bench_id(1);
        memcpy(r->of.failed.reason, "flash\nfull", 11);
        assert_int_equal(bench_apply(b, r)->status, 200);
    }
    assert_false(device_has_operation(b->device));
    const struct device_recent *past = &b->device->recent[b->device->recent_count - 1];
    assert_int_equal(past->state, OPERATION_FAILED);
    assert_string_equal(past->reason, "flash?full");
    struct device_request *r = bench_request(b, DEVICE_SAYS_FAILED);
    r->of.failed.operation = bench_id(7);
    struct device_outcome *o = bench_apply(b, r);
    assert_int_equal(o->refusal, REFUSAL_UNKNOWN_OPERATION);
    assert_null(o->state);
}

static struct device_request *fork_seen(struct bench *b, int64_t sequence)
{
    struct device_request *r = bench_request(b, DEVICE_SEEN_FORKED);
    r->body.signed_part.sequence = 0;
    r->of.fork = (struct device_fork_body){.sequence = sequence, .token = DEVICE_FORK_OTHER_TOKEN};
    return r;
}

/* Noted and told once for each heartbeat that shows it; nothing else about the device changes. */
static void test_fork_is_noted(void **state)
{
    struct bench *b = *state;
    struct device_outcome *o = bench_apply(b, fork_seen(b, 17));
    assert_int_equal(o->refusal, REFUSAL_UNKNOWN_DEVICE);
    assert_null(o->state);
    bench_installed(b);
    int64_t sequence = b->device->sequence;
    o = bench_apply(b, fork_seen(b, 17));
    assert_int_equal(bench_events(o, EVENT_FORKED), 1);
    assert_int_equal(o->event_count, 1);
    assert_int_equal(b->device->fork.sequence, 17);
    assert_true(b->device->fork.at_ms > 0);
    assert_int_equal(b->device->state, DEVICE_ACTIVE);
    assert_int_equal(b->device->sequence, sequence);
    o = bench_apply(b, fork_seen(b, 17)); /* the same report again */
    assert_int_equal(o->event_count, 0);
    assert_null(o->state);
    o = bench_apply(b, fork_seen(b, 16)); /* the other one of the two */
    assert_int_equal(bench_events(o, EVENT_FORKED), 1);
    assert_int_equal(b->device->fork.sequence, 16);
}

/* ---- confirmations: what became of the operation does not matter, the proof does ---- */

enum confirm_kind {
    CONFIRM_GOOD,
    CONFIRM_BAD_SIGNATURE,
    CONFIRM_OTHER_KEY,
    CONFIRM_OTHER_SERIAL,
    CONFIRM_OLD_SEQUENCE,
    CONFIRM_OTHER_OPERATION, /* of the right certificate: the proof is what counts */
    CONFIRM_INSTALLED,       /* of the one that is installed already */
    CONFIRM_KINDS,
};

/* Brings a device with certificate 02 handed out by operation 1 into the situation, and returns. */
static void arrange(struct bench *b, enum operation_state situation)
{
    bench_installed(b);
    bench_renewing(b, 1);
    struct device *d = b->device;
    switch (situation) {
    case OPERATION_ISSUED:
        return;
    case OPERATION_QUEUED: /* the operation failed, and a newer one waits */
    case OPERATION_AWAITING_KEY:
        d->recent[d->recent_count++] = (struct device_recent){
            .id = bench_id(1), .kind = OPERATION_RENEW, .state = OPERATION_FAILED};
        d->operation.id = bench_id(2);
        d->operation.state = situation;
        return;
    case OPERATION_INSTALLED: /* nothing runs and nothing is remembered */
        d->operation = (struct device_operation){0};
        return;
    default:
        d->recent[d->recent_count++] = (struct device_recent){
            .id = bench_id(1), .kind = OPERATION_RENEW, .state = situation, .reason = "x"};
        d->operation = (struct device_operation){0};
    }
}

static struct device_outcome *confirm(struct bench *b, enum confirm_kind kind)
{
    struct uuid id = bench_id(kind == CONFIRM_OTHER_OPERATION ? 99 : 1);
    uint8_t serial[CERTIFICATE_SERIAL];
    memset(serial, 2, sizeof serial);
    if (kind == CONFIRM_OTHER_SERIAL || kind == CONFIRM_INSTALLED) {
        memset(serial, kind == CONFIRM_INSTALLED ? 1 : 0x55, sizeof serial);
    }
    struct device_request *r = bench_confirm(b, &id, serial, kind == CONFIRM_OTHER_KEY ? 66 : 1);
    if (kind == CONFIRM_BAD_SIGNATURE) {
        r->proof.refusal = REFUSAL_BAD_SIGNATURE;
    }
    if (kind == CONFIRM_OLD_SEQUENCE) {
        r->body.signed_part.sequence = b->device->sequence;
    }
    return bench_apply(b, r);
}

/* What a confirmation came to, held against what it must come to. */
static void check_confirmed(const struct bench *b, const struct device_outcome *o,
                            enum operation_kind kind, bool proved)
{
    bool billed = kind == OPERATION_RENEW || kind == OPERATION_UPDATE || kind == OPERATION_TRANSFER;
    bool renewed = proved && kind == OPERATION_RENEW;
    assert_int_equal(o->install.billable, proved && billed);
    assert_int_equal(o->state != NULL, proved);
    assert_int_equal(b->device->certificate.serial[0], proved ? 2 : 1);
    assert_int_equal(b->device->unconfirmed_count, proved ? 0 : 1);
    assert_int_equal(bench_events(o, EVENT_CERTIFICATE_INSTALLED), proved);
    assert_int_equal(bench_events(o, EVENT_CERTIFICATE_RENEWED), renewed);
    assert_int_equal(o->event_count, (proved ? 2 : 0) + renewed);
    assert_int_equal(o->status_count, proved ? 2 : 0);
}

static void check_operation(const struct bench *b, enum operation_state situation, bool proved)
{
    struct uuid id = bench_id(1);
    const struct device_recent *past = life_recent(b->device, &id, 0);
    if (proved && situation != OPERATION_INSTALLED) {
        assert_non_null(past);
        assert_int_equal(past->state, OPERATION_INSTALLED);
    }
    /* A newer operation that waits is not touched. */
    if (situation == OPERATION_QUEUED || situation == OPERATION_AWAITING_KEY) {
        assert_int_equal(b->device->operation.state, situation);
    }
}

static void try_confirm(enum operation_state situation, enum operation_kind kind,
                        enum confirm_kind confirmed)
{
    static const enum refusal expected[CONFIRM_KINDS] = {
        [CONFIRM_GOOD] = REFUSAL_NONE,
        [CONFIRM_BAD_SIGNATURE] = REFUSAL_BAD_SIGNATURE,
        [CONFIRM_OTHER_KEY] = REFUSAL_WRONG_KEY,
        [CONFIRM_OTHER_SERIAL] = REFUSAL_UNKNOWN_CERTIFICATE,
        [CONFIRM_OLD_SEQUENCE] = REFUSAL_STALE_SEQUENCE,
        [CONFIRM_OTHER_OPERATION] = REFUSAL_NONE,
        [CONFIRM_INSTALLED] = REFUSAL_NONE,
    };
    void *bench = NULL;
    (void)bench_setup(&bench);
    struct bench *b = bench;
    arrange(b, situation);
    b->device->unconfirmed[0].kind = kind;
    struct device_outcome *o = confirm(b, confirmed);
    if (o->refusal != expected[confirmed]) {
        print_error("situation %d, operation %d, confirm %d: %s\n", (int)situation, (int)kind,
                    (int)confirmed, refusal_code(o->refusal));
        fail();
    }
    bool proved = confirmed == CONFIRM_GOOD || confirmed == CONFIRM_OTHER_OPERATION;
    check_confirmed(b, o, kind, proved);
    check_operation(b, situation, proved);
    (void)bench_teardown(&bench);
}

static void test_every_operation_state_by_every_confirm(void **state)
{
    (void)state;
    for (int situation = OPERATION_QUEUED; situation <= OPERATION_CANCELLED; situation++) {
        for (int kind = OPERATION_ISSUE; kind <= OPERATION_TRANSFER; kind++) {
            for (int confirmed = 0; confirmed < CONFIRM_KINDS; confirmed++) {
                try_confirm((enum operation_state)situation, (enum operation_kind)kind,
                            (enum confirm_kind)confirmed);
            }
        }
    }
}

static void test_replayed_confirm_changes_nothing(void **state)
{
    struct bench *b = *state;
    bench_installed(b);
    bench_renewing(b, 1);
    struct device_outcome *o = confirm(b, CONFIRM_GOOD);
    assert_true(o->install.billable);
    assert_int_equal(o->install.previous_serial[0], 1);
    for (int i = 0; i < 3; i++) {
        b->sequence = 1; /* the very same bytes, or newer ones: it is installed already */
        o = confirm(b, CONFIRM_GOOD);
        assert_int_equal(o->status, 200);
        assert_string_equal(bench_text(o, "status"), "installed");
        assert_null(o->state);
        assert_false(o->install.billable);
        assert_int_equal(o->event_count, 0);
    }
    /* By another key it is not even told that. */
    assert_int_equal(confirm(b, CONFIRM_OTHER_KEY)->refusal, REFUSAL_WRONG_KEY);
    /* The certificate before it is history. */
    struct uuid id = bench_id(1);
    uint8_t old[CERTIFICATE_SERIAL];
    memset(old, 1, sizeof old);
    b->sequence = 1000;
    o = bench_apply(b, bench_confirm(b, &id, old, 1));
    assert_int_equal(o->refusal, REFUSAL_UNKNOWN_CERTIFICATE);
    assert_null(o->state);
}

static void test_newest_proof_supersedes_the_older_ones(void **state)
{
    struct bench *b = *state;
    (void)bench_apply(b, bench_bootstrap(b, 1, 1));
    (void)bench_apply(b, bench_bootstrap(b, 2, 2));
    (void)bench_apply(b, bench_bootstrap(b, 3, 3));
    assert_int_equal(b->device->unconfirmed_count, 3);
    const struct device_unconfirmed u = b->device->unconfirmed[1];
    struct device_outcome *o = bench_apply(b, bench_confirm(b, &u.operation, u.serial, 2));
    assert_int_equal(o->status, 200);
    assert_false(o->install.billable);
    assert_int_equal(b->device->certificate.serial[0], 2);
    assert_int_equal(b->device->unconfirmed_count, 1); /* 03 is newer: it may still be proved */
    assert_int_equal(bench_events(o, EVENT_CERTIFICATE_REPLACED), 1);
    assert_true(device_has_operation(b->device));
    const struct device_unconfirmed v = b->device->unconfirmed[0];
    o = bench_apply(b, bench_confirm(b, &v.operation, v.serial, 3));
    assert_int_equal(o->status, 200);
    assert_int_equal(b->device->certificate.serial[0], 3);
    assert_int_equal(b->device->key_generation, 2);
    assert_false(device_has_operation(b->device));
}

static void test_first_issue_is_free(void **state)
{
    struct bench *b = *state;
    bench_installed(b);
    assert_false(b->last->outcome.install.billable);
    assert_int_equal(bench_events(&b->last->outcome, EVENT_CERTIFICATE_INSTALLED), 1);
    assert_int_equal(bench_events(&b->last->outcome, EVENT_CERTIFICATE_RENEWED), 0);
    assert_int_equal(b->device->key_generation, 1);
}

static void test_memory_of_operations_is_bounded_and_ages(void **state)
{
    struct bench *b = *state;
    bench_installed(b);
    for (uint8_t i = 1; i <= 30; i++) {
        (void)bench_apply(b, bench_renew(b, i));
        assert_true(b->device->recent_count <= DEVICE_RECENT_MAX);
    }
    assert_int_equal(b->device->recent_count, DEVICE_RECENT_MAX);
    b->now_ms += DEVICE_RECENT_KEEP_MS + 1000;
    (void)bench_apply(b, bench_renew(b, 31));
    assert_int_equal(b->device->recent_count, 1);
}

#define BENCH_TEST(f) cmocka_unit_test_setup_teardown(f, bench_setup, bench_teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_renew_refusals),
        BENCH_TEST(test_unknown_device_is_refused),
        BENCH_TEST(test_pickup_needs_the_root_of_trust),
        cmocka_unit_test(test_every_operation_state_by_every_confirm),
        BENCH_TEST(test_replayed_confirm_changes_nothing),
        BENCH_TEST(test_refused_feed_is_told_by_event),
        BENCH_TEST(test_order_is_idempotent),
        BENCH_TEST(test_newer_wish_replaces_one_that_waits),
        BENCH_TEST(test_renewal_keeps_key_and_subject),
        BENCH_TEST(test_pickup_sequences),
        BENCH_TEST(test_pickup_without_the_ca_key_leaves_no_trace),
        BENCH_TEST(test_signing_that_can_never_work_fails_the_order),
        BENCH_TEST(test_deliveries_without_proof_end),
        BENCH_TEST(test_reported_failures_end_it_too),
        BENCH_TEST(test_fork_is_noted),
        BENCH_TEST(test_newest_proof_supersedes_the_older_ones),
        BENCH_TEST(test_first_issue_is_free),
        BENCH_TEST(test_memory_of_operations_is_bounded_and_ages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
