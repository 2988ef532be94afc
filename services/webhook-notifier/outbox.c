#include "outbox.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "common/clock.h"
#include "common/log.h"

#define LINGER_MS 2
#define AGAIN_MS  500 /* between two tries of the same parcel, or of making a producer */

struct item {
    struct kafka_record record; /* key, value and header values point into `bytes` */
    uint8_t *bytes;
};

struct parcel {
    struct parcel *next;
    struct group_ticket ticket;
    struct item items[OUTBOX_PARCEL_MAX];
    size_t count;
    size_t produced;
    int64_t not_before_ms;
    atomic_size_t reported; /* producer's thread */
    atomic_bool failed;     /* producer's thread */
};

struct outbox {
    struct outbox_options options;
    struct kafka_producer *producer;
    int64_t not_before_ms; /* the next try to make a producer */
    struct parcel *first;  /* in the order they were sent */
    struct parcel **last;
    size_t waiting;
    pthread_mutex_t lock;
    pthread_cond_t news; /* on the monotonic clock */
    bool some_news;      /* under the lock */
};

/* ---- parcels ---- */

struct parcel *parcel_new(struct group_ticket ticket)
{
    struct parcel *p = xcalloc(1, sizeof *p);
    p->ticket = ticket;
    return p;
}

static struct span keep(uint8_t **at, struct span s)
{
    if (s.len > 0) {
        memcpy(*at, s.ptr, s.len);
    }
    struct span kept = span_of(*at, s.len);
    *at += s.len;
    return kept;
}

void parcel_add(struct parcel *p, const struct kafka_record *record)
{
    assert(p->count < OUTBOX_PARCEL_MAX);
    struct item *item = &p->items[p->count++];
    size_t headers = record->headers_count * sizeof(struct kafka_header);
    size_t size = headers + record->key.len + record->value.len + 1;
    for (size_t i = 0; i < record->headers_count; i++) {
        size += record->headers[i].value.len;
    }
    item->bytes = xcalloc(1, size);
    item->record = *record;
    item->record.cookie = (uint64_t)(uintptr_t)p;
    struct kafka_header *kept = (struct kafka_header *)(void *)item->bytes;
    uint8_t *at = item->bytes + headers;
    for (size_t i = 0; i < record->headers_count; i++) {
        kept[i] =
            (struct kafka_header){record->headers[i].name, keep(&at, record->headers[i].value)};
    }
    item->record.headers = record->headers_count > 0 ? kept : NULL;
    item->record.key = keep(&at, record->key);
    item->record.value = keep(&at, record->value);
}

static void parcel_free(struct parcel *p)
{
    for (size_t i = 0; i < p->count; i++) {
        free(p->items[i].bytes);
    }
    free(p);
}

/* ---- the producer ---- */

/* Producer's thread. */
static void on_delivery(void *ctx, const struct kafka_delivery_report *report)
{
    struct outbox *o = ctx;
    struct parcel *p = (struct parcel *)(uintptr_t)report->cookie;
    if (report->result != ERR_OK) {
        atomic_store(&p->failed, true);
    }
    atomic_fetch_add(&p->reported, 1); /* last: the parcel may be gone afterwards */
    (void)pthread_mutex_lock(&o->lock);
    o->some_news = true;
    (void)pthread_cond_signal(&o->news);
    (void)pthread_mutex_unlock(&o->lock);
}

static bool have_producer(struct outbox *o, int64_t now_ms)
{
    if (o->producer != NULL && kafka_producer_is_broken(o->producer)) {
        kafka_producer_free(TAKE(o->producer)); /* reports what it held as failed */
    }
    if (o->producer != NULL) {
        return true;
    }
    if (now_ms < o->not_before_ms) {
        return false;
    }
    const struct kafka_producer_config config = {
        .linger_ms = LINGER_MS, .on_delivery = on_delivery, .ctx = o};
    err_t e = kafka_producer_new(&o->options.kafka, &config, NULL, &o->producer);
    if (e != ERR_OK) {
        o->not_before_ms = now_ms + AGAIN_MS;
        log_limited(LOG_LEVEL_ERROR, NULL, "producer_not_made", LOG_ERR("error", e));
    }
    return e == ERR_OK;
}

