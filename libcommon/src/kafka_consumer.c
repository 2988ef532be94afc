#include "common/kafka_consumer.h"

#include <assert.h>
#include <poll.h>

#include "kafka_internal.h"

#define DEFAULT_SESSION_MS    30000
#define DEFAULT_MAX_POLL_MS   60000
#define DEFAULT_FETCH_WAIT_MS 100
#define DEFAULT_QUEUED_KBYTES 16384 /* more than a second of work, see kafka_internal.h */
#define UNSTABLE_PAUSE_MS     20
#define CLOSE_SLICE_MS        20

/* An assigned partition. librdkafka's own memory of a paused one is not to be relied on (2.0.2 can
 * skip what it had fetched), so every resume seeks to `next`. */
struct assigned {
    char *topic;
    int32_t partition;
    bool started;
    bool paused;
    int64_t next; /* the offset to deliver next, once started */
};

struct kafka_consumer {
    struct kafka_client client; /* first: librdkafka's opaque */
    struct kafka_consumer_handler handler;
    struct assigned *parts;
    struct kafka_partition *views; /* the same, for the handler */
    size_t count;
    const void *hint_topic; /* of the last message: parts[hint] */
    size_t hint;
    unsigned rebalances;
    err_t pending; /* an error to return by the next poll */
};

/* ---- rebalancing ---- */

static void parts_clear(struct kafka_consumer *c)
{
    for (size_t i = 0; i < c->count; i++) {
        free(c->parts[i].topic);
    }
    free(c->parts);
    free(c->views);
    c->parts = NULL;
    c->views = NULL;
    c->count = 0;
    c->hint_topic = NULL;
}

static void parts_set(struct kafka_consumer *c, const rd_kafka_topic_partition_list_t *list)
{
    parts_clear(c);
    c->count = (size_t)list->cnt;
    c->parts = xcalloc(c->count + 1, sizeof *c->parts);
    c->views = xcalloc(c->count + 1, sizeof *c->views);
    for (size_t i = 0; i < c->count; i++) {
        c->parts[i].topic = xstrdup(list->elems[i].topic);
        c->parts[i].partition = list->elems[i].partition;
        c->parts[i].paused = true;
        c->views[i] = (struct kafka_partition){c->parts[i].topic, c->parts[i].partition};
    }
}

static void note_failure(struct kafka_consumer *c, const char *what, rd_kafka_resp_err_t code)
{
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        c->pending =
            kafka_client_error(&c->client, kafka_translate(code), what, rd_kafka_err2str(code));
    }
}

static void assigned(struct kafka_consumer *c, rd_kafka_topic_partition_list_t *list)
{
    for (int i = 0; i < list->cnt; i++) {
        /* any number: nothing is delivered from there, and no committed offset is looked up */
        list->elems[i].offset = 0;
    }
    note_failure(c, "assign", rd_kafka_assign(c->client.rk, list));
    note_failure(c, "pause", rd_kafka_pause_partitions(c->client.rk, list));
    parts_set(c, list);
    c->handler.assigned(c->handler.ctx, c->views, c->count);
}

static void revoked(struct kafka_consumer *c)
{
    bool lost = rd_kafka_assignment_lost(c->client.rk) != 0;
    if (c->count > 0) {
        c->handler.revoked(c->handler.ctx, c->views, c->count, lost);
    }
    parts_clear(c);
    note_failure(c, "unassign", rd_kafka_assign(c->client.rk, NULL));
}

/* On the owner's thread, inside poll and close; librdkafka expects assign or unassign from within.
 */
static void on_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t code,
                         rd_kafka_topic_partition_list_t *list, void *opaque)
{
    (void)rk;
    struct kafka_consumer *c = opaque;
    c->rebalances++;
    if (code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
        assigned(c, list);
    } else {
        if (code != RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS) {
            note_failure(c, "rebalance", code);
        }
        revoked(c);
    }
}

/* ---- life ---- */

