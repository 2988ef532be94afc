#include "lane.h"

#include <pthread.h>

#include "beat_lookup.h"
#include "common/log.h"
#include "common/queue.h"
#include "vouch_lookup.h"

#define BATCH_MAX   256
#define WAIT_MS     100
#define SETTING_MAX 512

/* KEYS: guard. ARGV: 4 bytes of flood interval. Only a guard that is there. */
static struct redis_script flood_script =
    REDIS_SCRIPT("if redis.call('STRLEN', KEYS[1]) == 28 then "
                 "redis.call('SETRANGE', KEYS[1], 24, ARGV[1]) end return 1");

/* Every question that is asked: their scripts are loaded at each connect. */
static const struct lane_question *const questions[] = {&beat_question, &vouch_question};

struct lane_setting {
    uint8_t uid[DEVICE_UID_BYTES];
    uint32_t flood_s;
};

struct lane {
    struct redis *redis; /* lane thread */
    struct queue *queue;
    pthread_t thread;
    bool started;
    struct metric *asked, *batches, *failed;
    struct lane_setting settings[SETTING_MAX]; /* lane thread: written with the next batch */
    size_t setting_count;
};

static void finish(struct lane_job *job, err_t result)
{
    job->result = result;
    job->done(job);
}

static void collect(struct lane *lane, struct lane_job *job)
{
    CLEANUP(redis_reply_free) struct redis_reply *reply = NULL;
    err_t e = redis_collect(lane->redis, &reply);
    if (e == ERR_OK) {
        e = job->question->take(job, reply);
    }
    if (e != ERR_OK) {
        metric_inc(lane->failed);
        log_limited(LOG_LEVEL_WARN, NULL, "lookup_failed", LOG_ERR("error", e),
                    LOG_STR("redis", redis_error_text(lane->redis)));
    }
    finish(job, e); /* the record inside the reply lives until `done` has returned */
}

/* Settings go with the batch; a lost one is noticed at the next heartbeat. */
static size_t append_settings(struct lane *lane)
{
    size_t appended = 0;
    for (size_t i = 0; i < lane->setting_count; i++) {
        uint8_t key[HEARTBEAT_GUARD_KEY];
        uint32_t s = lane->settings[i].flood_s;
        const uint8_t bytes[4] = {(uint8_t)(s >> 24), (uint8_t)(s >> 16), (uint8_t)(s >> 8),
                                  (uint8_t)s};
        heartbeat_guard_key(lane->settings[i].uid, key);
        struct span key_span = span_of(key, sizeof key);
        struct span arg = span_of(bytes, sizeof bytes);
        appended +=
            redis_append_script(lane->redis, &flood_script, &key_span, 1, &arg, 1) == ERR_OK;
    }
    lane->setting_count = 0;
    return appended;
}

static void serve(struct lane *lane, struct lane_job **jobs, size_t count)
{
    size_t settings = append_settings(lane);
    err_t results[BATCH_MAX];
    for (size_t i = 0; i < count; i++) {
        results[i] = jobs[i]->question->append(lane->redis, jobs[i]);
    }
    for (size_t i = 0; i < settings; i++) {
        CLEANUP(redis_reply_free) struct redis_reply *reply = NULL;
        err_t ignored = redis_collect(lane->redis, &reply);
        (void)ignored;
    }
    for (size_t i = 0; i < count; i++) {
        if (results[i] == ERR_OK) {
            collect(lane, jobs[i]);
        } else {
            metric_inc(lane->failed);
            finish(jobs[i], results[i]);
        }
    }
    metric_add(lane->asked, (int64_t)count);
    metric_inc(lane->batches);
}

static void *run(void *arg)
{
    struct lane *lane = arg;
    for (;;) {
        void *items[BATCH_MAX];
        size_t count = 0;
        err_t e = queue_pop_many(lane->queue, WAIT_MS, items, BATCH_MAX, &count);
        if (e == ERR_STOPPING) {
            return NULL;
        }
        if (e == ERR_OK && count > 0) {
            serve(lane, (struct lane_job **)items, count);
        } else if (lane->setting_count > 0) {
            serve(lane, NULL, 0);
        }
    }
}

err_t lane_start(const struct lane_options *options, struct lane **ret)
{
    struct lane *lane = xcalloc(1, sizeof *lane);
    lane->redis = redis_new(options->redis);
    for (size_t i = 0; i < sizeof questions / sizeof questions[0]; i++) {
        redis_register_script(lane->redis, questions[i]->script);
    }
    redis_register_script(lane->redis, &flood_script);
    lane->queue = queue_new(options->queue_max);
    const struct metric_label *labels = METRIC_LABELS({"lane", options->name});
    lane->asked = metrics_counter(options->metrics, "fleetseal_lookups_total",
                                  "Questions about devices put to Redis.", labels);
    lane->batches = metrics_counter(options->metrics, "fleetseal_lookup_batches_total",
                                    "Round trips for them.", labels);
    lane->failed = metrics_counter(options->metrics, "fleetseal_lookup_errors_total",
                                   "Questions Redis had no answer for.", labels);
    lane->started = pthread_create(&lane->thread, NULL, run, lane) == 0;
    if (!lane->started) {
        lane_stop(lane);
        return ERR_INTERNAL;
    }
    *ret = lane;
    return ERR_OK;
}

static void drop(void *item)
{
    finish(item, ERR_STOPPING);
}

void lane_stop(struct lane *lane)
{
    if (lane == NULL) {
        return;
    }
    queue_close(lane->queue);
    if (lane->started) {
        (void)pthread_join(lane->thread, NULL);
    }
    queue_free(lane->queue, drop);
    redis_free(lane->redis);
    free(lane);
}

err_t lane_ask(struct lane *lane, struct lane_job *job)
{
    return queue_push(lane->queue, job);
}

void lane_set_flood(struct lane *lane, const uint8_t uid[DEVICE_UID_BYTES], uint32_t flood_s)
{
    if (lane->setting_count < SETTING_MAX) {
        struct lane_setting *s = &lane->settings[lane->setting_count++];
        memcpy(s->uid, uid, sizeof s->uid);
        s->flood_s = flood_s;
    }
}
