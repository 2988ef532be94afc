/* Group membership: partitions wait for their owner, nothing is skipped or repeated around pauses,
 * a restart disturbs nobody, and a committed offset is final when it is read. */
#include <stdio.h>
#include <stdlib.h>

#include "common/clock.h"
#include "kafka_fixture.h"

struct world {
    char *topic;
    char *group;
    struct kafka_txn *txn;
    struct fixture_member member;
    struct kafka_batch batch;
};

static void setup(struct world *w, int partitions, int records)
{
    *w = (struct world){.topic = fixture_topic(partitions), .group = fixture_name("group")};
    CLEANUP_FREE char *id = fixture_name("txn");
    w->txn = fixture_txn(id, w->topic);
    if (records > 0) {
        fixture_commit_records(w->txn, w->topic, 0, "", records);
    }
    kafka_batch_init(&w->batch, 100);
}

static void teardown(struct world *w)
{
    kafka_batch_deinit(&w->batch);
    fixture_drop(&w->member);
    kafka_txn_free(w->txn);
    free(w->topic);
    free(w->group);
}

/* Takes messages until `until` is the next one expected, checking that none is missing or repeated:
 * record i of these tests lies at offset i and has the value i. */
static void take(struct world *w, int *next, int until)
{
    int64_t deadline = clock_mono_ms(&clock_system) + FIXTURE_TIMEOUT_MS;
    while (*next < until) {
        struct kafka_batch few = {w->batch.messages, 0, w->batch.capacity};
        few.capacity =
            (size_t)(until - *next) < few.capacity ? (size_t)(until - *next) : few.capacity;
        assert_ok(kafka_consumer_poll(w->member.consumer, &few, 200));
        assert_true(clock_mono_ms(&clock_system) < deadline);
        for (size_t i = 0; i < few.count; i++) {
            char value[16];
            (void)snprintf(value, sizeof value, "%d", *next);
            assert_int_equal(few.messages[i].offset, *next);
            assert_span(few.messages[i].value, value);
            ++*next;
        }
        kafka_messages_free(few.messages, few.count);
    }
}

static void take_nothing(struct world *w, int polls)
{
    for (int i = 0; i < polls; i++) {
        assert_ok(kafka_consumer_poll(w->member.consumer, &w->batch, 100));
        assert_int_equal(w->batch.count, 0);
    }
}

static void an_assigned_partition_waits_for_its_start(void **state)
{
    (void)state;
    struct world w;
    setup(&w, 1, 50);
    fixture_join(&w.member, w.group, "m-0", w.topic, KAFKA_RESET_ERROR, 0);
    assert_err(kafka_consumer_start(w.member.consumer, w.topic, 0, 0), ERR_CONFLICT);
    fixture_await_assigned(&w.member, 1);
    assert_err(kafka_consumer_start(w.member.consumer, w.topic, 1, 0), ERR_CONFLICT);
    assert_err(kafka_consumer_pause(w.member.consumer, w.topic, 0), ERR_CONFLICT);
    assert_err(kafka_consumer_resume(w.member.consumer, w.topic, 0), ERR_CONFLICT);
    take_nothing(&w, 5);
    int next = 7;
    assert_ok(kafka_consumer_start(w.member.consumer, w.topic, 0, next));
    take(&w, &next, 50);
    teardown(&w);
}