static void set_all(struct kafka_settings *s, const struct kafka_consumer_config *consumer)
{
    kafka_set(s, "group.id", consumer->group);
    if (consumer->instance_id != NULL) {
        kafka_set(s, "group.instance.id", consumer->instance_id);
    }
    kafka_set(s, "partition.assignment.strategy", "range"); /* cooperative is broken in 2.0.2 */
    kafka_set_int(s, "session.timeout.ms",
                  kafka_int_or(consumer->session_timeout_ms, DEFAULT_SESSION_MS));
    kafka_set_int(s, "heartbeat.interval.ms",
                  kafka_int_or(consumer->session_timeout_ms, DEFAULT_SESSION_MS) / 10);
    kafka_set_int(s, "max.poll.interval.ms",
                  kafka_int_or(consumer->max_poll_interval_ms, DEFAULT_MAX_POLL_MS));
    kafka_set(s, "isolation.level", "read_committed"); /* also makes committed() wait */
    kafka_set(s, "enable.auto.commit", "false");
    kafka_set(s, "enable.auto.offset.store", "false");
    kafka_set(s, "enable.partition.eof", "false");
    kafka_set(s, "auto.offset.reset",
              consumer->reset == KAFKA_RESET_EARLIEST ? "earliest" : "error");
    kafka_set_int(s, "fetch.wait.max.ms",
                  kafka_int_or(consumer->fetch_wait_max_ms, DEFAULT_FETCH_WAIT_MS));
    kafka_set(s, "fetch.error.backoff.ms", "100");
    kafka_set_int(s, "queued.min.messages", KAFKA_QUEUED_MESSAGES);
    kafka_set_int(s, "queued.max.messages.kbytes",
                  kafka_int_or(consumer->queued_max_kbytes, DEFAULT_QUEUED_KBYTES));
    /* a missing topic is a mistake in the installation: say so soon, not after 30 s. Producers keep
     * the default: they would drop what is queued. */
    kafka_set(s, "topic.metadata.propagation.max.ms", "2000");
    rd_kafka_conf_set_rebalance_cb(s->conf, on_rebalance);
}

static err_t subscribe(struct kafka_consumer *c, const struct kafka_consumer_config *consumer)
{
    CLEANUP(rd_kafka_topic_partition_list_destroy)
    rd_kafka_topic_partition_list_t *topics =
        rd_kafka_topic_partition_list_new((int)consumer->topics_count);
    for (size_t i = 0; i < consumer->topics_count; i++) {
        rd_kafka_topic_partition_list_add(topics, consumer->topics[i], RD_KAFKA_PARTITION_UA);
    }
    return kafka_translate(rd_kafka_subscribe(c->client.rk, topics));
}

err_t kafka_consumer_new(const struct kafka_config *config,
                         const struct kafka_consumer_config *consumer, struct fault *ret_fault,
                         struct kafka_consumer **ret)
{
    CLEANUP(kafka_consumer_free) struct kafka_consumer *c = xcalloc(1, sizeof *c);
    c->handler = consumer->handler;
    struct kafka_settings s = kafka_settings_begin(config, ret_fault);
    set_all(&s, consumer);
    err_t e = kafka_client_start(&c->client, &s, RD_KAFKA_CONSUMER, config);
    if (e != ERR_OK) {
        return e;
    }
    /* one queue for everything, so that polling serves it all */
    (void)rd_kafka_poll_set_consumer(c->client.rk);
    e = subscribe(c, consumer);
    if (e != ERR_OK) {
        return fault_set(ret_fault, e, "kafka_client", "topics", "cannot subscribe");
    }
    *ret = TAKE(c);
    return ERR_OK;
}

/* Leaves the group: a static member does so only here, not by closing. Done when the broker's id
 * for the member is given up, which sends the request. */
static err_t leave_group(struct kafka_consumer *c, int64_t deadline)
{
    (void)rd_kafka_unsubscribe(c->client.rk);
    for (;;) {
        char *id = rd_kafka_memberid(c->client.rk);
        bool member = id != NULL && *id != '\0';
        rd_kafka_mem_free(c->client.rk, id);
        if (!member && c->count == 0) {
            return ERR_OK;
        }
        if (kafka_remaining_ms(deadline) == 0) {
            return ERR_TIMEOUT;
        }
        rd_kafka_message_t *message = rd_kafka_consumer_poll(c->client.rk, CLOSE_SLICE_MS);
        if (message != NULL) {
            rd_kafka_message_destroy(message);
        }
    }
}

