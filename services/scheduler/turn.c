#include "turn.h"

size_t turn_after(const struct turn *turns, size_t count, const struct turn *last)
{
    size_t next = count;
    for (size_t i = 0; i < count; i++) {
        if (turns[i].partition == last->partition && uuid_eq(&turns[i].order, &last->order)) {
            return (i + 1) % count;
        }
        if (next == count && turns[i].partition > last->partition) {
            next = i;
        }
    }
    return next == count ? 0 : next;
}
