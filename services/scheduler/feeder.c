#include "feeder.h"

#include <stdio.h>

#include "common/json.h"
#include "common/log.h"
#include "common/partition.h"
#include "common/view.h"
#include "proto/topics.h"
#include "turn.h"

#define OPEN_MAX      64 /* orders looked at in one step and partition */
#define KEY_BYTES     512
#define WINDOW_MAX    1000
#define TAKEN_WAIT_MS 10000
#define JSON_RECORD   ((struct json_limits){ORDER_RECORD_MAX, 4, 4096})

/* Open orders of all partitions, in the order in which their turns come. */
struct open_list {
    struct turn *turns; /* owned */
    size_t count;
};

/* What was handed over last and is not seen as taken yet; one at a time keeps memory and load
 * bounded. */
struct feeder {
    struct feeder_options options;
    struct metric *handed, *windows, *waits;
    struct {
        bool pending;
        struct turn turn; /* whose it was; the next one has its turn now */
        int32_t cursor;   /* that was reported */
        int64_t since_ms;
        size_t count; /* devices to look for: the last one of each partition */
        struct {
            int32_t partition;
            char uid[DEVICE_UID_LEN + 1];
        } devices[WINDOW_MAX];
    } last;
};

static void open_list_deinit(struct open_list *list)
{
    free(list->turns);
}
CLEANUP_DEFINE_EMBEDDED(struct open_list, open_list_deinit);

struct open_order {
    struct order header;
    struct order_chunk chunk; /* the one the cursor stands in */
};

struct feeder *feeder_new(const struct feeder_options *options)
{
    struct feeder *f = xcalloc(1, sizeof *f);
    f->options = *options;
    f->last.turn.partition = -1;
    f->handed = metrics_counter(options->metrics, "fleetseal_order_handed_total",
                                "Requests handed to device owners for orders.", METRIC_NO_LABELS);
    f->windows = metrics_counter(options->metrics, "fleetseal_order_windows_total",
                                 "Windows handed over.", METRIC_NO_LABELS);
    f->waits =
        metrics_counter(options->metrics, "fleetseal_order_slow_total",
                        "Windows that device owners had not taken in time.", METRIC_NO_LABELS);
    return f;
}

void feeder_free(struct feeder *f)
{
    free(f);
}

static int64_t mono(const struct feeder *f)
{
    return clock_mono_ms(device_orders_clock(f->options.orders));
}

/* ---- reading orders ---- */

static err_t load_record(struct feeder *f, int32_t partition, const struct uuid *order,
                         int32_t number, const struct codec_table *table, void *ret)
{
    char key[ORDER_KEY_SIZE];
    order_key(order, number, key);
    struct span view_key_span = span_str(key);
    struct span payload = {0};
    struct view_mark mark = VIEW_MARK_NONE;
    CLEANUP(arena_deinit) struct arena arena = {0};
    err_t e = view_load_append(f->options.redis, VIEW_ORDER, partition, &view_key_span, 1);
    if (e == ERR_OK) {
        e = view_load_collect(f->options.redis, 1, &arena, &payload, &mark);
    }
    if (e == ERR_OK && payload.ptr == NULL) {
        e = view_mark_whole(&mark) ? ERR_ABSENT : ERR_UNAVAILABLE;
    }
    return e == ERR_OK ? codec_decode_text(table, CODEC_KEEP, payload, &JSON_RECORD, ret, NULL) : e;
}

static err_t load_open(struct feeder *f, int32_t partition, const struct uuid *id,
                       struct open_order *ret)
{
    *ret = (struct open_order){0};
    err_t e = load_record(f, partition, id, -1, &order_table, &ret->header);
    if (e == ERR_OK && ret->header.state == ORDER_FEEDING) {
        e = load_record(f, partition, id, ret->header.cursor / ORDER_CHUNK_DEVICES,
                        &order_chunk_table, &ret->chunk);
    }
    return e;
}

static void free_open(struct open_order *o)
{
    codec_free(&order_table, &o->header);
    codec_free(&order_chunk_table, &o->chunk);
}

/* ---- handing over ---- */

