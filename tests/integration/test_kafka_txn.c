/* Transactions on a real broker: what is committed is seen, nothing else ever is, and the errors
 * say what the owner must do. */
#include <stdio.h>

#include "kafka_fixture.h"

static void a_commit_shows_its_records_and_where_they_went(void **state)
{
    (void)state;
    CLEANUP_FREE char *topic = fixture_topic(2);
    CLEANUP_FREE char *id = fixture_name("txn");
    CLEANUP(kafka_txn_free) struct kafka_txn *t = fixture_txn(id, topic);
    fixture_commit_records(t, topic, 0, "old", 1); /* offset 0, its marker is 1 */

    assert_ok(kafka_txn_begin(t));
    size_t count = 0;
    (void)kafka_txn_deliveries(t, &count);
    assert_int_equal(count, 0);
    fixture_produce(t, topic, 1, "x", 700);
    fixture_produce(t, topic, 0, "a", 701);
    fixture_produce(t, topic, 0, "b", 702);
    fixture_produce(t, topic, 1, "y", 703);
    assert_ok(kafka_txn_commit(t, FIXTURE_TIMEOUT_MS));

    static const struct kafka_delivery EXPECTED[] = {
        {.cookie = 700, .partition = 1, .offset = 0},
        {.cookie = 701, .partition = 0, .offset = 2},
        {.cookie = 702, .partition = 0, .offset = 3},
        {.cookie = 703, .partition = 1, .offset = 1},
    };
    const struct kafka_delivery *d = kafka_txn_deliveries(t, &count);
    assert_int_equal(count, 4);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(d[i].cookie, EXPECTED[i].cookie);
        assert_int_equal(d[i].partition, EXPECTED[i].partition);
        assert_int_equal(d[i].offset, EXPECTED[i].offset);
        assert_string_equal(d[i].topic, topic);
    }
    CLEANUP_FREE char *zero = fixture_dump(topic, 0, false);
    CLEANUP_FREE char *one = fixture_dump(topic, 1, false);
    assert_string_equal(zero, "old0 a b");
    assert_string_equal(one, "x y");
}

static void an_abort_hides_its_records(void **state)
{
    (void)state;
    CLEANUP_FREE char *topic = fixture_topic(1);
    CLEANUP_FREE char *id = fixture_name("txn");
    CLEANUP(kafka_txn_free) struct kafka_txn *t = fixture_txn(id, topic);
    assert_ok(kafka_txn_begin(t));
    fixture_produce(t, topic, 0, "never", 1);
    /* let it reach the log, so that only the marker can hide it */
    int64_t end = 0;
    CLEANUP(kafka_reader_free) struct kafka_reader *reader = NULL;
    assert_ok(kafka_reader_new(fixture_config(), &(struct kafka_reader_config){0}, NULL, &reader));
    for (int i = 0; i < 300 && end == 0; i++) {
        kafka_txn_poll(t, 100);
        assert_ok(kafka_reader_high_watermark(reader, topic, 0, FIXTURE_TIMEOUT_MS, &end));
    }
    assert_int_equal(end, 1);
    assert_ok(kafka_txn_abort(t, FIXTURE_TIMEOUT_MS));
    size_t count = 1;
    (void)kafka_txn_deliveries(t, &count);
    assert_int_equal(count, 0);

    fixture_commit_records(t, topic, 0, "seen", 2);
    CLEANUP_FREE char *committed = fixture_dump(topic, 0, false);
    CLEANUP_FREE char *everything = fixture_dump(topic, 0, true);
    assert_string_equal(committed, "seen0 seen1");
    assert_string_equal(everything, "never seen0 seen1");
}

static void a_second_holder_of_the_id_fences_the_first(void **state)
{
    (void)state;
    CLEANUP_FREE char *topic = fixture_topic(1);
    CLEANUP_FREE char *id = fixture_name("txn");
    CLEANUP(kafka_txn_free) struct kafka_txn *zombie = fixture_txn(id, topic);
    assert_ok(kafka_txn_begin(zombie));
    fixture_produce(zombie, topic, 0, "zombie", 1);

    CLEANUP(kafka_txn_free) struct kafka_txn *successor = fixture_txn(id, topic);
    fixture_commit_records(successor, topic, 0, "new", 1);

    err_t e = kafka_txn_commit(zombie, FIXTURE_TIMEOUT_MS);
    if (e == ERR_CONFLICT) { /* told by its produce request: then it must abort, and learns there */
        e = kafka_txn_abort(zombie, FIXTURE_TIMEOUT_MS);
    }
    assert_err(e, ERR_FENCED);
    assert_true(strlen(kafka_txn_error_text(zombie)) > 0);
    assert_err(kafka_txn_begin(zombie), ERR_FENCED);
    CLEANUP_FREE char *committed = fixture_dump(topic, 0, false);
    assert_string_equal(committed, "new0");
}

