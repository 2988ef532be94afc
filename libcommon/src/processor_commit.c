/* The transaction of a round; then, and only then, the view and the replies. */
#include "processor_internal.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/log.h"
#include "common/partition.h"

#define COMMIT_TIMEOUT_MS   15000
#define PRODUCE_TIMEOUT_MS  10000
#define METADATA_TIMEOUT_MS 2000
#define DEAD_VALUE_MAX      ((size_t)512 * 1024)
#define DEAD_VALUE_KEPT     ((size_t)64 * 1024)
#define DEAD_KEY_MAX        1024 /* of a longer key so much is kept */
#define REPLY_SECONDS       "600"
#define REPLY_KEY_MAX       192

/* ---- the transaction ---- */

err_t proc_partitions(struct processor *p, const char *topic, int32_t *ret)
{
    for (unsigned i = 0; i < p->topic_count; i++) {
        if (strcmp(p->topics[i].name, topic) == 0) {
            *ret = p->topics[i].partitions;
            return ERR_OK;
        }
    }
    err_t e = kafka_txn_partition_count(p->txn, topic, METADATA_TIMEOUT_MS, ret);
    if (e == ERR_OK && p->topic_count < PROC_TOPICS_MAX) {
        p->topics[p->topic_count].name = xstrdup(topic);
        p->topics[p->topic_count++].partitions = *ret;
    }
    return e;
}

static err_t produce(struct processor *p, const struct kafka_record *record)
{
    int64_t deadline = proc_mono(p) + PRODUCE_TIMEOUT_MS;
    for (;;) {
        err_t e = kafka_txn_produce(p->txn, record);
        if (e != ERR_BUSY || proc_patience(p, deadline) == 0) {
            return e;
        }
        kafka_txn_poll(p->txn, 10);
    }
}

static err_t produce_emit(struct processor *p, const struct emit *emit)
{
    struct kafka_header headers[KAFKA_HEADERS_MAX];
    struct kafka_record record = {.topic = emit->topic,
                                  .partition = emit->partition,
                                  .key = emit->record_key,
                                  .value = emit->value,
                                  .headers = headers};
    int32_t count = 0;
    if (emit->partition < 0) {
        err_t e = proc_partitions(p, emit->topic, &count);
        if (e != ERR_OK) {
            return e;
        }
        record.partition = partition_of(emit->partition_key, count);
    }
    for (unsigned i = 0; i < emit->header_count && i < KAFKA_HEADERS_MAX; i++) {
        headers[i] = (struct kafka_header){emit->headers[i].name, emit->headers[i].value};
        record.headers_count = i + 1;
    }
    return produce(p, &record);
}

static err_t produce_dead(struct processor *p, const struct work *w)
{
    char partition[16];
    char offset[24];
    char size[24];
    (void)snprintf(partition, sizeof partition, "%" PRId32, w->source.partition);
    (void)snprintf(offset, sizeof offset, "%" PRId64, w->source.offset);
    (void)snprintf(size, sizeof size, "%zu", w->source.value.len);
    bool cut = w->source.value.len > DEAD_VALUE_MAX;
    struct span key = w->source.key;
    key.len = key.len > DEAD_KEY_MAX ? DEAD_KEY_MAX : key.len;
    const struct kafka_header headers[] = {
        {"reason", span_str(err_name(w->dead_why))}, {"code", span_str(w->dead_fault.code)},
        {"field", span_str(w->dead_fault.field)},    {"text", span_str(w->dead_fault.text)},
        {"source-topic", span_str(w->source.topic)}, {"source-partition", span_str(partition)},
        {"source-offset", span_str(offset)},         {"source-size", span_str(size)},
    };
    struct kafka_record record = {.topic = p->dlq_topic,
                                  .partition = w->source.partition,
                                  .key = key,
                                  .value = cut ? span_of(w->source.value.ptr, DEAD_VALUE_KEPT)
                                               : w->source.value,
                                  .headers = headers,
                                  .headers_count = sizeof headers / sizeof headers[0]};
    log_limited(LOG_LEVEL_WARN, NULL, "request_dead_lettered", LOG_STR("app", p->app->name),
                LOG_INT("partition", w->source.partition), LOG_INT("offset", w->source.offset),
                LOG_ERR("reason", w->dead_why), LOG_STR("code", w->dead_fault.code),
                LOG_STR("field", w->dead_fault.field), LOG_STR("text", w->dead_fault.text));
    return produce(p, &record);
}

static err_t produce_entity(struct processor *p, const struct entity *entity, uint64_t cookie)
{
    char input[24];
    (void)snprintf(input, sizeof input, "%" PRId64, entity->input_offset);
    const struct kafka_header header = {"input-offset", span_str(input)};
    const struct kafka_record record = {.topic = p->app->state_topic,
                                        .partition = entity->partition,
                                        .key = entity->record_key,
                                        .value =
                                            entity->deleted ? (struct span){0} : entity->record,
                                        .headers = &header,
                                        .headers_count = 1,
                                        .cookie = cookie};
    return produce(p, &record);
}

