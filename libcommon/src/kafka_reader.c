#include "common/kafka_reader.h"

#include "kafka_internal.h"

#define DEFAULT_FETCH_WAIT_MS 50
#define DEFAULT_QUEUED_KBYTES 16384 /* more than a second of work, see kafka_internal.h */

/* A partition being read. The simple (group-less) consumer of librdkafka: each partition starts and
 * stops by itself, all deliver into one queue. */
struct running {
    rd_kafka_topic_t *topic; /* of the client's cache */
    int32_t partition;
};

struct kafka_reader {
    struct kafka_client client; /* first: librdkafka's opaque. Reads */
    struct kafka_client ends;   /* read_uncommitted or read_committed, the one `client` is not */
    bool uncommitted;
    rd_kafka_queue_t *queue;
    struct running *parts;
    size_t count;
    size_t capacity;
    err_t pending; /* an error to return by the next poll */
};

static err_t start_client(struct kafka_client *c, bool uncommitted,
                          const struct kafka_config *config,
                          const struct kafka_reader_config *reader, struct fault *fault)
{
    struct kafka_settings s = kafka_settings_begin(config, fault);
    kafka_set(&s, "isolation.level", uncommitted ? "read_uncommitted" : "read_committed");
    kafka_set(&s, "enable.auto.commit", "false");
    kafka_set(&s, "enable.auto.offset.store", "false");
    kafka_set(&s, "enable.partition.eof", "true");
    kafka_set(&s, "auto.offset.reset", "error");
    kafka_set_int(&s, "fetch.wait.max.ms",
                  kafka_int_or(reader->fetch_wait_max_ms, DEFAULT_FETCH_WAIT_MS));
    kafka_set(&s, "fetch.error.backoff.ms", "100");
    kafka_set_int(&s, "queued.min.messages", KAFKA_QUEUED_MESSAGES);
    kafka_set_int(&s, "queued.max.messages.kbytes",
                  kafka_int_or(reader->queued_max_kbytes, DEFAULT_QUEUED_KBYTES));
    return kafka_client_start(c, &s, RD_KAFKA_CONSUMER, config);
}

err_t kafka_reader_new(const struct kafka_config *config, const struct kafka_reader_config *reader,
                       struct fault *ret_fault, struct kafka_reader **ret)
{
    CLEANUP(kafka_reader_free) struct kafka_reader *r = xcalloc(1, sizeof *r);
    r->uncommitted = reader->uncommitted;
    err_t e = start_client(&r->client, reader->uncommitted, config, reader, ret_fault);
    if (e == ERR_OK) {
        e = start_client(&r->ends, !reader->uncommitted, config, reader, ret_fault);
    }
    if (e != ERR_OK) {
        return e;
    }
    r->queue = rd_kafka_queue_new(r->client.rk);
    *ret = TAKE(r);
    return ERR_OK;
}

static void stop_at(struct kafka_reader *r, size_t i)
{
    (void)rd_kafka_consume_stop(r->parts[i].topic, r->parts[i].partition);
    r->parts[i] = r->parts[--r->count];
}

void kafka_reader_free(struct kafka_reader *r)
{
    if (r == NULL) {
        return;
    }
    while (r->count > 0) {
        stop_at(r, r->count - 1);
    }
    if (r->queue != NULL) {
        rd_kafka_queue_destroy(r->queue);
    }
    kafka_client_stop(&r->client, 0);
    kafka_client_stop(&r->ends, 0);
    free(r->parts);
    free(r);
}

const char *kafka_reader_error_text(const struct kafka_reader *r)
{
    return r->client.error;
}

/* r->count if it does not run */
static size_t find(const struct kafka_reader *r, const char *topic, int32_t partition)
{
    size_t i = 0;
    while (i < r->count && (r->parts[i].partition != partition ||
                            strcmp(rd_kafka_topic_name(r->parts[i].topic), topic) != 0)) {
        i++;
    }
    return i;
}

void kafka_reader_stop(struct kafka_reader *r, const char *topic, int32_t partition)
{
    size_t i = find(r, topic, partition);
    if (i < r->count) {
        stop_at(r, i);
    }
}

