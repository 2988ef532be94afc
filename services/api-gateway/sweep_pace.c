#include "sweep_pace.h"

#include <string.h>

bool sweep_is_waiting(const struct sweep_asked *asked, struct span member, int64_t now_ms)
{
    return now_ms - asked->at_ms < SWEEP_EVERY_MS && span_eq(member, span_str(asked->last));
}

void sweep_note(struct sweep_asked *asked, struct span last, int64_t now_ms)
{
    size_t len =
        last.len < sizeof asked->last ? last.len : 0; /* no key of ours: nothing to wait for */
    memcpy(asked->last, last.ptr, len);
    asked->last[len] = '\0';
    asked->at_ms = now_ms;
}

int64_t sweep_pause_ms(bool full)
{
    return full ? SWEEP_AGAIN_MS : SWEEP_EVERY_MS;
}
