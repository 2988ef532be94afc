/*
 * Whose turn it is: open orders are served round robin, one window each, over all partitions. Pure,
 * any thread.
 */
#ifndef SCHEDULER_TURN_H
#define SCHEDULER_TURN_H

#include <stddef.h>

#include "common/id.h"

struct turn {
    int32_t partition;
    struct uuid order;
};

/*
 * Where to go on after `last` was served: `turns` come by partition ascending, inside one in any
 * order that is kept. Behind `last` when it is still there. When it is not, at the next partition,
 * so that short orders which end with their first turn keep nobody else's from coming. Begin with
 * partition -1.
 */
size_t turn_after(const struct turn *turns, size_t count, const struct turn *last);

#endif
