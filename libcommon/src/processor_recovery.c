/*
 * How a partition becomes live: the one path for a start, a rebalance, a flush of Redis, a
 * fail-over, an unknown commit and a rebuild.
 *
 *   1  committed offset of the requests, final: a transaction still open on it (an old owner that
 * hung between handing over its offsets and its commit) is waited for 2  high watermark of the
 * state partition, open transactions included 3  the view's mark against the log: another log, or
 * beyond its end, or none at all: the view is dropped 4  the state records behind the mark, read
 * committed, to the end at or past (2), go into the view 5  the requests are fetched from (1) on
 *
 * The order of 1 and 2 is what makes it safe: whatever was committed up to (1) has its state
 * records below (2). Works in bounded steps, so that live partitions and the group membership go on
 * meanwhile.
 */
#include "processor_internal.h"

#include "common/log.h"

#define COMMITTED_TIMEOUT_MS 500
#define WATERMARK_TIMEOUT_MS 2000
#define READ_MAX             4000 /* records per step: some tens of milliseconds */
/* Read at a time: what is read ahead of a few is soon at its end, where a look at the read-ahead of
 * all would be put off (kafka_internal.h). */
#define READ_PARTITIONS 3
#define APPLY_DEPTH     8 /* apply calls under way, so that Redis and this thread work at once */
#define LOG_ID_KEY      "#log"

enum step {
    STEP_COMMITTED, /* 1 */
    STEP_WATERMARK, /* 2 */
    STEP_LOG_ID,    /* 3: the first record of the state partition names the log */
    STEP_QUEUED,    /* its turn to be read has not come */
    STEP_READ,      /* 4 */
    STEP_DONE,
};

struct recovering {
    struct part *part;
    enum step step;
    int64_t committed; /* or KAFKA_OFFSET_NONE */
    int64_t high_watermark;
    char log[VIEW_LOG_ID_MAX];
    int64_t last_input;    /* newest request that a state record came from, when it is needed; -1 */
    struct view_mark mark; /* of the view, once the apply calls under way are answered */
    int64_t short_since_ms; /* mono: the log ends before high_watermark, since then; or -1 */
    bool anew;              /* the view is built from nothing: readers wait for view_whole */
    bool reading;           /* the reader runs for it */
};

struct recovery {
    struct recovering *items;
    unsigned count;
    struct kafka_batch batch;
    struct recovering *owed[APPLY_DEPTH]; /* whose apply calls are under way, oldest first */
    unsigned owed_count;
    int64_t started_ms;
    uint64_t records;
};

bool recovery_needed(const struct processor *p)
{
    for (unsigned i = 0; i < p->part_count; i++) {
        enum part_state state = p->parts[i].state;
        if (state != PART_LIVE && state != PART_BROKEN) {
            return true;
        }
    }
    return false;
}

void recovery_drop(struct processor *p)
{
    struct recovery *r = p->recovery;
    if (r == NULL) {
        return;
    }
    for (unsigned i = 0; i < r->count; i++) {
        if (r->items[i].reading && p->reader != NULL) {
            kafka_reader_stop(p->reader, p->app->state_topic, r->items[i].part->number);
        }
    }
    redis_abandon(p->recovery_redis);
    kafka_batch_deinit(&r->batch);
    free(r->items);
    free(r);
    p->recovery = NULL;
    held_back_no_more(p);
}

static void begin(struct processor *p)
{
    struct recovery *r = xcalloc(1, sizeof *r);
    r->items = xcalloc(p->part_count, sizeof *r->items);
    r->started_ms = proc_mono(p);
    kafka_batch_init(&r->batch, READ_MAX);
    for (unsigned i = 0; i < p->part_count; i++) {
        struct part *part = &p->parts[i];
        if (part->state == PART_LIVE || part->state == PART_BROKEN) {
            continue;
        }
        /* What was fetched before is fetched again from the committed offset: one path, no second
         * bookkeeping. */
        backlog_clear(&part->backlog);
        part->state = PART_STABLE;
        r->items[r->count++] = (struct recovering){.part = part,
                                                   .committed = KAFKA_OFFSET_NONE,
                                                   .last_input = -1,
                                                   .short_since_ms = -1,
                                                   .mark = VIEW_MARK_NONE};
    }
    p->recovery = r;
}

/* ---- 1 and 2 ---- */

static err_t step_committed(struct processor *p, struct recovering *item)
{
    err_t e = kafka_consumer_committed(p->consumer, p->app->request_topic, item->part->number,
                                       COMMITTED_TIMEOUT_MS, &item->committed);
    if (e == ERR_OK) {
        item->part->state = PART_CATCHING_UP;
        item->step = STEP_WATERMARK;
    }
    return e;
}

