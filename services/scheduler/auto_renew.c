#include "auto_renew.h"

#include <stdio.h>

#include "common/log.h"
#include "common/partition.h"
#include "recent.h"

#define CAS_MAX   256
#define BATCH_MAX 1000

struct auto_renew {
    struct auto_renew_options options;
    struct recent sent;
    struct metric *due, *ordered, *scans;
    struct due_device found[BATCH_MAX];
};

struct auto_renew *auto_renew_new(const struct auto_renew_options *options)
{
    struct auto_renew *a = xcalloc(1, sizeof *a);
    a->options = *options;
    a->options.batch = options->batch < BATCH_MAX ? options->batch : BATCH_MAX;
    a->due = metrics_gauge(options->metrics, "fleetseal_automatic_due",
                           "Devices found due in the last scan.", METRIC_NO_LABELS);
    a->ordered = metrics_counter(options->metrics, "fleetseal_automatic_ordered_total",
                                 "Automatic renewals ordered.", METRIC_NO_LABELS);
    a->scans = metrics_counter(options->metrics, "fleetseal_automatic_scans_total",
                               "Scans of the due indexes.", METRIC_NO_LABELS);
    return a;
}

void auto_renew_free(struct auto_renew *a)
{
    free(a);
}

static uint64_t key_of(const char *uid)
{
    uint8_t raw[DEVICE_UID_LEN / 2] = {0};
    uint64_t key = 0;
    if (device_view_key(span_str(uid), raw) == ERR_OK) {
        memcpy(&key, raw, sizeof key);
    }
    return key | 1; /* never 0: two that differ in this bit alone share a place, which costs one a
                       delay */
}

static err_t order_one(struct auto_renew *a, const char *uid, struct span packed)
{
    CLEANUP(device_free) struct device *device = NULL;
    if (packed.ptr == NULL || device_unpack_bare(span_str(uid), packed, &device) != ERR_OK) {
        return ERR_OK; /* gone meanwhile; a record that cannot be read is its owner's alarm */
    }
    if (!device_has_certificate(device) || device_has_operation(device)) {
        return ERR_OK;
    }
    struct device_renew_body body = {.automatic = true};
    memcpy(body.uid, device->uid, sizeof body.uid);
    memcpy(body.serial, device->certificate.serial, sizeof body.serial);
    struct uuid id =
        UUID_V5(span_str(uid), span_of(body.serial, sizeof body.serial), span_str("auto"));
    body.operation = id;
    err_t e = device_orders_renew(a->options.orders, &id, &device->domain, &body);
    if (e == ERR_BUSY) {
        e = device_orders_settle(a->options.orders);
        e = e == ERR_OK ? device_orders_renew(a->options.orders, &id, &device->domain, &body) : e;
    }
    if (e == ERR_OK) {
        metric_inc(a->ordered);
    }
    return e;
}

static err_t order_found(struct auto_renew *a, size_t n, int64_t now_mono)
{
    CLEANUP(arena_deinit) struct arena arena = {0};
    CLEANUP_FREE const char **uids = xcalloc(n, sizeof *uids);
    CLEANUP_FREE struct span *packed = xcalloc(n, sizeof *packed);
    size_t fresh = 0;
    for (size_t i = 0; i < n; i++) {
        if (!recent_seen(&a->sent, key_of(a->found[i].uid), now_mono,
                         now_mono + a->options.resend_ms)) {
            uids[fresh++] = a->found[i].uid;
        }
    }
    err_t e =
        fresh > 0 ? fleet_view_devices(a->options.fleet, uids, fresh, &arena, packed) : ERR_OK;
    for (size_t i = 0; i < fresh && e == ERR_OK; i++) {
        e = order_one(a, uids[i], packed[i]);
    }
    return e;
}

err_t auto_renew_scan(struct auto_renew *a, const int32_t *partitions, size_t count)
{
    const struct clock *clock = device_orders_clock(a->options.orders);
    struct automatic_ca cas[CAS_MAX];
    size_t ca_count = 0;
    int64_t due = 0;
    err_t e = count > 0 ? fleet_view_automatic(a->options.fleet, cas, CAS_MAX, &ca_count) : ERR_OK;
    for (size_t c = 0; c < ca_count && e == ERR_OK; c++) {
        int64_t until_s = clock_now_ms(clock) / 1000 + cas[c].renew_ahead_s;
        for (size_t p = 0; p < count && e == ERR_OK; p++) {
            size_t n = 0;
            e = fleet_view_due(a->options.fleet, partitions[p], &cas[c].id, until_s, a->found,
                               a->options.batch, &n);
            due += (int64_t)n;
            e = e == ERR_OK && n > 0 ? order_found(a, n, clock_mono_ms(clock)) : e;
        }
    }
    if (e == ERR_OK) {
        e = device_orders_settle(a->options.orders);
    }
    metric_set(a->due, due);
    metric_inc(a->scans);
    return e;
}