static void pauses_neither_skip_nor_repeat(void **state)
{
    (void)state;
    enum { RECORDS = 2000 };
    struct world w;
    setup(&w, 1, RECORDS);
    fixture_join(&w.member, w.group, "m-0", w.topic, KAFKA_RESET_ERROR, 0);
    fixture_await_assigned(&w.member, 1);
    int next = 0;
    assert_ok(kafka_consumer_start(w.member.consumer, w.topic, 0, KAFKA_OFFSET_BEGINNING));
    for (int round = 1; round <= 20; round++) {
        take(&w, &next, round * 10); /* far more is fetched by now */
        assert_ok(kafka_consumer_pause(w.member.consumer, w.topic, 0));
        assert_ok(kafka_consumer_pause(w.member.consumer, w.topic, 0));
        take_nothing(&w, round % 3);
        assert_ok(kafka_consumer_resume(w.member.consumer, w.topic, 0));
        assert_ok(kafka_consumer_resume(w.member.consumer, w.topic, 0));
    }
    /* started and paused before anything was taken: nothing may be lost */
    next = 300;
    assert_ok(kafka_consumer_start(w.member.consumer, w.topic, 0, next));
    assert_ok(kafka_consumer_pause(w.member.consumer, w.topic, 0));
    take_nothing(&w, 3);
    assert_ok(kafka_consumer_resume(w.member.consumer, w.topic, 0));
    take(&w, &next, 400);
    next = 350; /* the rewind after an abort */
    assert_ok(kafka_consumer_start(w.member.consumer, w.topic, 0, next));
    take(&w, &next, RECORDS);
    teardown(&w);
}

static void a_committed_offset_is_final_when_read(void **state)
{
    (void)state;
    struct world w;
    setup(&w, 1, 0);
    fixture_join(&w.member, w.group, "m-0", w.topic, KAFKA_RESET_ERROR, 0);
    fixture_await_assigned(&w.member, 1);
    int64_t offset = 0;
    assert_ok(kafka_consumer_committed(w.member.consumer, w.topic, 0, FIXTURE_TIMEOUT_MS, &offset));
    assert_int_equal(offset, KAFKA_OFFSET_NONE);

    struct kafka_offset done = {w.topic, 0, 41};
    assert_ok(kafka_txn_begin(w.txn));
    assert_ok(kafka_txn_send_offsets(w.txn, &done, 1, w.member.consumer, FIXTURE_TIMEOUT_MS));
    offset = 99;
    assert_err(kafka_consumer_committed(w.member.consumer, w.topic, 0, 700, &offset), ERR_TIMEOUT);
    assert_int_equal(offset, 99);
    assert_ok(kafka_txn_commit(w.txn, FIXTURE_TIMEOUT_MS));
    assert_ok(kafka_consumer_committed(w.member.consumer, w.topic, 0, FIXTURE_TIMEOUT_MS, &offset));
    assert_int_equal(offset, 41);

    done.offset = 77;
    assert_ok(kafka_txn_begin(w.txn));
    assert_ok(kafka_txn_send_offsets(w.txn, &done, 1, w.member.consumer, FIXTURE_TIMEOUT_MS));
    assert_ok(kafka_txn_abort(w.txn, FIXTURE_TIMEOUT_MS));
    assert_ok(kafka_consumer_committed(w.member.consumer, w.topic, 0, FIXTURE_TIMEOUT_MS, &offset));
    assert_int_equal(offset, 41);
    teardown(&w);
}

static void a_hung_owner_is_waited_for_and_then_overruled(void **state)
{
    (void)state;
    struct world w;
    setup(&w, 1, 0);
    fixture_join(&w.member, w.group, "m-0", w.topic, KAFKA_RESET_ERROR, 0);
    fixture_await_assigned(&w.member, 1);
    CLEANUP_FREE char *id = fixture_name("txn");
    CLEANUP(kafka_txn_free) struct kafka_txn *hung = NULL;
    struct kafka_txn_config config = {.transactional_id = id, .transaction_timeout_ms = 1500};
    assert_ok(kafka_txn_new(fixture_config(), &config, NULL, &hung));
    assert_ok(kafka_txn_init(hung, FIXTURE_TIMEOUT_MS));
    struct kafka_offset done = {w.topic, 0, 5};
    assert_ok(kafka_txn_begin(hung));
    assert_ok(kafka_txn_send_offsets(hung, &done, 1, w.member.consumer, FIXTURE_TIMEOUT_MS));
    assert_ok(kafka_txn_commit(hung, FIXTURE_TIMEOUT_MS));

    /* it hands over its offsets and hangs; the broker gives it up after the transaction's time */
    done.offset = 6;
    assert_ok(kafka_txn_begin(hung));
    assert_ok(kafka_txn_send_offsets(hung, &done, 1, w.member.consumer, FIXTURE_TIMEOUT_MS));
    int64_t offset = 0;
    assert_err(kafka_consumer_committed(w.member.consumer, w.topic, 0, 200, &offset), ERR_TIMEOUT);
    assert_ok(kafka_consumer_committed(w.member.consumer, w.topic, 0, FIXTURE_TIMEOUT_MS, &offset));
    assert_int_equal(offset, 5);

    /* what was read stays true: the commit that comes too late is refused */
    err_t e = kafka_txn_commit(hung, FIXTURE_TIMEOUT_MS);
    assert_true(e == ERR_CONFLICT || e == ERR_FENCED);
    assert_ok(kafka_consumer_committed(w.member.consumer, w.topic, 0, FIXTURE_TIMEOUT_MS, &offset));
    assert_int_equal(offset, 5);
    teardown(&w);
}

