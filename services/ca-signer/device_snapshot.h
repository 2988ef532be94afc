/*
 * What a round of device decisions must know of other aggregates: profiles and whitelist entries
 * (registry view), CAs (CA view) with their keys. Read once per round in a few pipelined calls;
 * that something is absent is believed only when the view it is absent from is up to date
 * (common/view_fresh.h). CAs are kept between rounds with their issuer templates and replaced when
 * their record changed. Processor thread only, except new and free.
 */
#ifndef CA_SIGNER_DEVICE_SNAPSHOT_H
#define CA_SIGNER_DEVICE_SNAPSHOT_H

#include "ca_keys.h"
#include "common/redis.h"
#include "device_request.h"

struct device_snapshot;

struct device_snapshot_options {
    const char *brokers;  /* copied */
    const char *instance; /* copied */
    struct redis *redis;  /* handed over */
    struct ca_keys *keys; /* borrowed until free */
};
err_t device_snapshot_new(const struct device_snapshot_options *options,
                          struct device_snapshot **ret) MUST_USE;
void device_snapshot_free(struct device_snapshot *s);
CLEANUP_DEFINE(struct device_snapshot *, device_snapshot_free);

/* One request of the round and the device's present state (NULL: unknown). */
struct snapshot_want {
    struct device_request *request;
    const struct device *device;
};
/*
 * Fills request->snapshots of each; `partitions` of the registry's state topic, by which the views
 * are cut; `now_ms`: wall clock, a little before the decision's. What they point to lives until the
 * next call. ERR_UNAVAILABLE and other retry class errors: a view or a key is not at hand or
 * behind, nothing was filled, again later.
 */
err_t device_snapshot_read(struct device_snapshot *s, int32_t partitions, int64_t now_ms,
                           const struct snapshot_want *wants, unsigned n) MUST_USE;

#endif
