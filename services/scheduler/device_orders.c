#include "device_orders.h"

#include <stdio.h>

#include "common/json.h"
#include "common/partition.h"
#include "proto/envelope.h"
#include "proto/order.h"
#include "proto/topics.h"

#define REQUEST_BYTES 4096
#define LINGER_MS     2
#define SETTLE_MS     10000
#define SLICE_MS      200 /* of that, between two looks whether to stop */

struct device_orders {
    struct device_orders_options options;
    struct kafka_producer *producer; /* NULL: to be made */
    atomic_bool lost;                /* producer's thread: a record is not stored */
};

/* Producer's thread. */
static void on_delivery(void *ctx, const struct kafka_delivery_report *report)
{
    struct device_orders *o = ctx;
    if (report->result != ERR_OK) {
        atomic_store(&o->lost, true);
    }
}

struct device_orders *device_orders_new(const struct device_orders_options *options)
{
    struct device_orders *o = xcalloc(1, sizeof *o);
    o->options = *options;
    return o;
}

void device_orders_free(struct device_orders *o)
{
    if (o != NULL) {
        kafka_producer_free(o->producer);
        free(o);
    }
}

int32_t device_orders_partitions(const struct device_orders *o)
{
    return o->options.partitions;
}

const struct clock *device_orders_clock(const struct device_orders *o)
{
    return o->options.clock;
}

/* ---- producing ---- */

static err_t ready_producer(struct device_orders *o)
{
    if (o->producer != NULL && kafka_producer_is_broken(o->producer)) {
        kafka_producer_free(TAKE(o->producer)); /* reports what it held as lost */
    }
    if (o->producer != NULL) {
        return ERR_OK;
    }
    const struct kafka_producer_config config = {
        .linger_ms = LINGER_MS, .on_delivery = on_delivery, .ctx = o};
    return kafka_producer_new(&o->options.kafka, &config, NULL, &o->producer);
}

static err_t produce(struct device_orders *o, const struct kafka_record *record)
{
    err_t e = ready_producer(o);
    return e == ERR_OK ? kafka_producer_produce(o->producer, record) : e;
}

static cJSON *body_json(const struct device_renew_body *body)
{
    CLEANUP_BUF struct buf text = BUF_INIT(REQUEST_BYTES);
    cJSON *json = NULL;
    if (codec_encode(&device_renew_body_table, body, &text) != ERR_OK ||
        json_decode(buf_span(&text), &JSON_LIMITS_DEFAULT, &json, NULL) != ERR_OK) {
        abort(); /* our own struct, our own table */
    }
    return json;
}

err_t device_orders_renew(struct device_orders *o, const struct uuid *id, const struct uuid *domain,
                          const struct device_renew_body *body)
{
    struct envelope envelope = {.type = DEVICE_REQUEST_RENEW,
                                .time_ms = clock_now_ms(o->options.clock),
                                .actor_kind = "scheduler",
                                .actor_id = "order"};
    CLEANUP_JSON cJSON *json = body_json(body);
    CLEANUP_BUF struct buf value = BUF_INIT(REQUEST_BYTES);
    uuid_format(id, envelope.id);
    uuid_format(domain, envelope.domain);
    if (body->automatic) {
        (void)snprintf(envelope.actor_id, sizeof envelope.actor_id, "automatic");
    }
    err_t e = envelope_encode(&envelope, json, &value);
    if (e != ERR_OK) {
        return e;
    }
    const struct kafka_record record = {
        .topic = TOPIC_DEVICE_REQUESTS,
        .partition = partition_of(span_str(body->uid), o->options.partitions),
        .key = span_str(body->uid),
        .value = buf_span(&value)};
    return produce(o, &record);
}

err_t device_orders_progress(struct device_orders *o, int32_t partition, const struct uuid *order,
                             const struct uuid *domain, int32_t cursor)
{
    char key[UUID_TEXT_SIZE];
    char number[16];
    struct envelope envelope = {.type = ORDER_REQUEST_PROGRESS,
                                .time_ms = clock_now_ms(o->options.clock),
                                .actor_kind = "scheduler",
                                .actor_id = "feeder"};
    (void)snprintf(number, sizeof number, "%d", (int)cursor);
    struct uuid id = UUID_V5(uuid_span(order), span_str("progress"), span_str(number));
    uuid_format(&id, envelope.id);
    uuid_format(domain, envelope.domain);
    uuid_format(order, key);
    CLEANUP_JSON cJSON *body = cJSON_CreateObject();
    (void)cJSON_AddStringToObject(body, "order", key);
    (void)cJSON_AddNumberToObject(body, "cursor", cursor);
    CLEANUP_BUF struct buf value = BUF_INIT(REQUEST_BYTES);
    err_t e = envelope_encode(&envelope, body, &value);
    const struct kafka_record record = {.topic = TOPIC_ORDER_REQUESTS,
                                        .partition = partition,
                                        .key = span_str(key),
                                        .value = buf_span(&value)};
    return e == ERR_OK ? produce(o, &record) : e;
}

err_t device_orders_settle(struct device_orders *o)
{
    err_t e = o->producer != NULL ? ERR_TIMEOUT : ERR_OK;
    for (int waited = 0; e == ERR_TIMEOUT && waited < SETTLE_MS; waited += SLICE_MS) {
        e = kafka_producer_flush(o->producer, SLICE_MS);
        if (e == ERR_TIMEOUT && atomic_load(o->options.stopping)) {
            return ERR_STOPPING;
        }
    }
    /* What is still under way may be told as lost after this round, and then costs the next one a
     * repeat. */
    bool lost = atomic_exchange(&o->lost, false);
    return e == ERR_OK && lost ? ERR_UNAVAILABLE : e;
}