err_t kafka_consumer_close(struct kafka_consumer *c, bool leave, int timeout_ms)
{
    int64_t deadline = kafka_deadline(timeout_ms);
    err_t left = leave ? leave_group(c, deadline) : ERR_OK;
    CLEANUP(rd_kafka_queue_destroy)
    rd_kafka_queue_t *queue = rd_kafka_queue_new(c->client.rk);
    CLEANUP(rd_kafka_error_destroy)
    rd_kafka_error_t *error = rd_kafka_consumer_close_queue(c->client.rk, queue);
    if (error != NULL) {
        return ERR_OK; /* closed already, or fenced: there is no membership to end */
    }
    while (!rd_kafka_consumer_closed(c->client.rk)) {
        if (kafka_remaining_ms(deadline) == 0) {
            return ERR_TIMEOUT;
        }
        /* As a poll does it: rd_kafka_queue_poll_callback aborts the process when a message that
         * was fetched ahead is in the queue. */
        rd_kafka_message_t *message = rd_kafka_consume_queue(queue, CLOSE_SLICE_MS);
        if (message != NULL) {
            rd_kafka_message_destroy(message);
        }
    }
    return left;
}

void kafka_consumer_free(struct kafka_consumer *c)
{
    if (c == NULL) {
        return;
    }
    /* never the implicit close, which has no time limit */
    kafka_client_stop(&c->client, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    parts_clear(c);
    free(c);
}

const char *kafka_consumer_error_text(const struct kafka_consumer *c)
{
    return c->client.error;
}

rd_kafka_consumer_group_metadata_t *kafka_consumer_group_metadata(struct kafka_consumer *c)
{
    return rd_kafka_consumer_group_metadata(c->client.rk);
}

/* ---- messages ---- */

static struct assigned *find(struct kafka_consumer *c, const char *topic, int32_t partition)
{
    for (size_t i = 0; i < c->count; i++) {
        if (c->parts[i].partition == partition && strcmp(c->parts[i].topic, topic) == 0) {
            return &c->parts[i];
        }
    }
    return NULL;
}

static struct assigned *find_for(struct kafka_consumer *c, const rd_kafka_message_t *message)
{
    if (message->rkt == NULL) {
        return NULL;
    }
    if (c->hint_topic == message->rkt && c->parts[c->hint].partition == message->partition) {
        return &c->parts[c->hint];
    }
    struct assigned *a = find(c, rd_kafka_topic_name(message->rkt), message->partition);
    if (a != NULL) {
        c->hint_topic = message->rkt;
        c->hint = (size_t)(a - c->parts);
    }
    return a;
}

/* What an error event means to the owner; ERR_OK: nothing, it mends by itself. */
static err_t judge_event(struct kafka_consumer *c, const rd_kafka_message_t *message)
{
    err_t e = kafka_translate(message->err);
    const struct assigned *a = find_for(c, message);
    if (e == ERR_CORRUPT && (a == NULL || !a->started)) {
        return ERR_OK; /* a position nobody asked for */
    }
    if (e != ERR_FENCED && e != ERR_CORRUPT && e != ERR_ABSENT && e != ERR_FORBIDDEN) {
        return ERR_OK;
    }
    return kafka_client_error(&c->client, e, rd_kafka_err2name(message->err),
                              rd_kafka_message_errstr(message));
}

/* Puts the message into the batch, or drops it. Consumes it. */
static void take_message(struct kafka_consumer *c, struct kafka_batch *batch,
                         rd_kafka_message_t *message)
{
    struct assigned *a = find_for(c, message);
    if (a == NULL || !a->started || a->paused) {
        rd_kafka_message_destroy(message);
        return;
    }
    a->next = message->offset + 1;
    kafka_message_view(&batch->messages[batch->count++], message);
}

/* A rebalance in the middle of a poll: what this poll had gathered of revoked partitions goes. */
static void drop_revoked(struct kafka_consumer *c, struct kafka_batch *batch, size_t from)
{
    size_t kept = from;
    for (size_t i = from; i < batch->count; i++) {
        struct kafka_message *m = &batch->messages[i];
        const struct assigned *a = find(c, m->topic, m->partition);
        if (a == NULL || !a->started) {
            kafka_messages_free(m, 1);
        } else if (kept++ != i) {
            batch->messages[kept - 1] = *m;
            *m = (struct kafka_message){0};
        }
    }
    batch->count = kept;
}

err_t kafka_consumer_poll(struct kafka_consumer *c, struct kafka_batch *batch, int timeout_ms)
{
    int64_t deadline = kafka_deadline(timeout_ms);
    size_t from = batch->count;
    unsigned rebalances = c->rebalances;
    while (c->pending == ERR_OK && batch->count < batch->capacity) {
        int wait_ms = batch->count > from ? 0 : kafka_remaining_ms(deadline);
        rd_kafka_message_t *message = rd_kafka_consumer_poll(c->client.rk, wait_ms);
        if (message == NULL) {
            break;
        }
        if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
            c->pending = judge_event(c, message);
            rd_kafka_message_destroy(message);
        } else {
            take_message(c, batch, message);
        }
    }
    if (c->rebalances != rebalances) {
        drop_revoked(c, batch, from);
    }
    if (batch->count > from) {
        return ERR_OK; /* a pending error comes by the next poll */
    }
    err_t e = c->pending;
    c->pending = ERR_OK;
    return e;
}

