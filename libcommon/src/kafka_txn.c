#include "common/kafka_txn.h"

#include <assert.h>
#include <stdio.h>

#include "kafka_internal.h"

#define DEFAULT_QUEUE_KBYTES   32768
#define DEFAULT_QUEUE_MESSAGES 100000
#define SOCKET_TIMEOUT_LESS_MS 500 /* librdkafka asks for at least 100 below the transaction's */
#define FREE_FLUSH_MS          1000
#define RETRY_PAUSE_MS         10
#define OFFSET_UNKNOWN         INT64_C(-1)

struct kafka_txn {
    struct kafka_client client; /* first: librdkafka's opaque */
    struct kafka_delivery *deliveries;
    size_t produced;
    size_t capacity;
    size_t delivered; /* with an offset */
    bool committed;
};

/* Inside poll, commit and abort, on the owner's thread. The opaque is the record's number + 1. */
static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque)
{
    (void)rk;
    struct kafka_txn *t = opaque;
    size_t i = (size_t)(uintptr_t)message->_private - 1;
    if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR && i < t->produced) {
        t->deliveries[i].offset = message->offset;
        t->delivered++;
    } /* a failed one makes the transaction abortable by itself */
}

static void set_all(struct kafka_settings *s, const struct kafka_txn_config *txn)
{
    int timeout_ms = kafka_int_or(txn->transaction_timeout_ms, KAFKA_TRANSACTION_MS);
    kafka_set(s, "transactional.id", txn->transactional_id);
    kafka_set_int(s, "transaction.timeout.ms", timeout_ms);
    kafka_set_int(s, "message.timeout.ms", timeout_ms);
    kafka_set_int(s, "socket.timeout.ms", timeout_ms - SOCKET_TIMEOUT_LESS_MS);
    kafka_set(s, "acks", "all"); /* globally: in a topic's settings it crashes 2.0.2 */
    kafka_set(s, "enable.idempotence", "true");
    /* a transaction begun while the markers of the last are being written is told to wait; with
     * the default of 100 ms that wait doubles its cost */
    kafka_set(s, "retry.backoff.ms", "2");
    kafka_set_int(s, "linger.ms", txn->linger_ms);
    kafka_set(s, "compression.type", "lz4");
    kafka_set_int(s, "queue.buffering.max.kbytes",
                  kafka_int_or(txn->queue_max_kbytes, DEFAULT_QUEUE_KBYTES));
    kafka_set_int(s, "queue.buffering.max.messages",
                  kafka_int_or(txn->queue_max_messages, DEFAULT_QUEUE_MESSAGES));
    rd_kafka_conf_set_dr_msg_cb(s->conf, on_delivery);
}

err_t kafka_txn_new(const struct kafka_config *config, const struct kafka_txn_config *txn,
                    struct fault *ret_fault, struct kafka_txn **ret)
{
    CLEANUP(kafka_txn_free) struct kafka_txn *t = xcalloc(1, sizeof *t);
    struct kafka_settings s = kafka_settings_begin(config, ret_fault);
    set_all(&s, txn);
    err_t e = kafka_client_start(&t->client, &s, RD_KAFKA_PRODUCER, config);
    if (e != ERR_OK) {
        return e;
    }
    *ret = TAKE(t);
    return ERR_OK;
}

