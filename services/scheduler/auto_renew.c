#include "auto_renew.h"

#include <stdio.h>

#include "common/log.h"
#include "common/partition.h"
#include "recent.h"

#define CAS_PAGE      64
#define BATCH_MAX     1000
#define LOOK_MAX      20 /* batches looked at to find one that may be ordered */
#define RESEND_MAX_MS INT64_C(3600000)

struct auto_renew {
    struct auto_renew_options options;
    struct recent sent;
    struct metric *due, *held, *ordered, *scans;
    int64_t due_count; /* of this scan */
    bool doubtful;     /* some of what this scan sent may not be stored */
    struct due_device found[BATCH_MAX];
};

struct auto_renew *auto_renew_new(const struct auto_renew_options *options)
{
    struct auto_renew *a = xcalloc(1, sizeof *a);
    a->options = *options;
    a->options.batch = options->batch < BATCH_MAX ? options->batch : BATCH_MAX;
    a->due = metrics_gauge(options->metrics, "fleetseal_automatic_due",
                           "Devices found due in the last scan.", METRIC_NO_LABELS);
    a->held =
        metrics_counter(options->metrics, "fleetseal_automatic_held_total",
                        "Times a device that is due was passed over, as it cannot be renewed now: "
                        "its CA ends too early, or is not active.",
                        METRIC_NO_LABELS);
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

/* Of a device with its present certificate: the next one starts afresh. */
static uint64_t key_of(const struct due_device *due)
{
    uint8_t raw[DEVICE_UID_LEN / 2] = {0};
    uint64_t key = 0;
    if (device_view_key(span_str(due->uid), raw) == ERR_OK) {
        memcpy(&key, raw, sizeof key);
    }
    key ^= (uint64_t)due->due_s * UINT64_C(0x9e3779b97f4a7c15);
    return key | 1; /* never 0: two that differ in this bit alone share a place, which costs one a
                       delay */
}

/* Whether an order would do any good: the owner would refuse others, and say so each time. */
static err_t is_renewable(struct auto_renew *a, const struct device *device, bool *ret)
{
    struct renewal_terms terms = {0};
    const struct clock *clock = device_orders_clock(a->options.orders);
    *ret = false;
    if (!device_has_certificate(device) || device_has_operation(device)) {
        return ERR_OK;
    }
    err_t e =
        fleet_view_terms(a->options.fleet, &device->certificate.ca, clock_mono_ms(clock), &terms);
    *ret = e == ERR_OK &&
           renewal_refusal(device, &device->domain, &terms, 0, clock_now_ms(clock))[0] == '\0';
    if (e == ERR_OK && !*ret) {
        metric_inc(a->held);
    }
    return e;
}

/* While its owner stands still a device is ordered less and less often: the log has its wish. */
static void note_sent(struct auto_renew *a, const struct due_device *due)
{
    int64_t first_ms = a->options.resend_ms;
    const struct recent_pauses pauses = {first_ms,
                                         first_ms > RESEND_MAX_MS ? first_ms : RESEND_MAX_MS};
    recent_sent(&a->sent, key_of(due), clock_mono_ms(device_orders_clock(a->options.orders)),
                &pauses);
    metric_inc(a->ordered);
}

static err_t settle(struct auto_renew *a)
{
    err_t e = device_orders_settle(a->options.orders);
    a->doubtful = a->doubtful || e != ERR_OK;
    return e;
}

static err_t order_one(struct auto_renew *a, const struct due_device *due, struct span packed,
                       size_t *ordered)
{
    const char *uid = due->uid;
    CLEANUP(device_free) struct device *device = NULL;
    bool renewable = false;
    if (packed.ptr == NULL || device_unpack_bare(span_str(uid), packed, &device) != ERR_OK) {
        return ERR_OK; /* gone meanwhile; a record that cannot be read is its owner's alarm */
    }
    err_t e = is_renewable(a, device, &renewable);
    if (e != ERR_OK || !renewable) {
        return e;
    }
    struct device_renew_body body = {.automatic = true};
    memcpy(body.uid, device->uid, sizeof body.uid);
    memcpy(body.serial, device->certificate.serial, sizeof body.serial);
    struct uuid id =
        UUID_V5(span_str(uid), span_of(body.serial, sizeof body.serial), span_str("auto"));
    body.operation = id;
    e = device_orders_renew(a->options.orders, &id, &device->domain, &body);
    if (e == ERR_BUSY) {
        e = settle(a);
        e = e == ERR_OK ? device_orders_renew(a->options.orders, &id, &device->domain, &body) : e;
    }
    if (e == ERR_OK) {
        note_sent(a, due);
        ++*ordered;
    }
    return e;
}

/* Orders of the `n` found ones as many as a batch has room for. */
static err_t order_found(struct auto_renew *a, size_t n, size_t *ordered)
{
    CLEANUP(arena_deinit) struct arena arena = {0};
    CLEANUP_FREE const char **uids = xcalloc(n + 1, sizeof *uids);
    CLEANUP_FREE struct span *packed = xcalloc(n + 1, sizeof *packed);
    int64_t now_mono = clock_mono_ms(device_orders_clock(a->options.orders));
    size_t fresh = 0;
    for (size_t i = 0; i < n && *ordered + fresh < a->options.batch; i++) {
        if (!recent_seen(&a->sent, key_of(&a->found[i]), now_mono,
                         now_mono + a->options.resend_ms)) {
            a->found[fresh] = a->found[i];
            uids[fresh] = a->found[fresh].uid;
            fresh++;
        }
    }
    err_t e =
        fresh > 0 ? fleet_view_devices(a->options.fleet, uids, fresh, &arena, packed) : ERR_OK;
    for (size_t i = 0; i < fresh && e == ERR_OK; i++) {
        e = order_one(a, &a->found[i], packed[i], ordered);
    }
    return e;
}

/* Devices that stay due, since they were ordered a moment ago or cannot be renewed, must not hide
 * those behind them. */
static err_t scan_partition(struct auto_renew *a, const struct automatic_ca *ca, int32_t partition)
{
    const struct clock *clock = device_orders_clock(a->options.orders);
    struct due_query query = {.partition = partition,
                              .ca = &ca->id,
                              .until_s = clock_now_ms(clock) / 1000 + ca->renew_ahead_s};
    size_t ordered = 0;
    size_t n = a->options.batch;
    err_t e = ERR_OK;
    for (int look = 0;
         e == ERR_OK && look < LOOK_MAX && n == a->options.batch && ordered < a->options.batch;
         look++) {
        e = fleet_view_due(a->options.fleet, &query, a->found, a->options.batch, &n);
        if (e == ERR_OK) {
            e = order_found(a, n, &ordered);
        }
        a->due_count += e == ERR_OK ? (int64_t)n : 0;
        query.from += n;
    }
    return e;
}

/* A device view that is being rebuilt holds up nobody but its own devices. */
static err_t scan_authority(struct auto_renew *a, const struct automatic_ca *ca,
                            const int32_t *partitions, size_t count)
{
    err_t e = ERR_OK;
    for (size_t p = 0; p < count && (e == ERR_OK || e == ERR_TIMEOUT); p++) {
        err_t one = scan_partition(a, ca, partitions[p]);
        e = one != ERR_OK ? one : e;
    }
    return e;
}

static err_t scan_authorities(struct auto_renew *a, int32_t of, const int32_t *partitions,
                              size_t count)
{
    struct automatic_ca cas[CAS_PAGE];
    size_t n = CAS_PAGE;
    err_t e = ERR_OK;
    for (size_t from = 0; n == CAS_PAGE && (e == ERR_OK || e == ERR_TIMEOUT); from += n) {
        err_t read = fleet_view_automatic(a->options.fleet, of, from, cas, CAS_PAGE, &n);
        if (read != ERR_OK) {
            return read;
        }
        for (size_t c = 0; c < n && (e == ERR_OK || e == ERR_TIMEOUT); c++) {
            err_t one = scan_authority(a, &cas[c], partitions, count);
            e = one != ERR_OK ? one : e;
        }
    }
    return e;
}

err_t auto_renew_scan(struct auto_renew *a, const int32_t *partitions, size_t count)
{
    int32_t authorities = count > 0 ? fleet_view_partitions(a->options.fleet) : 0;
    err_t e = ERR_OK;
    int64_t began_ms = clock_mono_ms(device_orders_clock(a->options.orders));
    a->due_count = 0;
    a->doubtful = false;
    for (int32_t p = 0; p < authorities && (e == ERR_OK || e == ERR_TIMEOUT); p++) {
        err_t one = scan_authorities(a, p, partitions, count);
        e = one != ERR_OK ? one : e;
    }
    err_t settled = settle(a);
    if (a->doubtful) {
        recent_doubt(&a->sent, began_ms, a->options.resend_ms);
    }
    metric_set(a->due, a->due_count);
    metric_inc(a->scans);
    return e == ERR_OK ? settled : e;
}
