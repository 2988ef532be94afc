/*
 * How far a device is with an operation of an order, by its own record. Pure, any thread.
 */
#ifndef API_GATEWAY_ORDER_PROGRESS_H
#define API_GATEWAY_ORDER_PROGRESS_H

#include "proto/device.h"

/* It is over, and the device has forgotten how it ended. */
#define ORDER_PROGRESS_PAST "past"

/* When the order was looked at, and since when its devices' owners have all of it. */
struct order_times {
    int64_t now_ms;
    int64_t fed_ms; /* 0: devices are still being handed over */
};

/*
 * The words of operation states; "queued" while the device has not heard of it, ORDER_PROGRESS_PAST
 * where it must have. `device` may be NULL: not in the view. *ret_reason is never NULL.
 */
const char *order_progress(const struct device *device, const struct uuid *operation,
                           const struct order_times *times, const char **ret_reason);

#endif
