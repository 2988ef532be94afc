#include "common/backoff.h"

int64_t backoff_next_ms(struct backoff *b, uint64_t random)
{
    int64_t last = b->last_ms > b->base_ms ? b->last_ms : b->base_ms;
    int64_t top = last > b->cap_ms / 3 ? b->cap_ms : last * 3;
    if (top < b->base_ms) {
        top = b->base_ms;
    }
    uint64_t width = (uint64_t)(top - b->base_ms) + 1;
    b->last_ms = b->base_ms + (int64_t)(random % width);
    return b->last_ms;
}
