/* The plain producer: every accepted record gets exactly one verdict, and the verdict is true. */
#include <pthread.h>
#include <stdio.h>

#include "common/clock.h"
#include "kafka_fixture.h"

struct verdicts {
    pthread_mutex_t lock;
    int count;
    int by_result[ERR_COUNT_];
    uint64_t cookies; /* xor of all */
    int64_t last_offset;
};

static void on_delivery(void *ctx, const struct kafka_delivery_report *report)
{
    struct verdicts *v = ctx;
    (void)pthread_mutex_lock(&v->lock);
    v->count++;
    v->by_result[report->result]++;
    v->cookies ^= report->cookie;
    v->last_offset = report->offset;
    (void)pthread_mutex_unlock(&v->lock);
}

static struct kafka_producer *new_producer(const char *brokers, struct verdicts *v, int linger_ms,
                                           int queue_max, int delivery_timeout_ms)
{
    *v = (struct verdicts){.lock = PTHREAD_MUTEX_INITIALIZER};
    struct kafka_config config = *fixture_config();
    config.brokers = brokers;
    struct kafka_producer_config producer = {
        .linger_ms = linger_ms,
        .queue_max_messages = queue_max,
        .delivery_timeout_ms = delivery_timeout_ms,
        .on_delivery = on_delivery,
        .ctx = v,
    };
    struct kafka_producer *p = NULL;
    assert_ok(kafka_producer_new(&config, &producer, NULL, &p));
    return p;
}

static void every_record_is_delivered_once_and_in_order(void **state)
{
    (void)state;
    enum { RECORDS = 5000 };
    CLEANUP_FREE char *topic = fixture_topic(1);
    const char *topics[] = {topic};
    struct verdicts v;
    CLEANUP(kafka_producer_free)
    struct kafka_producer *p = new_producer(fixture_config()->brokers, &v, 2, 0, 0);
    assert_ok(kafka_producer_warm_up(p, topics, 1, FIXTURE_TIMEOUT_MS));
    uint64_t cookies = 0;
    struct buf expected = BUF_INIT(1 << 20);
    for (int i = 0; i < RECORDS; i++) {
        char value[16];
        (void)snprintf(value, sizeof value, "%d", i);
        (void)buf_printf(&expected, i > 0 ? " %d" : "%d", i);
        struct kafka_record record = {
            .topic = topic, .value = span_str(value), .cookie = (uint64_t)i * 7};
        assert_ok(kafka_producer_produce(p, &record));
        cookies ^= record.cookie;
    }
    assert_ok(kafka_producer_flush(p, FIXTURE_TIMEOUT_MS));
    assert_int_equal(kafka_producer_undelivered(p), 0);
    assert_int_equal(v.count, RECORDS);
    assert_int_equal(v.by_result[ERR_OK], RECORDS);
    assert_int_equal(v.cookies, cookies);
    assert_int_equal(v.last_offset, RECORDS - 1);
    assert_false(kafka_producer_is_broken(p));
    CLEANUP_FREE char *dump = fixture_dump(topic, 0, false);
    assert_string_equal(dump, buf_cstr(&expected));
    buf_deinit(&expected);
}

static void refusals_come_at_once(void **state)
{
    (void)state;
    CLEANUP_FREE char *topic = fixture_topic(1);
    const char *topics[] = {topic};
    struct verdicts v;
    CLEANUP(kafka_producer_free)
    struct kafka_producer *p = new_producer(fixture_config()->brokers, &v, 0, 0, 0);
    assert_ok(kafka_producer_warm_up(p, topics, 1, FIXTURE_TIMEOUT_MS));
    topics[0] = "nowhere";
    assert_err(kafka_producer_warm_up(p, topics, 1, FIXTURE_TIMEOUT_MS), ERR_ABSENT);
    struct kafka_record record = {.topic = topic, .partition = 1, .value = span_str("v")};
    assert_err(kafka_producer_produce(p, &record), ERR_ABSENT);
    size_t huge = 2 << 20;
    CLEANUP_FREE uint8_t *bytes = xcalloc(huge, 1);
    record = (struct kafka_record){.topic = topic, .value = span_of(bytes, huge)};
    assert_err(kafka_producer_produce(p, &record), ERR_TOO_LARGE);
    assert_int_equal(kafka_producer_undelivered(p), 0);
    assert_int_equal(v.count, 0);
}

static void without_a_broker_the_verdict_is_not_stored(void **state)
{
    (void)state;
    struct verdicts v;
    CLEANUP(kafka_producer_free)
    struct kafka_producer *p = new_producer("127.0.0.1:1", &v, 0, 0, 700);
    struct kafka_record record = {.topic = "any", .value = span_str("v"), .cookie = 3};
    assert_ok(kafka_producer_produce(p, &record));
    assert_err(kafka_producer_flush(p, 50), ERR_TIMEOUT);
    assert_int_equal(kafka_producer_undelivered(p), 1);
    assert_ok(kafka_producer_flush(p, FIXTURE_TIMEOUT_MS));
    assert_int_equal(v.by_result[ERR_UNAVAILABLE], 1);
    assert_int_equal(v.cookies, 3);
    const char *topics[] = {"any"};
    assert_err(kafka_producer_warm_up(p, topics, 1, 200), ERR_UNAVAILABLE);
}

static void a_full_queue_is_busy_and_free_reports_what_it_discards(void **state)
{
    (void)state;
    struct verdicts v;
    struct kafka_producer *p = new_producer("127.0.0.1:1", &v, 0, 3, 60000);
    struct kafka_record record = {.topic = "any", .value = span_str("v")};
    for (int i = 0; i < 3; i++) {
        assert_ok(kafka_producer_produce(p, &record));
    }
    assert_err(kafka_producer_produce(p, &record), ERR_BUSY);
    int64_t start = clock_mono_ms(&clock_system);
    kafka_producer_free(p);
    assert_true(clock_mono_ms(&clock_system) - start < 5000);
    assert_int_equal(v.count, 3);
    assert_int_equal(v.by_result[ERR_STOPPING], 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_record_is_delivered_once_and_in_order),
        cmocka_unit_test(refusals_come_at_once),
        cmocka_unit_test(without_a_broker_the_verdict_is_not_stored),
        cmocka_unit_test(a_full_queue_is_busy_and_free_reports_what_it_discards),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
