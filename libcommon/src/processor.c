/* The life of a processor and its loop. */
#include "processor_internal.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "common/id.h"
#include "common/json.h"
#include "common/log.h"

#define SPACING_DEFAULT_MS 20
#define SPACING_MAX_MS     200
#define IDLE_POLL_MS       100
#define CLOSE_TIMEOUT_MS   3000
#define PATIENCE_SLICE_MS  1000
#define STOP_PATIENCE_MS   2000 /* for a commit under way when told to stop */
#define BACK_OFF_MIN_MS    20
#define BACK_OFF_MAX_MS    2000
#define LOG_ID_BYTES_MAX   512
#define REDIS_DEFAULT_PORT 6379

void proc_step(struct processor *p, const char *step)
{
    if (p->options.hook != NULL) {
        p->options.hook(p->options.hook_ctx, step);
    }
}

int64_t proc_mono(const struct processor *p)
{
    return clock_mono_ms(p->clock);
}

int proc_patience(const struct processor *p, int64_t deadline_ms)
{
    if (atomic_load(&p->stopping) && atomic_load(&p->stop_by_ms) < deadline_ms) {
        deadline_ms = atomic_load(&p->stop_by_ms);
    }
    int64_t left = deadline_ms - proc_mono(p);
    return (int)(left < 0 ? 0 : left > PATIENCE_SLICE_MS ? PATIENCE_SLICE_MS : left);
}

struct part *proc_part(struct processor *p, int32_t number)
{
    for (unsigned i = 0; i < p->part_count; i++) {
        if (p->parts[i].number == number) {
            return &p->parts[i];
        }
    }
    return NULL;
}

bool proc_log_id(struct span value, char out[VIEW_LOG_ID_MAX])
{
    CLEANUP_JSON cJSON *json = NULL;
    const struct json_limits limits = {
        .max_bytes = LOG_ID_BYTES_MAX, .max_depth = 2, .max_values = 16};
    if (json_decode(value, &limits, &json, NULL) != ERR_OK) {
        return false;
    }
    const cJSON *id = cJSON_GetObjectItemCaseSensitive(json, "id");
    if (!cJSON_IsString(id) || strlen(id->valuestring) != VIEW_LOG_ID_MAX - 1) {
        return false;
    }
    memcpy(out, id->valuestring, VIEW_LOG_ID_MAX);
    return true;
}

void proc_back_off(struct processor *p, const char *what, err_t e)
{
    uint64_t random = 0;
    random_bytes(&random, sizeof random);
    int64_t wait_ms = backoff_next_ms(&p->back_off, random);
    const char *text = redis_error_text(p->redis);
    p->retry_at_ms = proc_mono(p) + wait_ms;
    log_limited(LOG_LEVEL_WARN, NULL, "processor_waits", LOG_STR("app", p->app->name),
                LOG_STR("at", what), LOG_ERR("error", e),
                LOG_STR("redis", text[0] != 0 ? text : redis_error_text(p->recovery_redis)),
                LOG_INT("wait_ms", wait_ms));
}

/* ---- the loop ---- */

static unsigned backlog_total(const struct processor *p)
{
    unsigned total = 0;
    for (unsigned i = 0; i < p->part_count; i++) {
        total += p->parts[i].state == PART_LIVE ? p->parts[i].backlog.len : 0;
    }
    return total;
}

/* Stops fetching a partition whose backlog is long, lets it go on when it is short again. */
static void balance_fetching(struct processor *p)
{
    for (unsigned i = 0; i < p->part_count; i++) {
        struct part *part = &p->parts[i];
        bool pause = backlog_is_long(&part->backlog, part->paused, p->options.batch_max,
                                     PROC_BACKLOG_BYTES / p->part_count);
        if (part->state != PART_LIVE || pause == part->paused) {
            continue;
        }
        err_t e = pause ? kafka_consumer_pause(p->consumer, p->app->request_topic, part->number)
                        : kafka_consumer_resume(p->consumer, p->app->request_topic, part->number);
        if (e == ERR_OK) {
            part->paused = pause;
        }
    }
}

