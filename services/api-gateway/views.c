#include "views.h"

#include <pthread.h>

#include "common/log.h"

#define IDLE_MAX      16
#define PIPELINE      500
#define VIEW_KEY_ROOM (VIEW_KEY_MAX + 32)

struct views {
    int32_t partitions;
    struct redis_config config; /* strings are borrowed from the service's configuration */
    pthread_mutex_t lock;
    struct redis *idle[IDLE_MAX];
    size_t idle_count;
};

struct views *views_new(const struct redis_config *config, int32_t partitions)
{
    struct views *v = xcalloc(1, sizeof *v);
    v->config = *config;
    v->partitions = partitions;
    (void)pthread_mutex_init(&v->lock, NULL);
    return v;
}

void views_free(struct views *v)
{
    if (v == NULL) {
        return;
    }
    for (size_t i = 0; i < v->idle_count; i++) {
        redis_free(v->idle[i]);
    }
    (void)pthread_mutex_destroy(&v->lock);
    free(v);
}

int32_t views_partitions(const struct views *v)
{
    return v->partitions;
}

struct redis *views_take(struct views *v)
{
    struct redis *r = NULL;
    (void)pthread_mutex_lock(&v->lock);
    if (v->idle_count > 0) {
        r = v->idle[--v->idle_count];
    }
    (void)pthread_mutex_unlock(&v->lock);
    return r != NULL ? r : redis_new(&v->config);
}

void views_give(struct views *v, struct redis *r)
{
    redis_abandon(r);
    (void)pthread_mutex_lock(&v->lock);
    bool keep = v->idle_count < IDLE_MAX;
    if (keep) {
        v->idle[v->idle_count++] = r;
    }
    (void)pthread_mutex_unlock(&v->lock);
    if (!keep) {
        redis_free(r);
    }
}

/* ---- commands ---- */

static err_t append_get(struct redis *r, char letter, int32_t partition, struct span key)
{
    CLEANUP_BUF struct buf full = BUF_INIT(VIEW_KEY_ROOM);
    err_t err = view_key(letter, partition, key, &full);
    const struct span argv[] = {span_str("GET"), buf_span(&full)};
    return err != ERR_OK ? err : redis_append(r, argv, 2);
}

static err_t append_mark(struct redis *r, char letter, int32_t partition)
{
    CLEANUP_BUF struct buf key = BUF_INIT(VIEW_KEY_ROOM);
    err_t err = view_mark_key(letter, partition, &key);
    const struct span argv[] = {span_str("HMGET"), buf_span(&key), span_str("log"),
                                span_str("part")};
    return err != ERR_OK ? err : redis_append(r, argv, 4);
}

/* ERR_UNAVAILABLE when there is no mark, or one that says that more is still to come. */
static err_t collect_mark(struct redis *r)
{
    CLEANUP(redis_reply_free) struct redis_reply *reply = NULL;
    err_t err = redis_collect(r, &reply);
    if (err == ERR_OK && (redis_reply_span(redis_reply_at(reply, 0)).len == 0 ||
                          redis_reply_span(redis_reply_at(reply, 1)).len > 0)) {
        err = ERR_UNAVAILABLE;
    }
    return err;
}

/* Copies a stored value's payload; *ret gets offset and length in `arena` (its memory may still
 * move). */
static err_t collect_value(struct redis *r, bool stored, struct buf *arena, struct span *ret)
{
    CLEANUP(redis_reply_free) struct redis_reply *reply = NULL;
    *ret = span_of(NULL, SIZE_MAX);
    err_t err = redis_collect(r, &reply);
    if (err != ERR_OK || redis_reply_kind(reply) != REDIS_KIND_STRING) {
        return err;
    }
    struct span payload = redis_reply_span(reply);
    if (stored) {
        err = view_value_payload(payload, &payload);
    }
    if (err == ERR_OK) {
        size_t at = arena->len;
        err = buf_append_span(arena, payload);
        *ret = span_of((const uint8_t *)at, payload.len);
    }
    return err;
}

/* Turns offsets into pointers once the arena stands still. */
static void settle(const struct buf *arena, struct span *values, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (values[i].len == SIZE_MAX) {
            values[i] = span_of(NULL, 0);
        } else {
            values[i].ptr = arena->ptr + (size_t)values[i].ptr;
        }
    }
}