static void remember(struct feeder *f, const char *uid)
{
    int32_t partition = partition_of(span_str(uid), device_orders_partitions(f->options.orders));
    size_t i = 0;
    while (i < f->last.count && f->last.devices[i].partition != partition) {
        i++;
    }
    f->last.devices[i].partition = partition;
    memcpy(f->last.devices[i].uid, uid, sizeof f->last.devices[i].uid);
    f->last.count += i == f->last.count;
}

static err_t hand_over(struct feeder *f, const struct order *header,
                       const struct order_entry *entry)
{
    struct device_renew_body body = {.order = header->id, .validity_s = header->validity_s};
    (void)snprintf(body.uid, sizeof body.uid, "%.*s", DEVICE_UID_LEN, entry->text);
    struct uuid id = order_operation_id(&header->id, body.uid);
    body.operation = id;
    err_t e = device_orders_renew(f->options.orders, &id, &header->domain, &body);
    if (e == ERR_OK) {
        remember(f, body.uid);
        metric_inc(f->handed);
    }
    return e;
}

/* The report goes out only after the requests are in the log: a crash between repeats the window.
 */
static err_t report(struct feeder *f, const struct turn *turn, const struct order *header,
                    int32_t cursor)
{
    struct device_orders *orders = f->options.orders;
    err_t e = device_orders_settle(orders);
    if (e == ERR_OK) {
        e = device_orders_progress(orders, turn->partition, &header->id, &header->domain, cursor);
    }
    return e == ERR_OK ? device_orders_settle(orders) : e;
}

static err_t feed(struct feeder *f, const struct turn *turn, const struct open_order *open)
{
    const struct order *header = &open->header;
    size_t from = (size_t)header->cursor % ORDER_CHUNK_DEVICES;
    size_t to = from + f->options.window;
    to = to < open->chunk.device_count ? to : open->chunk.device_count;
    f->last.count = 0;
    for (size_t i = from; i < to; i++) {
        err_t e = order_entry_code(&open->chunk.devices[i])[0] == 0
                      ? hand_over(f, header, &open->chunk.devices[i])
                      : ERR_OK;
        if (e == ERR_BUSY) {
            e = device_orders_settle(f->options.orders);
            i -= e == ERR_OK; /* the same device again */
        }
        if (e != ERR_OK) {
            return e;
        }
    }
    f->last.cursor = header->cursor + (int32_t)(to - from);
    err_t e = report(f, turn, header, f->last.cursor);
    if (e == ERR_OK) {
        f->last.pending = true;
        f->last.since_ms = mono(f);
        metric_inc(f->windows);
    }
    return e;
}

/* ---- back-pressure ---- */

static bool took(const struct device *device, const struct uuid *operation)
{
    if (uuid_eq(&device->operation.id, operation)) {
        return true;
    }
    for (size_t i = 0; i < device->recent_count; i++) {
        if (uuid_eq(&device->recent[i].id, operation)) {
            return true;
        }
    }
    return false;
}

/* Owners work in order, so a partition has taken its share when its last device shows the
 * operation. */
static err_t devices_taken(struct feeder *f, bool *ret)
{
    CLEANUP(arena_deinit) struct arena arena = {0};
    const char *uids[WINDOW_MAX];
    struct span packed[WINDOW_MAX] = {0};
    for (size_t i = 0; i < f->last.count; i++) {
        uids[i] = f->last.devices[i].uid;
    }
    *ret = true;
    err_t e = fleet_view_devices(f->options.fleet, uids, f->last.count, &arena, packed);
    for (size_t i = 0; i < f->last.count && e == ERR_OK && *ret; i++) {
        CLEANUP(device_free) struct device *device = NULL;
        struct uuid operation = order_operation_id(&f->last.turn.order, uids[i]);
        *ret = packed[i].ptr != NULL &&
               device_unpack_bare(span_str(uids[i]), packed[i], &device) == ERR_OK &&
               took(device, &operation);
    }
    return e;
}

/* The order's owner too must have got the report, or the same window would go out again. */
static err_t report_taken(struct feeder *f, bool *ret)
{
    struct order header = {0};
    const struct turn *turn = &f->last.turn;
    err_t e = load_record(f, turn->partition, &turn->order, -1, &order_table, &header);
    *ret = e == ERR_OK && header.cursor >= f->last.cursor;
    codec_free(&order_table, &header);
    return e;
}

