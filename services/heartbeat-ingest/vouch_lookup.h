/*
 * A signed message's question to Redis: one Lua call looks for the device and for its profile,
 * takes from the budget of the unvouched when neither is there, and keeps or forgets the sighting,
 * and counts the device's own messages, atomically. Lane thread.
 *
 * The guards, all of them lost without harm:
 *     g:u   set of the UIDs that the present window has let through; it expires with the window,
 *           which begins with the first of them
 *     g:us  sorted set: UID by the time last seen, in ms
 *     g:ud  hash: UID -> "<first seen, ms> <last seen, ms> <count> <1: claims a profile, else 0>"
 *     g:m:<UID as bytes>  set of the messages (numbers made of their request ids) that this device
 * has been let through with in the present window, which begins with the first of them A device
 * that is seen again moves to the young end; over the limit the oldest ones go.
 */
#ifndef HEARTBEAT_INGEST_VOUCH_LOOKUP_H
#define HEARTBEAT_INGEST_VOUCH_LOOKUP_H

#include "lane.h"
#include "vouch.h"

struct vouch_rules {
    int64_t unvouched_max; /* devices per window; 0: none */
    int64_t unvouched_window_ms;
    int64_t sightings_max;
    int64_t sighting_ttl_ms;
    int64_t messages_max; /* different ones of a device per window; 0: no limit */
    int64_t messages_window_ms;
};

/* One question and its answer. The asker fills the first half, the lane the second. */
struct vouch_lookup {
    struct lane_job job; /* .question = &vouch_question */
    const struct vouch_rules *rules;
    uint8_t uid[DEVICE_UID_BYTES];
    int32_t partition;                 /* of the device */
    char profile[DEVICE_PROFILE_SIZE]; /* "": it names none */
    int32_t profile_partition;
    int64_t now_ms;
    uint64_t message; /* the same number for a message that is repeated; < 2^53 */

    struct vouch_facts facts;
    int64_t left_ms; /* of the window, when the budget is spent; <= 0: there is none */
    int64_t wait_ms; /* > 0: too many messages of this device; so long until it may send another */
};

extern const struct lane_question vouch_question;

#endif
