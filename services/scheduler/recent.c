#include "recent.h"

#include <stddef.h>

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
            set[i].until_ms = until_ms;
            return false;
        }
        if (set[i].until_ms < oldest->until_ms) {
            oldest = &set[i];
        }
    }
    *oldest = (struct recent_slot){.key = key, .until_ms = until_ms};
    return false;
}

void recent_sent(struct recent *r, uint64_t key, int64_t now_ms, const struct recent_pauses *pauses)
{
    struct recent_slot *set = set_of(r, key);
    for (int i = 0; i < WAYS; i++) {
        if (set[i].key == key) {
            int64_t pause_ms = set[i].pause_ms > 0 ? 2 * set[i].pause_ms : pauses->first_ms;
            set[i].pause_ms = pause_ms < pauses->longest_ms ? pause_ms : pauses->longest_ms;
            set[i].until_ms = now_ms + set[i].pause_ms;
        }
    }
}

void recent_doubt(struct recent *r, int64_t since_ms, int64_t first_ms)
{
    for (size_t i = 0; i < RECENT_SLOTS; i++) {
        struct recent_slot *slot = &r->slots[i];
        int64_t sent_ms = slot->until_ms - slot->pause_ms;
        if (slot->pause_ms > first_ms && sent_ms >= since_ms) {
            slot->pause_ms = first_ms;
            slot->until_ms = sent_ms + first_ms;
        }
    }
}
