/* What nobody asks about: a view that was lost, a recovery that is held back. */
#include "processor_internal.h"

#include "common/log.h"

#define PATROL_MS 1000 /* between two looks at the marks of live partitions */
/* The transaction of an owner that died is ended by the broker after its timeout, at the next of
 * its looks; what takes this many timeouts does not end by itself. */
#define HELD_TIMEOUTS  3
#define HELD_REPEAT_MS 10000

void recovery_patrol(struct processor *p)
{
    int64_t now_ms = proc_mono(p);
    if (now_ms < p->patrol_at_ms) {
        return;
    }
    p->patrol_at_ms = now_ms + PATROL_MS;
    for (unsigned i = 0; i < p->part_count; i++) {
        struct part *part = &p->parts[i];
        struct view_mark mark = VIEW_MARK_NONE;
        if (part->state != PART_LIVE) {
            continue;
        }
        err_t e = view_mark_read(p->redis, p->app->view_letter, part->number, &mark);
        if (e != ERR_OK) {
            return; /* Redis is away: the next round, or the next patrol, will see what it holds */
        }
        if (!view_mark_eq(&mark, &part->mark)) {
            log_info(NULL, "view_lost", LOG_STR("app", p->app->name),
                     LOG_INT("partition", part->number));
            part->state = PART_BEHIND;
        }
    }
}

void held_back(struct processor *p, const char *topic, int32_t partition, int64_t since_ms)
{
    int64_t now_ms = proc_mono(p);
    int64_t waited_ms = now_ms - since_ms;
    metric_set(p->metrics->held_back, waited_ms / 1000);
    if (waited_ms < (int64_t)p->options.transaction_timeout_ms * HELD_TIMEOUTS ||
        now_ms < p->tell_held_at_ms) {
        return;
    }
    p->tell_held_at_ms = now_ms + HELD_REPEAT_MS;
    log_error(NULL, "recovery_held_back", LOG_STR("app", p->app->name), LOG_STR("topic", topic),
              LOG_INT("partition", partition), LOG_INT("waited_ms", waited_ms),
              LOG_STR("cause", "an open transaction, or no answer from Kafka"),
              LOG_STR("remedy", "find and abort it with kafka-transactions.sh, see README"));
}

void held_back_no_more(struct processor *p)
{
    metric_set(p->metrics->held_back, 0);
    p->tell_held_at_ms = 0;
}
