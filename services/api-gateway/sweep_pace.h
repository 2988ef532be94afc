/*
 * How fast stored results are swept: one batch of a partition is asked for at a time, and the next
 * when its owner has taken that, or has been waited for. Pure; times are monotonic.
 */
#ifndef API_GATEWAY_SWEEP_PACE_H
#define API_GATEWAY_SWEEP_PACE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "proto/registry.h"

#define SWEEP_BATCH 500
#define SWEEP_EVERY_MS                                                                             \
    60000                   /* between two looks where nothing is left, and for an owner to act    \
                             */
#define SWEEP_AGAIN_MS 1000 /* between two looks where more is left */

/* What was asked for last in a partition. */
struct sweep_asked {
    char last[REGISTRY_KEY_SIZE]; /* its last member; "": none */
    int64_t at_ms;
};

/* True while this member of the index tells that the last batch is still with its owner. */
bool sweep_is_waiting(const struct sweep_asked *asked, struct span member, int64_t now_ms);
/* The batch that ends with `last` is asked for. */
void sweep_note(struct sweep_asked *asked, struct span last, int64_t now_ms);
/* How long to pause after a look at all partitions; `full`: one of them had a batch or more. */
int64_t sweep_pause_ms(bool full);

#endif