err_t views_get(struct redis *r, char letter, int32_t partition, struct span key,
                struct buf *payload)
{
    err_t err = append_get(r, letter, partition, key);
    if (err == ERR_OK) {
        err = append_mark(r, letter, partition);
    }
    if (err != ERR_OK) {
        redis_abandon(r);
        return err;
    }
    struct span value;
    err = collect_value(r, true, payload, &value);
    err_t mark = collect_mark(r);
    if (err == ERR_OK && value.len == SIZE_MAX) {
        err = mark == ERR_OK ? ERR_ABSENT : mark;
    }
    return err;
}

static err_t read_chunk(struct redis *r, const struct views_want *wants, const struct span *keys,
                        size_t n, struct buf *arena, struct span *values)
{
    for (size_t i = 0; i < n; i++) {
        const struct span argv[] = {span_str("GET"), keys != NULL ? keys[i] : span_of(NULL, 0)};
        err_t err = wants != NULL ? append_get(r, wants[i].letter, wants[i].partition, wants[i].key)
                                  : redis_append(r, argv, 2);
        if (err != ERR_OK) {
            redis_abandon(r);
            return err;
        }
    }
    for (size_t i = 0; i < n; i++) {
        err_t err = collect_value(r, wants != NULL, arena, &values[i]);
        if (err != ERR_OK) {
            redis_abandon(r);
            return err;
        }
    }
    return ERR_OK;
}

/* What was not found is looked for once more, behind a mark that says that all is there. */
static err_t confirm_absent(struct redis *r, const struct views_want *want, struct buf *arena,
                            struct span *payload)
{
    err_t err = append_mark(r, want->letter, want->partition);
    if (err == ERR_OK) {
        err = append_get(r, want->letter, want->partition, want->key);
    }
    if (err != ERR_OK) {
        redis_abandon(r);
        return err;
    }
    err_t mark = collect_mark(r);
    err = collect_value(r, true, arena, payload);
    return mark != ERR_OK ? mark : err;
}

err_t views_get_many(struct redis *r, const struct views_want *wants, size_t n, struct buf *arena,
                     struct span *payloads)
{
    err_t err = ERR_OK;
    for (size_t at = 0; at < n && err == ERR_OK; at += PIPELINE) {
        size_t chunk = n - at < PIPELINE ? n - at : PIPELINE;
        err = read_chunk(r, wants + at, NULL, chunk, arena, payloads + at);
    }
    for (size_t i = 0; i < n && err == ERR_OK; i++) {
        if (payloads[i].len == SIZE_MAX) {
            err = confirm_absent(r, &wants[i], arena, &payloads[i]);
        }
    }
    if (err == ERR_OK) {
        settle(arena, payloads, n);
    }
    return err;
}

err_t views_read(struct redis *r, const struct span *keys, size_t n, struct buf *arena,
                 struct span *values)
{
    for (size_t at = 0; at < n; at += PIPELINE) {
        size_t chunk = n - at < PIPELINE ? n - at : PIPELINE;
        err_t err = read_chunk(r, NULL, keys + at, chunk, arena, values + at);
        if (err != ERR_OK) {
            return err;
        }
    }
    settle(arena, values, n);
    return ERR_OK;
}

/* ---- lists ---- */

void views_members_deinit(struct views_members *m)
{
    for (size_t i = 0; i < m->count; i++) {
        free(m->items[i].bytes);
    }
    free(m->items);
    *m = (struct views_members){0};
}

/* The least string beyond every string that begins with `prefix`; empty when there is none. */
static void append_beyond(struct buf *to, struct span prefix)
{
    size_t len = prefix.len;
    while (len > 0 && prefix.ptr[len - 1] == 0xff) {
        len--;
    }
    if (len > 0) {
        (void)buf_append(to, prefix.ptr, len);
        to->ptr[to->len - 1]++;
    }
}

