#include "device_orders.h"

#include <stdio.h>

#include "common/json.h"
#include "common/partition.h"
#include "proto/envelope.h"
#include "proto/topics.h"

#define REQUEST_BYTES 4096
#define SETTLE_MS     10000

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
                                .time_ms = clock_now_ms(o->clock),
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
    const struct kafka_record record = {.topic = TOPIC_DEVICE_REQUESTS,
                                        .partition =
                                            partition_of(span_str(body->uid), o->partitions),
                                        .key = span_str(body->uid),
                                        .value = buf_span(&value)};
    return kafka_producer_produce(o->producer, &record);
}

err_t device_orders_settle(struct device_orders *o)
{
    return kafka_producer_flush(o->producer, SETTLE_MS);
}
