#include "fanout.h"

#include <stdio.h>

#include "cloudevent.h"
#include "common/kafka_producer.h"
#include "common/log.h"
#include "common/partition.h"
#include "dead_letter.h"
#include "proto/topics.h"
#include "registry_view.h"

#define GROUP     "webhook-notifier.fanout"
#define BATCH_MAX 200
#define FLUSH_MS  5000
#define COMMIT_MS 2000
#define LINGER_MS 2

static const char *const topics[] = {TOPIC_EVENTS};

/* One event of the batch. */
struct work {
    const struct kafka_message *message; /* in the batch */
    struct group_ticket ticket;
    struct cloudevent event;
    size_t domain; /* index; only where the event has one */
};

struct fanout {
    struct fanout_options options;
    struct registry_view *registry;
    struct group *group;
    struct kafka_producer *producer;
    atomic_bool produce_failed; /* producer's thread */
    struct kafka_batch batch;
    struct work works[BATCH_MAX];
    size_t works_count;
    struct domain_webhooks domains[BATCH_MAX];
    size_t domains_count;
    struct metric *events;
    struct metric *deliveries;
    struct metric *refused;
};

/* Producer's thread. */
static void on_delivery(void *ctx, const struct kafka_delivery_report *report)
{
    struct fanout *f = ctx;
    if (report->result != ERR_OK) {
        atomic_store(&f->produce_failed, true);
    }
}

err_t fanout_new(const struct fanout_options *options, struct fanout **ret)
{
    CLEANUP(fanout_free) struct fanout *f = xcalloc(1, sizeof *f);
    f->options = *options;
    kafka_batch_init(&f->batch, BATCH_MAX);
    f->events = metrics_counter(options->metrics, "webhook_events_total",
                                "Lifecycle events looked at.", METRIC_NO_LABELS);
    f->deliveries = metrics_counter(options->metrics, "webhook_deliveries_created_total",
                                    "Deliveries that events led to.", METRIC_NO_LABELS);
    f->refused =
        metrics_counter(options->metrics, "webhook_events_refused_total",
                        "Events that are no CloudEvents, in the dead letters.", METRIC_NO_LABELS);
    f->group = group_new(&(struct group_options){.kafka = options->kafka,
                                                 .name = GROUP,
                                                 .instance = options->instance,
                                                 .topics = topics,
                                                 .topics_count = 1,
                                                 .partitions = options->partitions});
    err_t e =
        registry_view_new(&f->options.kafka, options->redis, options->partitions, &f->registry);
    if (e == ERR_OK) {
        *ret = TAKE(f);
    }
    return e;
}

static void forget_batch(struct fanout *f)
{
    for (size_t i = 0; i < f->works_count; i++) {
        cloudevent_deinit(&f->works[i].event);
    }
    for (size_t i = 0; i < f->domains_count; i++) {
        domain_webhooks_deinit(&f->domains[i]);
    }
    f->works_count = 0;
    f->domains_count = 0;
    kafka_batch_clear(&f->batch);
}

void fanout_free(struct fanout *f)
{
    if (f == NULL) {
        return;
    }
    forget_batch(f);
    kafka_batch_deinit(&f->batch);
    if (f->group != NULL) {
        group_free(f->group);
    }
    kafka_producer_free(f->producer);
    registry_view_free(f->registry);
    free(f);
}

/* ---- reading ---- */

static bool message_header(const void *ctx, const char *name, struct span *ret)
{
    return kafka_message_header(ctx, name, ret);
}

static err_t refuse_event(struct fanout *f, const struct kafka_message *m, err_t why,
                          const struct fault *fault)
{
    struct dead_letter letter;
    dead_letter_init(&letter, WEBHOOK_EVENTS_DLQ, m, why, fault);
    metric_inc(f->refused);
    log_limited(LOG_LEVEL_WARN, NULL, "event_dead_lettered", LOG_INT("partition", m->partition),
                LOG_INT("offset", m->offset), LOG_STR("field", fault->field),
                LOG_STR("text", fault->text));
    return kafka_producer_produce(f->producer, &letter.record);
}

static size_t domain_index(struct fanout *f, const char domain[UUID_TEXT_SIZE])
{
    for (size_t i = 0; i < f->domains_count; i++) {
        if (strcmp(f->domains[i].domain, domain) == 0) {
            return i;
        }
    }
    struct domain_webhooks *d = &f->domains[f->domains_count];
    *d = (struct domain_webhooks){0};
    memcpy(d->domain, domain, UUID_TEXT_SIZE);
    return f->domains_count++;
}

static err_t read_event(struct fanout *f, const struct kafka_message *m)
{
    struct fault fault = {0};
    struct work *w = &f->works[f->works_count];
    struct group_ticket ticket = group_take(f->group, m);
    const struct cloudevent_source source = {message_header, m, m->value};
    *w = (struct work){.message = m, .ticket = ticket};
    if (ticket.generation == 0) {
        return ERR_OK; /* no longer ours */
    }
    metric_inc(f->events);
    f->works_count++;
    err_t e = cloudevent_decode(&source, &w->event, &fault);
    if (e != ERR_OK) {
        return refuse_event(f, m, e, &fault);
    }
    if (w->event.domain[0] != '\0') {
        w->domain = domain_index(f, w->event.domain);
    }
    return ERR_OK;
}

/* ---- writing ---- */