static void take_request(struct processor *p, struct part *part, struct kafka_message *m)
{
    if (m->offset <= part->last_fetched) {
        /* Delivered twice: nobody may guess what else the client has mixed up. From the committed
         * offset on it is certain. */
        log_warn(NULL, "requests_out_of_order", LOG_STR("app", p->app->name),
                 LOG_INT("partition", part->number), LOG_INT("after", part->last_fetched),
                 LOG_INT("offset", m->offset));
        part->state = PART_BEHIND;
        return;
    }
    part->last_fetched = m->offset;
    backlog_push(&part->backlog, work_new(p, m));
}

static err_t fetch(struct processor *p, int wait_ms)
{
    err_t e = kafka_consumer_poll(p->consumer, &p->batch, wait_ms);
    for (size_t i = 0; i < p->batch.count; i++) {
        struct part *part = proc_part(p, p->batch.messages[i].partition);
        /* one that catches up starts anew from its committed offset and gets these again */
        if (part != NULL && part->state == PART_LIVE) {
            take_request(p, part, &p->batch.messages[i]);
        }
    }
    kafka_batch_clear(&p->batch);
    balance_fetching(p);
    return e;
}

/* How long the next poll may wait: a lone request must not wait for company, and company must not
 * wait for the next round. */
static int fetch_wait(const struct processor *p)
{
    if (recovery_needed(p)) {
        return 0;
    }
    int64_t now = proc_mono(p);
    int64_t at = now + IDLE_POLL_MS;
    unsigned waiting = backlog_total(p);
    if (waiting >= p->options.batch_max) {
        at = p->retry_at_ms;
    } else if (waiting > 0) {
        at = p->next_begin_ms > p->retry_at_ms ? p->next_begin_ms : p->retry_at_ms;
    }
    int64_t wait = at - now;
    return (int)(wait < 0 ? 0 : wait > IDLE_POLL_MS ? IDLE_POLL_MS : wait);
}

static bool round_due(const struct processor *p)
{
    int64_t now = proc_mono(p);
    unsigned waiting = backlog_total(p);
    return waiting > 0 && now >= p->retry_at_ms &&
           (waiting >= p->options.batch_max || now >= p->next_begin_ms);
}

/* The commit was not a definite yes: nobody here may guess. Both clients go, and the log tells. */
static void rebuild(struct processor *p, const char *at, err_t e)
{
    metric_inc(p->metrics->rebuilds);
    log_warn(NULL, "clients_rebuilt", LOG_STR("app", p->app->name), LOG_STR("at", at),
             LOG_ERR("error", e));
    round_end(p);
    proc_clients_drop(p);
    proc_back_off(p, at, e);
}

static void work_round(struct processor *p)
{
    int64_t started = proc_mono(p);
    err_t e = round_decide(p);
    if (e == ERR_STALE || e == ERR_BUSY) {
        return; /* a partition fell behind, or a request was put aside: the next turn goes on */
    }
    if (e == ERR_CORRUPT) {
        atomic_store(&p->broken, true);
        return;
    }
    if (e != ERR_OK) {
        proc_back_off(p, "round", e);
        return;
    }
    if (p->round.count == 0) {
        return;
    }
    metric_observe(p->metrics->decide_seconds, (double)(proc_mono(p) - started) / 1000.0);
    e = round_commit(p);
    if (e != ERR_OK) {
        rebuild(p, "commit", e);
        return;
    }
    round_end(p);
    backoff_reset(&p->back_off);
    /* As long a pause as the work took, at least: a transaction costs the broker by the partitions
     * it touches, not by its records, so the busier everything is the more of them share one. */
    int64_t ended = proc_mono(p);
    int64_t took = ended - started < SPACING_MAX_MS ? ended - started : SPACING_MAX_MS;
    int64_t spacing = p->options.transaction_spacing_ms;
    p->next_begin_ms = ended + (took > spacing ? took : spacing);
}

