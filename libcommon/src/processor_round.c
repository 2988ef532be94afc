/* One round up to the point where it can be committed: take requests, verify, load, decide, sign,
 * finish. */
#include "processor_internal.h"

#include "common/log.h"
#include "common/partition.h"

#define LOAD_CHUNK 256 /* entities per Lua call: it blocks Redis while it runs */
#define RECORD_MAX ((size_t)900 * 1024)

/* ---- entities ---- */

struct entity *round_entity(struct processor *p, int32_t partition, struct span record_key,
                            bool create)
{
    struct round *round = &p->round;
    struct entity **bucket =
        &round->buckets[(stable_hash(record_key) ^ (uint32_t)partition) % ROUND_BUCKETS];
    for (struct entity *e = *bucket; e != NULL; e = e->next) {
        if (e->partition == partition && span_eq(e->record_key, record_key)) {
            return e;
        }
    }
    if (!create) {
        return NULL;
    }
    struct entity *e = arena_alloc(&round->arena, sizeof *e);
    e->partition = partition;
    e->record_key = arena_span(&round->arena, record_key);
    e->offset = -1;
    e->next = *bucket;
    *bucket = e;
    if (round->entity_count == round->entity_capacity) {
        round->entity_capacity = round->entity_capacity ? 2 * round->entity_capacity : 256;
        round->entities =
            xrealloc(round->entities, round->entity_capacity, sizeof(struct entity *));
    }
    round->entities[round->entity_count++] = e;
    return e;
}

static void entities_end(struct processor *p)
{
    struct round *round = &p->round;
    for (unsigned i = 0; i < round->entity_count; i++) {
        if (round->entities[i]->state != NULL) {
            p->app->free_state(round->entities[i]->state);
        }
    }
    for (unsigned i = 0; i < round->grave_count; i++) {
        p->app->free_state(round->graves[i]);
    }
    if (round->entity_count > 0) {
        memset(round->buckets, 0, sizeof round->buckets);
    }
    round->entity_count = round->grave_count = 0;
    arena_clear(&round->arena);
    for (unsigned i = 0; i < p->part_count; i++) {
        p->parts[i].next_offset = -1;
    }
}

void round_end(struct processor *p)
{
    guard_undo(p);
    for (unsigned i = 0; i < p->round.count; i++) {
        work_free(p->round.works[i]);
    }
    p->round.count = 0;
    entities_end(p);
}

void round_return_works(struct processor *p)
{
    guard_undo(p);
    /* Backwards, so that each partition's requests stand in their old order again. */
    for (unsigned i = p->round.count; i > 0; i--) {
        struct work *w = p->round.works[i - 1];
        struct part *part = proc_part(p, w->source.partition);
        work_reset(w);
        if (part == NULL) {
            work_free(w);
        } else {
            backlog_push_front(&part->backlog, w);
        }
    }
    p->round.count = 0;
    entities_end(p);
}

/* ---- taking requests ---- */

static void decode(struct processor *p, struct work *w)
{
    struct fault fault = {0};
    err_t e = p->app->decode(p->ctx, w, &fault);
    w->decoded = true;
    if (e != ERR_OK) {
        w->poisoned = w->dead = true;
        w->dead_why = e;
        w->dead_fault = fault;
    }
}

static void condemn(struct work *w)
{
    w->decoded = w->poisoned = w->dead = true;
    w->dead_why = ERR_INTERNAL;
    (void)fault_set(&w->dead_fault, ERR_INTERNAL, "crashed", "",
                    "its owner ended or hung each time it worked on it");
}

/* A request that needs what an earlier one of this round will sign waits for the next round. */
static bool must_wait(struct processor *p, const struct work *w)
{
    for (unsigned i = 0; i < w->need_count && !w->dead; i++) {
        const struct entity *e = round_entity(p, w->source.partition, w->need_keys[i], false);
        if (e != NULL && e->locked) {
            return true;
        }
    }
    return false;
}

static void add_work(struct processor *p, struct part *part, struct work *w)
{
    struct round *round = &p->round;
    if (round->count == round->capacity) {
        round->capacity = round->capacity ? 2 * round->capacity : 256;
        round->works = xrealloc(round->works, round->capacity, sizeof(struct work *));
    }
    round->works[round->count++] = w;
    part->next_offset = w->source.offset + 1;
    for (unsigned i = 0; i < w->need_count && !w->dead; i++) {
        w->entities[i] = round_entity(p, w->source.partition, w->need_keys[i], true);
        w->entities[i]->locked |= w->will_sign;
    }
}

static unsigned take_from(struct processor *p, struct part *part, unsigned quota)
{
    unsigned taken = 0;
    while (taken < quota) {
        struct work *w = backlog_peek(&part->backlog);
        if (w == NULL) {
            break;
        }
        if (guard_condemns(part, w)) {
            condemn(w);
        } else if (!w->decoded) {
            decode(p, w);
        }
        if (must_wait(p, w)) {
            break;
        }
        add_work(p, part, backlog_pop(&part->backlog));
        taken++;
    }
    return taken;
}

