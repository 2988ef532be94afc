#include "group.h"

#include <assert.h>
#include <stdatomic.h>

#include "common/log.h"
#include "offsets.h"

#define COMMITTED_MS 2000

struct slot {
    uint32_t generation; /* of the assignment; 0: not ours */
    bool started;
    bool parked;
    bool stuck; /* parked only because moving it back failed: tried again by the next poll */
    int64_t stuck_at;
    int64_t committed;
    struct offsets offsets;
};

struct group {
    struct group_options options;
    struct kafka_consumer *consumer;
    struct slot *slots; /* topic by topic, partition by partition */
    size_t slots_count;
    uint32_t generation;
    size_t to_start;
    bool some_stuck;
    atomic_bool joined;
};

static struct slot *slot_of(struct group *g, const char *topic, int32_t partition)
{
    for (size_t t = 0; t < g->options.topics_count && partition < g->options.partitions; t++) {
        if (strcmp(g->options.topics[t], topic) == 0) {
            return &g->slots[t * (size_t)g->options.partitions + (size_t)partition];
        }
    }
    return NULL;
}

static const char *topic_of(const struct group *g, const struct slot *s)
{
    return g->options.topics[(size_t)(s - g->slots) / (size_t)g->options.partitions];
}

static int32_t partition_number(const struct group *g, const struct slot *s)
{
    return (int32_t)((size_t)(s - g->slots) % (size_t)g->options.partitions);
}

struct group *group_new(const struct group_options *options)
{
    struct group *g = xcalloc(1, sizeof *g);
    g->options = *options;
    g->slots_count = options->topics_count * (size_t)options->partitions;
    g->slots = xcalloc(g->slots_count, sizeof *g->slots);
    return g;
}

static void forget(struct slot *s)
{
    offsets_deinit(&s->offsets);
    *s = (struct slot){0};
}

void group_free(struct group *g)
{
    kafka_consumer_free(g->consumer);
    for (size_t i = 0; i < g->slots_count; i++) {
        forget(&g->slots[i]);
    }
    free(g->slots);
    free(g);
}

/* ---- membership ---- */

static void assigned(void *ctx, const struct kafka_partition *partitions, size_t count)
{
    struct group *g = ctx;
    g->generation++;
    for (size_t i = 0; i < count; i++) {
        struct slot *s = slot_of(g, partitions[i].topic, partitions[i].partition);
        if (s != NULL) {
            forget(s);
            s->generation = g->generation;
        }
    }
    g->to_start = count;
    atomic_store(&g->joined, true);
}

static void revoked(void *ctx, const struct kafka_partition *partitions, size_t count, bool lost)
{
    struct group *g = ctx;
    if (!lost && g->options.revoked != NULL) {
        g->options.revoked(g->options.ctx);
    }
    if (!lost && group_commit(g, COMMITTED_MS) != ERR_OK) {
        log_debug("group", NULL, "not_committed", LOG_STR("group", g->options.name));
    }
    for (size_t i = 0; i < count; i++) {
        struct slot *s = slot_of(g, partitions[i].topic, partitions[i].partition);
        if (s != NULL) {
            forget(s);
        }
    }
    atomic_store(&g->joined, false);
}

static err_t join(struct group *g)
{
    const struct kafka_consumer_config config = {
        .group = g->options.name,
        .instance_id = g->options.instance,
        .topics = g->options.topics,
        .topics_count = g->options.topics_count,
        /* retention removed what a long stand-still left behind: go on with what there is */
        .reset = KAFKA_RESET_EARLIEST,
        .handler = {.ctx = g, .assigned = assigned, .revoked = revoked}};
    return kafka_consumer_new(&g->options.kafka, &config, NULL, &g->consumer);
}

static void leave(struct group *g)
{
    kafka_consumer_free(TAKE(g->consumer));
    for (size_t i = 0; i < g->slots_count; i++) {
        forget(&g->slots[i]);
    }
    g->to_start = 0;
    atomic_store(&g->joined, false);
}

static err_t start_slot(struct group *g, struct slot *s)
{
    const char *topic = topic_of(g, s);
    int32_t partition = partition_number(g, s);
    int64_t from = 0;
    err_t e = kafka_consumer_committed(g->consumer, topic, partition, COMMITTED_MS, &from);
    if (e == ERR_OK) {
        e = kafka_consumer_start(g->consumer, topic, partition,
                                 from >= 0 ? from : KAFKA_OFFSET_BEGINNING);
    }
    if (e != ERR_OK) {
        return e;
    }
    offsets_init(&s->offsets, from >= 0 ? from : 0);
    s->committed = from >= 0 ? from : 0;
    s->started = true;
    return ERR_OK;
}

static err_t start_slots(struct group *g)
{
    for (size_t i = 0; i < g->slots_count && g->to_start > 0; i++) {
        struct slot *s = &g->slots[i];
        if (s->generation == 0 || s->started) {
            continue;
        }
        err_t e = start_slot(g, s);
        if (e != ERR_OK) {
            return e;
        }
    }
    g->to_start = 0;
    return ERR_OK;
}

