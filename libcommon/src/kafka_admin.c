#include "common/kafka_admin.h"

#include <poll.h>

#include "kafka_internal.h"

#define RETRY_PAUSE_MS    20
#define METADATA_SLICE_MS 1000

CLEANUP_DEFINE(rd_kafka_NewTopic_t *, rd_kafka_NewTopic_destroy);
CLEANUP_DEFINE(rd_kafka_DeleteTopic_t *, rd_kafka_DeleteTopic_destroy);
CLEANUP_DEFINE(rd_kafka_AdminOptions_t *, rd_kafka_AdminOptions_destroy);
CLEANUP_DEFINE(rd_kafka_event_t *, rd_kafka_event_destroy);

struct kafka_admin {
    struct kafka_client client; /* first: librdkafka's opaque */
};

err_t kafka_admin_new(const struct kafka_config *config, struct fault *ret_fault,
                      struct kafka_admin **ret)
{
    CLEANUP(kafka_admin_free) struct kafka_admin *a = xcalloc(1, sizeof *a);
    struct kafka_settings s = kafka_settings_begin(config, ret_fault);
    err_t e = kafka_client_start(&a->client, &s, RD_KAFKA_PRODUCER, config);
    if (e != ERR_OK) {
        return e;
    }
    *ret = TAKE(a);
    return ERR_OK;
}

void kafka_admin_free(struct kafka_admin *a)
{
    if (a != NULL) {
        kafka_client_stop(&a->client, 0);
        free(a);
    }
}

static int slice_ms(int64_t deadline)
{
    int left = kafka_remaining_ms(deadline);
    return left < METADATA_SLICE_MS ? left : METADATA_SLICE_MS;
}

err_t kafka_admin_wait(struct kafka_admin *a, int timeout_ms)
{
    int64_t deadline = kafka_deadline(timeout_ms);
    while (kafka_remaining_ms(deadline) > 0) {
        const struct rd_kafka_metadata *metadata = NULL;
        if (rd_kafka_metadata(a->client.rk, 0, NULL, &metadata, slice_ms(deadline)) ==
            RD_KAFKA_RESP_ERR_NO_ERROR) {
            rd_kafka_metadata_destroy(metadata);
            return ERR_OK;
        }
        (void)poll(NULL, 0, RETRY_PAUSE_MS);
    }
    return ERR_TIMEOUT;
}

err_t kafka_admin_partition_count(struct kafka_admin *a, const char *topic, int timeout_ms,
                                  int32_t *ret_count)
{
    return kafka_client_partition_count(&a->client, topic, timeout_ms, ret_count);
}

static err_t wait_for_leaders(struct kafka_admin *a, const struct kafka_topic *topic,
                              int64_t deadline)
{
    while (kafka_remaining_ms(deadline) > 0) {
        int32_t count = 0;
        int32_t led = 0;
        rd_kafka_resp_err_t code =
            kafka_client_count(&a->client, topic->name, slice_ms(deadline), &count, &led);
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR && led == topic->partitions) {
            return ERR_OK;
        }
        (void)poll(NULL, 0, RETRY_PAUSE_MS);
    }
    return ERR_TIMEOUT;
}

/* Waits for the answer to one admin request and judges its only topic. */
static err_t topic_result(rd_kafka_queue_t *queue, int timeout_ms, struct fault *fault)
{
    CLEANUP(rd_kafka_event_destroy)
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, timeout_ms);
    if (event == NULL) {
        return fault_set(fault, ERR_TIMEOUT, "kafka_topic", "", "no answer in time");
    }
    rd_kafka_resp_err_t code = rd_kafka_event_error(event);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return fault_set(fault, kafka_translate(code), "kafka_topic", "", "%s",
                         rd_kafka_event_error_string(event));
    }
    size_t n = 0;
    const rd_kafka_topic_result_t **results =
        rd_kafka_event_type(event) == RD_KAFKA_EVENT_CREATETOPICS_RESULT
            ? rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &n)
            : rd_kafka_DeleteTopics_result_topics(rd_kafka_event_DeleteTopics_result(event), &n);
    if (n != 1) {
        return fault_set(fault, ERR_INTERNAL, "kafka_topic", "", "an answer without the topic");
    }
    code = rd_kafka_topic_result_error(results[0]);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        return ERR_OK;
    }
    const char *text = rd_kafka_topic_result_error_string(results[0]);
    return fault_set(fault, kafka_translate(code), "kafka_topic",
                     rd_kafka_topic_result_name(results[0]), "%s",
                     text != NULL ? text : rd_kafka_err2str(code));
}

