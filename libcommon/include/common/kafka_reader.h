/*
 * Reading chosen partitions without a group: an owner catching up on its state, tools, tests, and
 * whoever must see every partition (billing's audit, a view rebuild). Each partition starts where
 * the caller says and reports its end. Also answers how far a partition reaches. Owner thread only.
 */
#ifndef COMMON_KAFKA_READER_H
#define COMMON_KAFKA_READER_H

#include "common/kafka_common.h"

struct kafka_reader;

struct kafka_reader_config {
    bool uncommitted;      /* also deliver records of open and aborted transactions */
    int fetch_wait_max_ms; /* 0: 50 */
    int queued_max_kbytes; /* read ahead, all partitions together; 0: 16384 */
};

/* ERR_INVALID (`ret_fault`, may be NULL), ERR_INTERNAL. */
err_t kafka_reader_new(const struct kafka_config *config, const struct kafka_reader_config *reader,
                       struct fault *ret_fault, struct kafka_reader **ret) MUST_USE;
/* All messages must be freed before. */
void kafka_reader_free(struct kafka_reader *r);
CLEANUP_DEFINE(struct kafka_reader *, kafka_reader_free);

/* Starts a partition at `offset` (or KAFKA_OFFSET_BEGINNING), or moves it there when it runs.
 * ERR_UNAVAILABLE: again later. */
err_t kafka_reader_start(struct kafka_reader *r, const char *topic, int32_t partition,
                         int64_t offset) MUST_USE;
/* Ends a partition; nothing of it is returned any more. Harmless if it does not run. */
void kafka_reader_stop(struct kafka_reader *r, const char *topic, int32_t partition);
/*
 * Appends messages, as kafka_consumer_poll. A message with `eof` says: everything readable below
 * `offset` has been returned; it comes each time the end is reached. What a reader may read ends
 * before the oldest open transaction, so whoever wants all of it compares `offset` with
 * kafka_reader_high_watermark and goes on polling while it is lower. ERR_CORRUPT: the position does
 * not exist in the log; that partition has stopped. ERR_FORBIDDEN: ACL. A topic that does not exist
 * may just stay silent; kafka_reader_high_watermark tells.
 */
err_t kafka_reader_poll(struct kafka_reader *r, struct kafka_batch *batch, int timeout_ms) MUST_USE;

/* The offset behind the last record, open transactions included: nothing that exists now lies at or
 * beyond it. ERR_ABSENT, ERR_TIMEOUT, ERR_UNAVAILABLE (again). */
err_t kafka_reader_high_watermark(struct kafka_reader *r, const char *topic, int32_t partition,
                                  int timeout_ms, int64_t *ret_offset) MUST_USE;
/* The end for read_committed: no open transaction begins below it. */
err_t kafka_reader_stable_end(struct kafka_reader *r, const char *topic, int32_t partition,
                              int timeout_ms, int64_t *ret_offset) MUST_USE;
/* The oldest offset still there, and the one behind the last record as above. */
err_t kafka_reader_bounds(struct kafka_reader *r, const char *topic, int32_t partition,
                          int timeout_ms, int64_t *ret_begin, int64_t *ret_end) MUST_USE;

/* What went wrong last, for the log; "" if nothing. Valid until the next call. */
const char *kafka_reader_error_text(const struct kafka_reader *r);

#endif
