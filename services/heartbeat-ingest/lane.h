/*
 * A lane: one thread with one Redis connection that takes waiting questions about devices in
 * batches and asks Redis about all of them in one round trip. What is asked, and what the answer
 * means, is the question's own (beat_lookup.h, vouch_lookup.h). Several lanes may run; any of them
 * serves any device.
 */
#ifndef HEARTBEAT_INGEST_LANE_H
#define HEARTBEAT_INGEST_LANE_H

#include "common/metrics.h"
#include "common/redis.h"
#include "proto/device_protocol.h"

struct lane;
struct lane_job;

/* A kind of question: one script, called once. Both run on the lane's thread and never block. */
struct lane_question {
    struct redis_script *script;
    /* Queues the one call of the script. */
    err_t (*append)(struct redis *redis, const struct lane_job *job);
    /* Reads its reply, which lives until `done` has returned. ERR_INTERNAL: not what the script
     * answers. */
    err_t (*take)(struct lane_job *job, const struct redis_reply *reply);
};

/* The first member of what is asked. */
struct lane_job {
    const struct lane_question *question;
    err_t result; /* ERR_OK, ERR_UNAVAILABLE, ERR_STOPPING, ERR_INTERNAL */

    /* Called once, on the lane's thread; must not block. Owns the job from then on. */
    void (*done)(struct lane_job *job);
    void *ctx;
};

struct lane_options {
    const struct redis_config *redis; /* copied */
    size_t queue_max;                 /* questions waiting; more are refused */
    struct metrics *metrics;          /* borrowed */
    const char *name;
};

err_t lane_start(const struct lane_options *options, struct lane **ret) MUST_USE;
/* Ends the thread; jobs still waiting are done with ERR_STOPPING. */
void lane_stop(struct lane *lane);
CLEANUP_DEFINE(struct lane *, lane_stop);
/* Hands a job over. ERR_BUSY: the queue is full, `done` is never called, the job stays the
 * caller's. Any thread. */
err_t lane_ask(struct lane *lane, struct lane_job *job) MUST_USE;
/* Keeps the flood interval of a device in its guard; without waiting, best effort. Lane thread,
 * that is inside `done`. */
void lane_set_flood(struct lane *lane, const uint8_t uid[DEVICE_UID_BYTES], uint32_t flood_s);

#endif
