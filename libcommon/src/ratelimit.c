#include "common/ratelimit.h"

#include <assert.h>

/* Tokens are counted in thousandths: N per second are then N thousandths per millisecond, and no
 * refill is lost to rounding. */

void ratelimit_init(struct ratelimit *r, int64_t per_second, int64_t burst, int64_t now_ms)
{
    assert(per_second > 0 && burst > 0);
    *r = (struct ratelimit){.per_second = per_second,
                            .burst = burst,
                            .thousandths = burst * 1000,
                            .updated_ms = now_ms};
}

static void refill(struct ratelimit *r, int64_t now_ms)
{
    int64_t full = r->burst * 1000;
    int64_t passed = now_ms - r->updated_ms;
    r->updated_ms = now_ms;
    if (passed <= 0) {
        return;
    }
    int64_t until_full = (full - r->thousandths + r->per_second - 1) / r->per_second;
    r->thousandths = passed >= until_full ? full : r->thousandths + passed * r->per_second;
}

bool ratelimit_take(struct ratelimit *r, int64_t tokens, int64_t now_ms, int64_t *ret_wait_ms)
{
    assert(tokens > 0 && tokens <= r->burst);
    refill(r, now_ms);
    int64_t missing = tokens * 1000 - r->thousandths;
    if (missing > 0) {
        *ret_wait_ms = (missing + r->per_second - 1) / r->per_second;
        return false;
    }
    r->thousandths -= tokens * 1000;
    return true;
}
