/* Group-less reading: what an owner that catches up relies on. */
#include "common/clock.h"
#include "kafka_fixture.h"

static struct kafka_reader *new_reader(bool uncommitted)
{
    struct kafka_reader *r = NULL;
    struct kafka_reader_config config = {.uncommitted = uncommitted};
    assert_ok(kafka_reader_new(fixture_config(), &config, NULL, &r));
    return r;
}

/* Polls until an end at or beyond `until` is reported, and returns it; counts the messages. A
 * commit is answered before its markers are written, so the first end may lie before them. */
static int64_t read_to_end(struct kafka_reader *r, struct kafka_batch *batch, int64_t until,
                           int *ret_messages)
{
    int64_t deadline = clock_mono_ms(&clock_system) + FIXTURE_TIMEOUT_MS;
    *ret_messages = 0;
    for (;;) {
        kafka_batch_clear(batch);
        assert_ok(kafka_reader_poll(r, batch, 200));
        assert_true(clock_mono_ms(&clock_system) < deadline);
        for (size_t i = 0; i < batch->count; i++) {
            if (batch->messages[i].eof && batch->messages[i].offset >= until) {
                return batch->messages[i].offset;
            }
            *ret_messages += !batch->messages[i].eof;
        }
    }
}

/* Until read_committed ends at `end`: the marker is written. */
static void await_end(struct kafka_reader *r, const char *topic, int64_t end)
{
    int64_t deadline = clock_mono_ms(&clock_system) + FIXTURE_TIMEOUT_MS;
    for (int64_t stable = -1; stable != end;) {
        assert_ok(kafka_reader_stable_end(r, topic, 0, FIXTURE_TIMEOUT_MS, &stable));
        assert_true(clock_mono_ms(&clock_system) < deadline);
    }
}

static err_t poll_for_error(struct kafka_reader *r)
{
    CLEANUP(kafka_batch_deinit) struct kafka_batch batch = {0};
    kafka_batch_init(&batch, 10);
    err_t e = ERR_OK;
    for (int i = 0; i < 100 && e == ERR_OK; i++) {
        e = kafka_reader_poll(r, &batch, 200);
        assert_int_equal(batch.count, 0);
    }
    return e;
}

static void an_empty_partition_ends_at_zero(void **state)
{
    (void)state;
    CLEANUP_FREE char *topic = fixture_topic(1);
    CLEANUP(kafka_reader_free) struct kafka_reader *r = new_reader(false);
    CLEANUP(kafka_batch_deinit) struct kafka_batch batch = {0};
    kafka_batch_init(&batch, 10);
    int64_t high = -1;
    int64_t stable = -1;
    int64_t low = -1;
    int messages = 0;
    assert_ok(kafka_reader_high_watermark(r, topic, 0, FIXTURE_TIMEOUT_MS, &high));
    assert_ok(kafka_reader_stable_end(r, topic, 0, FIXTURE_TIMEOUT_MS, &stable));
    assert_int_equal(high, 0);
    assert_int_equal(stable, 0);
    assert_ok(kafka_reader_bounds(r, topic, 0, FIXTURE_TIMEOUT_MS, &low, &high));
    assert_int_equal(low, 0);
    assert_int_equal(high, 0);
    assert_ok(kafka_reader_start(r, topic, 0, 0));
    assert_int_equal(read_to_end(r, &batch, 0, &messages), 0);
    assert_int_equal(messages, 0);
}

static void an_open_transaction_counts_in_the_high_watermark_only(void **state)
{
    (void)state;
    CLEANUP_FREE char *topic = fixture_topic(1);
    CLEANUP_FREE char *id = fixture_name("txn");
    CLEANUP(kafka_txn_free) struct kafka_txn *t = fixture_txn(id, topic);
    CLEANUP(kafka_reader_free) struct kafka_reader *r = new_reader(false);
    CLEANUP(kafka_batch_deinit) struct kafka_batch batch = {0};
    kafka_batch_init(&batch, 10);
    fixture_commit_records(t, topic, 0, "v", 3); /* 0, 1, 2 and the marker 3 */
    await_end(r, topic, 4);

    assert_ok(kafka_txn_begin(t));
    fixture_produce(t, topic, 0, "open", 0); /* 4 */
    int64_t high = 0;
    for (int i = 0; i < 300 && high < 5; i++) {
        kafka_txn_poll(t, 100);
        assert_ok(kafka_reader_high_watermark(r, topic, 0, FIXTURE_TIMEOUT_MS, &high));
    }
    int64_t stable = 0;
    assert_ok(kafka_reader_stable_end(r, topic, 0, FIXTURE_TIMEOUT_MS, &stable));
    assert_int_equal(high, 5);
    assert_int_equal(stable, 4);

    int messages = 0;
    assert_ok(kafka_reader_start(r, topic, 0, KAFKA_OFFSET_BEGINNING));
    assert_int_equal(read_to_end(r, &batch, 0, &messages), stable);
    assert_int_equal(messages, 3);

    assert_ok(kafka_txn_commit(t, FIXTURE_TIMEOUT_MS));
    assert_true(read_to_end(r, &batch, high, &messages) >= high);
    assert_int_equal(messages, 1);
}

