/*
 * A heartbeat's question to Redis: one Lua call reads the device's view record and the view's mark,
 * and moves the guard on, atomically. Lane thread.
 */
#ifndef HEARTBEAT_INGEST_BEAT_LOOKUP_H
#define HEARTBEAT_INGEST_BEAT_LOOKUP_H

#include "beat.h"
#include "lane.h"

/* One question and its answer. The asker fills the first half, the lane the second. */
struct beat_lookup {
    struct lane_job job; /* .question = &beat_question */
    uint8_t uid[DEVICE_UID_BYTES];
    int32_t partition;
    int64_t sequence;
    int64_t now_ms;
    bool has_token;
    struct ratchet_token token;

    enum beat_verdict verdict;
    enum ratchet_verdict ratchet;
    struct heartbeat_guard guard; /* as it stands now */
    struct span record; /* packed device, lives during `done`; ptr NULL unless opened or repeated */
};

extern const struct lane_question beat_question;

#endif
