#include "common/kafka_producer.h"

#include <pthread.h>
#include <time.h>

#include "kafka_internal.h"

#define DEFAULT_QUEUE_KBYTES   32768
#define DEFAULT_QUEUE_MESSAGES 100000
#define DEFAULT_DELIVERY_MS    10000
#define POLL_MS                100
#define FREE_WAIT_MS           3000

struct kafka_producer {
    struct kafka_client client; /* first: librdkafka's opaque */
    void (*on_delivery)(void *ctx, const struct kafka_delivery_report *report);
    void *ctx;
    pthread_t thread;
    bool thread_runs;
    atomic_bool stopping;

    pthread_mutex_t lock; /* topics of `client`, `undelivered` */
    pthread_cond_t settled;
    size_t undelivered;
};

static err_t fate(const rd_kafka_message_t *message)
{
    err_t e = kafka_translate(message->err);
    if (e == ERR_OK || e == ERR_TOO_LARGE || e == ERR_FORBIDDEN || e == ERR_STOPPING) {
        return e;
    }
    if (rd_kafka_message_status(message) == RD_KAFKA_MSG_STATUS_POSSIBLY_PERSISTED) {
        return ERR_TIMEOUT;
    }
    return e == ERR_TIMEOUT || e == ERR_UNAVAILABLE ? ERR_UNAVAILABLE : ERR_INTERNAL;
}

static void settle(struct kafka_producer *p)
{
    (void)pthread_mutex_lock(&p->lock);
    if (--p->undelivered == 0) {
        (void)pthread_cond_broadcast(&p->settled);
    }
    (void)pthread_mutex_unlock(&p->lock);
}

/* On the producer's own thread, inside rd_kafka_poll. */
static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque)
{
    (void)rk;
    struct kafka_producer *p = opaque;
    if (p->on_delivery != NULL) {
        struct kafka_delivery_report report = {
            .result = fate(message),
            .cookie = (uint64_t)(uintptr_t)message->_private,
            .topic = rd_kafka_topic_name(message->rkt),
            .partition = message->partition,
            .offset = message->offset,
        };
        p->on_delivery(p->ctx, &report);
    }
    settle(p);
}

static void *run(void *arg)
{
    struct kafka_producer *p = arg;
    while (!atomic_load(&p->stopping)) {
        (void)rd_kafka_poll(p->client.rk, POLL_MS);
    }
    return NULL;
}

static void set_all(struct kafka_settings *s, const struct kafka_producer_config *producer)
{
    kafka_set(s, "acks", "all");
    kafka_set(s, "enable.idempotence", "true");
    kafka_set_int(s, "message.timeout.ms",
                  kafka_int_or(producer->delivery_timeout_ms, DEFAULT_DELIVERY_MS));
    kafka_set_int(s, "linger.ms", producer->linger_ms);
    kafka_set(s, "compression.type", "lz4");
    kafka_set_int(s, "queue.buffering.max.kbytes",
                  kafka_int_or(producer->queue_max_kbytes, DEFAULT_QUEUE_KBYTES));
    kafka_set_int(s, "queue.buffering.max.messages",
                  kafka_int_or(producer->queue_max_messages, DEFAULT_QUEUE_MESSAGES));
    rd_kafka_conf_set_dr_msg_cb(s->conf, on_delivery);
}

static void init_lock(struct kafka_producer *p)
{
    pthread_condattr_t attr;
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&p->lock, NULL);
    (void)pthread_cond_init(&p->settled, &attr);
    (void)pthread_condattr_destroy(&attr);
}

err_t kafka_producer_new(const struct kafka_config *config,
                         const struct kafka_producer_config *producer, struct fault *ret_fault,
                         struct kafka_producer **ret)
{
    CLEANUP(kafka_producer_free) struct kafka_producer *p = xcalloc(1, sizeof *p);
    p->on_delivery = producer->on_delivery;
    p->ctx = producer->ctx;
    init_lock(p);
    struct kafka_settings s = kafka_settings_begin(config, ret_fault);
    set_all(&s, producer);
    err_t e = kafka_client_start(&p->client, &s, RD_KAFKA_PRODUCER, config);
    if (e != ERR_OK) {
        return e;
    }
    if (pthread_create(&p->thread, NULL, run, p) != 0) {
        return fault_set(ret_fault, ERR_INTERNAL, "kafka_client", "", "no thread for deliveries");
    }
    p->thread_runs = true;
    *ret = TAKE(p);
    return ERR_OK;
}

void kafka_producer_free(struct kafka_producer *p)
{
    if (p == NULL) {
        return;
    }
    if (p->thread_runs) {
        (void)rd_kafka_purge(p->client.rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
        /* each record gets its last word; if one does not, the client's end drops it */
        err_t e = kafka_producer_flush(p, FREE_WAIT_MS);
        (void)e;
        atomic_store(&p->stopping, true);
        (void)pthread_join(p->thread, NULL);
    }
    kafka_client_stop(&p->client, 0);
    (void)pthread_cond_destroy(&p->settled);
    (void)pthread_mutex_destroy(&p->lock);
    free(p);
}

err_t kafka_producer_warm_up(struct kafka_producer *p, const char *const *topics, size_t count,
                             int timeout_ms)
{
    (void)pthread_mutex_lock(&p->lock);
    err_t e = kafka_client_warm_up(&p->client, topics, count, timeout_ms);
    (void)pthread_mutex_unlock(&p->lock);
    return e;
}

err_t kafka_producer_produce(struct kafka_producer *p, const struct kafka_record *record)
{
    void *cookie = (void *)(uintptr_t)record->cookie;
    (void)pthread_mutex_lock(&p->lock);
    rd_kafka_resp_err_t code = kafka_client_send(&p->client, record, cookie);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        p->undelivered++; /* its delivery report waits for the lock */
    }
    (void)pthread_mutex_unlock(&p->lock);
    err_t e = kafka_translate(code);
    switch (e) {
    case ERR_OK:
    case ERR_BUSY:
    case ERR_TOO_LARGE:
    case ERR_ABSENT:
    case ERR_FENCED:
        return e;
    default:
        return ERR_INTERNAL;
    }
}

err_t kafka_producer_flush(struct kafka_producer *p, int timeout_ms)
{
    int64_t deadline = kafka_deadline(timeout_ms);
    struct timespec until = {.tv_sec = deadline / 1000, .tv_nsec = (deadline % 1000) * 1000000L};
    int status = 0;
    (void)pthread_mutex_lock(&p->lock);
    while (p->undelivered > 0 && status == 0) {
        status = pthread_cond_timedwait(&p->settled, &p->lock, &until);
    }
    bool done = p->undelivered == 0;
    (void)pthread_mutex_unlock(&p->lock);
    return done ? ERR_OK : ERR_TIMEOUT;
}

size_t kafka_producer_undelivered(const struct kafka_producer *p)
{
    struct kafka_producer *writable = (struct kafka_producer *)p; /* for the lock */
    (void)pthread_mutex_lock(&writable->lock);
    size_t n = p->undelivered;
    (void)pthread_mutex_unlock(&writable->lock);
    return n;
}

bool kafka_producer_is_broken(const struct kafka_producer *p)
{
    return atomic_load(&p->client.fatal) != 0;
}
