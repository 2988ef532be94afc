/*
 * From lifecycle events to deliveries: reads fleetseal.events, asks the registry's view which
 * webhooks of the event's domain want it, and writes one delivery for each to webhook.requests.
 *
 * At least once, not by transaction: an offset is committed after its deliveries are stored, and a
 * crash in between writes them a second time under the same ids. Sending is at least once in any
 * case (an answer can be lost on its way), so a receiver has to look at webhook-id either way, and
 * the markers of a transaction would buy nothing.
 *
 * The subscriptions are read after the events of a batch, once per batch: so a webhook that was
 * there before an event gets it. A thread of its own.
 */
#ifndef WEBHOOK_NOTIFIER_FANOUT_H
#define WEBHOOK_NOTIFIER_FANOUT_H

#include "common/metrics.h"
#include "common/redis.h"
#include "group.h"

struct fanout;

struct fanout_options {
    struct kafka_config kafka; /* what it points at is borrowed for good, as all below */
    const char *instance;
    struct redis *redis; /* of the thread that calls fanout_step */
    int32_t partitions;
    struct metrics *metrics;
};

/* ERR_INVALID, ERR_INTERNAL: a Kafka client cannot be made. */
err_t fanout_new(const struct fanout_options *options, struct fanout **ret) MUST_USE;
void fanout_free(struct fanout *f);
CLEANUP_DEFINE(struct fanout *, fanout_free);

/* One batch, waiting up to timeout_ms for the first event. Anything but ERR_OK: pause, then again;
 * nothing is lost. */
err_t fanout_step(struct fanout *f, int timeout_ms) MUST_USE;
/* Leaves within about timeout_ms. */
void fanout_stop(struct fanout *f, int timeout_ms);
/* True while it holds partitions; any thread. */
bool fanout_joined(const struct fanout *f);

#endif
