/*
 * What happened, counted by the loops and read by main while they run. Any thread.
 */
#ifndef SIMULATOR_TALLY_H
#define SIMULATOR_TALLY_H

#include <stdatomic.h>
#include <stdio.h>

#include "options.h"

/* Latencies of whole visits: buckets of 2^(i/4) milliseconds from 1/16 ms on. */
#define TALLY_BUCKETS 96

struct tally {
    _Atomic uint64_t bootstrapped; /* devices whose bootstrap was answered */
    _Atomic uint64_t waiting;      /* ... without a certificate: not allowed yet */
    _Atomic uint64_t installed;    /* first certificates confirmed */
    _Atomic uint64_t renewals_confirmed;
    _Atomic uint64_t heartbeats;    /* answered */
    _Atomic uint64_t finished;      /* devices that did what the phase asks */
    _Atomic uint64_t failures;      /* devices that did not */
    _Atomic uint64_t retries;       /* requests sent again */
    _Atomic uint64_t visits_failed; /* visits that ended in an error; the device came again */
    _Atomic uint64_t too_early;     /* heartbeats that the server put off (429) */
    _Atomic uint64_t handshakes_full, handshakes_resumed;
    _Atomic uint64_t answers_dropped;
    _Atomic uint64_t replays_same, replays_other; /* second answers equal to the first, or not */
    _Atomic uint64_t forged_refused, forged_accepted;
    _Atomic uint64_t wrong_serial_refused, wrong_serial_accepted;
    _Atomic uint64_t latency[TALLY_BUCKETS];
};

static inline void tally_add(_Atomic uint64_t *counter)
{
    (void)atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}
static inline uint64_t tally_get(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}
void tally_latency(struct tally *t, int64_t took_us);

/* One line for people: what the phase has reached of `devices`. */
void tally_progress(const struct tally *t, const struct options *o, FILE *to);
/* One JSON object and a line end. */
void tally_report(const struct tally *t, const struct options *o, double seconds, FILE *to);

#endif