/* ---- positions ---- */

static rd_kafka_topic_partition_list_t *list_of(const char *topic, int32_t partition,
                                                int64_t offset)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topic, partition)->offset = offset;
    return list;
}

static err_t partition_error(struct kafka_consumer *c, const char *what,
                             const rd_kafka_topic_partition_list_t *list, rd_kafka_resp_err_t code)
{
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        code = list->elems[0].err;
    }
    err_t e = kafka_translate(code);
    /* the assignment is ours to know; librdkafka only has not got there yet */
    e = e == ERR_CONFLICT || e == ERR_TIMEOUT || e == ERR_ABSENT ? ERR_UNAVAILABLE : e;
    return e == ERR_OK ? ERR_OK : kafka_client_error(&c->client, e, what, rd_kafka_err2str(code));
}

static err_t seek_to(struct kafka_consumer *c, rd_kafka_topic_partition_list_t *list)
{
    /* -1: other time-outs are taken for microseconds by 2.0.2; the answer is local and prompt */
    rd_kafka_error_t *error = rd_kafka_seek_partitions(c->client.rk, list, -1);
    rd_kafka_resp_err_t code =
        error != NULL ? rd_kafka_error_code(error) : RD_KAFKA_RESP_ERR_NO_ERROR;
    if (error != NULL) {
        rd_kafka_error_destroy(error);
    }
    return partition_error(c, "seek", list, code);
}

/* Seeks while still paused, so that nothing is fetched from the wrong place in between. */
static err_t deliver_from(struct kafka_consumer *c, struct assigned *a, int64_t offset)
{
    CLEANUP(rd_kafka_topic_partition_list_destroy)
    rd_kafka_topic_partition_list_t *list = list_of(a->topic, a->partition, offset);
    err_t e = seek_to(c, list);
    if (e != ERR_OK) {
        return e;
    }
    if (a->paused) { /* resuming a running one would lose what it had fetched */
        e = partition_error(c, "resume", list, rd_kafka_resume_partitions(c->client.rk, list));
    }
    if (e == ERR_OK) {
        a->paused = false;
        a->started = true;
        a->next = offset;
    }
    return e;
}

err_t kafka_consumer_start(struct kafka_consumer *c, const char *topic, int32_t partition,
                           int64_t offset)
{
    assert(offset >= 0 || offset == KAFKA_OFFSET_BEGINNING);
    struct assigned *a = find(c, topic, partition);
    return a != NULL ? deliver_from(c, a, offset) : ERR_CONFLICT;
}