static void take_works(struct processor *p, unsigned max)
{
    unsigned waiting = 0;
    for (unsigned i = 0; i < p->part_count; i++) {
        waiting += p->parts[i].noted;
    }
    if (waiting == 0) {
        return;
    }
    /* An equal share for each first, so that one long backlog starves nobody; what is left over
     * goes to whoever has more. */
    unsigned quota = max / waiting > 0 ? max / waiting : 1;
    p->first_part = p->part_count > 0 ? (p->first_part + 1) % p->part_count : 0;
    for (unsigned pass = 0; pass < 2; pass++) {
        for (unsigned i = 0; i < p->part_count && p->round.count < max; i++) {
            struct part *part = &p->parts[(p->first_part + i) % p->part_count];
            if (part->noted) {
                unsigned room = max - p->round.count;
                (void)take_from(p, part, quota < room ? quota : room);
            }
        }
        quota = max;
    }
}

/* ---- loading ---- */

static err_t view_key_of(struct processor *p, struct span record_key, struct span *ret)
{
    if (p->app->view_key == NULL) {
        *ret = record_key;
        return ERR_OK;
    }
    CLEANUP_BUF struct buf key = BUF_INIT(VIEW_KEY_MAX);
    err_t e = p->app->view_key(record_key, &key);
    if (e == ERR_OK) {
        *ret = arena_span(&p->round.arena, buf_span(&key));
    }
    return e;
}

struct load_call {
    struct part *part;
    struct entity *entities[LOAD_CHUNK];
    unsigned count;
};

static err_t load_append(struct processor *p, struct load_call *call)
{
    struct span keys[LOAD_CHUNK];
    for (unsigned i = 0; i < call->count; i++) {
        err_t e = view_key_of(p, call->entities[i]->record_key, &keys[i]);
        if (e != ERR_OK) {
            return e;
        }
        call->entities[i]->view_key = keys[i];
    }
    return view_load_append(p->redis, p->app->view_letter, call->part->number, keys, call->count);
}

static err_t load_collect(struct processor *p, struct load_call *call)
{
    struct span values[LOAD_CHUNK];
    struct view_mark mark = VIEW_MARK_NONE;
    err_t e = view_load_collect(p->redis, call->count, &p->round.arena, values, &mark);
    if (e == ERR_CORRUPT) {
        log_error(NULL, "view_spoilt", LOG_STR("app", p->app->name),
                  LOG_INT("partition", call->part->number));
        call->part->view_spoilt = true;
        call->part->state = PART_BEHIND;
        return ERR_STALE;
    }
    if (e != ERR_OK) {
        return e;
    }
    if (!view_mark_eq(&mark, &call->part->mark)) {
        log_info(NULL, "view_mark_differs", LOG_STR("app", p->app->name),
                 LOG_INT("partition", call->part->number), LOG_INT("held", call->part->mark.offset),
                 LOG_INT("found", mark.offset));
        call->part->state = PART_BEHIND;
        return ERR_STALE;
    }
    for (unsigned i = 0; i < call->count; i++) {
        struct entity *entity = call->entities[i];
        if (values[i].ptr != NULL) {
            e = p->app->load(p->ctx, entity->record_key, values[i], &entity->state);
        }
        if (e != ERR_OK) {
            log_error(NULL, "view_record_unreadable", LOG_STR("app", p->app->name),
                      LOG_INT("partition", call->part->number), LOG_SPAN("key", entity->record_key),
                      LOG_ERR("error", e));
            call->part->state = PART_BROKEN;
            return e;
        }
    }
    return ERR_OK;
}

/* Groups the round's entities by partition into calls of at most LOAD_CHUNK. */
static unsigned load_plan(struct processor *p, struct load_call **ret_calls)
{
    struct round *round = &p->round;
    struct load_call *calls = NULL;
    unsigned count = 0;
    for (unsigned i = 0; i < p->part_count; i++) {
        struct load_call *call = NULL;
        for (unsigned k = 0; p->parts[i].next_offset >= 0 && k < round->entity_count; k++) {
            if (round->entities[k]->partition != p->parts[i].number) {
                continue;
            }
            if (call == NULL || call->count == LOAD_CHUNK) {
                calls = xrealloc(calls, count + 1, sizeof *calls);
                call = &calls[count++];
                call->part = &p->parts[i];
                call->count = 0;
            }
            call->entities[call->count++] = round->entities[k];
        }
    }
    *ret_calls = calls;
    return count;
}

