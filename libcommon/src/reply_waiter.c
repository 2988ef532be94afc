#include "common/reply_waiter.h"

#include <pthread.h>
#include <stdio.h>
#include <time.h>

#include "common/log.h"
#include "common/redis_subscriber.h"
#include "reply_table.h"

#define TICK_MS      20  /* how late a deadline may be noticed */
#define LOOK_MS      150 /* pause between look-ups while the subscription is down */
#define LOOK_MAX     256 /* replies asked for in one pipeline */
#define REPLY_ID_LEN (UUID_TEXT_SIZE - 1)
#define PENDING_MAX  4096
#define LINGER_MS    2
/* Where many wait, a record waits for company, as long as a busy owner pauses between two
 * transactions: a broker pays by the request, and a request holds what came for one partition. */
#define CROWD           64
#define CROWD_LINGER_MS 20
#define DELIVERY_MS     5000
#define REDIS_QUIET_MS  1000 /* a look-up must not hold up the deadlines of others for long */

struct reply_waiter {
    char channel[REPLY_CHANNEL_MAX];
    const struct clock *clock;
    struct kafka_producer *producer;
    struct kafka_producer *patient; /* the one for a crowd */
    struct redis_subscriber *subscriber;
    struct redis *redis; /* timer thread only */
    pthread_t timer;
    bool timer_started;

    pthread_mutex_t lock; /* everything below */
    pthread_cond_t wake;
    struct reply_table table;
    bool stopping;
    bool gap; /* replies may have been missed: look all pending up */
    int64_t look_at_ms;
    struct reply_waiter_stats stats;
};

void reply_waiter_key(const char *request_id, char out[REPLY_KEY_MAX])
{
    (void)snprintf(out, REPLY_KEY_MAX, "g:r:%s", request_id);
}

const char *reply_waiter_channel(const struct reply_waiter *w)
{
    return w->channel;
}

struct kafka_producer *reply_waiter_producer(struct reply_waiter *w)
{
    return w->producer;
}

static int64_t now(const struct reply_waiter *w)
{
    return clock_mono_ms(w->clock);
}

static void count(struct reply_waiter *w, enum reply_outcome outcome)
{
    uint64_t *const counters[] = {
        [REPLY_ANSWERED] = &w->stats.answered,
        [REPLY_NONE] = &w->stats.unanswered,
        [REPLY_NOT_SENT] = &w->stats.not_sent,
        [REPLY_UNKNOWN] = &w->stats.unknown,
    };
    (*counters[outcome])++;
}

/* Takes the slot out of the table and calls back without the lock, which is held on entry and on
 * return. */
static void finish(struct reply_waiter *w, struct reply_slot *slot, enum reply_outcome outcome,
                   struct span reply)
{
    reply_done_fn done = slot->done;
    void *ctx = slot->ctx;
    reply_table_remove(&w->table, slot);
    count(w, outcome);
    (void)pthread_mutex_unlock(&w->lock);
    done(ctx, outcome, reply);
    (void)pthread_mutex_lock(&w->lock);
}

static void answer(struct reply_waiter *w, const char *request_id, struct span reply)
{
    struct reply_slot *slot = NULL;
    while ((slot = reply_table_find(&w->table, request_id)) != NULL) {
        finish(w, slot, REPLY_ANSWERED, reply);
    }
}

/* ---- subscriber thread ---- */

static void on_message(void *ctx, struct span channel, struct span payload)
{
    (void)channel;
    struct reply_waiter *w = ctx;
    if (payload.len <= REPLY_ID_LEN || payload.ptr[REPLY_ID_LEN] != ' ') {
        log_debug("reply", NULL, "reply_malformed", LOG_UINT("bytes", payload.len));
        return;
    }
    char id[UUID_TEXT_SIZE] = "";
    memcpy(id, payload.ptr, REPLY_ID_LEN);
    (void)pthread_mutex_lock(&w->lock);
    answer(w, id, span_of(payload.ptr + REPLY_ID_LEN + 1, payload.len - REPLY_ID_LEN - 1));
    (void)pthread_mutex_unlock(&w->lock);
}

static void on_gap(void *ctx)
{
    struct reply_waiter *w = ctx;
    (void)pthread_mutex_lock(&w->lock);
    w->gap = true;
    (void)pthread_cond_signal(&w->wake);
    (void)pthread_mutex_unlock(&w->lock);
}

/* ---- producer's thread ---- */

static void on_delivery(void *ctx, const struct kafka_delivery_report *report)
{
    struct reply_waiter *w = ctx;
    if (report->cookie == 0) {
        return;
    }
    (void)pthread_mutex_lock(&w->lock);
    struct reply_slot *slot = reply_table_at(&w->table, report->cookie);
    if (slot != NULL) {
        if (report->result == ERR_OK) {
            slot->stored = true;
        } else {
            bool unknown = report->result == ERR_TIMEOUT || report->result == ERR_STOPPING;
            finish(w, slot, unknown ? REPLY_UNKNOWN : REPLY_NOT_SENT, span_of(NULL, 0));
        }
    }
    (void)pthread_mutex_unlock(&w->lock);
}