void kafka_txn_free(struct kafka_txn *t)
{
    if (t == NULL) {
        return;
    }
    if (t->client.rk != NULL) {
        /* what is still queued would otherwise be waited for */
        (void)rd_kafka_purge(t->client.rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
        (void)rd_kafka_flush(t->client.rk, FREE_FLUSH_MS);
    }
    kafka_client_stop(&t->client, 0);
    free(t->deliveries);
    free(t);
}

err_t kafka_txn_warm_up(struct kafka_txn *t, const char *const *topics, size_t count,
                        int timeout_ms)
{
    return kafka_client_warm_up(&t->client, topics, count, timeout_ms);
}

err_t kafka_txn_partition_count(struct kafka_txn *t, const char *topic, int timeout_ms,
                                int32_t *ret_count)
{
    return kafka_client_partition_count(&t->client, topic, timeout_ms, ret_count);
}

const char *kafka_txn_error_text(const struct kafka_txn *t)
{
    return t->client.error;
}

/* The ladder, in this order; consumes `error`. */
static err_t judge(struct kafka_txn *t, const char *what, rd_kafka_error_t *error)
{
    if (error == NULL) {
        return ERR_OK;
    }
    err_t e = ERR_FENCED;
    if (rd_kafka_error_txn_requires_abort(error)) {
        e = ERR_CONFLICT;
    } else if (rd_kafka_error_is_retriable(error)) {
        e = ERR_TIMEOUT;
    }
    (void)kafka_client_error(&t->client, e, what, rd_kafka_error_string(error));
    rd_kafka_error_destroy(error);
    return e;
}

typedef rd_kafka_error_t *txn_call(rd_kafka_t *rk, int timeout_ms);

/* Repeats a call while it is retriable and there is time; it carries on where it was. */
static err_t call_until(struct kafka_txn *t, const char *what, txn_call *call, int timeout_ms)
{
    int64_t deadline = kafka_deadline(timeout_ms);
    for (;;) {
        err_t e = judge(t, what, call(t->client.rk, kafka_remaining_ms(deadline)));
        int left = kafka_remaining_ms(deadline);
        if (e != ERR_TIMEOUT || left == 0) {
            return e;
        }
        (void)rd_kafka_poll(t->client.rk, left < RETRY_PAUSE_MS ? left : RETRY_PAUSE_MS);
    }
}

/* Whether a fatal error came from a missing permission, which rebuilding would not mend. */
static bool is_forbidden(struct kafka_txn *t)
{
    char text[KAFKA_ERROR_TEXT_MAX];
    return kafka_translate(rd_kafka_fatal_error(t->client.rk, text, sizeof text)) == ERR_FORBIDDEN;
}

err_t kafka_txn_init(struct kafka_txn *t, int timeout_ms)
{
    err_t e = call_until(t, "init", rd_kafka_init_transactions, timeout_ms);
    return e == ERR_FENCED && is_forbidden(t) ? ERR_FORBIDDEN : e;
}

static void forget_deliveries(struct kafka_txn *t)
{
    t->produced = 0;
    t->delivered = 0;
    t->committed = false;
}

err_t kafka_txn_begin(struct kafka_txn *t)
{
    forget_deliveries(t);
    return judge(t, "begin", rd_kafka_begin_transaction(t->client.rk));
}

static void reserve_delivery(struct kafka_txn *t)
{
    if (t->produced == t->capacity) {
        t->capacity = t->capacity > 0 ? t->capacity * 2 : 256;
        t->deliveries = xrealloc(t->deliveries, t->capacity, sizeof *t->deliveries);
    }
}

static err_t judge_produce(struct kafka_txn *t, const char *topic, rd_kafka_resp_err_t code)
{
    err_t e = kafka_translate(code);
    if (code == RD_KAFKA_RESP_ERR__INVALID_ARG || e == ERR_OK) {
        e = ERR_INTERNAL; /* a record no caller should make */
    } else if (e != ERR_BUSY && e != ERR_TOO_LARGE && e != ERR_ABSENT && e != ERR_CONFLICT) {
        e = ERR_FENCED;
    }
    return kafka_client_error(&t->client, e, topic, rd_kafka_err2str(code));
}

err_t kafka_txn_produce(struct kafka_txn *t, const struct kafka_record *record)
{
    reserve_delivery(t);
    void *number = (void *)(uintptr_t)(t->produced + 1);
    rd_kafka_resp_err_t code = kafka_client_send(&t->client, record, number);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return judge_produce(t, record->topic, code);
    }
    t->deliveries[t->produced++] = (struct kafka_delivery){
        .cookie = record->cookie,
        .topic = rd_kafka_topic_name(kafka_client_topic(&t->client, record->topic)),
        .partition = record->partition,
        .offset = OFFSET_UNKNOWN,
    };
    return ERR_OK;
}

void kafka_txn_poll(struct kafka_txn *t, int timeout_ms)
{
    (void)rd_kafka_poll(t->client.rk, timeout_ms);
}

static err_t send_offsets_once(struct kafka_txn *t, const rd_kafka_topic_partition_list_t *list,
                               struct kafka_consumer *consumer, int timeout_ms)
{
    /* fresh each time: the generation may have changed, and then this must fail */
    CLEANUP(rd_kafka_consumer_group_metadata_destroy)
    rd_kafka_consumer_group_metadata_t *group = kafka_consumer_group_metadata(consumer);
    if (group == NULL) {
        return kafka_client_error(&t->client, ERR_CONFLICT, "offsets", "not a group member");
    }
    return judge(t, "offsets",
                 rd_kafka_send_offsets_to_transaction(t->client.rk, list, group, timeout_ms));
}

err_t kafka_txn_send_offsets(struct kafka_txn *t, const struct kafka_offset *offsets, size_t count,
                             struct kafka_consumer *consumer, int timeout_ms)
{
    CLEANUP(rd_kafka_topic_partition_list_destroy)
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)count);
    for (size_t i = 0; i < count; i++) {
        rd_kafka_topic_partition_list_add(list, offsets[i].topic, offsets[i].partition)->offset =
            offsets[i].offset;
    }
    int64_t deadline = kafka_deadline(timeout_ms);
    for (;;) {
        err_t e = send_offsets_once(t, list, consumer, kafka_remaining_ms(deadline));
        int left = kafka_remaining_ms(deadline);
        if (e != ERR_TIMEOUT || left == 0) {
            return e;
        }
        (void)rd_kafka_poll(t->client.rk, left < RETRY_PAUSE_MS ? left : RETRY_PAUSE_MS);
    }
}

err_t kafka_txn_commit(struct kafka_txn *t, int timeout_ms)
{
    /* no flush before: commit flushes by itself, and rd_kafka_flush polls in coarse steps */
    err_t e = call_until(t, "commit", rd_kafka_commit_transaction, timeout_ms);
    if (e == ERR_OK && t->delivered != t->produced) {
        return kafka_client_error(&t->client, ERR_FENCED, "commit", "a delivery report is missing");
    }
    t->committed = e == ERR_OK;
    return e;
}

err_t kafka_txn_abort(struct kafka_txn *t, int timeout_ms)
{
    err_t e = call_until(t, "abort", rd_kafka_abort_transaction, timeout_ms);
    forget_deliveries(t);
    return e;
}

const struct kafka_delivery *kafka_txn_deliveries(const struct kafka_txn *t, size_t *ret_count)
{
    *ret_count = t->committed ? t->produced : 0;
    return t->deliveries;
}
