/*
 * Token bucket, a pure function of the time it is told. Whoever embeds one guards it: not
 * thread-safe.
 */
#ifndef COMMON_RATELIMIT_H
#define COMMON_RATELIMIT_H

#include <stdbool.h>
#include <stdint.h>

struct ratelimit {
    int64_t per_second; /* tokens that come back in a second, > 0 */
    int64_t burst;      /* tokens a full bucket holds, > 0 */
    int64_t thousandths;
    int64_t updated_ms;
};

/* A full bucket. `now_ms` is monotonic. */
void ratelimit_init(struct ratelimit *r, int64_t per_second, int64_t burst, int64_t now_ms);

/*
 * Takes `tokens` (1..burst) if they are there. Otherwise nothing is taken, and *ret_wait_ms is the
 * time after which the same call succeeds if nobody else takes any (for Retry-After). A clock that
 * steps back adds nothing and harms nothing.
 */
bool ratelimit_take(struct ratelimit *r, int64_t tokens, int64_t now_ms, int64_t *ret_wait_ms);

#endif
