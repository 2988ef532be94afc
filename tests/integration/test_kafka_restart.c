/*
 * A broker that dies and comes back under a running consume-transform-produce loop. The loop knows
 * one answer to everything that is not retriable: both clients are destroyed and built anew, and
 * the work goes on from the committed offsets. Each input then appears in the output exactly once,
 * in order.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/clock.h"
#include "kafka_fixture.h"

#define RECORDS          6000
#define PER_ROUND        50
#define CALL_MS          3000
#define GIVE_UP_AFTER_MS 120000

struct owner {
    char *input;
    char *output;
    char *group;
    char *id;
    struct kafka_txn *txn;
    struct fixture_member member;
    int64_t next; /* input offset to work on */
    int rebuilds;
};

static void destroy_clients(struct owner *o)
{
    kafka_txn_free(o->txn);
    o->txn = NULL;
    if (o->member.consumer != NULL) {
        fixture_drop(&o->member);
    }
}

/* The one recovery path; ERR_OK, or an error: try again. */
static err_t build_clients(struct owner *o)
{
    destroy_clients(o);
    o->rebuilds++;
    struct kafka_txn_config config = {.transactional_id = o->id, .transaction_timeout_ms = 5000};
    assert_ok(kafka_txn_new(fixture_config(), &config, NULL, &o->txn));
    err_t e = kafka_txn_init(o->txn, CALL_MS);
    if (e != ERR_OK) {
        return e;
    }
    fixture_join(&o->member, o->group, "owner-0", o->input, KAFKA_RESET_ERROR, 6000);
    fixture_await_assigned(&o->member, 1);
    e = kafka_consumer_committed(o->member.consumer, o->input, 0, CALL_MS, &o->next);
    if (e != ERR_OK) {
        return e;
    }
    o->next = o->next == KAFKA_OFFSET_NONE ? 0 : o->next;
    return kafka_consumer_start(o->member.consumer, o->input, 0, o->next);
}

static err_t transform(struct owner *o, const struct kafka_batch *batch)
{
    err_t e = kafka_txn_begin(o->txn);
    for (size_t i = 0; i < batch->count && e == ERR_OK; i++) {
        struct kafka_record record = {.topic = o->output, .value = batch->messages[i].value};
        e = kafka_txn_produce(o->txn, &record);
    }
    struct kafka_offset done = {o->input, 0, batch->messages[batch->count - 1].offset + 1};
    if (e == ERR_OK) {
        e = kafka_txn_send_offsets(o->txn, &done, 1, o->member.consumer, CALL_MS);
    }
    return e == ERR_OK ? kafka_txn_commit(o->txn, CALL_MS) : e;
}

static err_t one_round(struct owner *o)
{
    CLEANUP(kafka_batch_deinit) struct kafka_batch batch = {0};
    kafka_batch_init(&batch, PER_ROUND);
    err_t e = kafka_consumer_poll(o->member.consumer, &batch, 50);
    if (e != ERR_OK || batch.count == 0) {
        return e != ERR_OK || o->member.assigned == 1 ? e : ERR_FENCED;
    }
    assert_int_equal(batch.messages[0].offset, o->next);
    o->next = batch.messages[batch.count - 1].offset + 1;
    return transform(o, &batch);
}

static void *crash_and_restart(void *arg)
{
    (void)arg;
    fixture_broker_stop(true);
    fixture_broker_start();
    return NULL;
}

static void fill(const char *topic)
{
    CLEANUP_FREE char *id = fixture_name("txn");
    CLEANUP(kafka_txn_free) struct kafka_txn *t = fixture_txn(id, topic);
    fixture_commit_records(t, topic, 0, "", RECORDS);
}

static void each_input_is_processed_exactly_once(void **state)
{
    (void)state;
    struct owner o = {.input = fixture_topic(1),
                      .output = fixture_topic(1),
                      .group = fixture_name("group"),
                      .id = fixture_name("txn")};
    fill(o.input);
    int64_t deadline = clock_mono_ms(&clock_system) + GIVE_UP_AFTER_MS;
    pthread_t crasher = 0;
    bool crashing = false;
    err_t e = build_clients(&o);
    while (o.next < RECORDS || e != ERR_OK) {
        assert_true(clock_mono_ms(&clock_system) < deadline);
        e = e == ERR_OK ? one_round(&o) : build_clients(&o);
        if (!crashing && o.next > RECORDS / 3) {
            crashing = pthread_create(&crasher, NULL, crash_and_restart, NULL) == 0;
        }
    }
    assert_true(crashing);
    assert_int_equal(pthread_join(crasher, NULL), 0);
    print_message("clients built %d times\n", o.rebuilds);

    struct buf expected = BUF_INIT(1 << 20);
    for (int i = 0; i < RECORDS; i++) {
        (void)buf_printf(&expected, i > 0 ? " %d" : "%d", i);
    }
    CLEANUP_FREE char *dump = fixture_dump(o.output, 0, false);
    assert_string_equal(dump, buf_cstr(&expected));
    buf_deinit(&expected);
    destroy_clients(&o);
    free(o.input);
    free(o.output);
    free(o.group);
    free(o.id);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_input_is_processed_exactly_once)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
