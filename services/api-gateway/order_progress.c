#include "order_progress.h"

/* All that the device remembers ended after the order was handed over, and there is no more room.
 */
static bool crowded_out(const struct device *d, int64_t fed_ms)
{
    bool all_later = d->recent_count == DEVICE_RECENT_MAX;
    for (size_t i = 0; i < d->recent_count; i++) {
        all_later = all_later && d->recent[i].at_ms > fed_ms;
    }
    return all_later;
}

/* An owner that has not come to it yet looks like one that has forgotten it: only what cannot have
 * been kept is past. */
static const char *queued_or_past(const struct device *d, const struct order_times *times)
{
    bool past = times->fed_ms > 0 && (times->now_ms - times->fed_ms > DEVICE_RECENT_KEEP_MS ||
                                      (d != NULL && crowded_out(d, times->fed_ms)));
    return past ? ORDER_PROGRESS_PAST : codec_name_of(operation_state_names, OPERATION_QUEUED);
}

const char *order_progress(const struct device *device, const struct uuid *operation,
                           const struct order_times *times, const char **ret_reason)
{
    *ret_reason = "";
    if (device == NULL) {
        return queued_or_past(device, times);
    }
    if (uuid_eq(&device->operation.id, operation)) {
        *ret_reason = device->operation.reason;
        return codec_name_of(operation_state_names, (int)device->operation.state);
    }
    for (size_t i = 0; i < device->recent_count; i++) {
        if (uuid_eq(&device->recent[i].id, operation)) {
            *ret_reason = device->recent[i].reason;
            return codec_name_of(operation_state_names, (int)device->recent[i].state);
        }
    }
    return uuid_eq(&device->certificate.operation, operation)
               ? codec_name_of(operation_state_names, OPERATION_INSTALLED)
               : queued_or_past(device, times);
}
