/*
 * A subscription to Redis channels with a thread and a connection of its own: messages come by
 * callback on that thread, the connection is kept up and the subscription renewed for ever. Redis
 * keeps nothing for a subscriber that is away, so each gap is told: the owner then looks up what it
 * waits for in the place where it is stored. Used by the doors for replies of the owners.
 */
#ifndef COMMON_REDIS_SUBSCRIBER_H
#define COMMON_REDIS_SUBSCRIBER_H

#include "common/redis.h"

struct redis_subscriber;

struct redis_subscriber_config {
    const struct redis_config *redis; /* borrowed during redis_subscriber_start */
    const char *channel;              /* or a pattern */
    bool pattern;                     /* PSUBSCRIBE */
    void *ctx;
    /* A message; the views live until it returns. Runs on the subscriber's thread and must not
     * block: hand over and return. */
    void (*on_message)(void *ctx, struct span channel, struct span payload);
    /* The subscription stands, for the first time or again: whatever was published before this call
     * may have been missed, everything after it will come. Same thread. May be NULL. */
    void (*on_gap)(void *ctx);
    /* The connection failed or could not be made (`text` for the log, with the class of `e`); tried
     * again after the back-off. Same thread. May be NULL. */
    void (*on_error)(void *ctx, err_t e, const char *text);
};

/* Starts the thread and returns without waiting for the connection. Copies the configuration.
 * ERR_INTERNAL when no thread can be made. */
err_t redis_subscriber_start(const struct redis_subscriber_config *config,
                             struct redis_subscriber **ret) MUST_USE;
/* Ends the thread and waits for it; no callback runs after this returns. Not from a callback. */
void redis_subscriber_stop(struct redis_subscriber *s);
CLEANUP_DEFINE(struct redis_subscriber *, redis_subscriber_stop);
/* Whether the subscription stands now. Any thread; for readiness and metrics. */
bool redis_subscriber_is_up(const struct redis_subscriber *s);

#endif
