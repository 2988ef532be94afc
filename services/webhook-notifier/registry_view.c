#include "registry_view.h"

#include <stdio.h>

#include "common/arena.h"
#include "common/kafka_reader.h"
#include "common/partition.h"
#include "common/view.h"
#include "proto/topics.h"

#define KEY_BYTES 512
#define ASK_MS    2000
#define TAIL_MS   200 /* one look at the end of the log */
#define TAIL_MAX  64  /* records of it at once */
#define LOG_KEY   "#log"

struct registry_view {
    struct redis *redis;
    struct kafka_reader *reader;
    int32_t partitions;
    struct known {
        struct view_mark mark; /* complete up to here: it held all that the log held */
        int64_t target;        /* end of the log when the question first came up; -1: not asked */
    } * known;
};

err_t registry_view_new(const struct kafka_config *kafka, struct redis *redis, int32_t partitions,
                        struct registry_view **ret)
{
    CLEANUP(registry_view_free) struct registry_view *v = xcalloc(1, sizeof *v);
    v->redis = redis;
    v->partitions = partitions;
    v->known = xcalloc((size_t)partitions, sizeof *v->known);
    for (int32_t p = 0; p < partitions; p++) {
        v->known[p] = (struct known){.mark = VIEW_MARK_NONE, .target = -1};
    }
    err_t e = kafka_reader_new(kafka, &(struct kafka_reader_config){0}, NULL, &v->reader);
    if (e == ERR_OK) {
        *ret = TAKE(v);
    }
    return e;
}

void registry_view_free(struct registry_view *v)
{
    if (v == NULL) {
        return;
    }
    kafka_reader_free(v->reader);
    free(v->known);
    free(v);
}

void domain_webhooks_deinit(struct domain_webhooks *d)
{
    for (size_t i = 0; i < d->count; i++) {
        registry_record_free(d->records[i]);
    }
    free(d->records);
    d->records = NULL;
    d->count = 0;
}

/* ---- is the view complete? ---- */

/* Looks at what the log holds behind the mark: nothing but the markers of transactions, if the view
 * is complete. */
static err_t look_behind(struct registry_view *v, int32_t partition, int64_t offset, bool *ret_end)
{
    struct kafka_batch batch;
    kafka_batch_init(&batch, TAIL_MAX);
    err_t e = kafka_reader_start(v->reader, TOPIC_REGISTRY_STATE, partition, offset);
    bool end = false;
    bool record = false;
    while (e == ERR_OK && !end && !record) {
        e = kafka_reader_poll(v->reader, &batch, TAIL_MS);
        if (e == ERR_OK && batch.count == 0) {
            e = ERR_UNAVAILABLE;
        }
        for (size_t i = 0; i < batch.count; i++) {
            const struct kafka_message *m = &batch.messages[i];
            bool ours = m->partition == partition && m->offset >= offset;
            end = end || (ours && m->eof);
            record = record || (ours && !m->eof && !span_eq(m->key, span_str(LOG_KEY)));
        }
        kafka_batch_clear(&batch);
    }
    kafka_reader_stop(v->reader, TOPIC_REGISTRY_STATE, partition);
    kafka_batch_deinit(&batch);
    *ret_end = end && !record;
    return e;
}

static err_t verify(struct registry_view *v, int32_t partition, const struct view_mark *mark)
{
    struct known *known = &v->known[partition];
    if (mark->log[0] == '\0') {
        *known = (struct known){.mark = VIEW_MARK_NONE, .target = -1};
        return ERR_UNAVAILABLE;
    }
    if (strcmp(known->mark.log, mark->log) == 0 && known->mark.offset <= mark->offset) {
        known->mark = *mark;
        return ERR_OK;
    }
    bool complete = false;
    if (known->target < 0) {
        err_t e = kafka_reader_high_watermark(v->reader, TOPIC_REGISTRY_STATE, partition, ASK_MS,
                                              &known->target);
        if (e != ERR_OK) {
            return ERR_UNAVAILABLE;
        }
    }
    complete = mark->offset + 1 >= known->target;
    if (!complete && look_behind(v, partition, mark->offset + 1, &complete) != ERR_OK) {
        return ERR_UNAVAILABLE;
    }
    if (!complete) {
        return ERR_UNAVAILABLE;
    }
    *known = (struct known){.mark = *mark, .target = -1};
    return ERR_OK;
}

/* ---- reading ---- */

static err_t append_list(struct registry_view *v, const char *domain, int32_t partition)
{
    char from[REGISTRY_KEY_SIZE];
    char until[REGISTRY_KEY_SIZE];
    CLEANUP_BUF struct buf key = BUF_INIT(KEY_BYTES);
    (void)snprintf(from, sizeof from, "[%s/%s/", domain, registry_kind_word(REGISTRY_WEBHOOK));
    /* '0' follows '/' */
    (void)snprintf(until, sizeof until, "(%s/%s0", domain, registry_kind_word(REGISTRY_WEBHOOK));
    err_t e = view_index_key(VIEW_REGISTRY, partition, span_str("keys"), &key);
    if (e == ERR_OK) {
        e = view_load_append(v->redis, VIEW_REGISTRY, partition, NULL, 0);
    }
    const struct span argv[] = {span_str("ZRANGEBYLEX"), buf_span(&key), span_str(from),
                                span_str(until)};
    return e == ERR_OK ? redis_append(v->redis, argv, sizeof argv / sizeof argv[0]) : e;
}

