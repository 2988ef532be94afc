/*
 * What the scheduler reads of other owners: devices and CAs, from their Redis views. Snapshots: the
 * owners decide again. One object per thread, over its own connection.
 */
#ifndef SCHEDULER_FLEET_VIEW_H
#define SCHEDULER_FLEET_VIEW_H

#include "common/arena.h"
#include "common/redis.h"
#include "order_decide.h"
#include "proto/ca.h"

struct fleet_view;

/* Borrows the connection. `partitions` is that of the device and the CA topics. */
struct fleet_view *fleet_view_new(struct redis *redis, int32_t partitions);
void fleet_view_free(struct fleet_view *v);
CLEANUP_DEFINE(struct fleet_view *, fleet_view_free);

int32_t fleet_view_partitions(const struct fleet_view *v);

/*
 * Packed view payloads of `n` devices, in `arena`; ptr NULL where absent. ERR_UNAVAILABLE: Redis is
 * away. ERR_TIMEOUT: the view of one of the partitions is being rebuilt, so that absence would mean
 * nothing. Both: again later.
 */
err_t fleet_view_devices(struct fleet_view *v, const char *const *uids, size_t n,
                         struct arena *arena, struct span *ret) MUST_USE;
/* The terms of a CA, kept for a few seconds: `now_ms` is a monotonic time. ERR_UNAVAILABLE as
 * above. */
err_t fleet_view_terms(struct fleet_view *v, const struct uuid *ca, int64_t now_ms,
                       struct renewal_terms *ret) MUST_USE;

/*
 * CAs with automatic renewal on, out of one partition of the CAs: up to `max` from the `from`th on,
 * their number through `ret_count`; fewer than `max` are the last ones.
 */
struct automatic_ca {
    struct uuid id;
    int64_t renew_ahead_s;
};
err_t fleet_view_automatic(struct fleet_view *v, int32_t partition, size_t from,
                           struct automatic_ca *ret, size_t max, size_t *ret_count) MUST_USE;
/*
 * Up to `max` devices of a partition whose due time is at or before `until_s` (Unix seconds),
 * earliest first, from the `from`th on: the due index of the device owner. Costs what is due, not
 * what is there.
 */
struct due_device {
    char uid[DEVICE_UID_LEN + 1];
    int64_t due_s; /* of its present certificate */
};
struct due_query {
    int32_t partition;
    const struct uuid *ca;
    int64_t until_s;
    size_t from;
};
err_t fleet_view_due(struct fleet_view *v, const struct due_query *query, struct due_device *ret,
                     size_t max, size_t *ret_count) MUST_USE;

#endif