/* True while the window before is still under way. Bounded: when an owner is away, refuses the
 * devices or its view cannot be read, that is no reason to stop everybody's orders for ever. */
static bool must_wait(struct feeder *f)
{
    bool taken = false;
    if (!f->last.pending) {
        return false;
    }
    err_t e = devices_taken(f, &taken);
    if (e == ERR_OK && taken) {
        e = report_taken(f, &taken);
    }
    taken = taken && e == ERR_OK;
    if (!taken && mono(f) - f->last.since_ms < TAKEN_WAIT_MS) {
        return true;
    }
    if (!taken) {
        metric_inc(f->waits);
        log_limited(LOG_LEVEL_WARN, NULL, "window_not_taken", LOG_ERR("error", e));
    }
    f->last.pending = false;
    return false;
}

/* ---- one step ---- */

static err_t append_open(struct feeder *f, int32_t partition)
{
    CLEANUP_BUF struct buf key = BUF_INIT(KEY_BYTES);
    char limit[16];
    (void)snprintf(limit, sizeof limit, "%d", OPEN_MAX - 1);
    err_t e = view_index_key(VIEW_ORDER, partition, span_str("open"), &key);
    const struct span argv[] = {span_str("ZRANGE"), buf_span(&key), span_str("0"), span_str(limit)};
    return e == ERR_OK ? redis_append(f->options.redis, argv, sizeof argv / sizeof argv[0]) : e;
}

static void add_turns(struct open_list *list, int32_t partition, const struct redis_reply *reply)
{
    size_t n = redis_reply_count(reply);
    list->turns = xrealloc(list->turns, list->count + n + 1, sizeof *list->turns);
    for (size_t i = 0; i < n; i++) {
        struct turn *turn = &list->turns[list->count];
        turn->partition = partition;
        list->count +=
            uuid_parse(redis_reply_span(redis_reply_at(reply, i)), &turn->order) == ERR_OK;
    }
}

static err_t list_open(struct feeder *f, const int32_t *partitions, size_t count,
                       struct open_list *ret)
{
    size_t appended = 0;
    err_t e = ERR_OK;
    while (appended < count && e == ERR_OK) {
        e = append_open(f, partitions[appended]);
        appended += e == ERR_OK;
    }
    for (size_t p = 0; p < appended; p++) {
        CLEANUP(redis_reply_free) struct redis_reply *reply = NULL;
        err_t one = redis_collect(f->options.redis, &reply);
        e = e == ERR_OK ? one : e;
        if (one == ERR_OK) {
            add_turns(ret, partitions[p], reply);
        }
    }
    return e;
}

/* Hands over one window of it, unless it is done. */
static err_t feed_one(struct feeder *f, const struct turn *turn, bool *ret_fed)
{
    struct open_order open;
    err_t e = load_open(f, turn->partition, &turn->order, &open);
    if (e == ERR_OK && open.header.state == ORDER_FEEDING) {
        *ret_fed = true;
        f->last.turn = *turn;
        e = feed(f, turn, &open);
    }
    free_open(&open);
    if (e == ERR_OK || e == ERR_ABSENT || err_class(e) == ERR_CLASS_RETRY || e == ERR_STOPPING) {
        return e == ERR_ABSENT ? ERR_OK : e;
    }
    /* one that cannot be read must not stand before all the others */
    char id[UUID_TEXT_SIZE];
    uuid_format(&turn->order, id);
    log_limited(LOG_LEVEL_ERROR, NULL, "order_not_fed", LOG_STR("order", id), LOG_ERR("error", e));
    return ERR_OK;
}

err_t feeder_step(struct feeder *f, const int32_t *partitions, size_t count, bool *ret_busy)
{
    CLEANUP(open_list_deinit) struct open_list open = {0};
    *ret_busy = true;
    if (must_wait(f)) {
        return ERR_OK;
    }
    err_t e = list_open(f, partitions, count, &open);
    bool fed = false;
    size_t first = turn_after(open.turns, open.count, &f->last.turn);
    for (size_t i = 0; i < open.count && e == ERR_OK && !fed; i++) {
        e = feed_one(f, &open.turns[(first + i) % open.count], &fed);
    }
    *ret_busy = fed;
    return e;
}
