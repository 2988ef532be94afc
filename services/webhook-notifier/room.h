/*
 * Who gets the memory that deliveries wait in. Up to the limit anybody; at the limit only endpoints
 * that hold less than their share, so that those who fill it do not shut out the others: up to
 * twice the limit, and a few of each endpoint (of large ones, one). Pure, any thread.
 */
#ifndef WEBHOOK_NOTIFIER_ROOM_H
#define WEBHOOK_NOTIFIER_ROOM_H

#include <stdbool.h>
#include <stddef.h>

#define ROOM_FLOOR 4 /* deliveries that each endpoint may hold, however many there are */

struct room {
    size_t count;
    size_t bytes;
};
static inline void room_add(struct room *r, size_t bytes)
{
    r->count++;
    r->bytes += bytes;
}
static inline void room_remove(struct room *r, size_t bytes)
{
    r->count--;
    r->bytes -= bytes;
}

/* Whether one more of an endpoint that holds `mine` is taken, beside `all` that is held by
 * `holders` endpoints (> 0), this one included. */
bool room_for(const struct room *all, const struct room *mine, const struct room *limit,
              size_t holders);

#endif
