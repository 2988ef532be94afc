#include "fleet_view.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/id.h"
#include "common/partition.h"
#include "common/view.h"
#include "proto/topics.h"

#define KEY_BYTES     512
#define LOAD_CHUNK    256
#define TERMS_MAX     64
#define TERMS_KEEP_MS 2000
#define RAW_UID       (DEVICE_UID_LEN / 2)

struct kept_terms {
    struct uuid ca;
    struct renewal_terms terms;
    int64_t read_ms;
};

struct fleet_view {
    struct redis *redis;
    int32_t partitions;
    struct kept_terms kept[TERMS_MAX];
    size_t kept_count;
};

struct fleet_view *fleet_view_new(struct redis *redis, int32_t partitions)
{
    struct fleet_view *v = xcalloc(1, sizeof *v);
    v->redis = redis;
    v->partitions = partitions;
    return v;
}

void fleet_view_free(struct fleet_view *v)
{
    free(v);
}

int32_t fleet_view_partitions(const struct fleet_view *v)
{
    return v->partitions;
}

/* ---- devices ---- */

struct device_load {
    int32_t partition;
    size_t count;
    size_t places[LOAD_CHUNK]; /* where in the caller's array */
};

static err_t append_load(struct fleet_view *v, const struct device_load *load,
                         const char *const *uids)
{
    uint8_t raw[LOAD_CHUNK][RAW_UID];
    struct span keys[LOAD_CHUNK];
    for (size_t i = 0; i < load->count; i++) {
        err_t e = device_view_key(span_str(uids[load->places[i]]), raw[i]);
        if (e != ERR_OK) {
            return e;
        }
        keys[i] = span_of(raw[i], RAW_UID);
    }
    return view_load_append(v->redis, VIEW_DEVICE, load->partition, keys, (unsigned)load->count);
}

static err_t collect_load(struct fleet_view *v, const struct device_load *load, struct arena *arena,
                          struct span *ret)
{
    struct span values[LOAD_CHUNK];
    struct view_mark mark = VIEW_MARK_NONE;
    err_t e = view_load_collect(v->redis, (unsigned)load->count, arena, values, &mark);
    for (size_t i = 0; i < load->count && e == ERR_OK; i++) {
        ret[load->places[i]] = values[i];
        if (values[i].ptr == NULL && !view_mark_whole(&mark)) {
            e = ERR_TIMEOUT; /* it may still come */
        }
    }
    return e;
}

/* Cuts the list into calls of one partition each. */
static size_t plan_loads(const struct fleet_view *v, const char *const *uids, size_t n,
                         struct device_load **ret)
{
    struct device_load *loads = NULL;
    size_t count = 0;
    for (int32_t p = 0; p < v->partitions; p++) {
        bool open = false;
        for (size_t i = 0; i < n; i++) {
            if (partition_of(span_str(uids[i]), v->partitions) != p) {
                continue;
            }
            if (!open || loads[count - 1].count == LOAD_CHUNK) {
                loads = xrealloc(loads, count + 1, sizeof *loads);
                loads[count].partition = p;
                loads[count++].count = 0;
                open = true;
            }
            loads[count - 1].places[loads[count - 1].count++] = i;
        }
    }
    *ret = loads;
    return count;
}

err_t fleet_view_devices(struct fleet_view *v, const char *const *uids, size_t n,
                         struct arena *arena, struct span *ret)
{
    CLEANUP_FREE struct device_load *loads = NULL;
    size_t count = plan_loads(v, uids, n, &loads);
    size_t appended = 0;
    err_t e = ERR_OK;
    while (appended < count && e == ERR_OK) {
        e = append_load(v, &loads[appended], uids);
        appended += e == ERR_OK;
    }
    for (size_t i = 0; i < appended; i++) {
        err_t one = collect_load(v, &loads[i], arena, ret);
        e = e == ERR_OK ? one : e;
    }
    return e;
}

/* ---- CAs ---- */

static err_t read_terms(struct fleet_view *v, const struct uuid *id, struct renewal_terms *ret)
{
    char text[UUID_TEXT_SIZE];
    uuid_format(id, text);
    struct span key = span_str(text);
    struct span payload = {0};
    struct view_mark mark = VIEW_MARK_NONE;
    CLEANUP(arena_deinit) struct arena arena = {0};
    CLEANUP(ca_free) struct ca *ca = NULL;
    *ret = (struct renewal_terms){0};
    err_t e = view_load_append(v->redis, VIEW_CA, partition_of(key, v->partitions), &key, 1);
    if (e == ERR_OK) {
        e = view_load_collect(v->redis, 1, &arena, &payload, &mark);
    }
    if (e != ERR_OK) {
        return e;
    }
    if (payload.ptr == NULL) {
        return view_mark_whole(&mark) ? ERR_OK : ERR_TIMEOUT;
    }
    e = ca_decode(payload, &ca, NULL);
    if (e == ERR_OK && ca->state == CA_ACTIVE) {
        *ret = (struct renewal_terms){true, ca->device_validity_s, ca->not_after_ms};
    }
    return e;
}