static void bounds(const struct views_range *range, struct buf *low, struct buf *high)
{
    if (range->after.len > 0 && !range->descending) {
        (void)buf_append_byte(low, '(');
        (void)buf_append_span(low, range->after);
    } else if (range->prefix.len > 0) {
        (void)buf_append_byte(low, '[');
        (void)buf_append_span(low, range->prefix);
    } else {
        (void)buf_append_byte(low, '-');
    }
    if (range->after.len > 0 && range->descending) {
        (void)buf_append_byte(high, '(');
        (void)buf_append_span(high, range->after);
        return;
    }
    size_t start = high->len;
    (void)buf_append_byte(high, '(');
    append_beyond(high, range->prefix);
    if (high->len == start + 1) {
        high->ptr[start] = '+';
    }
}

static err_t append_range(struct redis *r, const struct views_range *range, int32_t partition)
{
    CLEANUP_BUF struct buf key = BUF_INIT(VIEW_KEY_ROOM);
    CLEANUP_BUF struct buf low = BUF_INIT(VIEW_KEY_ROOM);
    CLEANUP_BUF struct buf high = BUF_INIT(VIEW_KEY_ROOM);
    CLEANUP_BUF struct buf count = BUF_INIT(24);
    err_t err = view_index_key(range->letter, partition, range->index, &key);
    if (err != ERR_OK) {
        return err;
    }
    bounds(range, &low, &high);
    (void)buf_printf(&count, "%zu", range->limit);
    const struct span argv[] = {
        span_str(range->descending ? "ZREVRANGEBYLEX" : "ZRANGEBYLEX"),
        buf_span(&key),
        buf_span(range->descending ? &high : &low),
        buf_span(range->descending ? &low : &high),
        span_str("LIMIT"),
        span_str("0"),
        buf_span(&count),
    };
    err = redis_append(r, argv, sizeof argv / sizeof argv[0]);
    return err != ERR_OK ? err : append_mark(r, range->letter, partition);
}

static err_t collect_range(struct redis *r, int32_t partition, struct views_members *to)
{
    CLEANUP(redis_reply_free) struct redis_reply *reply = NULL;
    err_t err = redis_collect(r, &reply);
    err_t mark = collect_mark(r);
    if (err != ERR_OK || mark != ERR_OK) {
        return err != ERR_OK ? err : mark;
    }
    size_t n = redis_reply_count(reply);
    to->items = xrealloc(to->items, to->count + n + 1, sizeof *to->items);
    for (size_t i = 0; i < n; i++) {
        struct span bytes = redis_reply_span(redis_reply_at(reply, i));
        struct views_member *item = &to->items[to->count++];
        *item = (struct views_member){
            .partition = partition, .bytes = xcalloc(1, bytes.len + 1), .len = bytes.len};
        memcpy(item->bytes, bytes.ptr, bytes.len);
    }
    return ERR_OK;
}

static int compare(const struct views_member *a, const struct views_member *b)
{
    size_t shorter = a->len < b->len ? a->len : b->len;
    int order = memcmp(a->bytes, b->bytes, shorter);
    return order != 0 ? order : (a->len > b->len) - (a->len < b->len);
}

static int ascending(const void *a, const void *b)
{
    return compare(a, b);
}

static int descending(const void *a, const void *b)
{
    return compare(b, a);
}

static void merge(const struct views_range *range, struct views_members *m)
{
    if (m->count > 1) {
        qsort(m->items, m->count, sizeof *m->items, range->descending ? descending : ascending);
    }
    while (m->count > range->limit) {
        free(m->items[--m->count].bytes);
    }
}

err_t views_list(struct views *v, struct redis *r, const struct views_range *range,
                 struct views_members *ret)
{
    int32_t first = range->partition >= 0 ? range->partition : 0;
    int32_t end = range->partition >= 0 ? range->partition + 1 : v->partitions;
    for (int32_t p = first; p < end; p++) {
        err_t err = append_range(r, range, p);
        if (err != ERR_OK) {
            redis_abandon(r);
            return err;
        }
    }
    CLEANUP(views_members_deinit) struct views_members members = {0};
    for (int32_t p = first; p < end; p++) {
        err_t err = collect_range(r, p, &members);
        if (err != ERR_OK) {
            redis_abandon(r);
            return err;
        }
    }
    merge(range, &members);
    *ret = members;
    members = (struct views_members){0};
    return ERR_OK;
}
