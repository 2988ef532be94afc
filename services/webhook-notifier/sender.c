#include "sender.h"

#include "common/log.h"
#include "proto/topics.h"
#include "sender_internal.h"

#define GROUP       "webhook-notifier.send"
#define BATCH_MAX   200
#define IDLE_MS     50  /* longest wait when nothing is under way */
#define BUSY_MS     5   /* longest wait when something is */
#define COMMIT_MS   200 /* between two commits */
#define COMMIT_WAIT 2000
#define LOOK_MS     1000
#define REVOKED_MS  2000
#define CLOSE_MS    1500
#define FULL_MS     200 /* between two looks whether there is room again */

/* ---- taking ---- */

static void park(struct sender *s, struct group_ticket ticket, int64_t wait_ms, int64_t created_ms)
{
    s->parked[ticket.slot] =
        (struct parked){ticket, clock_mono_ms(&clock_system) + wait_ms, created_ms, true};
    group_park(s->group, ticket);
}

static void resume_due(struct sender *s)
{
    int64_t now_ms = clock_mono_ms(&clock_system);
    for (size_t i = 0; i < s->parked_count; i++) {
        struct parked *p = &s->parked[i];
        if (p->used && p->until_ms <= now_ms) {
            p->used = false;
            group_resume(s->group, p->ticket);
        }
    }
}

/* How long it has to wait yet. Nobody writes a time further away than its tier allows, so one that
 * is comes from a clock that has been set back, and would hold all behind it. */
static int64_t wait_of(const struct sender *s, const struct delivery *d)
{
    size_t topic = d->ticket.slot / (size_t)s->options.partitions;
    int64_t longest_ms = topic > 0 ? retry_longest_wait(&s->plan.tiers[topic - 1]) : 0;
    int64_t wait_ms = d->due_at - clock_now_ms(&clock_system);
    return wait_ms > 0 && wait_ms <= longest_ms ? wait_ms : 0;
}

static bool has_room(const struct sender *s, const struct endpoint *e)
{
    const struct config *c = s->options.config;
    const struct room limit = {(size_t)c->pending, (size_t)c->pending_bytes};
    return e->waiting < (size_t)c->endpoint_pending &&
           room_for(&s->in_hand, &e->in_hand, &limit, s->holders + (e->in_hand.count == 0));
}

static void take(struct sender *s, const struct kafka_message *m)
{
    const struct config *c = s->options.config;
    struct fault fault = {0};
    struct delivery *d = NULL;
    struct group_ticket ticket = group_take(s->group, m);
    if (ticket.generation == 0) {
        return; /* behind a parked one, or no longer ours: it comes again */
    }
    if (outbox_waiting(s->outbox) >= (size_t)c->pending) {
        park(s, ticket, FULL_MS, 0); /* Kafka gives, but does not take */
        return;
    }
    err_t err = delivery_new(m, ticket, &d, &fault);
    if (err != ERR_OK) {
        delivery_dead_letter(&s->settle, m, ticket, err, &fault);
        return;
    }
    int64_t wait_ms = wait_of(s, d);
    if (wait_ms > 0) {
        park(s, ticket, wait_ms, d->created_at);
        delivery_free(d);
        return;
    }
    struct endpoint *e =
        endpoints_get(s->endpoints, d->webhook, d->domain, clock_mono_ms(&clock_system));
    endpoint_recall(e, d->failing_since);
    d->endpoint = e;
    bool fits = has_room(s, e);
    sender_hold(s, d);
    if (!fits) {
        sender_overflow(s, d);
        return;
    }
    endpoint_push(e, d);
    endpoints_mark_busy(s->endpoints, e);
}

/* ---- the round ---- */

static void stored(void *ctx, struct group_ticket ticket)
{
    struct sender *s = ctx;
    group_done(s->group, ticket);
}

static void commit(struct sender *s, int64_t now_ms)
{
    if (now_ms < s->commit_after_ms) {
        return;
    }
    s->commit_after_ms = now_ms + COMMIT_MS;
    if (group_commit(s->group, COMMIT_WAIT) != ERR_OK) {
        s->commit_after_ms = clock_mono_ms(&clock_system) + COMMIT_WAIT;
        log_limited(LOG_LEVEL_WARN, NULL, "offsets_not_committed", LOG_STR("group", GROUP));
    }
}

static void look(struct sender *s, int64_t mono_ms)
{
    int64_t now_ms = clock_now_ms(&clock_system);
    int64_t oldest_ms = now_ms;
    if (mono_ms < s->look_after_ms) {
        return;
    }
    s->look_after_ms = mono_ms + LOOK_MS;
    for (const struct delivery *d = s->all; d != NULL; d = d->all_next) {
        oldest_ms = d->created_at < oldest_ms ? d->created_at : oldest_ms;
    }
    for (size_t i = 0; i < s->parked_count; i++) {
        const struct parked *p = &s->parked[i];
        if (p->used && group_holds(s->group, p->ticket) && p->created_ms > 0 &&
            p->created_ms < oldest_ms) {
            oldest_ms = p->created_ms;
        }
    }
    metric_set(s->metrics.oldest_s, (now_ms - oldest_ms) / 1000);
    metric_set(s->metrics.in_hand, (int64_t)s->in_hand.count);
    metric_set(s->metrics.endpoints, (int64_t)endpoints_count(s->endpoints));
    metric_set(s->metrics.open_breakers, (int64_t)endpoints_open_breakers(s->endpoints));
    /* what lies on a tier remembers since when its endpoint fails: nothing is lost with that */
    endpoints_forget_idle(s->endpoints, mono_ms,
                          2 * retry_longest_wait(&s->plan.tiers[s->plan.count - 1]));
}