/* ---- the outbox ---- */

struct outbox *outbox_new(const struct outbox_options *options)
{
    struct outbox *o = xcalloc(1, sizeof *o);
    o->options = *options;
    o->last = &o->first;
    pthread_condattr_t clock;
    (void)pthread_condattr_init(&clock);
    (void)pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&o->lock, NULL);
    (void)pthread_cond_init(&o->news, &clock);
    (void)pthread_condattr_destroy(&clock);
    return o;
}

void outbox_free(struct outbox *o)
{
    kafka_producer_free(o->producer); /* reports come during it: the parcels must still be there */
    while (o->first != NULL) {
        struct parcel *p = o->first;
        o->first = p->next;
        parcel_free(p);
    }
    (void)pthread_cond_destroy(&o->news);
    (void)pthread_mutex_destroy(&o->lock);
    free(o);
}

static void produce(struct outbox *o, struct parcel *p, int64_t now_ms)
{
    while (p->produced < p->count && now_ms >= p->not_before_ms) {
        err_t e = kafka_producer_produce(o->producer, &p->items[p->produced].record);
        if (e != ERR_OK) {
            p->not_before_ms = now_ms + AGAIN_MS;
            log_limited(LOG_LEVEL_WARN, NULL, "record_not_produced", LOG_ERR("error", e),
                        LOG_STR("topic", p->items[p->produced].record.topic));
            return;
        }
        p->produced++;
    }
}

void outbox_send(struct outbox *o, struct parcel *p)
{
    *o->last = p;
    o->last = &p->next;
    o->waiting++;
    if (have_producer(o, clock_mono_ms(&clock_system))) {
        produce(o, p, clock_mono_ms(&clock_system));
    }
}

/* All its records are reported, or none was accepted. */
static bool settled(struct parcel *p)
{
    return atomic_load(&p->reported) == p->produced;
}

void outbox_step(struct outbox *o)
{
    int64_t now_ms = clock_mono_ms(&clock_system);
    bool ready = o->first != NULL && have_producer(o, now_ms);
    for (struct parcel **at = &o->first; *at != NULL;) {
        struct parcel *p = *at;
        if (settled(p) && atomic_load(&p->failed)) {
            log_limited(LOG_LEVEL_WARN, NULL, "records_not_stored",
                        LOG_STR("topic", p->items[0].record.topic));
            p->produced = 0;
            p->not_before_ms = now_ms + AGAIN_MS;
            atomic_store(&p->reported, 0);
            atomic_store(&p->failed, false);
        }
        if (ready && p->produced < p->count) {
            produce(o, p, now_ms);
        }
        if (p->produced < p->count || !settled(p) || atomic_load(&p->failed)) {
            at = &p->next;
            continue;
        }
        *at = p->next;
        if (p->next == NULL) {
            o->last = at;
        }
        o->waiting--;
        o->options.stored(o->options.ctx, p->ticket);
        parcel_free(p);
    }
}

void outbox_wait(struct outbox *o, int timeout_ms)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t ns = until.tv_nsec + (int64_t)timeout_ms * 1000000;
    until.tv_sec += ns / 1000000000;
    until.tv_nsec = ns % 1000000000;
    (void)pthread_mutex_lock(&o->lock);
    int e = 0;
    while (!o->some_news && e == 0) {
        e = pthread_cond_timedwait(&o->news, &o->lock, &until);
    }
    o->some_news = false;
    (void)pthread_mutex_unlock(&o->lock);
}

size_t outbox_waiting(const struct outbox *o)
{
    return o->waiting;
}
