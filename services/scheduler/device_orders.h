/*
 * Writing requests to device owners: one small module for both who do it, the feeder of orders and
 * automatic renewal. Ids are deterministic, so sending again is harmless. One thread.
 */
#ifndef SCHEDULER_DEVICE_ORDERS_H
#define SCHEDULER_DEVICE_ORDERS_H

#include "common/clock.h"
#include "common/kafka_producer.h"
#include "proto/device_request.h"

struct device_orders {
    struct kafka_producer *producer; /* borrowed */
    int32_t partitions;
    const struct clock *clock;
};

/* Queues device.renew.v1. `id` is the operation's id. ERR_BUSY: the queue is full, flush and go on;
 * others as kafka_producer_produce. */
err_t device_orders_renew(struct device_orders *o, const struct uuid *id, const struct uuid *domain,
                          const struct device_renew_body *body) MUST_USE;
/* Waits until Kafka has everything. ERR_TIMEOUT: some of it may be missing: the same must be sent
 * again. */
err_t device_orders_settle(struct device_orders *o) MUST_USE;

#endif
