#include "recent.h"

#define WAYS 4

/* Fibonacci hashing: only the highest bits of the product depend on all bits of the key. */
static struct recent_slot *set_of(struct recent *r, uint64_t key)
{
    return &r->slots[(key * UINT64_C(0x9e3779b97f4a7c15) >> 52) % (RECENT_SLOTS / WAYS) * WAYS];
}

bool recent_seen(struct recent *r, uint64_t key, int64_t now_ms, int64_t until_ms)
{
    struct recent_slot *set = set_of(r, key);
    struct recent_slot *oldest = &set[0];
    for (int i = 0; i < WAYS; i++) {
        if (set[i].key == key && set[i].until_ms > now_ms) {
            return true;
        }
        if (set[i].key == key) {
            oldest = &set[i];
            break;
        }
        if (set[i].until_ms < oldest->until_ms) {
            oldest = &set[i];
        }
    }
    *oldest = (struct recent_slot){key, until_ms};
    return false;
}