/* ---- timer thread ---- */

/* Asks Redis for the stored replies of `ids`; called without the lock. What is found is answered.
 */
static void look_up(struct reply_waiter *w, char (*ids)[UUID_TEXT_SIZE], size_t ids_count)
{
    size_t owed = 0;
    for (size_t i = 0; i < ids_count; i++) {
        char key[REPLY_KEY_MAX];
        reply_waiter_key(ids[i], key);
        const struct span argv[] = {span_str("GET"), span_str(key)};
        if (redis_append(w->redis, argv, 2) != ERR_OK) {
            break;
        }
        owed++;
    }
    for (size_t i = 0; i < owed; i++) {
        CLEANUP(redis_reply_free) struct redis_reply *reply = NULL;
        if (redis_collect(w->redis, &reply) != ERR_OK) {
            continue;
        }
        struct span value = redis_reply_span(reply);
        if (value.ptr != NULL) {
            (void)pthread_mutex_lock(&w->lock);
            w->stats.found_stored++;
            answer(w, ids[i], value);
            (void)pthread_mutex_unlock(&w->lock);
        }
    }
}

/* Looks up pending requests: those at their deadline, or all of them. Lock held on entry and
 * return. */
static void look(struct reply_waiter *w, bool all)
{
    int64_t at = now(w);
    char(*ids)[UUID_TEXT_SIZE] = xcalloc(LOOK_MAX, sizeof *ids);
    size_t position = 0;
    size_t n = 0;
    do {
        n = reply_table_due(&w->table, all ? INT64_MAX : at, &position, ids, LOOK_MAX);
        if (n > 0) {
            (void)pthread_mutex_unlock(&w->lock);
            look_up(w, ids, n);
            (void)pthread_mutex_lock(&w->lock);
        }
    } while (n == LOOK_MAX);
    free(ids);
}

/* What was looked up in vain at its deadline ends; what Kafka has not reported yet waits for that.
 */
static void expire(struct reply_waiter *w, int64_t at)
{
    struct reply_slot *slot = NULL;
    while ((slot = reply_table_expired(&w->table, at)) != NULL) {
        finish(w, slot, REPLY_NONE, span_of(NULL, 0));
    }
}

static void wait_a_tick(struct reply_waiter *w)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += TICK_MS * 1000000L;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000L;
    }
    (void)pthread_cond_timedwait(&w->wake, &w->lock, &until);
}

static void *timer_main(void *arg)
{
    struct reply_waiter *w = arg;
    (void)pthread_mutex_lock(&w->lock);
    while (!w->stopping) {
        int64_t at = now(w);
        bool down = !redis_subscriber_is_up(w->subscriber);
        bool all = w->gap || (down && at >= w->look_at_ms);
        if (all) {
            w->gap = false;
            w->look_at_ms = at + LOOK_MS;
        }
        if (w->table.used > 0 && (all || reply_table_any_due(&w->table, at))) {
            look(w, all);
            expire(w, at);
        }
        if (w->table.used == 0 && !w->stopping) {
            (void)pthread_cond_wait(&w->wake, &w->lock);
        } else if (!w->stopping) {
            wait_a_tick(w);
        }
    }
    (void)pthread_mutex_unlock(&w->lock);
    return NULL;
}

/* ---- life ---- */

static err_t start_producers(struct reply_waiter *w, const struct reply_waiter_config *config,
                             struct fault *fault)
{
    struct kafka_producer_config producer = {
        .linger_ms = config->linger_ms > 0 ? config->linger_ms : LINGER_MS,
        .delivery_timeout_ms =
            config->delivery_timeout_ms > 0 ? config->delivery_timeout_ms : DELIVERY_MS,
        .on_delivery = on_delivery,
        .ctx = w,
    };
    err_t err = kafka_producer_new(config->kafka, &producer, fault, &w->producer);
    if (err == ERR_OK && producer.linger_ms < CROWD_LINGER_MS) {
        producer.linger_ms = CROWD_LINGER_MS;
        err = kafka_producer_new(config->kafka, &producer, fault, &w->patient);
    }
    return err;
}

static err_t start_parts(struct reply_waiter *w, const struct reply_waiter_config *config,
                         struct fault *fault)
{
    err_t err = start_producers(w, config, fault);
    if (err != ERR_OK) {
        return err;
    }
    struct redis_config redis = *config->redis;
    redis.command_timeout_ms = REDIS_QUIET_MS;
    redis.connect_timeout_ms = REDIS_QUIET_MS;
    w->redis = redis_new(&redis);
    const struct redis_subscriber_config subscriber = {
        .redis = config->redis,
        .channel = w->channel,
        .ctx = w,
        .on_message = on_message,
        .on_gap = on_gap,
    };
    err = redis_subscriber_start(&subscriber, &w->subscriber);
    if (err != ERR_OK) {
        return err;
    }
    if (pthread_create(&w->timer, NULL, timer_main, w) != 0) {
        return ERR_INTERNAL;
    }
    w->timer_started = true;
    return ERR_OK;
}