static err_t step_watermark(struct processor *p, struct recovering *item)
{
    err_t e = kafka_reader_high_watermark(p->reader, p->app->state_topic, item->part->number,
                                          WATERMARK_TIMEOUT_MS, &item->high_watermark);
    if (e == ERR_OK) {
        e = view_mark_read(p->recovery_redis, p->app->view_letter, item->part->number, &item->mark);
    }
    if (e == ERR_OK) {
        e = kafka_reader_start(p->reader, p->app->state_topic, item->part->number,
                               KAFKA_OFFSET_BEGINNING);
    }
    if (e == ERR_OK) {
        item->anew = item->mark.part;
        item->reading = true;
        item->step = STEP_LOG_ID;
    }
    return e;
}

/* ---- 3 ---- */

static bool mark_fits(const struct recovering *item)
{
    return !item->part->view_spoilt && strcmp(item->mark.log, item->log) == 0 &&
           item->mark.offset < item->high_watermark;
}

/* Drops the views that cannot be continued, all in one pass over the store, once every log id is
 * known. */
static err_t reset_views(struct processor *p, struct recovery *r)
{
    struct view_reset *resets = arena_alloc(&p->round.arena, (r->count + 1) * sizeof *resets);
    unsigned n = 0;
    for (unsigned i = 0; i < r->count; i++) {
        struct recovering *item = &r->items[i];
        if (item->step == STEP_LOG_ID && item->log[0] != 0 && !mark_fits(item)) {
            resets[n].partition = item->part->number;
            memcpy(resets[n++].log, item->log, sizeof item->log);
            memcpy(item->mark.log, item->log, sizeof item->log);
            item->mark.offset = -1;
            item->anew = true;
        }
    }
    if (n == 0) {
        return ERR_OK;
    }
    log_info(NULL, "view_dropped", LOG_STR("app", p->app->name), LOG_UINT("partitions", n));
    return view_reset(p->recovery_redis, p->app->view_letter, resets, n);
}

static err_t queue_reading(struct processor *p, struct recovery *r)
{
    err_t e = reset_views(p, r);
    for (unsigned i = 0; i < r->count && e == ERR_OK; i++) {
        if (r->items[i].step == STEP_LOG_ID) {
            r->items[i].step = STEP_QUEUED;
        }
    }
    return e;
}

/* Lets the next ones be read, up to READ_PARTITIONS at a time. */
static err_t start_reading(struct processor *p, struct recovery *r)
{
    unsigned running = 0;
    for (unsigned i = 0; i < r->count; i++) {
        running += r->items[i].step == STEP_READ;
    }
    err_t e = ERR_OK;
    for (unsigned i = 0; i < r->count && running < READ_PARTITIONS && e == ERR_OK; i++) {
        struct recovering *item = &r->items[i];
        if (item->step == STEP_QUEUED) {
            /* Without a committed offset the state records tell how far the requests are done. */
            bool all = item->mark.offset < 0 || item->committed == KAFKA_OFFSET_NONE;
            int64_t from = all ? KAFKA_OFFSET_BEGINNING : item->mark.offset + 1;
            e = kafka_reader_start(p->reader, p->app->state_topic, item->part->number, from);
            item->step = STEP_READ;
            running++;
        }
    }
    return e;
}

static void take_log_id(struct processor *p, struct recovering *item, const struct kafka_message *m)
{
    if (item->log[0] != 0) {
        return; /* the read-ahead behind the first record */
    }
    if (!m->eof && span_eq(m->key, span_str(LOG_ID_KEY)) && proc_log_id(m->value, item->log)) {
        /* It starts again where the view stands; until then nothing more is worth fetching. */
        kafka_reader_stop(p->reader, p->app->state_topic, item->part->number);
        return;
    }
    log_limited(LOG_LEVEL_ERROR, NULL, "state_partition_without_log_id",
                LOG_STR("topic", p->app->state_topic), LOG_INT("partition", item->part->number),
                LOG_STR("remedy", "run fleetseal-topics apply"));
    p->retry_at_ms = proc_mono(p) + 1000;
}

static bool all_log_ids_known(const struct recovery *r)
{
    for (unsigned i = 0; i < r->count; i++) {
        const struct recovering *item = &r->items[i];
        if (item->step < STEP_LOG_ID || (item->step == STEP_LOG_ID && item->log[0] == 0)) {
            return false;
        }
    }
    return true;
}

/* ---- 4 ---- */