err_t kafka_reader_start(struct kafka_reader *r, const char *topic, int32_t partition,
                         int64_t offset)
{
    kafka_reader_stop(r, topic, partition);
    rd_kafka_topic_t *handle = kafka_client_topic(&r->client, topic);
    if (handle == NULL) {
        return kafka_client_error(&r->client, ERR_INVALID, topic, "not a topic name, or too many");
    }
    if (rd_kafka_consume_start_queue(handle, partition, offset, r->queue) != 0) {
        rd_kafka_resp_err_t code = rd_kafka_last_error();
        err_t e = kafka_translate(code);
        e = e == ERR_CONFLICT ? ERR_UNAVAILABLE : e;
        return kafka_client_error(&r->client, e, "start", rd_kafka_err2str(code));
    }
    if (r->count == r->capacity) {
        r->capacity = r->capacity > 0 ? r->capacity * 2 : 16;
        r->parts = xrealloc(r->parts, r->capacity, sizeof *r->parts);
    }
    r->parts[r->count++] = (struct running){.topic = handle, .partition = partition};
    return ERR_OK;
}

static bool runs(const struct kafka_reader *r, const rd_kafka_message_t *message)
{
    return message->rkt != NULL &&
           find(r, rd_kafka_topic_name(message->rkt), message->partition) < r->count;
}

/* What an error event means to the owner; ERR_OK: nothing, it mends by itself. */
static err_t judge_event(struct kafka_reader *r, const rd_kafka_message_t *message)
{
    err_t e = kafka_translate(message->err);
    if (e != ERR_CORRUPT && e != ERR_ABSENT && e != ERR_FORBIDDEN) {
        return ERR_OK;
    }
    if (e == ERR_CORRUPT && message->rkt != NULL) {
        kafka_reader_stop(r, rd_kafka_topic_name(message->rkt), message->partition);
    }
    return kafka_client_error(&r->client, e, rd_kafka_err2name(message->err),
                              rd_kafka_message_errstr(message));
}

err_t kafka_reader_poll(struct kafka_reader *r, struct kafka_batch *batch, int timeout_ms)
{
    int64_t deadline = kafka_deadline(timeout_ms);
    size_t from = batch->count;
    (void)rd_kafka_poll(r->client.rk, 0); /* client-wide events of both */
    (void)rd_kafka_poll(r->ends.rk, 0);
    while (r->pending == ERR_OK && batch->count < batch->capacity) {
        int wait_ms = batch->count > from ? 0 : kafka_remaining_ms(deadline);
        rd_kafka_message_t *message = rd_kafka_consume_queue(r->queue, wait_ms);
        if (message == NULL) {
            break;
        }
        bool news = message->err == RD_KAFKA_RESP_ERR_NO_ERROR ||
                    message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF;
        if (news && runs(r, message)) {
            kafka_message_view(&batch->messages[batch->count++], message);
            continue;
        }
        if (!news) {
            r->pending = judge_event(r, message);
        }
        rd_kafka_message_destroy(message);
    }
    if (batch->count > from) {
        return ERR_OK; /* a pending error comes by the next poll */
    }
    err_t e = r->pending;
    r->pending = ERR_OK;
    return e;
}

static err_t query(struct kafka_reader *r, bool uncommitted, const struct kafka_partition *where,
                   int timeout_ms, int64_t *low, int64_t *high)
{
    struct kafka_client *c = uncommitted == r->uncommitted ? &r->client : &r->ends;
    rd_kafka_resp_err_t code = rd_kafka_query_watermark_offsets(
        c->rk, where->topic, where->partition, low, high, timeout_ms);
    err_t e = kafka_translate(code);
    return e == ERR_OK ? ERR_OK
                       : kafka_client_error(&r->client, e, "offsets", rd_kafka_err2str(code));
}

err_t kafka_reader_high_watermark(struct kafka_reader *r, const char *topic, int32_t partition,
                                  int timeout_ms, int64_t *ret_offset)
{
    int64_t low = 0;
    return query(r, true, &(struct kafka_partition){topic, partition}, timeout_ms, &low,
                 ret_offset);
}

err_t kafka_reader_stable_end(struct kafka_reader *r, const char *topic, int32_t partition,
                              int timeout_ms, int64_t *ret_offset)
{
    int64_t low = 0;
    return query(r, false, &(struct kafka_partition){topic, partition}, timeout_ms, &low,
                 ret_offset);
}

err_t kafka_reader_bounds(struct kafka_reader *r, const char *topic, int32_t partition,
                          int timeout_ms, int64_t *ret_begin, int64_t *ret_end)
{
    /* Of the client that fetches nothing, as long as this one reads committed: a broker answers a
     * connection's requests in turn, and a fetch may wait for its whole fetch.wait.max.ms. */
    return query(r, true, &(struct kafka_partition){topic, partition}, timeout_ms, ret_begin,
                 ret_end);
}
