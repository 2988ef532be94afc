#include "delivery.h"

#include <stdio.h>

#include "common/log.h"
#include "common/partition.h"
#include "dead_letter.h"
#include "proto/envelope.h"
#include "proto/registry.h"
#include "proto/topics.h"

#define REQUEST_BYTES 4096
#define ATTEMPT_BYTES 16384
#define GROWTH_MAX    8 /* what we write is shorter than this many times what we read */

/* What we write of a record is not always as short as what came: 0.1 has 17 digits, 1e15 has 16. It
 * must fit wherever the record goes. */
static err_t check_size(const struct webhook_delivery *record, size_t len, struct fault *fault)
{
    if (len <= WEBHOOK_DELIVERY_MAX / GROWTH_MAX) {
        return ERR_OK;
    }
    CLEANUP_BUF struct buf value = BUF_INIT(WEBHOOK_DELIVERY_MAX - WEBHOOK_DELIVERY_ROOM);
    if (codec_encode(&webhook_delivery_table, record, &value) != ERR_OK) {
        return fault_set(fault, ERR_TOO_LARGE, "too_large", "event",
                         "must have at most %zu bytes when it is written out",
                         WEBHOOK_DELIVERY_MAX - WEBHOOK_DELIVERY_ROOM);
    }
    return ERR_OK;
}

err_t delivery_new(const struct kafka_message *m, struct group_ticket ticket, struct delivery **ret,
                   struct fault *fault)
{
    struct webhook_delivery record;
    err_t e = webhook_delivery_decode(m->value, &record, fault);
    if (e != ERR_OK) {
        return e;
    }
    e = check_size(&record, m->value.len, fault);
    if (e != ERR_OK) {
        codec_free(&webhook_delivery_table, &record);
        return e;
    }
    struct delivery *d = xcalloc(1, sizeof *d + m->value.len);
    d->ticket = ticket;
    memcpy(d->webhook, record.webhook, sizeof d->webhook);
    memcpy(d->domain, record.domain, sizeof d->domain);
    d->attempts = record.attempts;
    d->deferred = record.deferred;
    d->created_at = record.created_at;
    d->due_at = record.due_at;
    d->failing_since = record.failing_since;
    d->len = m->value.len;
    memcpy(d->value, m->value.ptr, m->value.len);
    codec_free(&webhook_delivery_table, &record);
    *ret = d;
    return ERR_OK;
}

void delivery_free(struct delivery *d)
{
    free(d);
}

/* It was decoded once; the same bytes decode again. */
static void decode_again(const struct delivery *d, struct webhook_delivery *ret)
{
    if (webhook_delivery_decode(span_of(d->value, d->len), ret, NULL) != ERR_OK) {
        abort();
    }
}

err_t delivery_body(const struct delivery *d, char ret_id[UUID_TEXT_SIZE], struct buf *body)
{
    struct webhook_delivery record;
    decode_again(d, &record);
    memcpy(ret_id, record.id, UUID_TEXT_SIZE);
    err_t e = json_encode(record.event, body);
    codec_free(&webhook_delivery_table, &record);
    return e;
}

/* ---- putting down ---- */

static void add_record(const struct settle_context *c, struct parcel *parcel, const char *topic,
                       const struct webhook_delivery *record, struct span value)
{
    const struct kafka_record out = {.topic = topic,
                                     .partition =
                                         partition_of(span_str(record->webhook), c->partitions),
                                     .key = span_str(record->id),
                                     .value = value};
    parcel_add(parcel, &out);
}