static void move(struct sender *s)
{
    endpoints_each_busy(s->endpoints, sender_serve, s);
    transfers_run(s->transfers, s->in_flight > 0 ? BUSY_MS : 0);
    outbox_step(s->outbox);
    metric_set(s->metrics.in_flight, (int64_t)s->in_flight);
}

err_t sender_step(struct sender *s)
{
    bool busy = s->in_flight > 0 || outbox_waiting(s->outbox) > 0;
    resume_due(s);
    err_t err = group_poll(s->group, &s->batch, busy ? 0 : IDLE_MS);
    for (size_t i = 0; i < s->batch.count; i++) {
        take(s, &s->batch.messages[i]);
    }
    kafka_batch_clear(&s->batch);
    move(s);
    if (busy && s->in_flight == 0 && outbox_waiting(s->outbox) > 0) {
        outbox_wait(s->outbox, BUSY_MS);
    }
    int64_t now_ms = clock_mono_ms(&clock_system);
    commit(s, now_ms);
    look(s, now_ms);
    return err;
}

/* ---- beginning and end ---- */

static void settle_for(struct sender *s, int timeout_ms)
{
    int64_t until_ms = clock_mono_ms(&clock_system) + timeout_ms;
    outbox_step(s->outbox);
    while (outbox_waiting(s->outbox) > 0 && clock_mono_ms(&clock_system) < until_ms) {
        outbox_wait(s->outbox, BUSY_MS);
        outbox_step(s->outbox);
    }
}

/* What ended is stored and committed before the partitions go; what is under way ends here, and is
 * done again by whoever has the partition then. */
static void revoked(void *ctx)
{
    settle_for(ctx, REVOKED_MS);
}

void sender_stop(struct sender *s, int timeout_ms)
{
    int64_t until_ms = clock_mono_ms(&clock_system) + timeout_ms - REVOKED_MS - CLOSE_MS;
    while (s->in_flight > 0 && clock_mono_ms(&clock_system) < until_ms) {
        transfers_run(s->transfers, BUSY_MS);
        outbox_step(s->outbox);
    }
    transfers_free(TAKE(s->transfers));
    while (s->all != NULL) {
        sender_give_back(s, s->all);
    }
    settle_for(s, REVOKED_MS);
    log_info(NULL, "sender_stopped", LOG_UINT("not_stored", outbox_waiting(s->outbox)));
    if (group_commit(s->group, CLOSE_MS / 2) != ERR_OK ||
        group_close(s->group, CLOSE_MS / 2) != ERR_OK) {
        log_warn(NULL, "group_not_left", LOG_STR("group", GROUP));
    }
}

static void name_topics(struct sender *s)
{
    s->topics[0] = TOPIC_WEBHOOK_REQUESTS;
    for (size_t i = 0; i < s->plan.count; i++) {
        s->topics[i + 1] = s->plan.tiers[i].topic;
    }
    s->parked_count = (s->plan.count + 1) * (size_t)s->options.partitions;
    s->parked = xcalloc(s->parked_count, sizeof *s->parked);
}

static err_t make_parts(struct sender *s)
{
    const struct config *c = s->options.config;
    s->group = group_new(&(struct group_options){.kafka = s->options.kafka,
                                                 .name = GROUP,
                                                 .instance = c->common.instance,
                                                 .topics = s->topics,
                                                 .topics_count = s->plan.count + 1,
                                                 .partitions = s->options.partitions,
                                                 .revoked = revoked,
                                                 .ctx = s});
    s->outbox =
        outbox_new(&(struct outbox_options){.kafka = s->options.kafka, .stored = stored, .ctx = s});
    s->settle = (struct settle_context){&s->plan, s->options.partitions, s->outbox};
    err_t err = transfers_new(
        &(struct transfers_options){.allow_private = c->allow_private,
                                    .allow_http = c->allow_http || c->allow_private,
                                    .ca_file = c->ca_file[0] != '\0' ? c->ca_file : NULL,
                                    .connect_timeout_ms = (long)c->connect_timeout_ms,
                                    .timeout_ms = (long)c->timeout_ms,
                                    .connections_kept = (long)c->in_flight,
                                    .done = sender_finished,
                                    .ctx = s},
        &s->transfers);
    if (err == ERR_OK) {
        err = registry_view_new(&s->options.kafka, s->options.redis, s->options.partitions,
                                &s->registry);
    }
    if (err == ERR_OK) {
        s->endpoints = endpoints_new(s->registry, s->options.kek);
    }
    return err;
}

err_t sender_new(const struct sender_options *options, struct sender **ret)
{
    CLEANUP(sender_free) struct sender *s = xcalloc(1, sizeof *s);
    s->options = *options;
    kafka_batch_init(&s->batch, BATCH_MAX);
    err_t err =
        retry_plan_parse(options->config->retry_tiers, options->config->give_up_ms, &s->plan);
    if (err != ERR_OK) {
        return err;
    }
    sender_metrics_init(&s->metrics, options->metrics);
    name_topics(s);
    err = make_parts(s);
    if (err == ERR_OK) {
        *ret = TAKE(s);
    }
    return err;
}

void sender_free(struct sender *s)
{
    if (s == NULL) {
        return;
    }
    transfers_free(s->transfers);
    while (s->all != NULL) {
        struct delivery *d = s->all;
        sender_let_go(s, d);
        delivery_free(d);
    }
    if (s->endpoints != NULL) {
        endpoints_free(s->endpoints);
    }
    if (s->outbox != NULL) {
        outbox_free(s->outbox);
    }
    if (s->group != NULL) {
        group_free(s->group);
    }
    registry_view_free(s->registry);
    kafka_batch_deinit(&s->batch);
    free(s->parked);
    free(s);
}

bool sender_joined(const struct sender *s)
{
    return group_joined(s->group);
}
