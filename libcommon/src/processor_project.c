/*
 * State records become view records, on all cores: reading a record's JSON is most of what a
 * rebuild costs, and the projection is a pure function.
 */
#include "processor_internal.h"

#define STRIDE 8 /* records per job: handing one over costs a tenth of a projection */

struct jobs {
    struct processor *p;
    struct projection *items;
    unsigned count;
};

static err_t project(struct processor *p, const struct projection *item, struct view_record *to)
{
    view_record_clear(to);
    if (item->skip) {
        to->skipped = true;
        return ERR_OK;
    }
    if (item->value.ptr != NULL) {
        return p->app->project(p->ctx, item->key, item->value, to);
    }
    to->deleted = true;
    return p->app->view_key != NULL ? p->app->view_key(item->key, &to->key)
                                    : buf_append_span(&to->key, item->key);
}

static void project_some(void *arg, size_t job)
{
    const struct jobs *jobs = arg;
    for (size_t i = job * STRIDE; i < (job + 1) * STRIDE && i < jobs->count; i++) {
        jobs->items[i].result = project(jobs->p, &jobs->items[i], &jobs->p->records[i]);
    }
}

unsigned proc_project(struct processor *p, struct projection *items, unsigned n,
                      struct view_write *writes, unsigned *ret_written)
{
    struct jobs jobs = {p, items, n};
    unsigned written = 0;
    pool_run(p->pool, (n + STRIDE - 1) / STRIDE, project_some, &jobs);
    for (unsigned i = 0; i < n; i++) {
        if (items[i].result != ERR_OK) {
            return i;
        }
        if (!p->records[i].skipped) {
            writes[written++] = (struct view_write){&p->records[i], items[i].offset};
        }
    }
    *ret_written = written;
    return n;
}