static void add_attempt(const struct settle_context *c, struct parcel *parcel,
                        const struct webhook_delivery *record, const struct settlement *s)
{
    struct webhook_attempt a = {.type = WEBHOOK_ATTEMPT_TYPE,
                                .attempt = s->attempted ? record->attempts : 0,
                                .at = s->now_ms,
                                .outcome = s->outcome,
                                .next_at = s->retry ? s->choice.due_ms : 0};
    memcpy(a.webhook, record->webhook, sizeof a.webhook);
    memcpy(a.domain, record->domain, sizeof a.domain);
    memcpy(a.event, record->event_id, sizeof a.event);
    memcpy(a.event_type, record->event_type, sizeof a.event_type);
    memcpy(a.delivery, record->id, sizeof a.delivery);
    if (s->result != NULL) {
        a.at = s->now_ms - s->result->duration_ms;
        a.status = (int32_t)s->result->status;
        a.duration_ms = s->result->duration_ms;
        memcpy(a.error, s->result->error, sizeof a.error);
        memcpy(a.response, s->result->response, sizeof a.response);
    } else {
        (void)snprintf(a.error, sizeof a.error, "%s", s->error);
    }
    CLEANUP_BUF struct buf value = BUF_INIT(ATTEMPT_BYTES);
    if (codec_encode(&webhook_attempt_table, &a, &value) != ERR_OK) {
        abort(); /* our own struct, within our own limits */
    }
    add_record(c, parcel, TOPIC_WEBHOOK_DELIVERIES, record, buf_span(&value));
}

static void add_retry(const struct settle_context *c, struct parcel *parcel,
                      struct webhook_delivery *record, const struct settlement *s)
{
    CLEANUP_BUF struct buf value = BUF_INIT(WEBHOOK_DELIVERY_MAX + ATTEMPT_BYTES);
    record->due_at = s->choice.due_ms;
    record->failing_since = s->failing_since;
    if (codec_encode(&webhook_delivery_table, record, &value) != ERR_OK) {
        abort(); /* as it came, with other numbers */
    }
    add_record(c, parcel, c->plan->tiers[s->choice.tier].topic, record, buf_span(&value));
}

static void add_disable(const struct settle_context *c, struct parcel *parcel,
                        const struct webhook_delivery *record, const struct settlement *s)
{
    struct envelope envelope = {.type = REGISTRY_REQUEST_WEBHOOK_DISABLE,
                                .time_ms = s->now_ms,
                                .actor_kind = "service",
                                .actor_id = "webhook-notifier"};
    struct uuid id = UUID_V5(span_str(record->webhook), span_str("disable"), span_str(record->id));
    CLEANUP_JSON cJSON *body = cJSON_CreateObject();
    CLEANUP_BUF struct buf value = BUF_INIT(REQUEST_BYTES);
    uuid_format(&id, envelope.id);
    memcpy(envelope.domain, record->domain, sizeof envelope.domain);
    (void)cJSON_AddStringToObject(body, "id", record->webhook);
    (void)cJSON_AddStringToObject(body, "reason", s->disable);
    if (envelope_encode(&envelope, body, &value) != ERR_OK) {
        abort(); /* our own struct, within our own limits */
    }
    const struct kafka_record out = {.topic = TOPIC_REGISTRY_REQUESTS,
                                     .partition =
                                         partition_of(span_str(record->domain), c->partitions),
                                     .key = span_str(record->domain),
                                     .value = buf_span(&value)};
    parcel_add(parcel, &out);
}

void delivery_settle(const struct settle_context *c, struct delivery *d, const struct settlement *s)
{
    struct webhook_delivery record;
    decode_again(d, &record);
    record.attempts += s->attempted && record.attempts < WEBHOOK_ATTEMPTS_MAX;
    record.deferred += s->deferred && record.deferred < WEBHOOK_ATTEMPTS_MAX;
    struct parcel *parcel = parcel_new(d->ticket);
    if (s->told) {
        add_attempt(c, parcel, &record, s);
    }
    if (s->disable != NULL) {
        add_disable(c, parcel, &record, s);
    }
    if (s->retry) {
        add_retry(c, parcel, &record, s);
    }
    codec_free(&webhook_delivery_table, &record);
    delivery_free(d);
    outbox_send(c->outbox, parcel);
}

void delivery_dead_letter(const struct settle_context *c, const struct kafka_message *m,
                          struct group_ticket ticket, err_t why, const struct fault *fault)
{
    struct dead_letter letter;
    dead_letter_init(&letter, WEBHOOK_REQUESTS_DLQ, m, why, fault);
    log_limited(LOG_LEVEL_WARN, NULL, "delivery_dead_lettered", LOG_STR("topic", m->topic),
                LOG_INT("partition", m->partition), LOG_INT("offset", m->offset),
                LOG_STR("field", fault->field), LOG_STR("text", fault->text));
    struct parcel *parcel = parcel_new(ticket);
    parcel_add(parcel, &letter.record);
    outbox_send(c->outbox, parcel);
}