static err_t write_delivery(struct fanout *f, const struct cloudevent *event,
                            const struct registry_webhook *webhook, int64_t now_ms)
{
    struct webhook_delivery delivery = {
        .type = WEBHOOK_DELIVERY_TYPE, .created_at = now_ms, .event = event->json};
    CLEANUP_BUF struct buf value = BUF_INIT(WEBHOOK_DELIVERY_MAX - WEBHOOK_DELIVERY_ROOM);
    (void)snprintf(delivery.webhook, sizeof delivery.webhook, "%s", webhook->id);
    (void)snprintf(delivery.domain, sizeof delivery.domain, "%s", event->domain);
    (void)snprintf(delivery.event_id, sizeof delivery.event_id, "%s", event->id);
    (void)snprintf(delivery.event_type, sizeof delivery.event_type, "%s", event->type);
    webhook_delivery_id(webhook->id, event->id, delivery.id);
    err_t e = codec_encode(&webhook_delivery_table, &delivery, &value);
    if (e != ERR_OK) {
        return e;
    }
    const struct kafka_record record = {
        .topic = TOPIC_WEBHOOK_REQUESTS,
        .partition = partition_of(span_str(webhook->id), f->options.partitions),
        .key = span_str(delivery.id),
        .value = buf_span(&value)};
    metric_inc(f->deliveries);
    return kafka_producer_produce(f->producer, &record);
}

static err_t write_deliveries(struct fanout *f, const struct work *w, int64_t now_ms)
{
    if (w->event.json == NULL || w->event.domain[0] == '\0') {
        return ERR_OK;
    }
    const struct domain_webhooks *d = &f->domains[w->domain];
    for (size_t i = 0; i < d->count; i++) {
        const struct registry_webhook *webhook = &d->records[i]->of.webhook;
        if (webhook->status != REGISTRY_WEBHOOK_ACTIVE ||
            !registry_webhook_wants(webhook, w->event.type)) {
            continue;
        }
        err_t e = write_delivery(f, &w->event, webhook, now_ms);
        while (e == ERR_BUSY) {
            e = kafka_producer_flush(f->producer, FLUSH_MS);
            e = e == ERR_OK ? write_delivery(f, &w->event, webhook, now_ms) : e;
        }
        if (e == ERR_TOO_LARGE) { /* as it would be for every other webhook */
            struct fault fault = {0};
            e = fault_set(&fault, e, "too_large", "data",
                          "must leave a delivery below %zu bytes when it is written out",
                          WEBHOOK_DELIVERY_MAX - WEBHOOK_DELIVERY_ROOM);
            return refuse_event(f, w->message, e, &fault);
        }
        if (e != ERR_OK) {
            return e;
        }
    }
    return ERR_OK;
}

static err_t ready_producer(struct fanout *f)
{
    if (f->producer != NULL && kafka_producer_is_broken(f->producer)) {
        kafka_producer_free(TAKE(f->producer));
    }
    if (f->producer != NULL) {
        return ERR_OK;
    }
    const struct kafka_producer_config config = {
        .linger_ms = LINGER_MS, .on_delivery = on_delivery, .ctx = f};
    return kafka_producer_new(&f->options.kafka, &config, NULL, &f->producer);
}

/* ---- one batch ---- */

static err_t process(struct fanout *f)
{
    err_t e = ready_producer(f);
    for (size_t i = 0; i < f->batch.count && e == ERR_OK; i++) {
        e = read_event(f, &f->batch.messages[i]);
    }
    if (e == ERR_OK) {
        e = registry_view_webhooks(f->registry, f->domains, f->domains_count);
    }
    int64_t now_ms = clock_now_ms(&clock_system);
    for (size_t i = 0; i < f->works_count && e == ERR_OK; i++) {
        e = write_deliveries(f, &f->works[i], now_ms);
    }
    /* also after an error, so that reports of this round do not count for the next */
    err_t flushed = f->producer != NULL ? kafka_producer_flush(f->producer, FLUSH_MS) : ERR_OK;
    bool failed = atomic_exchange(&f->produce_failed, false);
    if (e == ERR_OK) {
        e = flushed == ERR_OK && failed ? ERR_UNAVAILABLE : flushed;
    }
    return e;
}

/* Each partition goes back to its first message in the batch; all behind it comes again, too. */
static void put_back(struct fanout *f)
{
    const struct kafka_message *messages = f->batch.messages;
    for (size_t i = 0; i < f->batch.count; i++) {
        bool first = true;
        for (size_t k = 0; k < i && first; k++) {
            first = messages[k].partition != messages[i].partition;
        }
        if (first) {
            group_rewind(f->group, group_take(f->group, &messages[i]));
        }
    }
}

err_t fanout_step(struct fanout *f, int timeout_ms)
{
    err_t e = group_poll(f->group, &f->batch, timeout_ms);
    if (e == ERR_OK && f->batch.count > 0) {
        e = process(f);
        if (e != ERR_OK) {
            put_back(f);
        }
    }
    for (size_t i = 0; i < f->works_count && e == ERR_OK; i++) {
        group_done(f->group, f->works[i].ticket);
    }
    bool any = f->works_count > 0;
    forget_batch(f);
    if (e == ERR_OK && any && group_commit(f->group, COMMIT_MS) != ERR_OK) {
        log_limited(LOG_LEVEL_WARN, NULL, "offsets_not_committed", LOG_STR("group", GROUP));
    }
    return e;
}

void fanout_stop(struct fanout *f, int timeout_ms)
{
    if (group_close(f->group, timeout_ms) != ERR_OK) {
        log_warn(NULL, "group_not_left", LOG_STR("group", GROUP));
    }
}

bool fanout_joined(const struct fanout *f)
{
    return group_joined(f->group);
}
