/*
 * Hands the devices of open orders to their owners, a window at a time, and reports how far it came
 * to the orders' owner. It follows the order partitions this replica owns; another replica doing
 * the same for a moment is harmless. A window waits until the owners have taken the one before, so
 * that a long list never stands between a waiting device and its owner; and open orders take turns,
 * so that a long list never stands before a short one. One thread.
 */
#ifndef SCHEDULER_FEEDER_H
#define SCHEDULER_FEEDER_H

#include "common/metrics.h"
#include "device_orders.h"
#include "fleet_view.h"

struct feeder;

struct feeder_options {
    struct redis *redis;          /* borrowed: order views */
    struct fleet_view *fleet;     /* borrowed */
    struct device_orders *orders; /* borrowed */
    struct metrics *metrics;      /* borrowed */
    unsigned window;              /* devices handed over at once */
};

struct feeder *feeder_new(const struct feeder_options *options);
void feeder_free(struct feeder *f);
CLEANUP_DEFINE(struct feeder *, feeder_free);

/* One window of the open order of these partitions whose turn it is. Sets *ret_busy when there is
 * more to do soon. ERR_UNAVAILABLE and other errors of the retry class, ERR_STOPPING: later. */
err_t feeder_step(struct feeder *f, const int32_t *partitions, size_t count,
                  bool *ret_busy) MUST_USE;

#endif
