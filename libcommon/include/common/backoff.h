/*
 * Waiting longer after each failure, with decorrelated jitter: many clients that failed at once do
 * not come back at once. Pure: the random number and the waiting are the caller's. Not thread-safe.
 */
#ifndef COMMON_BACKOFF_H
#define COMMON_BACKOFF_H

#include <stdint.h>

struct backoff {
    int64_t base_ms; /* shortest wait, > 0 */
    int64_t cap_ms;  /* longest wait, >= base_ms */
    int64_t last_ms; /* 0 after success */
};
#define BACKOFF_INIT(base, cap) ((struct backoff){.base_ms = (base), .cap_ms = (cap)})

/* How long to wait now: from base_ms to three times the last wait, at most cap_ms. `random` is any
 * 64 random bits. */
int64_t backoff_next_ms(struct backoff *b, uint64_t random);

/* After success: the next wait starts at base_ms again. */
static inline void backoff_reset(struct backoff *b)
{
    b->last_ms = 0;
}

#endif
