/*
 * A plain idempotent producer: acknowledged by all replicas in sync, in order per partition,
 * without duplicates inside one session. For doors (requests) and for the heartbeat topic; owners
 * use kafka_txn.h. All functions may be called from any thread; deliveries are reported on the
 * producer's own thread.
 */
#ifndef COMMON_KAFKA_PRODUCER_H
#define COMMON_KAFKA_PRODUCER_H

#include "common/kafka_common.h"

struct kafka_producer;

/*
 * The fate of one record; views valid until the callback returns. `result`:
 *     ERR_OK           stored, at `offset`
 *     ERR_UNAVAILABLE  certainly not stored within delivery_timeout_ms
 *     ERR_TIMEOUT      sent, and not known to be stored: it may be there
 *     ERR_TOO_LARGE    refused by the broker
 *     ERR_FORBIDDEN    refused by an ACL
 *     ERR_STOPPING     discarded by kafka_producer_free; may be there
 *     ERR_INTERNAL     anything else; not stored
 */
struct kafka_delivery_report {
    err_t result;
    uint64_t cookie;
    const char *topic;
    int32_t partition;
    int64_t offset;
};

struct kafka_producer_config {
    int linger_ms;           /* how long a record waits for company; 5 suits a door */
    int queue_max_kbytes;    /* 0: 32768 */
    int queue_max_messages;  /* 0: 100000 */
    int delivery_timeout_ms; /* 0: 10000 */
    /* Called once for every record that kafka_producer_produce accepted. Must not block, and must
     * not call kafka_producer_free. May be NULL. */
    void (*on_delivery)(void *ctx, const struct kafka_delivery_report *report);
    void *ctx;
};

/* ERR_INVALID (a setting is refused: `ret_fault`, which may be NULL, says which), ERR_INTERNAL. */
err_t kafka_producer_new(const struct kafka_config *config,
                         const struct kafka_producer_config *producer, struct fault *ret_fault,
                         struct kafka_producer **ret) MUST_USE;
/* Discards what is not delivered (each reported with ERR_STOPPING); call kafka_producer_flush
 * before. Bounded by a few seconds. */
void kafka_producer_free(struct kafka_producer *p);
CLEANUP_DEFINE(struct kafka_producer *, kafka_producer_free);

/* Fetches the topics' metadata so that the first record does not wait for it: before ready.
 * ERR_ABSENT (a topic does not exist: configuration), ERR_UNAVAILABLE. */
err_t kafka_producer_warm_up(struct kafka_producer *p, const char *const *topics, size_t count,
                             int timeout_ms) MUST_USE;
/* Queues a copy of the record. ERR_BUSY: the queue is full, answer "later". ERR_TOO_LARGE: over
 * message.max.bytes. ERR_ABSENT: no such topic or partition. ERR_FENCED: the producer is beyond
 * repair (its sequence is lost); destroy it and make a new one. */
err_t kafka_producer_produce(struct kafka_producer *p, const struct kafka_record *record) MUST_USE;
/* Waits until everything accepted so far is reported. ERR_TIMEOUT: some is not. */
err_t kafka_producer_flush(struct kafka_producer *p, int timeout_ms) MUST_USE;
/* Records accepted and not reported yet. */
size_t kafka_producer_undelivered(const struct kafka_producer *p);
/* True after a fatal error: as ERR_FENCED above. For health. */
bool kafka_producer_is_broken(const struct kafka_producer *p);

#endif
