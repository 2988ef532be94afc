#include "kafka_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/clock.h"
#include "servers.h"

static void print_log(void *ctx, int level, const char *facility, const char *text)
{
    (void)ctx;
    (void)fprintf(stderr, "[%d] %s: %s\n", level, facility, text);
}

const struct kafka_config *fixture_config(void)
{
    static struct kafka_config config;
    config = (struct kafka_config){
        .brokers = servers_env("KAFKA_BROKERS"),
        .client_id = "integration-test",
        .log = getenv("FIXTURE_VERBOSE") != NULL ? print_log : NULL,
    };
    return &config;
}

char *fixture_name(const char *stem)
{
    static int number;
    return xasprintf("%s-%d-%d", stem, (int)getpid(), ++number);
}

char *fixture_topic(int partitions)
{
    CLEANUP(kafka_admin_free) struct kafka_admin *admin = NULL;
    struct fault fault = {0};
    assert_ok(kafka_admin_new(fixture_config(), &fault, &admin));
    assert_ok(kafka_admin_wait(admin, FIXTURE_TIMEOUT_MS));
    char *name = fixture_name("topic");
    struct kafka_topic topic = {.name = name, .partitions = partitions, .replicas = -1};
    if (kafka_admin_create_topic(admin, &topic, FIXTURE_TIMEOUT_MS, &fault) != ERR_OK) {
        fail_msg("cannot make %s: %s", name, fault.text);
    }
    return name;
}

struct kafka_txn *fixture_txn(const char *transactional_id, const char *topic)
{
    struct kafka_txn *t = NULL;
    struct fault fault = {0};
    struct kafka_txn_config config = {.transactional_id = transactional_id};
    if (kafka_txn_new(fixture_config(), &config, &fault, &t) != ERR_OK) {
        fail_msg("%s: %s", fault.field, fault.text);
    }
    assert_ok(kafka_txn_warm_up(t, &topic, 1, FIXTURE_TIMEOUT_MS));
    assert_ok(kafka_txn_init(t, FIXTURE_TIMEOUT_MS));
    return t;
}

void fixture_produce(struct kafka_txn *t, const char *topic, int partition, const char *value,
                     uint64_t cookie)
{
    struct kafka_record record = {
        .topic = topic,
        .partition = partition,
        .key = span_str(value),
        .value = span_str(value),
        .cookie = cookie,
    };
    err_t e = kafka_txn_produce(t, &record);
    while (e == ERR_BUSY) {
        kafka_txn_poll(t, 100);
        e = kafka_txn_produce(t, &record);
    }
    assert_ok(e);
}

void fixture_commit_records(struct kafka_txn *t, const char *topic, int partition,
                            const char *prefix, int count)
{
    assert_ok(kafka_txn_begin(t));
    for (int i = 0; i < count; i++) {
        CLEANUP_FREE char *value = xasprintf("%s%d", prefix, i);
        fixture_produce(t, topic, partition, value, (uint64_t)i);
    }
    assert_ok(kafka_txn_commit(t, FIXTURE_TIMEOUT_MS));
}

char *fixture_dump(const char *topic, int partition, bool uncommitted)
{
    CLEANUP(kafka_reader_free) struct kafka_reader *reader = NULL;
    struct kafka_reader_config config = {.uncommitted = uncommitted};
    assert_ok(kafka_reader_new(fixture_config(), &config, NULL, &reader));
    int64_t high = 0;
    assert_ok(kafka_reader_high_watermark(reader, topic, partition, FIXTURE_TIMEOUT_MS, &high));
    assert_ok(kafka_reader_start(reader, topic, partition, KAFKA_OFFSET_BEGINNING));
    struct buf text = BUF_INIT(64 << 20);
    CLEANUP(kafka_batch_deinit) struct kafka_batch batch = {0};
    kafka_batch_init(&batch, 1000);
    int64_t deadline = clock_mono_ms(&clock_system) + FIXTURE_TIMEOUT_MS;
    for (bool eof = false; !eof;) {
        assert_ok(kafka_reader_poll(reader, &batch, 500));
        assert_true(clock_mono_ms(&clock_system) < deadline);
        for (size_t i = 0; i < batch.count; i++) {
            const struct kafka_message *m = &batch.messages[i];
            eof = m->eof && m->offset >= high; /* the marker of a commit comes after its answer */
            if (!m->eof) {
                (void)buf_append_str(&text, text.len > 0 ? " " : "");
                (void)buf_append_span(&text, m->value);
            }
        }
        kafka_batch_clear(&batch);
    }
    assert_true(buf_ok(&text));
    return buf_take(&text, NULL);
}

static void on_assigned(void *ctx, const struct kafka_partition *partitions, size_t count)
{
    struct fixture_member *m = ctx;
    for (size_t i = 0; i < count; i++) {
        assert_string_equal(partitions[i].topic, m->topic);
    }
    m->assigned = (int)count;
    m->assignments++;
}

static void on_revoked(void *ctx, const struct kafka_partition *partitions, size_t count, bool lost)
{
    (void)partitions;
    struct fixture_member *m = ctx;
    assert_int_equal(count, m->assigned);
    m->assigned = 0;
    m->revocations++;
    m->losses += lost;
}

void fixture_join(struct fixture_member *m, const char *group, const char *instance,
                  const char *topic, enum kafka_reset reset, int session_timeout_ms)
{
    *m = (struct fixture_member){.topic = xstrdup(topic)};
    struct kafka_consumer_config config = {
        .group = group,
        .instance_id = instance,
        .topics = &topic,
        .topics_count = 1,
        .reset = reset,
        .session_timeout_ms = session_timeout_ms,
        .max_poll_interval_ms = session_timeout_ms,
        .handler = {.ctx = m, .assigned = on_assigned, .revoked = on_revoked},
    };
    struct fault fault = {0};
    if (kafka_consumer_new(fixture_config(), &config, &fault, &m->consumer) != ERR_OK) {
        fail_msg("%s: %s", fault.field, fault.text);
    }
}

void fixture_await_assigned(struct fixture_member *m, int count)
{
    CLEANUP(kafka_batch_deinit) struct kafka_batch none = {0};
    kafka_batch_init(&none, 1);
    int64_t deadline = clock_mono_ms(&clock_system) + FIXTURE_TIMEOUT_MS;
    while (m->assigned != count) {
        assert_ok(kafka_consumer_poll(m->consumer, &none, 50));
        assert_int_equal(none.count, 0);
        assert_true(clock_mono_ms(&clock_system) < deadline);
    }
}

void fixture_drop(struct fixture_member *m)
{
    kafka_consumer_free(m->consumer);
    free(m->topic);
    *m = (struct fixture_member){0};
}

void fixture_broker_stop(bool crash)
{
    servers_run("kafka/stop", servers_env("KAFKA_DIR"), crash ? "--kill" : NULL);
}

void fixture_broker_start(void)
{
    servers_run("kafka/start", servers_env("KAFKA_DIR"), NULL);
}
