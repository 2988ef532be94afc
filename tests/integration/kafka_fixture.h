/*
 * What the tests against a real broker share: fresh topics, clients that are ready, and reading a
 * partition to its end. Everything fails the running test itself when it does not work.
 */
#ifndef INTEGRATION_KAFKA_FIXTURE_H
#define INTEGRATION_KAFKA_FIXTURE_H

#include "common/kafka_admin.h"
#include "common/kafka_common.h"
#include "common/kafka_consumer.h"
#include "common/kafka_producer.h"
#include "common/kafka_reader.h"
#include "common/kafka_txn.h"
#include "test_support.h"

#define FIXTURE_TIMEOUT_MS 30000

/* From KAFKA_BROKERS; with FIXTURE_VERBOSE set, librdkafka's log goes to standard error. */
const struct kafka_config *fixture_config(void);
/* A name nobody has used: "<stem>-<pid>-<number>", owned by the caller. */
char *fixture_name(const char *stem);
/* A new topic of that many partitions; its name, owned by the caller. */
char *fixture_topic(int partitions);

/* Initialised, with the topic's metadata at hand. */
struct kafka_txn *fixture_txn(const char *transactional_id, const char *topic);
/* A record of the open transaction; key and value are C strings. */
void fixture_produce(struct kafka_txn *t, const char *topic, int partition, const char *value,
                     uint64_t cookie);
/* Begin, `count` records "<prefix><i>", commit. */
void fixture_commit_records(struct kafka_txn *t, const char *topic, int partition,
                            const char *prefix, int count);

/* The values of a partition from the beginning to at least its present high watermark, in order,
 * joined by spaces (as the reader's isolation has it); owned by the caller. Waits for transactions
 * that are open. */
char *fixture_dump(const char *topic, int partition, bool uncommitted);

/* A consumer's handler that remembers. */
struct fixture_member {
    struct kafka_consumer *consumer;
    char *topic;
    int assigned; /* partitions held */
    int assignments;
    int revocations;
    int losses;
};
/* Joins; handler events land in `m`. The time-out is that of the session and of polling; 0: the
 * defaults. */
void fixture_join(struct fixture_member *m, const char *group, const char *instance,
                  const char *topic, enum kafka_reset reset, int session_timeout_ms);
/* Polls until `count` partitions are held. */
void fixture_await_assigned(struct fixture_member *m, int count);
void fixture_drop(struct fixture_member *m);

/* Stops (as a crash, with `crash`) and starts the broker of KAFKA_DIR. */
void fixture_broker_stop(bool crash);
void fixture_broker_start(void);

#endif
