/*
 * What was sent a short while ago, so that a scan does not send it again before its owner had time.
 * Bounded: a full table forgets the older of two that meet, which costs a repeat. Pure but for its
 * own memory; one thread.
 */
#ifndef SCHEDULER_RECENT_H
#define SCHEDULER_RECENT_H

#include <stdbool.h>
#include <stdint.h>

#define RECENT_SLOTS 16384

struct recent {
    struct recent_slot {
        uint64_t key; /* 0: empty */
        int64_t until_ms;
    } slots[RECENT_SLOTS];
};

/* True when `key` (any but 0) was noted and its time is not over; else notes it until `until_ms`.
 */
bool recent_seen(struct recent *r, uint64_t key, int64_t now_ms, int64_t until_ms);

#endif