/* Takes the answer of the oldest apply call under way. */
static err_t settle_oldest(struct processor *p, struct recovery *r)
{
    struct recovering *item = r->owed[0];
    struct view_mark mark = VIEW_MARK_NONE;
    r->owed_count--;
    memmove(r->owed, r->owed + 1, r->owed_count * sizeof(struct recovering *));
    err_t e = view_apply_collect(p->recovery_redis, &mark);
    if (e == ERR_OK && mark.offset > item->mark.offset) {
        item->mark = mark; /* another owner was quicker */
    }
    return e;
}

static err_t settle(struct processor *p, struct recovery *r)
{
    err_t e = ERR_OK;
    while (r->owed_count > 0 && e == ERR_OK) {
        e = settle_oldest(p, r);
    }
    return e;
}

/* The next call of a partition believes in the mark that the one before will leave. */
static err_t apply(struct processor *p, struct recovery *r, struct recovering *item,
                   const struct view_write *writes, unsigned n, int64_t end)
{
    err_t e = r->owed_count == APPLY_DEPTH ? settle_oldest(p, r) : ERR_OK;
    if (e == ERR_OK) {
        e = view_apply_append(p->recovery_redis, p->app->view_letter, item->part->number,
                              &item->mark, end, writes, n);
    }
    if (e != ERR_OK) {
        return e;
    }
    r->owed[r->owed_count++] = item;
    item->mark.offset = end > item->mark.offset ? end : item->mark.offset;
    return redis_flush(p->recovery_redis);
}

/* `n` messages of one partition, in order, as one apply call. */
static err_t apply_run(struct processor *p, struct recovery *r, struct recovering *item,
                       const struct kafka_message *messages, unsigned n)
{
    struct view_write writes[VIEW_WRITES_MAX];
    struct projection items[VIEW_WRITES_MAX];
    unsigned count = 0;
    if (item->committed == KAFKA_OFFSET_NONE) {
        resume_note(messages, n, &item->last_input);
    }
    for (unsigned i = 0; i < n; i++) {
        const struct kafka_message *m = &messages[i];
        items[i] = (struct projection){.key = m->key,
                                       .value = m->value,
                                       .offset = m->offset,
                                       .skip = span_eq(m->key, span_str(LOG_ID_KEY))};
    }
    unsigned bad = proc_project(p, items, n, writes, &count);
    if (bad < n) {
        log_error(NULL, "state_record_unreadable", LOG_STR("app", p->app->name),
                  LOG_STR("topic", p->app->state_topic), LOG_INT("partition", item->part->number),
                  LOG_INT("offset", items[bad].offset), LOG_ERR("error", items[bad].result));
        item->part->state = PART_BROKEN;
        atomic_store(&p->broken, true);
        return ERR_CORRUPT;
    }
    err_t e = apply(p, r, item, writes, count, messages[n - 1].offset);
    proc_step(p, "catching-up");
    return e;
}

static err_t finish(struct processor *p, struct recovery *r, struct recovering *item)
{
    err_t e = settle(p, r);
    if (e == ERR_OK && item->anew) {
        e = view_whole(p->recovery_redis, p->app->view_letter, item->part->number, &item->mark);
    }
    if (e != ERR_OK) {
        return e;
    }
    kafka_reader_stop(p->reader, p->app->state_topic, item->part->number);
    item->reading = false;
    e = resume_offset(p, item->part->number, item->last_input, &item->committed);
    if (e == ERR_OK) {
        e = guard_suspect(p, item->part, item->committed);
    }
    if (e == ERR_OK) {
        e = kafka_consumer_start(p->consumer, p->app->request_topic, item->part->number,
                                 item->committed);
    }
    if (e == ERR_OK) {
        item->part->mark = item->mark;
        item->part->paused = false;
        item->part->view_spoilt = false;
        item->part->last_fetched = item->committed - 1;
        item->part->state = PART_LIVE;
        item->step = STEP_DONE;
    }
    return e;
}

/* An open transaction ends the readable part early: go on until the end known in step 2 is passed.
 */
static err_t take_end(struct processor *p, struct recovery *r, struct recovering *item, int64_t end)
{
    if (end >= item->high_watermark) {
        return finish(p, r, item);
    }
    if (item->short_since_ms < 0) {
        item->short_since_ms = proc_mono(p);
    }
    return ERR_OK;
}

static struct recovering *item_of(struct recovery *r, int32_t partition)
{
    for (unsigned i = 0; i < r->count; i++) {
        if (r->items[i].part->number == partition) {
            return &r->items[i];
        }
    }
    return NULL;
}

