/*
 * Asking an owner: a request goes to Kafka, the owner's reply comes back over Redis. Used by the
 * doors, which suspend their client meanwhile. One object per process: it owns two
 * idempotent producers (one for the time when many wait, whose records wait for company), a
 * subscription to its reply channel and one thread for deadlines.
 *
 * An owner stores each reply as `g:r:<request id>` before it publishes "<request id> <json>" on the
 * requester's channel, so a dropped subscription loses nothing: after each gap, while the
 * subscription is down, and once more at the deadline the stored replies of everything pending are
 * looked up.
 *
 * What is not known is reported as not known: REPLY_NONE (stored in Kafka, no answer in time) and
 * REPLY_UNKNOWN (no acknowledgement either) are outcomes of their own, and the request id answers
 * later under reply_waiter_key.
 */
#ifndef COMMON_REPLY_WAITER_H
#define COMMON_REPLY_WAITER_H

#include <stdint.h>

#include "common/buf.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/err.h"
#include "common/kafka_producer.h"
#include "common/redis.h"

struct reply_waiter;

enum reply_outcome {
    REPLY_ANSWERED, /* `reply` is the owner's JSON */
    REPLY_NONE,     /* the request is stored and will be worked on; no reply within the deadline */
    REPLY_NOT_SENT, /* the request is not in Kafka and never will be */
    REPLY_UNKNOWN,  /* neither acknowledged nor refused by Kafka: it may be worked on; the same
                       request may be repeated */
};

/*
 * Told once for every request that reply_waiter_send accepted. Runs on one of the waiter's threads
 * and must not block; `reply` is borrowed for the call, empty but for REPLY_ANSWERED.
 */
typedef void (*reply_done_fn)(void *ctx, enum reply_outcome outcome, struct span reply);

struct reply_waiter_config {
    const struct kafka_config *kafka; /* borrowed during start */
    const struct redis_config
        *redis;           /* borrowed during start; needs SUBSCRIBE g:c:<instance> and GET g:r:* */
    const char *instance; /* names the channel; unique among replicas */
    unsigned pending_max; /* requests waited for at once; 0: 4096 */
    int linger_ms;        /* of a record while few wait; 0: 2 */
    int delivery_timeout_ms;   /* 0: 5000; how long Kafka may take to acknowledge */
    const struct clock *clock; /* monotonic part; NULL: the system's */
};

/* Starts the threads; Kafka or Redis being away is no error. ERR_INVALID with `fault`,
 * ERR_INTERNAL. */
err_t reply_waiter_start(const struct reply_waiter_config *config, struct fault *fault,
                         struct reply_waiter **ret) MUST_USE;

#define REPLY_CHANNEL_MAX 96
/* The channel to put into requests as reply_to. Lives as long as the waiter. Any thread. */
const char *reply_waiter_channel(const struct reply_waiter *w);
/* The producer inside, for records that nobody waits for; their cookie must be 0. Borrowed. */
struct kafka_producer *reply_waiter_producer(struct reply_waiter *w);

/*
 * Produces `record` (its cookie is the waiter's) and waits for the reply to `request_id` (36
 * characters, copied) up to `deadline_ms`, longer only while Kafka has neither stored nor refused
 * the record. On success `done` is called exactly once, perhaps before this returns. On failure it
 * is never called and nothing was sent: ERR_BUSY (pending_max or the producer's queue),
 * ERR_TOO_LARGE, ERR_ABSENT (no such topic or partition), ERR_FENCED, ERR_STOPPING. Several may
 * wait for the same id. Any thread.
 */
err_t reply_waiter_send(struct reply_waiter *w, const struct kafka_record *record,
                        const char *request_id, int deadline_ms, reply_done_fn done,
                        void *ctx) MUST_USE;

/* The Redis key of a stored reply: "g:r:<request id>". */
#define REPLY_KEY_MAX 64
void reply_waiter_key(const char *request_id, char out[REPLY_KEY_MAX]);

struct reply_waiter_stats {
    uint64_t sent, answered, unanswered, not_sent, unknown;
    uint64_t found_stored; /* replies found by a look-up, not by the subscription */
    unsigned pending;
    bool subscribed;
};
/* For metrics. Any thread. */
void reply_waiter_stats(struct reply_waiter *w, struct reply_waiter_stats *ret);

/* Ends what is pending with REPLY_NONE or REPLY_UNKNOWN, flushes the producers (up to `flush_ms`)
 * and frees everything. No callback runs after it returned. Accepts NULL. */
void reply_waiter_stop(struct reply_waiter *w, int flush_ms);
static inline void reply_waiter_drop(struct reply_waiter *w)
{
    reply_waiter_stop(w, 0);
}
CLEANUP_DEFINE(struct reply_waiter *, reply_waiter_drop);

#endif
