/* Step 4 of a recovery: the state records behind a view's mark go into the view. */
#include "processor_recovery.h"

#include "common/log.h"

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

err_t catch_up_settle(struct processor *p, struct recovery *r)
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

err_t catch_up_apply(struct processor *p, struct recovery *r, struct recovering *item,
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
    err_t e = catch_up_settle(p, r);
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
err_t catch_up_end(struct processor *p, struct recovery *r, struct recovering *item, int64_t end)
{
    if (end >= item->high_watermark) {
        return finish(p, r, item);
    }
    if (item->short_since_ms < 0) {
        item->short_since_ms = proc_mono(p);
    }
    return ERR_OK;
}

unsigned catch_up_run(const struct kafka_batch *batch, size_t at)
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
