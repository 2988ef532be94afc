/*
 * Whether somebody vouches for a device that sends a signed message: its owner knows it already, or
 * the profile sealed into it exists. Everything else is a key that anybody can make, and reaches
 * the log only within a budget that all doors share. Pure functions, any thread; the facts come
 * from Redis (vouch_lookup.h).
 */
#ifndef HEARTBEAT_INGEST_VOUCH_H
#define HEARTBEAT_INGEST_VOUCH_H

#include <stdbool.h>
#include <stdint.h>

enum vouch_budget {
    VOUCH_BUDGET_UNASKED, /* not touched */
    VOUCH_BUDGET_GRANTED, /* this device has its place in the present window */
    VOUCH_BUDGET_SPENT,
};

struct vouch_facts {
    bool device;  /* its record is in the view */
    bool profile; /* the profile it names is in the view */
    bool whole;   /* no view that was asked is being built anew: what is absent may be believed */
    enum vouch_budget budget;
};

enum vouch_verdict {
    VOUCH_KNOWN,    /* to its owner */
    VOUCH_ADMITTED, /* nobody vouches, within the budget: to its owner, who registers it unowned */
    VOUCH_SIGHTED,  /* nobody vouches, over the budget: noted, nothing reaches the log */
    VOUCH_REBUILD,  /* not known now */
};
enum vouch_verdict vouch_judge(const struct vouch_facts *facts);

/*
 * Seconds after which a sighted device may come again: behind the end of the window (`left_ms`; <=
 * 0: a whole one), so that the budget it finds is a new one, and up to a tenth of a window later by
 * chance. `random`: any 32 random bits.
 */
uint32_t vouch_retry_after(int64_t left_ms, int64_t window_ms, uint32_t random);

#endif