static void refused_records_leave_the_transaction_usable(void **state)
{
    (void)state;
    CLEANUP_FREE char *topic = fixture_topic(1);
    CLEANUP_FREE char *id = fixture_name("txn");
    CLEANUP(kafka_txn_free) struct kafka_txn *t = fixture_txn(id, topic);
    assert_ok(kafka_txn_begin(t));
    struct kafka_record record = {.topic = topic, .partition = 1, .value = span_str("v")};
    assert_err(kafka_txn_produce(t, &record), ERR_ABSENT);
    record.partition = 0;
    struct kafka_header headers[KAFKA_HEADERS_MAX + 1] = {{"n", {NULL, 0}}};
    record.headers = headers;
    record.headers_count = KAFKA_HEADERS_MAX + 1;
    assert_err(kafka_txn_produce(t, &record), ERR_INTERNAL);
    record.headers_count = 0;
    size_t huge = 2 << 20;
    CLEANUP_FREE uint8_t *bytes = xcalloc(huge, 1);
    record.value = span_of(bytes, huge);
    assert_err(kafka_txn_produce(t, &record), ERR_TOO_LARGE);
    fixture_produce(t, topic, 0, "good", 9);
    assert_ok(kafka_txn_commit(t, FIXTURE_TIMEOUT_MS));
    size_t count = 0;
    const struct kafka_delivery *d = kafka_txn_deliveries(t, &count);
    assert_int_equal(count, 1);
    assert_int_equal(d[0].cookie, 9);
}

static void a_full_queue_is_busy_until_polled(void **state)
{
    (void)state;
    CLEANUP_FREE char *topic = fixture_topic(1);
    CLEANUP_FREE char *id = fixture_name("txn");
    CLEANUP(kafka_txn_free) struct kafka_txn *t = NULL;
    struct kafka_txn_config config = {.transactional_id = id, .queue_max_messages = 10};
    assert_ok(kafka_txn_new(fixture_config(), &config, NULL, &t));
    assert_ok(kafka_txn_init(t, FIXTURE_TIMEOUT_MS));
    assert_ok(kafka_txn_begin(t));
    struct kafka_record record = {.topic = topic, .partition = 0, .value = span_str("v")};
    err_t e = ERR_OK;
    int accepted = 0;
    while (accepted < 20 && (e = kafka_txn_produce(t, &record)) == ERR_OK) {
        accepted++;
    }
    assert_err(e, ERR_BUSY);
    assert_int_equal(accepted, 10);
    for (int i = 0; i < 90; i++) {
        fixture_produce(t, topic, 0, "w", (uint64_t)i);
    }
    assert_ok(kafka_txn_commit(t, FIXTURE_TIMEOUT_MS));
    size_t count = 0;
    (void)kafka_txn_deliveries(t, &count);
    assert_int_equal(count, 100);
}

static void headers_keys_and_tombstones_arrive_as_sent(void **state)
{
    (void)state;
    CLEANUP_FREE char *topic = fixture_topic(1);
    CLEANUP_FREE char *id = fixture_name("txn");
    CLEANUP(kafka_txn_free) struct kafka_txn *t = fixture_txn(id, topic);
    assert_ok(kafka_txn_begin(t));
    const struct kafka_header headers[] = {
        {"twice", span_str("first")}, {"empty", span_of("", 0)}, {"twice", span_str("last")}};
    struct kafka_record record = {.topic = topic,
                                  .key = span_of("k\0y", 3),
                                  .value = span_of("", 0),
                                  .headers = headers,
                                  .headers_count = 3};
    assert_ok(kafka_txn_produce(t, &record));
    record.value = span_of(NULL, 0);
    record.headers_count = 0;
    assert_ok(kafka_txn_produce(t, &record));
    assert_ok(kafka_txn_commit(t, FIXTURE_TIMEOUT_MS));

    CLEANUP(kafka_reader_free) struct kafka_reader *reader = NULL;
    assert_ok(kafka_reader_new(fixture_config(), &(struct kafka_reader_config){0}, NULL, &reader));
    CLEANUP(kafka_batch_deinit) struct kafka_batch batch = {0};
    kafka_batch_init(&batch, 2);
    assert_ok(kafka_reader_start(reader, topic, 0, 0));
    for (int i = 0; i < 100 && batch.count < 2; i++) {
        assert_ok(kafka_reader_poll(reader, &batch, 300));
    }
    assert_int_equal(batch.count, 2);
    const struct kafka_message *m = batch.messages;
    struct span value = span_str("untouched");
    assert_true(span_eq(m[0].key, span_of("k\0y", 3)));
    assert_non_null(m[0].value.ptr);
    assert_int_equal(m[0].value.len, 0);
    assert_false(kafka_message_header(&m[0], "absent", &value));
    assert_span(value, "untouched");
    assert_true(kafka_message_header(&m[0], "twice", &value));
    assert_span(value, "last");
    assert_true(kafka_message_header(&m[0], "empty", &value));
    assert_int_equal(value.len, 0);
    assert_null(m[1].value.ptr);
    assert_false(kafka_message_header(&m[1], "twice", &value));
    assert_true(m[0].timestamp_ms > INT64_C(1700000000000));
}

