#include "recent.h"

#define WAYS 4

bool recent_seen(struct recent *r, uint64_t key, int64_t now_ms, int64_t until_ms)
{
    struct recent_slot *set =
        &r->slots[(key * UINT64_C(0x9e3779b97f4a7c15) >> 32) % (RECENT_SLOTS / WAYS) * WAYS];
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