static rd_kafka_AdminOptions_t *options(struct kafka_admin *a, rd_kafka_admin_op_t op,
                                        int timeout_ms)
{
    char text[KAFKA_ERROR_TEXT_MAX];
    rd_kafka_AdminOptions_t *o = rd_kafka_AdminOptions_new(a->client.rk, op);
    /* both can only fail for a time beyond hours; the request then has its default */
    (void)rd_kafka_AdminOptions_set_request_timeout(o, timeout_ms, text, sizeof text);
    (void)rd_kafka_AdminOptions_set_operation_timeout(o, timeout_ms, text, sizeof text);
    return o;
}

err_t kafka_admin_create_topic(struct kafka_admin *a, const struct kafka_topic *topic,
                               int timeout_ms, struct fault *ret_fault)
{
    int64_t deadline = kafka_deadline(timeout_ms);
    char text[KAFKA_ERROR_TEXT_MAX];
    CLEANUP(rd_kafka_NewTopic_destroy)
    rd_kafka_NewTopic_t *wanted =
        rd_kafka_NewTopic_new(topic->name, topic->partitions, topic->replicas, text, sizeof text);
    if (wanted == NULL) {
        return fault_set(ret_fault, ERR_INVALID, "kafka_topic", topic->name, "%s", text);
    }
    for (size_t i = 0; i < topic->settings_count; i++) {
        if (rd_kafka_NewTopic_set_config(wanted, topic->settings[i].name,
                                         topic->settings[i].value) != 0) {
            return fault_set(ret_fault, ERR_INVALID, "kafka_topic", topic->settings[i].name,
                             "refused");
        }
    }
    CLEANUP(rd_kafka_AdminOptions_destroy)
    rd_kafka_AdminOptions_t *o = options(a, RD_KAFKA_ADMIN_OP_CREATETOPICS, timeout_ms);
    CLEANUP(rd_kafka_queue_destroy)
    rd_kafka_queue_t *queue = rd_kafka_queue_new(a->client.rk);
    rd_kafka_CreateTopics(a->client.rk, &wanted, 1, o, queue);
    err_t e = topic_result(queue, kafka_remaining_ms(deadline), ret_fault);
    if (e != ERR_OK) {
        return e;
    }
    e = wait_for_leaders(a, topic, deadline);
    return e == ERR_OK ? ERR_OK
                       : fault_set(ret_fault, e, "kafka_topic", topic->name, "no leaders in time");
}

err_t kafka_admin_delete_topic(struct kafka_admin *a, const char *topic, int timeout_ms,
                               struct fault *ret_fault)
{
    CLEANUP(rd_kafka_DeleteTopic_destroy)
    rd_kafka_DeleteTopic_t *victim = rd_kafka_DeleteTopic_new(topic);
    CLEANUP(rd_kafka_AdminOptions_destroy)
    rd_kafka_AdminOptions_t *o = options(a, RD_KAFKA_ADMIN_OP_DELETETOPICS, timeout_ms);
    CLEANUP(rd_kafka_queue_destroy)
    rd_kafka_queue_t *queue = rd_kafka_queue_new(a->client.rk);
    rd_kafka_DeleteTopics(a->client.rk, &victim, 1, o, queue);
    return topic_result(queue, timeout_ms, ret_fault);
}
