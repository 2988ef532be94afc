/*
 * Sends deliveries: reads webhook.requests and the retry tiers, POSTs, and puts each delivery down
 * again as soon as its attempt ended: done, or written to a tier. No offset ever waits for an
 * endpoint, what is in memory is bounded, and what does not fit goes to a tier as well.
 *
 * One thread does it all: the consumer, libcurl's multi handle and the endpoints have one owner and
 * need no lock.
 */
#ifndef WEBHOOK_NOTIFIER_SENDER_H
#define WEBHOOK_NOTIFIER_SENDER_H

#include "common/metrics.h"
#include "common/redis.h"
#include "common/seal.h"
#include "config.h"
#include "group.h"

struct sender;

struct sender_options {
    struct kafka_config kafka; /* what it points at is borrowed for good, as all below */
    const struct config *config;
    struct redis *redis; /* of the thread that calls sender_step */
    const struct seal_kek *kek;
    int32_t partitions;
    struct metrics *metrics;
};

/* ERR_INVALID, ERR_INTERNAL: a client cannot be made. */
err_t sender_new(const struct sender_options *options, struct sender **ret) MUST_USE;
void sender_free(struct sender *s);
CLEANUP_DEFINE(struct sender *, sender_free);

/* One round: takes what came, moves what is under way, puts down what ended; waits a little when
 * there is nothing to do. Anything but ERR_OK: pause, then again; nothing is lost. */
err_t sender_step(struct sender *s) MUST_USE;
/* Takes nothing more, waits for what is under way, writes the rest to the first tier, commits and
 * leaves; at most timeout_ms. What could not be written is delivered again after the restart. */
void sender_stop(struct sender *s, int timeout_ms);
/* True while it holds partitions; any thread. */
bool sender_joined(const struct sender *s);

#endif