static void offsets_of_a_replaced_member_are_refused(void **state)
{
    (void)state;
    CLEANUP_FREE char *topic = fixture_topic(2);
    CLEANUP_FREE char *id = fixture_name("txn");
    CLEANUP_FREE char *group = fixture_name("group");
    CLEANUP(kafka_txn_free) struct kafka_txn *t = fixture_txn(id, topic);
    struct fixture_member old = {0};
    struct fixture_member successor = {0};
    fixture_join(&old, group, "owner-0", topic, KAFKA_RESET_EARLIEST, 6000);
    fixture_await_assigned(&old, 2);
    struct kafka_offset offset = {topic, 0, 5};
    assert_ok(kafka_txn_begin(t));
    assert_ok(kafka_txn_send_offsets(t, &offset, 1, old.consumer, FIXTURE_TIMEOUT_MS));
    assert_ok(kafka_txn_commit(t, FIXTURE_TIMEOUT_MS));

    /* the same static id again: the broker hands the membership over and fences the first */
    fixture_join(&successor, group, "owner-0", topic, KAFKA_RESET_EARLIEST, 6000);
    fixture_await_assigned(&successor, 2);
    offset.offset = 3;
    assert_ok(kafka_txn_begin(t));
    err_t e = kafka_txn_send_offsets(t, &offset, 1, old.consumer, FIXTURE_TIMEOUT_MS);
    assert_true(e == ERR_CONFLICT || e == ERR_FENCED);
    assert_ok(kafka_txn_abort(t, FIXTURE_TIMEOUT_MS));
    int64_t committed = 0;
    assert_ok(
        kafka_consumer_committed(successor.consumer, topic, 0, FIXTURE_TIMEOUT_MS, &committed));
    assert_int_equal(committed, 5);
    fixture_drop(&successor);
    fixture_drop(&old);
}

static void a_wrong_setting_is_named(void **state)
{
    (void)state;
    struct kafka_property wrong = {"no.such.setting", "1"};
    struct kafka_config config = *fixture_config();
    config.extra = &wrong;
    config.extra_count = 1;
    struct fault fault = {0};
    struct kafka_txn *t = NULL;
    assert_err(
        kafka_txn_new(&config, &(struct kafka_txn_config){.transactional_id = "x"}, &fault, &t),
        ERR_INVALID);
    assert_string_equal(fault.field, "no.such.setting");
    assert_null(t);
}

static void a_topic_that_is_not_there_is_told_at_warm_up(void **state)
{
    (void)state;
    CLEANUP_FREE char *topic = fixture_topic(1);
    CLEANUP_FREE char *id = fixture_name("txn");
    CLEANUP(kafka_txn_free) struct kafka_txn *t = fixture_txn(id, topic);
    const char *topics[] = {topic, "nowhere"};
    assert_err(kafka_txn_warm_up(t, topics, 2, FIXTURE_TIMEOUT_MS), ERR_ABSENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_commit_shows_its_records_and_where_they_went),
        cmocka_unit_test(an_abort_hides_its_records),
        cmocka_unit_test(a_second_holder_of_the_id_fences_the_first),
        cmocka_unit_test(refused_records_leave_the_transaction_usable),
        cmocka_unit_test(a_full_queue_is_busy_until_polled),
        cmocka_unit_test(headers_keys_and_tombstones_arrive_as_sent),
        cmocka_unit_test(offsets_of_a_replaced_member_are_refused),
        cmocka_unit_test(a_wrong_setting_is_named),
        cmocka_unit_test(a_topic_that_is_not_there_is_told_at_warm_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
