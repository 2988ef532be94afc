/*
 * A member of a consumer group, with static membership and the eager `range` assignor. Read
 * committed, nothing is committed by itself: owners commit through kafka_txn_send_offsets, other
 * members through kafka_consumer_commit. Owner thread only; the handler runs on it, inside
 * kafka_consumer_poll and kafka_consumer_close.
 *
 * An assigned partition delivers nothing until kafka_consumer_start says from where: so an owner
 * can first read the committed offset, catch its state up, and only then begin. A revoked partition
 * delivers nothing more, and messages of it still in the owner's hands must not be committed after
 * the handler returned.
 */
#ifndef COMMON_KAFKA_CONSUMER_H
#define COMMON_KAFKA_CONSUMER_H

#include "common/kafka_common.h"

struct kafka_consumer;

/* What to do when a position does not exist in the log. */
enum kafka_reset {
    KAFKA_RESET_ERROR,    /* poll returns ERR_CORRUPT: silence would be loss */
    KAFKA_RESET_EARLIEST, /* start over at the oldest record */
};

struct kafka_consumer_handler {
    void *ctx;
    /* These partitions are ours now, all stopped; it is the whole assignment. */
    void (*assigned)(void *ctx, const struct kafka_partition *partitions, size_t count);
    /* They are taken away: finish and commit what is in hand (bounded: well below the session
     * time-out), or, when `lost`, drop it: another member may own them already. */
    void (*revoked)(void *ctx, const struct kafka_partition *partitions, size_t count, bool lost);
};

struct kafka_consumer_config {
    const char *group;
    const char *instance_id; /* <service>-<ordinal>; NULL: a dynamic member */
    const char *const *topics;
    size_t topics_count;
    enum kafka_reset reset;
    int session_timeout_ms;   /* 0: 30000 */
    int max_poll_interval_ms; /* 0: 60000; longest time between two polls */
    int fetch_wait_max_ms;    /* 0: 100 */
    int queued_max_kbytes;    /* read ahead, all partitions together; 0: 16384 */
    struct kafka_consumer_handler handler;
};

/* Joins the group in the background. ERR_INVALID (`ret_fault`, may be NULL), ERR_INTERNAL. */
err_t kafka_consumer_new(const struct kafka_config *config,
                         const struct kafka_consumer_config *consumer, struct fault *ret_fault,
                         struct kafka_consumer **ret) MUST_USE;
/*
 * Ends the membership, at most timeout_ms; the handler's revoked may run. With `leave` the group is
 * told and rebalances at once (scaling in); without it a static member that comes back within its
 * session time-out gets its partitions back and nobody else notices (restart). ERR_TIMEOUT: not
 * finished; kafka_consumer_free drops it all the same.
 */
err_t kafka_consumer_close(struct kafka_consumer *c, bool leave, int timeout_ms) MUST_USE;
/* Frees without any farewell; call kafka_consumer_close before when there is one to say. All
 * messages must be freed before. */
void kafka_consumer_free(struct kafka_consumer *c);
CLEANUP_DEFINE(struct kafka_consumer *, kafka_consumer_free);

/*
 * Appends messages of started partitions to `batch` until it is full or nothing is at hand, waiting
 * up to timeout_ms for the first one. Must be called at least every max_poll_interval_ms, also when
 * everything is paused. ERR_OK with nothing added is ordinary. ERR_FENCED: the membership is gone
 * for good (fenced by another with the same instance id, or polled too late): destroy and rebuild.
 * ERR_CORRUPT: a position does not exist (KAFKA_RESET_ERROR). ERR_ABSENT: no such topic.
 * ERR_FORBIDDEN: ACL. Brokers that are away are no error here: it just stays silent.
 */
err_t kafka_consumer_poll(struct kafka_consumer *c, struct kafka_batch *batch,
                          int timeout_ms) MUST_USE;

/* Starts, or moves, delivery of an assigned partition at `offset` (a committed one or
 * KAFKA_OFFSET_BEGINNING); messages fetched before are dropped. Also the rewind after an abort.
 * ERR_CONFLICT: not assigned (any more). ERR_UNAVAILABLE: again later. */
err_t kafka_consumer_start(struct kafka_consumer *c, const char *topic, int32_t partition,
                           int64_t offset) MUST_USE;
/* Holds back, and lets go on, a started partition, without losing its place: messages that poll
 * already returned are not returned again. Doing it twice is harmless. ERR_CONFLICT: not assigned,
 * or not started. */
err_t kafka_consumer_pause(struct kafka_consumer *c, const char *topic, int32_t partition) MUST_USE;
err_t kafka_consumer_resume(struct kafka_consumer *c, const char *topic,
                            int32_t partition) MUST_USE;

/* The group's committed offset, or KAFKA_OFFSET_NONE. While an open transaction holds one back the
 * call waits, so what it returns is final for the owner that reads it. ERR_TIMEOUT (again),
 * ERR_UNAVAILABLE. Any partition of any topic, assigned or not. */
err_t kafka_consumer_committed(struct kafka_consumer *c, const char *topic, int32_t partition,
                               int timeout_ms, int64_t *ret_offset) MUST_USE;
/* Commits outside of any transaction, waiting for the broker: for members that are not owners.
 * ERR_CONFLICT: the generation is over, the partitions belong to others. */
err_t kafka_consumer_commit(struct kafka_consumer *c, const struct kafka_offset *offsets,
                            size_t count, int timeout_ms) MUST_USE;

/* What went wrong last, for the log; "" if nothing. Valid until the next call. */
const char *kafka_consumer_error_text(const struct kafka_consumer *c);

#endif