/* How many messages from `at` on belong to one apply call. */
static unsigned run_length(const struct kafka_batch *batch, size_t at)
{
    unsigned n = 0;
    size_t bytes = 0;
    while (at + n < batch->count && n < VIEW_WRITES_MAX && !batch->messages[at + n].eof &&
           batch->messages[at + n].partition == batch->messages[at].partition) {
        bytes += batch->messages[at + n].value.len;
        if (n > 0 && bytes > PROC_APPLY_BYTES) {
            break;
        }
        n++;
    }
    return n;
}

static err_t take_batch(struct processor *p, struct recovery *r)
{
    err_t e = ERR_OK;
    for (size_t at = 0; at < r->batch.count && e == ERR_OK;) {
        const struct kafka_message *m = &r->batch.messages[at];
        struct recovering *item = item_of(r, m->partition);
        unsigned n = m->eof ? 1 : run_length(&r->batch, at);
        at += n;
        if (item == NULL || !item->reading) {
            continue;
        }
        if (item->step == STEP_LOG_ID) {
            take_log_id(p, item, m);
        } else if (item->step == STEP_READ && m->eof) {
            e = take_end(p, r, item, m->offset);
        } else if (item->step == STEP_READ) {
            r->records += n;
            metric_add(p->metrics->records_read, n);
            e = apply_run(p, r, item, m, n);
        }
    }
    kafka_batch_clear(&r->batch);
    return e;
}

/* ---- the steps together ---- */

static err_t ask_all(struct processor *p, struct recovery *r)
{
    for (unsigned i = 0; i < r->count; i++) {
        struct recovering *item = &r->items[i];
        err_t e = ERR_OK;
        if (item->step == STEP_COMMITTED) {
            e = step_committed(p, item);
        }
        if (e == ERR_TIMEOUT && item->step == STEP_COMMITTED) {
            /* A transaction is open on it: asked again in the next step. So are those behind it,
             * which would only wait in turn, while live partitions are to go on. */
            return ERR_OK;
        }
        if (e == ERR_OK && item->step == STEP_WATERMARK) {
            e = step_watermark(p, item);
        }
        if (e != ERR_OK) {
            return e;
        }
    }
    return ERR_OK;
}

/* Whom an open transaction has held back longest: the others of step 1 have not been asked yet. */
static void tell_held_back(struct processor *p, const struct recovery *r)
{
    for (unsigned i = 0; i < r->count; i++) {
        const struct recovering *item = &r->items[i];
        if (item->step == STEP_COMMITTED) {
            held_back(p, p->app->request_topic, item->part->number, r->started_ms);
            return;
        }
        if (item->step == STEP_READ && item->short_since_ms >= 0) {
            held_back(p, p->app->state_topic, item->part->number, item->short_since_ms);
            return;
        }
    }
}

static bool all_done(const struct recovery *r)
{
    for (unsigned i = 0; i < r->count; i++) {
        if (r->items[i].step != STEP_DONE && r->items[i].part->state != PART_BROKEN) {
            return false;
        }
    }
    return true;
}

void recovery_step(struct processor *p, int may_wait_ms)
{
    if (p->recovery == NULL) {
        /* A store that evicts would drop records behind the mark's back: nothing may be decided on
         * it. */
        err_t fit = redis_check_noeviction(p->recovery_redis);
        if (fit != ERR_OK) {
            proc_back_off(p, "redis", fit);
            return;
        }
        begin(p);
    }
    struct recovery *r = p->recovery;
    err_t e = ask_all(p, r);
    if (e == ERR_OK) {
        e = kafka_reader_poll(p->reader, &r->batch, may_wait_ms);
    }
    if (e == ERR_OK) {
        e = take_batch(p, r);
    }
    bool reading = false;
    for (unsigned i = 0; i < r->count; i++) {
        reading |= r->items[i].step == STEP_LOG_ID;
    }
    if (e == ERR_OK && reading && all_log_ids_known(r)) {
        e = queue_reading(p, r);
    }
    if (e == ERR_OK) {
        e = start_reading(p, r);
    }
    if (e != ERR_OK) {
        recovery_drop(p);
        proc_back_off(p, "recovery", e);
        return;
    }
    tell_held_back(p, r);
    if (all_done(r)) {
        metric_inc(p->metrics->recoveries);
        log_info(NULL, "partitions_live", LOG_STR("app", p->app->name),
                 LOG_UINT("partitions", r->count), LOG_UINT("records", r->records),
                 LOG_INT("took_ms", proc_mono(p) - r->started_ms));
        recovery_drop(p);
        backoff_reset(&p->back_off);
    }
}
