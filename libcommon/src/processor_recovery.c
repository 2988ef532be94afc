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
#include "processor_recovery.h"

#include "common/log.h"

#define COMMITTED_TIMEOUT_MS 500
#define COMMITTED_GLANCE_MS  100 /* the same beside live partitions */
#define COMMITTED_PAUSE_MS   500
#define DROP_STEPS           16 /* pages of a view that is dropped, in one step of the recovery */
#define WATERMARK_TIMEOUT_MS 2000
#define READ_MAX             4000 /* records per step: some tens of milliseconds */
/* Read at a time: what is read ahead of a few is soon at its end, where a look at the read-ahead of
 * all would be put off (kafka_internal.h). */
#define READ_PARTITIONS 3

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
    free(r->drop.resets);
    free(r->items);
    free(r);
    p->recovery = NULL;
    held_back_no_more(p);
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

static void begin(struct processor *p)
{
    struct recovery *r = xcalloc(1, sizeof *r);
    r->items = xcalloc(p->part_count, sizeof *r->items);
    r->started_ms = proc_mono(p);
    kafka_batch_init(&r->batch, READ_MAX);
    p->recovery = r;
}

/* Partitions that are not live and not under way: all at first, later what falls behind while
 * another is held back. */
static void join(struct processor *p, struct recovery *r)
{
    for (unsigned i = 0; i < p->part_count; i++) {
        struct part *part = &p->parts[i];
        struct recovering *item = item_of(r, part->number);
        if (part->state == PART_LIVE || part->state == PART_BROKEN ||
            (item != NULL && item->step != STEP_DONE)) {
            continue;
        }
        /* What was fetched before is fetched again from the committed offset: one path, no second
         * bookkeeping. */
        backlog_clear(&part->backlog);
        part->state = PART_STABLE;
        item = item != NULL ? item : &r->items[r->count++];
        *item = (struct recovering){.part = part,
                                    .committed = KAFKA_OFFSET_NONE,
                                    .last_input = -1,
                                    .since_ms = proc_mono(p),
                                    .short_since_ms = -1,
                                    .mark = VIEW_MARK_NONE};
    }
}

/* ---- 1 and 2 ---- */

static bool any_live(const struct processor *p)
{
    for (unsigned i = 0; i < p->part_count; i++) {
        if (p->parts[i].state == PART_LIVE) {
            return true;
        }
    }
    return false;
}

/* ERR_TIMEOUT: a transaction is open on it, or Kafka does not answer. Live partitions are not to
 * wait for it. */