err_t reply_waiter_start(const struct reply_waiter_config *config, struct fault *fault,
                         struct reply_waiter **ret)
{
    CLEANUP(reply_waiter_drop) struct reply_waiter *w = xcalloc(1, sizeof *w);
    w->clock = config->clock != NULL ? config->clock : &clock_system;
    (void)snprintf(w->channel, sizeof w->channel, "g:c:%s", config->instance);
    reply_table_init(&w->table, config->pending_max > 0 ? config->pending_max : PENDING_MAX);
    (void)pthread_mutex_init(&w->lock, NULL);
    pthread_condattr_t attributes;
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&w->wake, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    err_t err = start_parts(w, config, fault);
    if (err != ERR_OK) {
        return err;
    }
    *ret = TAKE(w);
    return ERR_OK;
}

static void finish_all(struct reply_waiter *w)
{
    (void)pthread_mutex_lock(&w->lock);
    struct reply_slot *slot = NULL;
    while ((slot = reply_table_any(&w->table)) != NULL) {
        finish(w, slot, slot->stored ? REPLY_NONE : REPLY_UNKNOWN, span_of(NULL, 0));
    }
    (void)pthread_mutex_unlock(&w->lock);
}

/* What is not out within the time is reported as unknown later. */
static void flush(const struct reply_waiter *w, struct kafka_producer *producer, int64_t end_ms)
{
    const int64_t left_ms = end_ms - now(w);
    if (producer != NULL && left_ms > 0) {
        err_t err = kafka_producer_flush(producer, (int)left_ms);
        log_debug("reply", NULL, "flushed", LOG_ERR("error", err));
    }
}

void reply_waiter_stop(struct reply_waiter *w, int flush_ms)
{
    if (w == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&w->lock);
    w->stopping = true;
    (void)pthread_cond_signal(&w->wake);
    (void)pthread_mutex_unlock(&w->lock);
    if (w->timer_started) {
        (void)pthread_join(w->timer, NULL);
    }
    const int64_t end_ms = now(w) + flush_ms;
    flush(w, w->patient, end_ms);
    flush(w, w->producer, end_ms);
    if (w->subscriber != NULL) {
        redis_subscriber_stop(w->subscriber);
    }
    kafka_producer_free(w->patient);
    kafka_producer_free(w->producer);
    finish_all(w);
    if (w->redis != NULL) {
        redis_free(w->redis);
    }
    reply_table_deinit(&w->table);
    (void)pthread_cond_destroy(&w->wake);
    (void)pthread_mutex_destroy(&w->lock);
    free(w);
}

/* ---- requests ---- */

/* False: it has ended meanwhile, with the reply to an earlier request of the same id. */
static bool abandon(struct reply_waiter *w, uint64_t cookie)
{
    (void)pthread_mutex_lock(&w->lock);
    struct reply_slot *slot = reply_table_at(&w->table, cookie);
    if (slot != NULL) {
        reply_table_remove(&w->table, slot);
        w->stats.sent--;
    }
    (void)pthread_mutex_unlock(&w->lock);
    return slot != NULL;
}

err_t reply_waiter_send(struct reply_waiter *w, const struct kafka_record *record,
                        const char *request_id, int deadline_ms, reply_done_fn done, void *ctx)
{
    (void)pthread_mutex_lock(&w->lock);
    struct reply_slot *slot = NULL;
    err_t err = w->stopping ? ERR_STOPPING : ERR_OK;
    if (err == ERR_OK) {
        slot = reply_table_add(&w->table, request_id, now(w) + deadline_ms);
        err = slot != NULL ? ERR_OK : ERR_BUSY;
    }
    uint64_t cookie = 0;
    struct kafka_producer *producer = w->producer;
    if (err == ERR_OK) {
        slot->done = done;
        slot->ctx = ctx;
        cookie = slot->cookie;
        w->stats.sent++;
        if (w->table.used == 1) { /* with more of them the timer ticks by itself */
            (void)pthread_cond_signal(&w->wake);
        }
        if (w->table.used > CROWD && w->patient != NULL) {
            producer = w->patient;
        }
    }
    (void)pthread_mutex_unlock(&w->lock);
    if (err != ERR_OK) {
        return err;
    }
    /* The lock is not held: the producer may report deliveries of others while it is full. */
    struct kafka_record copy = *record;
    copy.cookie = cookie;
    err = kafka_producer_produce(producer, &copy);
    return err != ERR_OK && !abandon(w, cookie) ? ERR_OK : err;
}

void reply_waiter_stats(struct reply_waiter *w, struct reply_waiter_stats *ret)
{
    (void)pthread_mutex_lock(&w->lock);
    *ret = w->stats;
    ret->pending = (unsigned)w->table.used;
    ret->subscribed = redis_subscriber_is_up(w->subscriber);
    (void)pthread_mutex_unlock(&w->lock);
}