static err_t produce_all(struct processor *p)
{
    const struct round *round = &p->round;
    for (unsigned i = 0; i < round->count; i++) {
        const struct work *w = round->works[i];
        err_t e = w->dead ? produce_dead(p, w) : ERR_OK;
        for (const struct emit *emit = w->emits; emit != NULL && !w->dead && e == ERR_OK;
             emit = emit->next) {
            e = produce_emit(p, emit);
        }
        if (e != ERR_OK) {
            return e;
        }
    }
    for (unsigned i = 0; i < round->entity_count; i++) {
        if (round->entities[i]->dirty) {
            err_t e = produce_entity(p, round->entities[i], i + 1u);
            if (e != ERR_OK) {
                return e;
            }
        }
    }
    return ERR_OK;
}

static err_t send_offsets(struct processor *p)
{
    struct kafka_offset *offsets =
        arena_alloc(&p->round.arena, (p->part_count + 1) * sizeof *offsets);
    size_t n = 0;
    for (unsigned i = 0; i < p->part_count; i++) {
        if (p->parts[i].next_offset >= 0) {
            offsets[n++] = (struct kafka_offset){p->app->request_topic, p->parts[i].number,
                                                 p->parts[i].next_offset};
        }
    }
    int64_t deadline = proc_mono(p) + COMMIT_TIMEOUT_MS;
    for (;;) {
        err_t e =
            kafka_txn_send_offsets(p->txn, offsets, n, p->consumer, proc_patience(p, deadline));
        if (e != ERR_TIMEOUT || proc_patience(p, deadline) == 0) {
            return e;
        }
    }
}

static err_t transact(struct processor *p)
{
    err_t e = kafka_txn_begin(p->txn);
    if (e == ERR_OK) {
        e = produce_all(p);
    }
    if (e == ERR_OK) {
        proc_step(p, "produced");
        e = send_offsets(p);
    }
    if (e == ERR_OK) {
        proc_step(p, "offsets-sent");
        e = proc_txn_patiently(p, kafka_txn_commit, COMMIT_TIMEOUT_MS);
    }
    return e;
}

static void take_deliveries(struct processor *p)
{
    size_t n = 0;
    const struct kafka_delivery *deliveries = kafka_txn_deliveries(p->txn, &n);
    for (size_t i = 0; i < n; i++) {
        if (deliveries[i].cookie > 0 && deliveries[i].cookie <= p->round.entity_count) {
            p->round.entities[deliveries[i].cookie - 1]->offset = deliveries[i].offset;
        }
    }
}

/* ---- the view ---- */

static int by_offset(const void *a, const void *b)
{
    const struct entity *x = *(struct entity *const *)a;
    const struct entity *y = *(struct entity *const *)b;
    return (x->offset > y->offset) - (x->offset < y->offset);
}

/* Appends one apply call for up to VIEW_WRITES_MAX entities, which all belong to `part`. */
static err_t append_apply(struct processor *p, const struct part *part,
                          const struct view_mark *prev, struct entity **entities, unsigned n)
{
    struct view_write writes[VIEW_WRITES_MAX];
    struct projection items[VIEW_WRITES_MAX];
    unsigned count = 0;
    for (unsigned i = 0; i < n; i++) {
        items[i] = (struct projection){.key = entities[i]->record_key,
                                       .value = entities[i]->deleted ? (struct span){0}
                                                                     : entities[i]->record,
                                       .offset = entities[i]->offset};
    }
    unsigned bad = proc_project(p, items, n, writes, &count);
    if (bad < n) {
        return items[bad].result;
    }
    return view_apply_append(p->redis, p->app->view_letter, part->number, prev,
                             entities[n - 1]->offset, writes, count);
}

/* How many of the entities one call takes. */
static unsigned apply_count(struct entity **entities, unsigned n)
{
    size_t bytes = 0;
    unsigned count = 0;
    while (count < n && count < VIEW_WRITES_MAX) {
        bytes += entities[count]->record.len;
        if (count > 0 && bytes > PROC_APPLY_BYTES) {
            break;
        }
        count++;
    }
    return count;
}

/* Queues the calls of one partition; returns how many replies are owed. A failure leaves the
 * partition behind. */
