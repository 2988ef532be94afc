/*
 * Brings the heartbeat guards back after Redis lost them: last-seen times, sequences and accepted
 * nonces, from the compacted topic of heartbeats. A mark in Redis (`g:h#`) says that the guards are
 * whole; the replica that finds it missing claims the work and reads the topic once. A device that
 * calls in meanwhile simply begins a new guard, which is never overwritten by an older record. One
 * thread.
 */
#ifndef HEARTBEAT_INGEST_REBUILD_H
#define HEARTBEAT_INGEST_REBUILD_H

#include "common/metrics.h"
#include "common/redis.h"

struct rebuild;

struct rebuild_options {
    const struct redis_config *redis; /* copied */
    const char *brokers;              /* copied */
    const char *client_id;            /* copied */
    int32_t partitions;
    struct metrics *metrics; /* borrowed */
};

err_t rebuild_start(const struct rebuild_options *options, struct rebuild **ret) MUST_USE;
/* Ends the thread; a rebuild under way is given up and done by whoever looks next. Accepts NULL. */
void rebuild_stop(struct rebuild *r);

#endif