static err_t append_records(struct registry_view *v, int32_t partition,
                            const struct redis_reply *list)
{
    size_t n = redis_reply_count(list);
    CLEANUP_FREE struct span *keys = xcalloc(n + 1, sizeof *keys);
    for (size_t i = 0; i < n; i++) {
        keys[i] = redis_reply_span(redis_reply_at(list, i));
    }
    return view_load_append(v->redis, VIEW_REGISTRY, partition, keys, (unsigned)n);
}

static err_t collect_records(struct registry_view *v, int32_t partition, size_t n,
                             struct domain_webhooks *d)
{
    struct view_mark mark = VIEW_MARK_NONE;
    CLEANUP(arena_deinit) struct arena arena = {0};
    CLEANUP_FREE struct span *values = xcalloc(n + 1, sizeof *values);
    err_t e = view_load_collect(v->redis, (unsigned)n, &arena, values, &mark);
    if (e == ERR_OK) {
        e = verify(v, partition, &mark);
    }
    d->records = xcalloc(n + 1, sizeof(struct registry_record *));
    for (size_t i = 0; i < n && e == ERR_OK; i++) {
        if (values[i].ptr != NULL) { /* else deleted since we saw the list */
            e = registry_record_decode(REGISTRY_WEBHOOK, values[i], &d->records[d->count]);
            d->count += e == ERR_OK;
        }
    }
    return e;
}

static err_t collect_list(struct registry_view *v, int32_t partition, struct redis_reply **ret)
{
    struct view_mark mark = VIEW_MARK_NONE;
    CLEANUP(arena_deinit) struct arena arena = {0};
    err_t first = view_load_collect(v->redis, 0, &arena, NULL, &mark);
    err_t second = redis_collect(v->redis, ret);
    if (first != ERR_OK || second != ERR_OK) {
        return first != ERR_OK ? first : second;
    }
    return verify(v, partition, &mark);
}

struct listing {
    int32_t partition;
    struct redis_reply *list;
};

static err_t read_lists(struct registry_view *v, const struct domain_webhooks *d, size_t n,
                        struct listing *lists)
{
    size_t appended = 0;
    err_t e = ERR_OK;
    while (appended < n && e == ERR_OK) {
        lists[appended].partition = partition_of(span_str(d[appended].domain), v->partitions);
        e = append_list(v, d[appended].domain, lists[appended].partition);
        appended += e == ERR_OK;
    }
    for (size_t i = 0; i < appended && e == ERR_OK; i++) {
        e = collect_list(v, lists[i].partition, &lists[i].list);
    }
    return e;
}

static err_t read_all(struct registry_view *v, struct domain_webhooks *d, size_t n,
                      struct listing *lists)
{
    err_t e = read_lists(v, d, n, lists);
    for (size_t i = 0; i < n && e == ERR_OK; i++) {
        e = append_records(v, lists[i].partition, lists[i].list);
    }
    for (size_t i = 0; i < n && e == ERR_OK; i++) {
        e = collect_records(v, lists[i].partition, redis_reply_count(lists[i].list), &d[i]);
    }
    return e;
}

err_t registry_view_webhooks(struct registry_view *v, struct domain_webhooks *d, size_t n)
{
    CLEANUP_FREE struct listing *lists = xcalloc(n + 1, sizeof *lists);
    err_t e = read_all(v, d, n, lists);
    for (size_t i = 0; i < n; i++) {
        if (lists[i].list != NULL) {
            redis_reply_free(lists[i].list);
        }
        if (e != ERR_OK) {
            domain_webhooks_deinit(&d[i]);
        }
    }
    if (e != ERR_OK) {
        redis_abandon(v->redis); /* whatever is still owed */
    }
    return e;
}

err_t registry_view_webhook(struct registry_view *v, const char *domain, const char *id,
                            struct registry_record **ret)
{
    char text[REGISTRY_KEY_SIZE];
    registry_key(domain, REGISTRY_WEBHOOK, id, text);
    struct span key = span_str(text);
    struct domain_webhooks found = {0};
    int32_t partition = partition_of(span_str(domain), v->partitions);
    err_t e = view_load_append(v->redis, VIEW_REGISTRY, partition, &key, 1);
    if (e == ERR_OK) {
        e = collect_records(v, partition, 1, &found);
    }
    if (e == ERR_OK) {
        *ret = found.count > 0 ? found.records[0] : NULL;
        found.count = 0;
    }
    domain_webhooks_deinit(&found);
    return e;
}
