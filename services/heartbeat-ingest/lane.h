/*
 * A lane: one thread with one Redis connection that takes waiting heartbeats in batches and asks
 * Redis about all of them in one round trip. In one Lua call per heartbeat the device's view
 * record, the view's mark and the guard are read, and the guard is moved on, atomically. Several
 * lanes may run; any of them serves any device.
 */
#ifndef HEARTBEAT_INGEST_LANE_H
#define HEARTBEAT_INGEST_LANE_H

#include "beat.h"
#include "common/clock.h"
#include "common/metrics.h"
#include "common/redis.h"

struct lane;

/* One question and its answer. The asker fills the first half, the lane the second. */
struct lane_job {
    uint8_t uid[DEVICE_UID_BYTES];
    int32_t partition;
    int64_t sequence;
    int64_t now_ms;
    bool has_token;
    struct ratchet_token token;

    err_t result; /* ERR_OK, ERR_UNAVAILABLE */
    enum beat_verdict verdict;
    enum ratchet_verdict ratchet;
    struct heartbeat_guard guard; /* as it stands now */
    struct span record; /* packed device, lives during `done`; ptr NULL unless opened or repeated */

    /* Called once, on the lane's thread; must not block. Owns the job from then on. */
    void (*done)(struct lane_job *job);
    void *ctx;
};

struct lane_options {
    const struct redis_config *redis; /* copied */
    size_t queue_max;                 /* heartbeats waiting; more are refused */
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
