#include "vouch.h"

enum vouch_verdict vouch_judge(const struct vouch_facts *facts)
{
    if (facts->device || facts->profile) {
        return VOUCH_KNOWN;
    }
    if (!facts->whole) {
        return VOUCH_REBUILD;
    }
    switch (facts->budget) {
    case VOUCH_BUDGET_GRANTED:
        return VOUCH_ADMITTED;
    case VOUCH_BUDGET_SPENT:
        return VOUCH_SIGHTED;
    case VOUCH_BUDGET_UNASKED:
        break;
    }
    return VOUCH_REBUILD;
}

uint32_t vouch_retry_after(int64_t left_ms, int64_t window_ms, uint32_t random)
{
    int64_t wait_ms = left_ms > 0 && left_ms <= window_ms ? left_ms : window_ms;
    int64_t spread_s = window_ms / 10000;
    int64_t jitter_s = (int64_t)(random % (uint64_t)(spread_s + 1));
    return (uint32_t)((wait_ms + 999) / 1000 + 1 + jitter_s);
}
