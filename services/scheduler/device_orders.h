/*
 * Writing requests: to device owners, for the feeder of orders and for automatic renewal, and
 * reports to the orders' own owner. Ids are deterministic, so sending again is harmless; what is
 * not known to be stored is sent again by whoever wanted it. Owns the producer, and replaces one
 * that is beyond repair. One thread.
 */
#ifndef SCHEDULER_DEVICE_ORDERS_H
#define SCHEDULER_DEVICE_ORDERS_H

#include <stdatomic.h>

#include "common/clock.h"
#include "common/kafka_producer.h"
#include "proto/device_request.h"

struct device_orders;

struct device_orders_options {
    struct kafka_config kafka; /* what it points at is borrowed for good, as all below */
    int32_t partitions;
    const struct clock *clock;
    const atomic_bool *stopping; /* true: nothing waits long any more */
};

struct device_orders *device_orders_new(const struct device_orders_options *options)
    __attribute__((returns_nonnull));
/* Drops what is not stored. */
void device_orders_free(struct device_orders *o);
CLEANUP_DEFINE(struct device_orders *, device_orders_free);

int32_t device_orders_partitions(const struct device_orders *o);
const struct clock *device_orders_clock(const struct device_orders *o);

/* Queues device.renew.v1. `id` is the operation's id. ERR_BUSY: the queue is full, settle and go
 * on; others as kafka_producer_produce. */
err_t device_orders_renew(struct device_orders *o, const struct uuid *id, const struct uuid *domain,
                          const struct device_renew_body *body) MUST_USE;
/* Queues order.progress.v1: the devices before `cursor` are in their owners' hands. Errors as
 * above. */
err_t device_orders_progress(struct device_orders *o, int32_t partition, const struct uuid *order,
                             const struct uuid *domain, int32_t cursor) MUST_USE;
/* Waits until Kafka has everything. ERR_TIMEOUT, ERR_UNAVAILABLE, ERR_STOPPING: some of it may be
 * missing, the same must be sent again. */
err_t device_orders_settle(struct device_orders *o) MUST_USE;

#endif