static unsigned append_part(struct processor *p, struct part *part, struct entity **entities,
                            unsigned n)
{
    struct view_mark prev = part->mark;
    unsigned owed = 0;
    unsigned count = 0;
    for (unsigned from = 0; from < n; from += count) {
        count = apply_count(entities + from, n - from);
        err_t e = append_apply(p, part, &prev, entities + from, count);
        if (e != ERR_OK) {
            log_limited(LOG_LEVEL_WARN, NULL, "view_write_failed", LOG_STR("app", p->app->name),
                        LOG_INT("partition", part->number), LOG_ERR("error", e));
            part->state = PART_BEHIND;
            break;
        }
        prev.offset = entities[from + count - 1]->offset;
        owed++;
    }
    return owed;
}

static void collect_part(struct processor *p, struct part *part, unsigned owed)
{
    for (unsigned i = 0; i < owed; i++) {
        struct view_mark mark = VIEW_MARK_NONE;
        err_t e = view_apply_collect(p->redis, &mark);
        if (e != ERR_OK) {
            part->state = PART_BEHIND;
        } else {
            part->mark = mark;
        }
    }
}

static void write_view(struct processor *p)
{
    struct round *round = &p->round;
    struct entity **dirty =
        arena_alloc(&round->arena, (round->entity_count + 1) * sizeof(struct entity *));
    unsigned *owed = arena_alloc(&round->arena, (p->part_count + 1) * sizeof *owed);
    for (unsigned i = 0; i < p->part_count; i++) {
        unsigned n = 0;
        for (unsigned k = 0; p->parts[i].next_offset >= 0 && k < round->entity_count; k++) {
            if (round->entities[k]->dirty && round->entities[k]->partition == p->parts[i].number) {
                dirty[n++] = round->entities[k];
            }
        }
        qsort(dirty, n, sizeof(struct entity *), by_offset);
        owed[i] = n > 0 ? append_part(p, &p->parts[i], dirty, n) : 0;
    }
    for (unsigned i = 0; i < p->part_count; i++) {
        collect_part(p, &p->parts[i], owed[i]);
    }
}

/* ---- the replies ---- */

static unsigned append_reply(struct processor *p, const struct reply *reply)
{
    char key[REPLY_KEY_MAX];
    (void)snprintf(key, sizeof key, "g:r:%s", reply->request_id);
    if (redis_append(
            p->redis,
            (struct span[]){span_str("SETEX"), span_str(key), span_str(REPLY_SECONDS), reply->json},
            4) != ERR_OK) {
        return 0;
    }
    if (reply->channel[0] == 0) {
        return 1;
    }
    size_t id_len = strlen(reply->request_id);
    uint8_t *message = arena_alloc(&p->round.arena, id_len + 1 + reply->json.len);
    memcpy(message, reply->request_id, id_len);
    message[id_len] = ' ';
    memcpy(message + id_len + 1, reply->json.ptr, reply->json.len);
    struct span payload = span_of(message, id_len + 1 + reply->json.len);
    return redis_append(p->redis,
                        (struct span[]){span_str("PUBLISH"), span_str(reply->channel), payload},
                        3) == ERR_OK
               ? 2
               : 1;
}

static void send_replies(struct processor *p)
{
    unsigned owed = 0;
    for (unsigned i = 0; i < p->round.count; i++) {
        if (p->round.works[i]->has_reply) {
            owed += append_reply(p, &p->round.works[i]->reply);
        }
    }
    err_t first = ERR_OK;
    for (unsigned i = 0; i < owed; i++) {
        CLEANUP(redis_reply_free) struct redis_reply *reply = NULL;
        err_t e = redis_collect(p->redis, &reply);
        first = first == ERR_OK ? e : first;
    }
    if (first != ERR_OK) {
        /* The door's deadline answers 202; a repeat of the request finds the stored result. */
        metric_inc(p->metrics->replies_lost);
        log_limited(LOG_LEVEL_WARN, NULL, "replies_lost", LOG_STR("app", p->app->name),
                    LOG_ERR("error", first));
    }
}

static void count(struct processor *p, int64_t started, int64_t committed)
{
    metric_observe(p->metrics->commit_seconds, (double)(committed - started) / 1000.0);
    metric_observe(p->metrics->view_seconds, (double)(proc_mono(p) - committed) / 1000.0);
    metric_inc(p->metrics->rounds);
    metric_add(p->metrics->requests, p->round.count);
    for (unsigned i = 0; i < p->round.count; i++) {
        metric_add(p->metrics->dead_letters, p->round.works[i]->dead);
    }
}

err_t round_commit(struct processor *p)
{
    int64_t started = proc_mono(p);
    err_t e = transact(p);
    if (e != ERR_OK) {
        return e;
    }
    int64_t committed = proc_mono(p);
    proc_step(p, "committed");
    take_deliveries(p);
    write_view(p);
    proc_step(p, "view-written");
    send_replies(p);
    proc_step(p, "replied");
    guard_leave(p);
    count(p, started, committed);
    return ERR_OK;
}