static void a_member_that_stops_polling_is_replaced_and_told(void **state)
{
    (void)state;
    struct world w;
    setup(&w, 1, 3);
    struct fixture_member other = {0};
    fixture_join(&w.member, w.group, NULL, w.topic, KAFKA_RESET_EARLIEST, 1500);
    fixture_await_assigned(&w.member, 1);
    assert_ok(kafka_consumer_start(w.member.consumer, w.topic, 0, 0));
    fixture_join(&other, w.group, NULL, w.topic, KAFKA_RESET_EARLIEST, 0);
    fixture_await_assigned(&other, 1);

    err_t e = ERR_OK;
    for (int i = 0; i < 100 && e == ERR_OK; i++) {
        e = kafka_consumer_poll(w.member.consumer, &w.batch, 100);
        kafka_batch_clear(&w.batch);
    }
    assert_err(e, ERR_FENCED);
    struct kafka_offset late = {w.topic, 0, 3};
    assert_err(kafka_consumer_commit(w.member.consumer, &late, 1, FIXTURE_TIMEOUT_MS),
               ERR_CONFLICT);
    fixture_drop(&other);
    teardown(&w);
}

static void a_member_without_transactions_commits_too(void **state)
{
    (void)state;
    struct world w;
    setup(&w, 2, 0);
    fixture_join(&w.member, w.group, NULL, w.topic, KAFKA_RESET_EARLIEST, 0);
    fixture_await_assigned(&w.member, 2);
    struct kafka_offset both[] = {{w.topic, 0, 5}, {w.topic, 1, 6}};
    assert_ok(kafka_consumer_commit(w.member.consumer, both, 2, FIXTURE_TIMEOUT_MS));
    int64_t offset = 0;
    assert_ok(kafka_consumer_committed(w.member.consumer, w.topic, 1, FIXTURE_TIMEOUT_MS, &offset));
    assert_int_equal(offset, 6);
    teardown(&w);
}

static void a_position_outside_the_log(void **state)
{
    (void)state;
    struct world w;
    setup(&w, 1, 5);
    fixture_join(&w.member, w.group, "m-0", w.topic, KAFKA_RESET_ERROR, 0);
    fixture_await_assigned(&w.member, 1);
    assert_ok(kafka_consumer_start(w.member.consumer, w.topic, 0, 1000));
    err_t e = ERR_OK;
    for (int i = 0; i < 100 && e == ERR_OK; i++) {
        e = kafka_consumer_poll(w.member.consumer, &w.batch, 200);
        assert_int_equal(w.batch.count, 0);
    }
    assert_err(e, ERR_CORRUPT);
    assert_true(strlen(kafka_consumer_error_text(w.member.consumer)) > 0);
    fixture_drop(&w.member);

    fixture_join(&w.member, w.group, "m-0", w.topic, KAFKA_RESET_EARLIEST, 0);
    fixture_await_assigned(&w.member, 1);
    assert_ok(kafka_consumer_start(w.member.consumer, w.topic, 0, 1000));
    int next = 0;
    take(&w, &next, 5);
    teardown(&w);
}

