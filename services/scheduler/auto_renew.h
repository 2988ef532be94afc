/*
 * Automatic renewal: finds the devices whose certificates are due, in the due indexes that the
 * device owners keep, and orders their renewal. The request id is uuid5(UID, serial, "auto"), so
 * that whoever finds a device, and however often, orders once. One thread.
 */
#ifndef SCHEDULER_AUTO_RENEW_H
#define SCHEDULER_AUTO_RENEW_H

#include "common/metrics.h"
#include "device_orders.h"
#include "fleet_view.h"

struct auto_renew;

struct auto_renew_options {
    struct fleet_view *fleet;     /* borrowed */
    struct device_orders *orders; /* borrowed */
    struct metrics *metrics;      /* borrowed */
    unsigned batch;               /* devices ordered per partition and CA in one scan */
    int64_t resend_ms;            /* a device that stays due is ordered again after this, then after
                                     twice as long each time, up to an hour */
};

struct auto_renew *auto_renew_new(const struct auto_renew_options *options);
void auto_renew_free(struct auto_renew *a);
CLEANUP_DEFINE(struct auto_renew *, auto_renew_free);

/* One scan over these partitions. ERR_UNAVAILABLE: later. ERR_TIMEOUT: some of it later, the view
 * of a partition is being rebuilt, or not everything is stored; the rest was done. */
err_t auto_renew_scan(struct auto_renew *a, const int32_t *partitions, size_t count) MUST_USE;

#endif