/* ---- messages ---- */

static void restart_at(struct group *g, struct slot *s, int64_t offset)
{
    err_t e = kafka_consumer_start(g->consumer, topic_of(g, s), partition_number(g, s), offset);
    if (e == ERR_OK) {
        s->parked = false;
        return;
    }
    s->parked = s->stuck = g->some_stuck = true;
    s->stuck_at = offset;
    log_limited(LOG_LEVEL_WARN, NULL, "partition_not_moved", LOG_ERR("error", e),
                LOG_STR("topic", topic_of(g, s)), LOG_INT("partition", partition_number(g, s)));
}

static void free_stuck(struct group *g)
{
    g->some_stuck = false;
    for (size_t i = 0; i < g->slots_count; i++) {
        struct slot *s = &g->slots[i];
        if (s->stuck) {
            s->stuck = false;
            restart_at(g, s, s->stuck_at);
        }
    }
}

err_t group_poll(struct group *g, struct kafka_batch *batch, int timeout_ms)
{
    err_t e = g->consumer == NULL ? join(g) : ERR_OK;
    if (e == ERR_OK && g->to_start > 0) {
        err_t started = start_slots(g);
        if (started != ERR_OK) {
            log_limited(LOG_LEVEL_WARN, NULL, "partitions_not_started",
                        LOG_STR("group", g->options.name), LOG_ERR("error", started),
                        LOG_STR("text", kafka_consumer_error_text(g->consumer)));
        }
    }
    if (e == ERR_OK && g->some_stuck) {
        free_stuck(g);
    }
    if (e == ERR_OK) {
        e = kafka_consumer_poll(g->consumer, batch, timeout_ms);
    }
    if (e == ERR_FENCED) {
        log_warn(NULL, "membership_lost", LOG_STR("group", g->options.name),
                 LOG_STR("text", kafka_consumer_error_text(g->consumer)));
        kafka_batch_clear(batch);
        leave(g);
    }
    return e;
}

struct group_ticket group_take(struct group *g, const struct kafka_message *m)
{
    struct slot *s = slot_of(g, m->topic, m->partition);
    if (s == NULL || s->generation == 0 || s->parked) {
        return (struct group_ticket){0};
    }
    offsets_take(&s->offsets, m->offset);
    return (struct group_ticket){
        .slot = (uint32_t)(s - g->slots), .generation = s->generation, .offset = m->offset};
}

bool group_holds(const struct group *g, struct group_ticket ticket)
{
    return ticket.generation != 0 && g->slots[ticket.slot].generation == ticket.generation;
}

void group_done(struct group *g, struct group_ticket ticket)
{
    if (group_holds(g, ticket)) {
        offsets_done(&g->slots[ticket.slot].offsets, ticket.offset);
    }
}

void group_park(struct group *g, struct group_ticket ticket)
{
    if (!group_holds(g, ticket)) {
        return;
    }
    struct slot *s = &g->slots[ticket.slot];
    offsets_rewind(&s->offsets, ticket.offset);
    s->parked = true;
    err_t e = kafka_consumer_pause(g->consumer, topic_of(g, s), partition_number(g, s));
    if (e != ERR_OK) { /* what comes meanwhile is not taken; the partition is moved back anyway */
        log_debug("group", NULL, "not_paused", LOG_ERR("error", e));
    }
}

void group_rewind(struct group *g, struct group_ticket ticket)
{
    if (group_holds(g, ticket)) {
        struct slot *s = &g->slots[ticket.slot];
        offsets_rewind(&s->offsets, ticket.offset);
        restart_at(g, s, ticket.offset);
    }
}

void group_resume(struct group *g, struct group_ticket ticket)
{
    if (group_holds(g, ticket) && g->slots[ticket.slot].parked) {
        restart_at(g, &g->slots[ticket.slot], ticket.offset);
    }
}

/* ---- commit ---- */

err_t group_commit(struct group *g, int timeout_ms)
{
    CLEANUP_FREE struct kafka_offset *offsets = xcalloc(g->slots_count, sizeof *offsets);
    size_t count = 0;
    for (size_t i = 0; i < g->slots_count; i++) {
        struct slot *s = &g->slots[i];
        int64_t point = s->started ? offsets_commit_point(&s->offsets) : 0;
        if (s->started && point > s->committed) {
            offsets[count++] = (struct kafka_offset){topic_of(g, s), partition_number(g, s), point};
        }
    }
    if (count == 0) {
        return ERR_OK;
    }
    err_t e = kafka_consumer_commit(g->consumer, offsets, count, timeout_ms);
    for (size_t i = 0; i < count && e == ERR_OK; i++) {
        slot_of(g, offsets[i].topic, offsets[i].partition)->committed = offsets[i].offset;
    }
    return e;
}

err_t group_close(struct group *g, int timeout_ms)
{
    return g->consumer != NULL ? kafka_consumer_close(g->consumer, false, timeout_ms) : ERR_OK;
}

bool group_joined(const struct group *g)
{
    return atomic_load(&g->joined);
}