static int by_number(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a;
    int32_t y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

static void publish_readiness(struct processor *p)
{
    size_t live = 0;
    (void)pthread_mutex_lock(&p->live_lock);
    if (p->part_count > 0) {
        p->live = xrealloc(p->live, p->part_count, sizeof *p->live);
    }
    for (unsigned i = 0; i < p->part_count; i++) {
        if (p->parts[i].state == PART_LIVE) {
            p->live[live++] = p->parts[i].number;
        }
    }
    p->live_count = live;
    if (live > 0) {
        qsort(p->live, live, sizeof *p->live, by_number);
    }
    (void)pthread_mutex_unlock(&p->live_lock);
    int assigned = p->consumer == NULL ? -1 : (int)p->part_count;
    atomic_store(&p->assigned_parts, assigned);
    atomic_store(&p->ready_parts, (int)live);
    metric_set(p->metrics->partitions_assigned, assigned);
    metric_set(p->metrics->partitions_live, (int64_t)live);
    metric_set(p->metrics->backlog, backlog_total(p));
}

static void pause_until(struct processor *p, int64_t at_ms)
{
    int64_t wait = at_ms - proc_mono(p);
    if (wait <= 0) {
        return;
    }
    wait = wait > IDLE_POLL_MS ? IDLE_POLL_MS : wait;
    struct timespec ts = {.tv_sec = wait / 1000, .tv_nsec = wait % 1000 * 1000000};
    (void)nanosleep(&ts, NULL);
}

/* An error: the clients must be rebuilt. */
static err_t recover(struct processor *p)
{
    if (proc_mono(p) < p->retry_at_ms) {
        pause_until(p, p->retry_at_ms);
        return ERR_OK;
    }
    if (!p->pending_ended) {
        err_t e = proc_end_pending(p);
        if (e == ERR_BUSY) {
            proc_back_off(p, "offsets", e);
            return ERR_OK;
        }
        if (e != ERR_OK) {
            return e;
        }
    }
    recovery_step(p, backlog_total(p) > 0 ? 0 : IDLE_POLL_MS / 2);
    return ERR_OK;
}

static void turn(struct processor *p)
{
    if (p->consumer == NULL) {
        pause_until(p, p->retry_at_ms);
        if (proc_mono(p) < p->retry_at_ms) {
            return;
        }
        err_t e = proc_clients_make(p);
        if (e != ERR_OK) {
            proc_back_off(p, "clients", e);
            return;
        }
    }
    err_t e = fetch(p, fetch_wait(p));
    if (e != ERR_OK) {
        rebuild(p, "poll", e);
        return;
    }
    recovery_patrol(p);
    if (recovery_needed(p)) {
        e = recover(p);
        if (e != ERR_OK) {
            rebuild(p, "takeover", e);
            return;
        }
    }
    if (round_due(p)) {
        work_round(p);
    }
}

static void *run(void *arg)
{
    struct processor *p = arg;
    while (!atomic_load(&p->stopping)) {
        turn(p);
        publish_readiness(p);
    }
    if (p->consumer != NULL) {
        proc_drop_parts(p);
        if (kafka_consumer_close(p->consumer, false, CLOSE_TIMEOUT_MS) != ERR_OK) {
            log_warn(NULL, "consumer_close_timed_out", LOG_STR("app", p->app->name));
        }
    }
    proc_clients_drop(p);
    atomic_store(&p->stopped, true);
    return NULL;
}

/* ---- outside ---- */

/* Configuration says "" where there is none. */
static const char *given(const char *text)
{
    return text != NULL && text[0] != 0 ? text : NULL;
}

/* host:port as configuration has checked it. */
static struct redis *redis_of(struct processor *p, const char *address)
{
    const char *colon = strrchr(address, ':');
    size_t host_len = colon != NULL ? (size_t)(colon - address) : strlen(address);
    CLEANUP_FREE char *host = xstrndup(address, host_len);
    long port = colon != NULL ? strtol(colon + 1, NULL, 10) : REDIS_DEFAULT_PORT;
    return redis_new(&(struct redis_config){.host = host,
                                            .port = (uint16_t)port,
                                            .user = given(p->options.redis_user),
                                            .password = given(p->options.redis_password),
                                            .client_name = p->transactional_id});
}

static void defaults(struct processor_options *o)
{
    o->batch_max = o->batch_max ? o->batch_max : PROC_BATCH_DEFAULT;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    o->workers = o->workers ? o->workers : cores > 0 ? (unsigned)cores : 1;
    o->transaction_timeout_ms =
        o->transaction_timeout_ms ? o->transaction_timeout_ms : KAFKA_TRANSACTION_MS;
    o->transaction_spacing_ms =
        o->transaction_spacing_ms ? o->transaction_spacing_ms : SPACING_DEFAULT_MS;
}

err_t processor_new(const struct processor_app *app, void *ctx,
                    const struct processor_options *options, struct processor **ret)
{
    CLEANUP(processor_free) struct processor *p = xcalloc(1, sizeof *p);
    p->app = app;
    p->ctx = ctx;
    p->options = *options;
    defaults(&p->options);
    (void)pthread_mutex_init(&p->live_lock, NULL);
    p->metrics = processor_metrics_new(options->metrics, app->name);
    p->clock = options->clock != NULL ? options->clock : &clock_system;
    p->instance = xstrdup(options->instance);
    p->brokers = xstrdup(options->brokers);
    p->transactional_id = xasprintf("%s.%s", app->name, options->instance);
    p->dlq_topic = xasprintf("%s.dlq", app->request_topic);
    uint8_t run[8];
    random_bytes(run, sizeof run);
    hex_format(span_of(run, sizeof run), p->run_id);
    p->redis = redis_of(p, options->redis_address);
    p->recovery_redis = redis_of(p, options->redis_address);
    kafka_batch_init(&p->batch, PROC_POLL_MAX);
    p->records = xcalloc(VIEW_WRITES_MAX, sizeof *p->records);
    for (unsigned i = 0; i < VIEW_WRITES_MAX; i++) {
        view_record_init(&p->records[i]);
    }
    atomic_store(&p->assigned_parts, -1);
    p->back_off = BACKOFF_INIT(BACK_OFF_MIN_MS, BACK_OFF_MAX_MS);
    err_t e = pool_new(p->options.workers - 1, "proc", &p->pool);
    if (e != ERR_OK) {
        return e;
    }
    *ret = TAKE(p);
    return ERR_OK;
}

err_t processor_start(struct processor *p)
{
    if (pthread_create(&p->thread, NULL, run, p) != 0) {
        return ERR_INTERNAL;
    }
    p->started = true;
    return ERR_OK;
}

bool processor_ready(struct processor *p, char *reason, size_t reason_size)
{
    int assigned = atomic_load(&p->assigned_parts);
    int ready = atomic_load(&p->ready_parts);
    if (atomic_load(&p->broken)) {
        (void)snprintf(reason, reason_size, "%s: a partition stopped on a record it cannot read",
                       p->app->name);
        return false;
    }
    if (assigned < 0) {
        (void)snprintf(reason, reason_size, "%s: not connected to Kafka", p->app->name);
        return false;
    }
    (void)snprintf(reason, reason_size, "%s: %d of %d partitions live", p->app->name, ready,
                   assigned);
    return ready == assigned && assigned > 0;
}

size_t processor_live_partitions(struct processor *p, int32_t *ret, size_t max)
{
    (void)pthread_mutex_lock(&p->live_lock);
    size_t n = p->live_count < max ? p->live_count : max;
    if (n > 0) {
        memcpy(ret, p->live, n * sizeof *ret);
    }
    (void)pthread_mutex_unlock(&p->live_lock);
    return n;
}

err_t processor_stop(struct processor *p, unsigned deadline_ms)
{
    if (!p->started) {
        return ERR_OK;
    }
    atomic_store(&p->stop_by_ms, proc_mono(p) + STOP_PATIENCE_MS);
    atomic_store(&p->stopping, true);
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += deadline_ms / 1000;
    until.tv_nsec += (long)(deadline_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    if (pthread_timedjoin_np(p->thread, NULL, &until) != 0) {
        return ERR_TIMEOUT;
    }
    p->started = false;
    return ERR_OK;
}

bool processor_broken(struct processor *p)
{
    return atomic_load(&p->broken);
}

void processor_free(struct processor *p)
{
    if (p == NULL || p->started) {
        return; /* a thread that did not stop in time still uses it: the process is about to end */
    }
    pool_free(p->pool);
    processor_metrics_free(p->metrics);
    (void)pthread_mutex_destroy(&p->live_lock);
    free(p->live);
    redis_free(p->redis);
    redis_free(p->recovery_redis);
    kafka_batch_deinit(&p->batch);
    for (unsigned i = 0; i < VIEW_WRITES_MAX && p->records != NULL; i++) {
        view_record_deinit(&p->records[i]);
    }
    free(p->records);
    for (unsigned i = 0; i < p->topic_count; i++) {
        free(p->topics[i].name);
    }
    free(p->round.works);
    free(p->round.entities);
    free(p->round.graves);
    arena_deinit(&p->round.arena);
    free(p->instance);
    free(p->brokers);
    free(p->transactional_id);
    free(p->dlq_topic);
    free(p);
}
