#include "feeder.h"

#include <stdio.h>

#include "common/json.h"
#include "common/log.h"
#include "common/partition.h"
#include "common/view.h"
#include "proto/envelope.h"
#include "proto/topics.h"

#define OPEN_MAX      64 /* orders looked at in one step and partition */
#define KEY_BYTES     512
#define REQUEST_BYTES 4096
#define WINDOW_MAX    1000
#define TAKEN_WAIT_MS 10000
#define JSON_RECORD   ((struct json_limits){ORDER_RECORD_MAX, 4, 4096})

/* What was handed over last and is not seen as taken yet; one at a time keeps memory and load
 * bounded. */
struct feeder {
    struct feeder_options options;
    struct metric *handed, *windows, *waits;
    struct {
        bool pending;
        struct uuid order;
        int64_t since_ms;
        size_t count; /* devices to look for: the last one of each partition */
        char uids[64][DEVICE_UID_LEN + 1];
        int32_t cursor; /* that was reported */
    } last;
};

struct open_order {
    struct order header;
    struct order_chunk chunk; /* the one the cursor stands in */
};

struct feeder *feeder_new(const struct feeder_options *options)
{
    struct feeder *f = xcalloc(1, sizeof *f);
    f->options = *options;
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
    return clock_mono_ms(f->options.orders->clock);
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
    int32_t partitions = f->options.orders->partitions;
    for (size_t i = 0; i < f->last.count; i++) {
        if (partition_of(span_str(f->last.uids[i]), partitions) ==
            partition_of(span_str(uid), partitions)) {
            memcpy(f->last.uids[i], uid, sizeof f->last.uids[i]);
            return;
        }
    }
    if (f->last.count < sizeof f->last.uids / sizeof f->last.uids[0]) {
        memcpy(f->last.uids[f->last.count++], uid, sizeof f->last.uids[0]);
    }
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

static err_t report(struct feeder *f, int32_t partition, const struct order *header, int32_t cursor)
{
    struct device_orders *orders = f->options.orders;
    char key[UUID_TEXT_SIZE];
    char number[16];
    struct envelope envelope = {.type = ORDER_REQUEST_PROGRESS,
                                .time_ms = clock_now_ms(orders->clock),
                                .actor_kind = "scheduler",
                                .actor_id = "feeder"};
    (void)snprintf(number, sizeof number, "%d", (int)cursor);
    struct uuid id = UUID_V5(uuid_span(&header->id), span_str("progress"), span_str(number));
    uuid_format(&id, envelope.id);
    uuid_format(&header->domain, envelope.domain);
    uuid_format(&header->id, key);
    CLEANUP_JSON cJSON *body = cJSON_CreateObject();
    (void)cJSON_AddStringToObject(body, "order", key);
    (void)cJSON_AddNumberToObject(body, "cursor", cursor);
    CLEANUP_BUF struct buf value = BUF_INIT(REQUEST_BYTES);
    err_t e = envelope_encode(&envelope, body, &value);
    const struct kafka_record record = {.topic = TOPIC_ORDER_REQUESTS,
                                        .partition = partition,
                                        .key = span_str(key),
                                        .value = buf_span(&value)};
    if (e == ERR_OK) {
        e = kafka_producer_produce(orders->producer, &record);
    }
    return e == ERR_OK ? device_orders_settle(orders) : e;
}

static err_t feed(struct feeder *f, int32_t partition, const struct open_order *open)
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
    int32_t cursor = header->cursor + (int32_t)(to - from);
    /* The report goes out only after the requests are in the log: a crash between repeats the
     * window. */
    err_t e = device_orders_settle(f->options.orders);
    if (e == ERR_OK) {
        e = report(f, partition, header, cursor);
    }
    if (e == ERR_OK) {
        f->last.pending = true;
        f->last.order = header->id;
        f->last.cursor = cursor;
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
static err_t all_taken(struct feeder *f, bool *ret)
{
    CLEANUP(arena_deinit) struct arena arena = {0};
    const char *uids[64];
    struct span packed[64] = {0};
    for (size_t i = 0; i < f->last.count; i++) {
        uids[i] = f->last.uids[i];
    }
    *ret = true;
    err_t e = fleet_view_devices(f->options.fleet, uids, f->last.count, &arena, packed);
    for (size_t i = 0; i < f->last.count && e == ERR_OK && *ret; i++) {
        CLEANUP(device_free) struct device *device = NULL;
        struct uuid operation = order_operation_id(&f->last.order, uids[i]);
        *ret = packed[i].ptr != NULL &&
               device_unpack_bare(span_str(uids[i]), packed[i], &device) == ERR_OK &&
               took(device, &operation);
    }
    return e;
}

/* True while the window before is still under way. */
static err_t must_wait(struct feeder *f, bool *ret)
{
    *ret = false;
    if (!f->last.pending) {
        return ERR_OK;
    }
    bool taken = false;
    err_t e = all_taken(f, &taken);
    if (e == ERR_OK && !taken && mono(f) - f->last.since_ms < TAKEN_WAIT_MS) {
        *ret = true;
        return ERR_OK;
    }
    if (e == ERR_OK && !taken) {
        metric_inc(f->waits); /* its owner is away, or refuses them: no reason to stop for ever */
    }
    f->last.pending = e != ERR_OK;
    return e;
}

/* ---- one step ---- */

static err_t open_orders(struct feeder *f, int32_t partition, struct redis_reply **ret)
{
    CLEANUP_BUF struct buf key = BUF_INIT(KEY_BYTES);
    char limit[16];
    (void)snprintf(limit, sizeof limit, "%d", OPEN_MAX - 1);
    err_t e = view_index_key(VIEW_ORDER, partition, span_str("open"), &key);
    return e == ERR_OK ? redis_command_str(f->options.redis, ret, "ZRANGE", buf_cstr(&key), "0",
                                           limit, NULL)
                       : e;
}

static err_t feed_one(struct feeder *f, int32_t partition, struct span text, bool *ret_busy)
{
    struct uuid id;
    struct open_order open;
    err_t e = uuid_parse(text, &id);
    if (e != ERR_OK) {
        return ERR_OK; /* not one of ours */
    }
    e = load_open(f, partition, &id, &open);
    /* A cursor behind our report: the owner has not got it yet. */
    bool reported = f->last.cursor > 0 && uuid_eq(&f->last.order, &id) &&
                    open.header.cursor < f->last.cursor &&
                    mono(f) - f->last.since_ms < TAKEN_WAIT_MS;
    if (e == ERR_OK && open.header.state == ORDER_FEEDING) {
        *ret_busy = true;
        e = reported ? ERR_OK : feed(f, partition, &open);
    }
    free_open(&open);
    return e == ERR_ABSENT ? ERR_OK : e;
}

err_t feeder_step(struct feeder *f, const int32_t *partitions, size_t count, bool *ret_busy)
{
    *ret_busy = false;
    for (size_t p = 0; p < count; p++) {
        CLEANUP(redis_reply_free) struct redis_reply *orders = NULL;
        err_t e = open_orders(f, partitions[p], &orders);
        for (size_t i = 0; e == ERR_OK && i < redis_reply_count(orders); i++) {
            bool wait = false;
            e = must_wait(f, &wait);
            if (wait) {
                *ret_busy = true;
                return ERR_OK;
            }
            if (e == ERR_OK) {
                e = feed_one(f, partitions[p], redis_reply_span(redis_reply_at(orders, i)),
                             ret_busy);
            }
        }
        if (e != ERR_OK) {
            return e;
        }
    }
    return ERR_OK;
}