static err_t step_committed(struct processor *p, struct recovering *item)
{
    bool alone = !any_live(p);
    err_t e = kafka_consumer_committed(p->consumer, p->app->request_topic, item->part->number,
                                       alone ? COMMITTED_TIMEOUT_MS : COMMITTED_GLANCE_MS,
                                       &item->committed);
    item->stuck = e == ERR_TIMEOUT;
    if (e == ERR_TIMEOUT && !alone) {
        item->ask_at_ms = proc_mono(p) + COMMITTED_PAUSE_MS;
    }
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

/* The views that cannot be continued are dropped, all in one pass over the store; the others are
 * renewed. */
static err_t judge_views(struct processor *p, struct recovery *r)
{
    struct view_reset *resets = xcalloc(r->count, sizeof *resets);
    unsigned n = 0;
    err_t e = ERR_OK;
    for (unsigned i = 0; i < r->count && e == ERR_OK; i++) {
        struct recovering *item = &r->items[i];
        if (item->step != STEP_LOG_ID || item->log[0] == 0) {
            continue;
        }
        item->step = STEP_QUEUED;
        if (mark_fits(item)) {
            e = view_renew(p->recovery_redis, p->app->view_letter, item->part->number, item->log);
            continue;
        }
        resets[n].partition = item->part->number;
        memcpy(resets[n].log, item->log, sizeof item->log);
        memcpy(resets[n++].seen, item->mark.gen, sizeof item->mark.gen);
        memcpy(item->mark.log, item->log, sizeof item->log);
        item->mark.offset = -1;
        item->anew = true;
        item->step = STEP_DROPPED;
    }
    if (e != ERR_OK || n == 0) {
        free(resets);
        return e;
    }
    log_info(NULL, "view_dropped", LOG_STR("app", p->app->name), LOG_UINT("partitions", n));
    e = view_drop_begin(p->recovery_redis, p->app->view_letter, resets, n, &r->drop);
    return e; /* the resets are the drop's */
}

static err_t drop_on(struct processor *p, struct recovery *r)
{
    err_t e = ERR_OK;
    for (unsigned i = 0; i < DROP_STEPS && !r->drop.done && e == ERR_OK; i++) {
        proc_step(p, "view-dropping");
        e = view_drop_step(p->recovery_redis, &r->drop);
    }
    if (!r->drop.done || e != ERR_OK) {
        return e;
    }
    for (unsigned i = 0; i < r->count; i++) {
        if (r->items[i].step == STEP_DROPPED) {
            r->items[i].step = STEP_QUEUED;
        }
    }
    free(r->drop.resets);
    r->drop = (struct view_drop){.count = 0};
    return ERR_OK;
}

/* Lets the next ones be read, up to READ_PARTITIONS at a time. */
static err_t start_reading(struct processor *p, struct recovery *r)
{
    unsigned running = 0;
    for (unsigned i = 0; i < r->count; i++) {
        running += r->items[i].step == STEP_READ && r->items[i].short_since_ms < 0;
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
        item->stuck = false;
        kafka_reader_stop(p->reader, p->app->state_topic, item->part->number);
        return;
    }
    log_limited(LOG_LEVEL_ERROR, NULL, "state_partition_without_log_id",
                LOG_STR("topic", p->app->state_topic), LOG_INT("partition", item->part->number),
                LOG_STR("remedy", "run fleetseal-topics apply"));
    item->stuck = true;
    p->retry_at_ms = proc_mono(p) + 1000;
}

/* Nothing more to be waited for before the views are judged together. */
static bool log_ids_known(const struct recovery *r)
{
    bool some = false;
    for (unsigned i = 0; i < r->count; i++) {
        const struct recovering *item = &r->items[i];
        bool known = item->step == STEP_LOG_ID && item->log[0] != 0;
        if (item->step <= STEP_LOG_ID && !known && !item->stuck) {
            return false;
        }
        some |= known;
    }
    return some;
}

/* ---- 4 ---- */

static err_t take_batch(struct processor *p, struct recovery *r)
{
    err_t e = ERR_OK;
    for (size_t at = 0; at < r->batch.count && e == ERR_OK;) {
        const struct kafka_message *m = &r->batch.messages[at];
        struct recovering *item = item_of(r, m->partition);
        unsigned n = m->eof ? 1 : catch_up_run(&r->batch, at);
        at += n;
        if (item == NULL || !item->reading) {
            continue;
        }
        if (item->step == STEP_LOG_ID) {
            take_log_id(p, item, m);
        } else if (item->step == STEP_READ && m->eof) {
            e = catch_up_end(p, r, item, m->offset);
        } else if (item->step == STEP_READ) {
            r->records += n;
            metric_add(p->metrics->records_read, n);
            e = catch_up_apply(p, r, item, m, n);
        }
    }
    kafka_batch_clear(&r->batch);
    return e;
}

/* ---- the steps together ---- */

/* One that is held back lets the next one be asked first in the next step. */
static err_t ask_all(struct processor *p, struct recovery *r)
{
    unsigned first = r->ask_next;
    for (unsigned k = 0; k < r->count; k++) {
        unsigned i = (first + k) % r->count;
        struct recovering *item = &r->items[i];
        err_t e = ERR_OK;
        if (item->step == STEP_COMMITTED && proc_mono(p) >= item->ask_at_ms) {
            e = step_committed(p, item);
            if (e == ERR_TIMEOUT) {
                r->ask_next = i + 1;
                return ERR_OK;
            }
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

/* Whom an open transaction has held back longest. */
static void tell_held_back(struct processor *p, const struct recovery *r)
{
    const struct recovering *longest = NULL;
    int64_t since_ms = INT64_MAX;
    for (unsigned i = 0; i < r->count; i++) {
        const struct recovering *item = &r->items[i];
        bool short_log = item->step == STEP_READ && item->short_since_ms >= 0;
        int64_t its_ms = short_log                                     ? item->short_since_ms
                         : item->step == STEP_COMMITTED && item->stuck ? item->since_ms
                                                                       : INT64_MAX;
        if (its_ms < since_ms) {
            longest = item;
            since_ms = its_ms;
        }
    }
    if (longest != NULL) {
        held_back(p, longest->step == STEP_READ ? p->app->state_topic : p->app->request_topic,
                  longest->part->number, since_ms);
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

/* The calls of the earlier steps wait for their answers: none of the apply calls may be owed. */
static err_t settle_first(struct processor *p, struct recovery *r)
{
    bool needed = r->drop.count > 0;
    for (unsigned i = 0; i < r->count; i++) {
        needed |= r->items[i].step <= STEP_LOG_ID;
    }
    return needed ? catch_up_settle(p, r) : ERR_OK;
}

static err_t work_on(struct processor *p, struct recovery *r, int may_wait_ms)
{
    err_t e = settle_first(p, r);
    if (e == ERR_OK) {
        e = ask_all(p, r);
    }
    if (e == ERR_OK) {
        e = kafka_reader_poll(p->reader, &r->batch, may_wait_ms);
    }
    if (e == ERR_OK) {
        e = take_batch(p, r);
    }
    bool judge = r->drop.count == 0 && log_ids_known(r);
    if (e == ERR_OK && (judge || r->drop.count > 0)) {
        e = catch_up_settle(p, r);
    }
    if (e == ERR_OK && judge) {
        e = judge_views(p, r);
    }
    if (e == ERR_OK && r->drop.count > 0) {
        e = drop_on(p, r);
    }
    return e == ERR_OK ? start_reading(p, r) : e;
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
    join(p, r);
    err_t e = work_on(p, r, r->drop.count > 0 ? 0 : may_wait_ms);
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