static void a_restart_within_the_session_disturbs_nobody(void **state)
{
    (void)state;
    struct world w;
    setup(&w, 2, 0);
    struct fixture_member other = {0};
    fixture_join(&w.member, w.group, "m-0", w.topic, KAFKA_RESET_EARLIEST, 0);
    fixture_await_assigned(&w.member, 2);
    fixture_join(&other, w.group, "m-1", w.topic, KAFKA_RESET_EARLIEST, 0);
    int64_t deadline = clock_mono_ms(&clock_system) + FIXTURE_TIMEOUT_MS;
    while (w.member.assigned != 1 || other.assigned != 1) {
        assert_ok(kafka_consumer_poll(w.member.consumer, &w.batch, 20));
        assert_ok(kafka_consumer_poll(other.consumer, &w.batch, 20));
        assert_true(clock_mono_ms(&clock_system) < deadline);
    }
    int before = other.assignments;

    assert_ok(kafka_consumer_close(w.member.consumer, false, FIXTURE_TIMEOUT_MS));
    assert_int_equal(w.member.assigned, 0);
    fixture_drop(&w.member);
    fixture_join(&w.member, w.group, "m-0", w.topic, KAFKA_RESET_EARLIEST, 0);
    while (w.member.assigned != 1) {
        assert_ok(kafka_consumer_poll(w.member.consumer, &w.batch, 20));
        assert_ok(kafka_consumer_poll(other.consumer, &w.batch, 20));
        assert_true(clock_mono_ms(&clock_system) < deadline);
    }
    assert_int_equal(other.assignments, before);
    assert_int_equal(other.revocations, before - 1);

    /* leaving for good: the other gets everything long before a session time-out */
    int64_t left_at = clock_mono_ms(&clock_system);
    assert_ok(kafka_consumer_close(w.member.consumer, true, FIXTURE_TIMEOUT_MS));
    fixture_await_assigned(&other, 2);
    assert_true(clock_mono_ms(&clock_system) - left_at < 15000);
    fixture_drop(&other);
    teardown(&w);
}

static void a_member_with_the_same_instance_fences_the_first(void **state)
{
    (void)state;
    struct world w;
    setup(&w, 1, 0);
    struct fixture_member second = {0};
    fixture_join(&w.member, w.group, "m-0", w.topic, KAFKA_RESET_EARLIEST, 6000);
    fixture_await_assigned(&w.member, 1);
    fixture_join(&second, w.group, "m-0", w.topic, KAFKA_RESET_EARLIEST, 6000);
    fixture_await_assigned(&second, 1);
    err_t e = ERR_OK;
    for (int i = 0; i < 200 && e == ERR_OK; i++) {
        e = kafka_consumer_poll(w.member.consumer, &w.batch, 100);
    }
    assert_err(e, ERR_FENCED);
    /* its end is bounded, and does not touch the successor's membership */
    assert_ok(kafka_consumer_close(w.member.consumer, false, 5000));
    fixture_drop(&second);
    teardown(&w);
}

static void a_topic_that_is_not_there_is_absent(void **state)
{
    (void)state;
    struct world w;
    setup(&w, 1, 0);
    CLEANUP_FREE char *nowhere = fixture_name("nowhere");
    fixture_join(&w.member, w.group, "m-0", nowhere, KAFKA_RESET_EARLIEST, 0);
    err_t e = ERR_OK;
    for (int i = 0; i < 100 && e == ERR_OK; i++) {
        e = kafka_consumer_poll(w.member.consumer, &w.batch, 200);
    }
    assert_err(e, ERR_ABSENT);
    teardown(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_assigned_partition_waits_for_its_start),
        cmocka_unit_test(pauses_neither_skip_nor_repeat),
        cmocka_unit_test(a_committed_offset_is_final_when_read),
        cmocka_unit_test(a_hung_owner_is_waited_for_and_then_overruled),
        cmocka_unit_test(a_member_that_stops_polling_is_replaced_and_told),
        cmocka_unit_test(a_member_without_transactions_commits_too),
        cmocka_unit_test(a_position_outside_the_log),
        cmocka_unit_test(a_restart_within_the_session_disturbs_nobody),
        cmocka_unit_test(a_topic_that_is_not_there_is_absent),
        cmocka_unit_test(a_member_with_the_same_instance_fences_the_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
