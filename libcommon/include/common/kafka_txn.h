/*
 * The transactional producer of an owner: records and input offsets become visible together or not
 * at all. One per owner process, used by its one thread, which also receives the deliveries inside
 * these calls.
 *
 *     kafka_txn_new, kafka_txn_warm_up, kafka_txn_init           once
 *     kafka_txn_begin
 *     kafka_txn_produce ...                                     ERR_BUSY: kafka_txn_poll, again
 *     kafka_txn_send_offsets
 *     kafka_txn_commit                                          then kafka_txn_deliveries
 *
 * The errors of every call form one ladder:
 *     ERR_OK        done
 *     ERR_TIMEOUT   not finished within the time given; the same call again carries on where it was
 *     ERR_CONFLICT  this transaction cannot commit: kafka_txn_abort, then rewind the consumer
 *     ERR_FENCED    everything else, also where nobody fenced anything (a broker that timed the
 *                   transaction out raises the epoch): destroy this producer AND the consumer,
 * build both anew, go on from the committed offsets Giving up after ERR_TIMEOUT is treated as
 * ERR_FENCED. A commit whose answer is not ERR_OK may have happened nevertheless: only the log
 * knows. ERR_UNAVAILABLE or ERR_FORBIDDEN can come from the constructor's side only (init,
 * warm_up).
 */
#ifndef COMMON_KAFKA_TXN_H
#define COMMON_KAFKA_TXN_H

#include "common/kafka_common.h"

#define KAFKA_TRANSACTION_MS 10000 /* the default of transaction_timeout_ms */

struct kafka_txn;
struct kafka_consumer;

struct kafka_txn_config {
    const char
        *transactional_id; /* stable: <service>-<ordinal>; the newest holder fences the others */
    int transaction_timeout_ms; /* 0: KAFKA_TRANSACTION_MS. The broker aborts a silent transaction
                                   after it */
    int linger_ms;              /* 0 is fine: commit flushes */
    int queue_max_kbytes;       /* 0: 32768 */
    int queue_max_messages;     /* 0: 100000 */
};

/* ERR_INVALID (`ret_fault`, may be NULL, says which setting), ERR_INTERNAL. Does not wait. */
err_t kafka_txn_new(const struct kafka_config *config, const struct kafka_txn_config *txn,
                    struct fault *ret_fault, struct kafka_txn **ret) MUST_USE;
/* Discards what is in flight; an open transaction is left to the next init or the broker's
 * time-out. Works in every state, after every error; bounded by a few seconds. */
void kafka_txn_free(struct kafka_txn *t);
CLEANUP_DEFINE(struct kafka_txn *, kafka_txn_free);

/* As kafka_producer_warm_up. */
err_t kafka_txn_warm_up(struct kafka_txn *t, const char *const *topics, size_t count,
                        int timeout_ms) MUST_USE;
/* The number of a topic's partitions, asked by this client: another one made for the question would
 * take librdkafka 2.8 a second to end. ERR_ABSENT, ERR_FORBIDDEN, ERR_TIMEOUT, ERR_UNAVAILABLE. */
err_t kafka_txn_partition_count(struct kafka_txn *t, const char *topic, int timeout_ms,
                                int32_t *ret_count) MUST_USE;
/* Claims the transactional id: aborts what a predecessor left open, fences it. ERR_TIMEOUT (again),
 * ERR_FORBIDDEN, ERR_FENCED. About 1 s on a fresh broker. */
err_t kafka_txn_init(struct kafka_txn *t, int timeout_ms) MUST_USE;
/* Opens a transaction, empties the deliveries. Does not talk to the broker. */
err_t kafka_txn_begin(struct kafka_txn *t) MUST_USE;
/* Queues a copy. ERR_BUSY: the queue is full. ERR_TOO_LARGE: over message.max.bytes (nothing
 * queued, the transaction goes on). ERR_ABSENT: no such topic or partition. Else the ladder. */
err_t kafka_txn_produce(struct kafka_txn *t, const struct kafka_record *record) MUST_USE;
/* Serves deliveries for up to timeout_ms; returns when at least one came. */
void kafka_txn_poll(struct kafka_txn *t, int timeout_ms);
/* Adds the input's offsets (next offset to read, that is last processed + 1) under the group's
 * present generation, so that a replaced group member gets ERR_CONFLICT. Waits for the broker. */
err_t kafka_txn_send_offsets(struct kafka_txn *t, const struct kafka_offset *offsets, size_t count,
                             struct kafka_consumer *consumer, int timeout_ms) MUST_USE;
/* Flushes and commits. ERR_OK: every record is stored and kafka_txn_deliveries is complete; readers
 * of committed records see them once the broker has written its markers, some milliseconds later.
 */
err_t kafka_txn_commit(struct kafka_txn *t, int timeout_ms) MUST_USE;
/* Discards and aborts; also after ERR_CONFLICT. ERR_OK: begin may follow. */
err_t kafka_txn_abort(struct kafka_txn *t, int timeout_ms) MUST_USE;

/* What went wrong last, for the log; "" if nothing. Valid until the next call. */
const char *kafka_txn_error_text(const struct kafka_txn *t);

/* Where the records of the committed transaction went, in the order of the produce calls. */
struct kafka_delivery {
    uint64_t cookie;
    const char *topic; /* lives as long as the producer */
    int32_t partition;
    int64_t offset;
};
/* Valid until the next begin, abort or free; empty unless the last commit returned ERR_OK. */
const struct kafka_delivery *kafka_txn_deliveries(const struct kafka_txn *t, size_t *ret_count);

#endif