static void markers_alone_move_the_end(void **state)
{
    (void)state;
    CLEANUP_FREE char *topic = fixture_topic(1);
    CLEANUP_FREE char *id = fixture_name("txn");
    CLEANUP(kafka_txn_free) struct kafka_txn *t = fixture_txn(id, topic);
    CLEANUP(kafka_reader_free) struct kafka_reader *r = new_reader(false);
    CLEANUP(kafka_batch_deinit) struct kafka_batch batch = {0};
    kafka_batch_init(&batch, 10);
    fixture_commit_records(t, topic, 0, "v", 1);
    await_end(r, topic, 2);
    int messages = 0;
    assert_ok(kafka_reader_start(r, topic, 0, 1)); /* nothing but the marker is left */
    assert_int_equal(read_to_end(r, &batch, 0, &messages), 2);
    assert_int_equal(messages, 0);
}

static void partitions_start_move_and_stop_by_themselves(void **state)
{
    (void)state;
    CLEANUP_FREE char *topic = fixture_topic(2);
    CLEANUP_FREE char *id = fixture_name("txn");
    CLEANUP(kafka_txn_free) struct kafka_txn *t = fixture_txn(id, topic);
    CLEANUP(kafka_reader_free) struct kafka_reader *r = new_reader(false);
    CLEANUP(kafka_batch_deinit) struct kafka_batch batch = {0};
    kafka_batch_init(&batch, 7);
    fixture_commit_records(t, topic, 0, "a", 100);
    fixture_commit_records(t, topic, 1, "b", 100);

    int messages = 0;
    assert_ok(kafka_reader_start(r, topic, 1, 90));
    assert_int_equal(read_to_end(r, &batch, 101, &messages), 101);
    assert_int_equal(messages, 10);
    assert_ok(kafka_reader_start(r, topic, 1, 95)); /* runs already: moves */
    assert_int_equal(read_to_end(r, &batch, 101, &messages), 101);
    assert_int_equal(messages, 5);

    /* a start whose messages are at hand but not polled yet, then a stop: none of them comes */
    assert_ok(kafka_reader_start(r, topic, 0, 0));
    kafka_batch_clear(&batch);
    for (int i = 0; i < 100 && batch.count == 0; i++) {
        assert_ok(kafka_reader_poll(r, &batch, 200));
    }
    assert_true(batch.count > 0);
    kafka_reader_stop(r, topic, 0);
    kafka_reader_stop(r, topic, 0);
    assert_ok(kafka_reader_start(r, topic, 1, 0));
    kafka_batch_clear(&batch);
    for (int i = 0, seen = 0; seen < 100; i++) {
        assert_true(i < 1000);
        assert_ok(kafka_reader_poll(r, &batch, 200));
        for (size_t k = 0; k < batch.count; k++) {
            assert_int_equal(batch.messages[k].partition, 1);
            seen += !batch.messages[k].eof;
        }
        kafka_batch_clear(&batch);
    }
}

static void a_position_outside_the_log_is_corrupt(void **state)
{
    (void)state;
    CLEANUP_FREE char *topic = fixture_topic(1);
    CLEANUP(kafka_reader_free) struct kafka_reader *r = new_reader(false);
    assert_ok(kafka_reader_start(r, topic, 0, 1000));
    assert_err(poll_for_error(r), ERR_CORRUPT);
    assert_true(strlen(kafka_reader_error_text(r)) > 0);
}

static void a_topic_or_partition_that_is_not_there_is_absent(void **state)
{
    (void)state;
    CLEANUP_FREE char *topic = fixture_topic(1);
    CLEANUP_FREE char *nowhere = fixture_name("nowhere");
    CLEANUP(kafka_reader_free) struct kafka_reader *r = new_reader(false);
    int64_t offset = 0;
    assert_err(kafka_reader_high_watermark(r, topic, 7, FIXTURE_TIMEOUT_MS, &offset), ERR_ABSENT);
    assert_err(kafka_reader_high_watermark(r, nowhere, 0, FIXTURE_TIMEOUT_MS, &offset), ERR_ABSENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_partition_ends_at_zero),
        cmocka_unit_test(an_open_transaction_counts_in_the_high_watermark_only),
        cmocka_unit_test(markers_alone_move_the_end),
        cmocka_unit_test(partitions_start_move_and_stop_by_themselves),
        cmocka_unit_test(a_position_outside_the_log_is_corrupt),
        cmocka_unit_test(a_topic_or_partition_that_is_not_there_is_absent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
