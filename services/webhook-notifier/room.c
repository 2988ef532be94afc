#include "room.h"

static bool has_share(size_t all, size_t mine, size_t limit, size_t holders, size_t floor)
{
    bool less_than_share = mine < limit / holders && all < 2 * limit;
    return all < limit || less_than_share || mine < floor;
}

bool room_for(const struct room *all, const struct room *mine, const struct room *limit,
              size_t holders)
{
    return has_share(all->count, mine->count, limit->count, holders, ROOM_FLOOR) &&
           has_share(all->bytes, mine->bytes, limit->bytes, holders, 1);
}