err_t fleet_view_terms(struct fleet_view *v, const struct uuid *ca, int64_t now_ms,
                       struct renewal_terms *ret)
{
    struct kept_terms *place = NULL;
    for (size_t i = 0; i < v->kept_count; i++) {
        if (uuid_eq(&v->kept[i].ca, ca)) {
            place = &v->kept[i];
        }
    }
    if (place == NULL) {
        place = &v->kept[v->kept_count < TERMS_MAX ? v->kept_count++ : (size_t)now_ms % TERMS_MAX];
        *place = (struct kept_terms){.ca = *ca, .read_ms = now_ms - TERMS_KEEP_MS - 1};
    }
    if (now_ms - place->read_ms > TERMS_KEEP_MS) {
        err_t e = read_terms(v, ca, &place->terms);
        if (e != ERR_OK) {
            return e;
        }
        place->read_ms = now_ms;
    }
    *ret = place->terms;
    return ERR_OK;
}

/* ---- indexes ---- */

struct range {
    char letter;
    int32_t partition;
    struct span index;
    const char *until;
    size_t from, max;
};

static err_t read_range(struct fleet_view *v, const struct range *range, struct redis_reply **ret)
{
    char from[24];
    char limit[24];
    (void)snprintf(from, sizeof from, "%zu", range->from);
    (void)snprintf(limit, sizeof limit, "%zu", range->max);
    CLEANUP_BUF struct buf key = BUF_INIT(KEY_BYTES);
    err_t e = view_index_key(range->letter, range->partition, range->index, &key);
    if (e != ERR_OK) {
        return e;
    }
    const struct span argv[] = {
        span_str("ZRANGEBYSCORE"), buf_span(&key),    span_str("-inf"), span_str(range->until),
        span_str("WITHSCORES"),    span_str("LIMIT"), span_str(from),   span_str(limit)};
    return redis_command(v->redis, argv, sizeof argv / sizeof argv[0], ret);
}

err_t fleet_view_automatic(struct fleet_view *v, int32_t partition, size_t from,
                           struct automatic_ca *ret, size_t max, size_t *ret_count)
{
    const struct range range = {VIEW_CA, partition, span_str("auto"), "+inf", from, max};
    CLEANUP(redis_reply_free) struct redis_reply *reply = NULL;
    err_t e = read_range(v, &range, &reply);
    size_t count = 0;
    for (size_t i = 0; e == ERR_OK && i + 1 < redis_reply_count(reply) && count < max; i += 2) {
        if (uuid_parse(redis_reply_span(redis_reply_at(reply, i)), &ret[count].id) != ERR_OK ||
            !redis_reply_integer(redis_reply_at(reply, i + 1), &ret[count].renew_ahead_s)) {
            return ERR_CORRUPT;
        }
        count++;
    }
    *ret_count = count;
    return e;
}

err_t fleet_view_due(struct fleet_view *v, const struct due_query *query, struct due_device *ret,
                     size_t max, size_t *ret_count)
{
    char until[24];
    uint8_t name[4 + sizeof query->ca->bytes] = {'d', 'u', 'e', ':'};
    memcpy(name + 4, query->ca->bytes, sizeof query->ca->bytes);
    (void)snprintf(until, sizeof until, "%" PRId64, query->until_s);
    const struct range range = {VIEW_DEVICE, query->partition, span_of(name, sizeof name),
                                until,       query->from,      max};
    CLEANUP(redis_reply_free) struct redis_reply *reply = NULL;
    err_t e = read_range(v, &range, &reply);
    size_t count = 0;
    for (size_t i = 0; e == ERR_OK && i + 1 < redis_reply_count(reply) && count < max; i += 2) {
        struct span raw = redis_reply_span(redis_reply_at(reply, i));
        if (raw.len != RAW_UID ||
            !redis_reply_integer(redis_reply_at(reply, i + 1), &ret[count].due_s)) {
            return ERR_CORRUPT;
        }
        hex_format(raw, ret[count++].uid);
    }
    *ret_count = count;
    return e;
}