static err_t load_entities(struct processor *p)
{
    CLEANUP_FREE struct load_call *calls = NULL;
    unsigned count = load_plan(p, &calls);
    err_t e = ERR_OK;
    unsigned appended = 0;
    while (appended < count && e == ERR_OK) {
        e = load_append(p, &calls[appended]);
        appended += e == ERR_OK;
    }
    for (unsigned i = 0; i < appended; i++) {
        err_t one = load_collect(p, &calls[i]);
        if (redis_script_missing(p->redis) && one == ERR_UNAVAILABLE) {
            one = ERR_BUSY; /* Redis was restarted: the script goes up with the next call, no need
                               to wait */
        }
        e = e == ERR_OK ? one : e;
    }
    return e;
}

/* ---- deciding ---- */

struct job_list {
    struct processor *p;
    struct work **works;
    size_t count;
};

static struct job_list job_list_new(struct processor *p)
{
    return (struct job_list){
        .p = p,
        .works = arena_alloc(&p->round.arena, (p->round.count + 1) * sizeof(struct work *))};
}

static void verify_one(void *arg, size_t i)
{
    const struct job_list *jobs = arg;
    jobs->p->app->verify(jobs->p->ctx, jobs->works[i]);
    jobs->works[i]->verified = true;
}

static void sign_one(void *arg, size_t i)
{
    const struct job_list *jobs = arg;
    jobs->p->app->sign(jobs->p->ctx, jobs->works[i]);
}

static void verify_works(struct processor *p)
{
    if (p->app->verify == NULL) {
        return;
    }
    struct job_list jobs = job_list_new(p);
    for (unsigned i = 0; i < p->round.count; i++) {
        struct work *w = p->round.works[i];
        if (!w->dead && !w->verified) {
            jobs.works[jobs.count++] = w;
        }
    }
    pool_run(p->pool, jobs.count, verify_one, &jobs);
}

static void sign_works(struct processor *p, int64_t now_ms)
{
    struct job_list jobs = job_list_new(p);
    for (unsigned i = 0; i < p->round.count; i++) {
        struct work *w = p->round.works[i];
        if (w->signing && !w->dead) {
            jobs.works[jobs.count++] = w;
        }
    }
    pool_run(p->pool, jobs.count, sign_one, &jobs);
    for (size_t i = 0; i < jobs.count; i++) {
        p->app->finish(p->ctx, jobs.works[i], now_ms);
    }
}

static void decide_works(struct processor *p, int64_t now_ms)
{
    for (unsigned i = 0; i < p->round.count; i++) {
        if (!p->round.works[i]->dead) {
            p->app->decide(p->ctx, p->round.works[i], now_ms);
        }
    }
}

/* A request whose outcome Kafka would refuse for its size is put aside before it can spoil the
 * transaction. */
static bool has_oversized(struct processor *p)
{
    bool found = false;
    for (unsigned i = 0; i < p->round.count; i++) {
        struct work *w = p->round.works[i];
        bool over = false;
        for (const struct emit *emit = w->emits; emit != NULL; emit = emit->next) {
            over |= emit->value.len > RECORD_MAX;
        }
        for (unsigned k = 0; k < w->need_count && !w->dead; k++) {
            over |= w->entities[k]->record.len > RECORD_MAX &&
                    w->entities[k]->input_offset == w->source.offset;
        }
        if (over && !w->dead) {
            w->poisoned = true;
            w->dead_why = ERR_TOO_LARGE;
            (void)fault_set(&w->dead_fault, ERR_TOO_LARGE, "record_too_large", "",
                            "its outcome is larger than a record may be");
            found = true;
        }
    }
    return found;
}

static err_t prepare_works(struct processor *p)
{
    err_t e = work_partitions(p->round.works[0], p->app->request_topic, &p->request_partitions);
    if (e != ERR_OK || p->app->prepare == NULL) {
        return e;
    }
    struct work **alive =
        arena_alloc(&p->round.arena, (p->round.count + 1) * sizeof(struct work *));
    unsigned n = 0;
    for (unsigned i = 0; i < p->round.count; i++) {
        if (!p->round.works[i]->dead) {
            alive[n++] = p->round.works[i];
        }
    }
    return n > 0 ? p->app->prepare(p->ctx, alive, n) : ERR_OK;
}

err_t round_decide(struct processor *p)
{
    unsigned max = 0;
    err_t e = guard_enter(p, &max);
    if (e != ERR_OK) {
        guard_undo(p);
        return e;
    }
    take_works(p, max);
    if (p->round.count == 0) {
        guard_undo(p);
        return ERR_OK;
    }
    proc_step(p, "decoded");
    verify_works(p);
    e = load_entities(p);
    if (e == ERR_OK) {
        proc_step(p, "loaded");
        e = prepare_works(p);
    }
    if (e != ERR_OK) {
        round_return_works(p);
        return e;
    }
    int64_t now_ms = clock_now_ms(p->clock);
    decide_works(p, now_ms);
    proc_step(p, "decided");
    sign_works(p, now_ms);
    proc_step(p, "signed");
    if (has_oversized(p)) {
        round_return_works(p);
        return ERR_BUSY;
    }
    return ERR_OK;
}
