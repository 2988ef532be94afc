/*
 * Reading the owners' views: the only way the door knows anything. A door never writes them. While
 * a view is built anew, or has no mark, what is found is served; that something is not there is not
 * believed, a list is not made, and the caller answers 503. A
 * connection is borrowed from the pool for one request and belongs to that thread until it is given
 * back; the pool itself may be used by any thread.
 */
#ifndef API_GATEWAY_VIEWS_H
#define API_GATEWAY_VIEWS_H

#include "common/redis.h"
#include "common/view.h"

struct views;

/* `partitions` is that of every state topic. Connects nothing. */
struct views *views_new(const struct redis_config *config, int32_t partitions)
    __attribute__((returns_nonnull));
void views_free(struct views *v);
CLEANUP_DEFINE(struct views *, views_free);
int32_t views_partitions(const struct views *v);
/* An idle connection or a new one; give it back. */
struct redis *views_take(struct views *v) __attribute__((returns_nonnull));
/* Drops the connection if replies are still owed. */
void views_give(struct views *v, struct redis *r);

/*
 * The payload of one record, appended to `payload`. ERR_ABSENT: there is none, and the view is
 * whole; ERR_UNAVAILABLE: Redis is away or the view is being rebuilt; ERR_CORRUPT: not one of our
 * values.
 */
err_t views_get(struct redis *r, char letter, int32_t partition, struct span key,
                struct buf *payload) MUST_USE;

/* A member of an index, with the partition it was found in. */
struct views_member {
    int32_t partition;
    uint8_t *bytes; /* owned */
    size_t len;
};
struct views_members {
    struct views_member *items;
    size_t count;
};
void views_members_deinit(struct views_members *m);
CLEANUP_DEFINE_EMBEDDED(struct views_members, views_members_deinit);

/* A stretch of an index in the order of its members' bytes, over one partition or all of them
 * merged. */
struct views_range {
    char letter;
    struct span index;
    int32_t partition;  /* -1: all */
    struct span prefix; /* only members that begin so; may be empty */
    struct span after;  /* only members beyond this one, in the direction of the list; empty: from
                           the start */
    bool descending;
    size_t limit;
};
/* Up to range->limit members. ERR_UNAVAILABLE as above. */
err_t views_list(struct views *v, struct redis *r, const struct views_range *range,
                 struct views_members *ret) MUST_USE;

/* Many records at once, one pipeline. `payloads[i]` is copied into `arena`, ptr NULL where absent.
 * ERR_UNAVAILABLE as above. Also for plain keys: views_read. */
struct views_want {
    char letter;
    int32_t partition;
    struct span key;
};
err_t views_get_many(struct redis *r, const struct views_want *wants, size_t n, struct buf *arena,
                     struct span *payloads) MUST_USE;
/* Plain string keys (guards): values copied into `arena`, ptr NULL where absent. */
err_t views_read(struct redis *r, const struct span *keys, size_t n, struct buf *arena,
                 struct span *values) MUST_USE;

#endif
