/*
 * What was sent a short while ago, so that a scan does not send it again before its owner had time;
 * and what was sent again and again, which waits longer each time. Bounded: a full table forgets
 * the older of two that meet, which costs a repeat. Pure but for its own memory; one thread.
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
        int64_t pause_ms; /* the last one after it was sent; 0: it was not */
    } slots[RECENT_SLOTS];
};

/* True when `key` (any but 0) was noted and its time is not over; else notes it until `until_ms`.
 */
bool recent_seen(struct recent *r, uint64_t key, int64_t now_ms, int64_t until_ms);

/* A key that recent_seen has just noted was sent: its time lasts `first_ms` from now, and twice as
 * long as before when it was sent before, up to `longest_ms`. */
struct recent_pauses {
    int64_t first_ms;
    int64_t longest_ms;
};
void recent_sent(struct recent *r, uint64_t key, int64_t now_ms,
                 const struct recent_pauses *pauses);
/* What was sent at or after `since_ms` may not have arrived: as if it was sent for the first time.
 */
void recent_doubt(struct recent *r, int64_t since_ms, int64_t first_ms);

#endif