err_t kafka_consumer_pause(struct kafka_consumer *c, const char *topic, int32_t partition)
{
    struct assigned *a = find(c, topic, partition);
    if (a == NULL || !a->started) {
        return ERR_CONFLICT;
    }
    if (a->paused) {
        return ERR_OK;
    }
    CLEANUP(rd_kafka_topic_partition_list_destroy)
    rd_kafka_topic_partition_list_t *list = list_of(topic, partition, 0);
    err_t e = partition_error(c, "pause", list, rd_kafka_pause_partitions(c->client.rk, list));
    a->paused = e == ERR_OK;
    return e;
}

err_t kafka_consumer_resume(struct kafka_consumer *c, const char *topic, int32_t partition)
{
    struct assigned *a = find(c, topic, partition);
    if (a == NULL || !a->started) {
        return ERR_CONFLICT;
    }
    return a->paused ? deliver_from(c, a, a->next) : ERR_OK;
}

/* ---- committed offsets ---- */

err_t kafka_consumer_committed(struct kafka_consumer *c, const char *topic, int32_t partition,
                               int timeout_ms, int64_t *ret_offset)
{
    int64_t deadline = kafka_deadline(timeout_ms);
    CLEANUP(rd_kafka_topic_partition_list_destroy)
    rd_kafka_topic_partition_list_t *list = list_of(topic, partition, 0);
    for (;;) {
        rd_kafka_resp_err_t code =
            rd_kafka_committed(c->client.rk, list, kafka_remaining_ms(deadline));
        code = code == RD_KAFKA_RESP_ERR_NO_ERROR ? list->elems[0].err : code;
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
            *ret_offset = list->elems[0].offset;
            return ERR_OK;
        }
        if (code != RD_KAFKA_RESP_ERR_UNSTABLE_OFFSET_COMMIT) {
            return kafka_client_error(&c->client, kafka_translate(code), "committed",
                                      rd_kafka_err2str(code));
        }
        if (kafka_remaining_ms(deadline) == 0) {
            return kafka_client_error(&c->client, ERR_TIMEOUT, "committed",
                                      "an open transaction holds the offset back");
        }
        (void)poll(NULL, 0, UNSTABLE_PAUSE_MS);
    }
}

static err_t commit_result(struct kafka_consumer *c, rd_kafka_event_t *event)
{
    if (event == NULL) {
        return kafka_client_error(&c->client, ERR_TIMEOUT, "commit", "no answer in time");
    }
    rd_kafka_resp_err_t code = rd_kafka_event_error(event);
    const rd_kafka_topic_partition_list_t *list = rd_kafka_event_topic_partition_list(event);
    for (int i = 0; list != NULL && i < list->cnt && code == RD_KAFKA_RESP_ERR_NO_ERROR; i++) {
        code = list->elems[i].err;
    }
    rd_kafka_event_destroy(event);
    err_t e = kafka_translate(code);
    return e == ERR_OK ? ERR_OK
                       : kafka_client_error(&c->client, e, "commit", rd_kafka_err2str(code));
}

err_t kafka_consumer_commit(struct kafka_consumer *c, const struct kafka_offset *offsets,
                            size_t count, int timeout_ms)
{
    CLEANUP(rd_kafka_topic_partition_list_destroy)
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)count);
    for (size_t i = 0; i < count; i++) {
        rd_kafka_topic_partition_list_add(list, offsets[i].topic, offsets[i].partition)->offset =
            offsets[i].offset;
    }
    /* the plain synchronous commit knows no time limit */
    CLEANUP(rd_kafka_queue_destroy)
    rd_kafka_queue_t *queue = rd_kafka_queue_new(c->client.rk);
    rd_kafka_resp_err_t code = rd_kafka_commit_queue(c->client.rk, list, queue, NULL, NULL);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return kafka_client_error(&c->client, kafka_translate(code), "commit",
                                  rd_kafka_err2str(code));
    }
    return commit_result(c, rd_kafka_queue_poll(queue, timeout_ms));
}
