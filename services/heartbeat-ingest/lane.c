#include "lane.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>

#include "common/log.h"
#include "common/queue.h"
#include "common/view.h"
#include "proto/topics.h"

#define BATCH_MAX   256
#define WAIT_MS     100
#define KEY_BYTES   128
#define SETTING_MAX 512

/*
 * KEYS: view record, view mark, guard. ARGV: now (ms), sequence, nonce ("" without a token),
 * parent. Answers {verdict, ratchet, guard, stored record}; the numbers are those of beat.h and
 * ratchet.h. The guard is time | sequence | accepted nonce | flood interval (proto/heartbeat.h). A
 * clock that stepped back opens the gate rather than shut it.
 */
static struct redis_script beat_script =
    REDIS_SCRIPT("local m = redis.call('HMGET', ARGV[6], 'log', 'part') "
                 "if not m[1] then return {5, 0, '', ''} end "
                 "local rec = redis.call('GET', ARGV[5]) "
                 "if not rec then return {m[2] and 5 or 4, 0, '', ''} end "
                 "local zero = string.rep('\\0', 8) "
                 "local last, seq, acc, flood = 0, 0, zero, 0 "
                 "local g = redis.call('GET', KEYS[1]) "
                 "if g and #g == 28 then last, seq, acc, flood = struct.unpack('>I8I8c8I4', g) "
                 "else g = false end "
                 "local now, s, r = tonumber(ARGV[1]), tonumber(ARGV[2]), 0 "
                 "if g and s == seq then return {1, 0, g, rec} end "
                 "if s < seq then return {3, 0, g, ''} end "
                 "if last <= now and now < last + flood * 1000 then return {2, 0, g, ''} end "
                 "if ARGV[3] == '' then if acc ~= zero then r = 2 end "
                 "elseif acc == zero then r = 1 acc = ARGV[3] "
                 "elseif ARGV[3] == acc or ARGV[4] == acc then acc = ARGV[3] "
                 "else r = 2 end "
                 "g = struct.pack('>I8I8c8I4', now, s, acc, flood) "
                 "redis.call('SET', KEYS[1], g) "
                 "return {0, r, g, rec}");

/* KEYS: guard. ARGV: 4 bytes of flood interval. Only a guard that is there. */
static struct redis_script flood_script =
    REDIS_SCRIPT("if redis.call('STRLEN', KEYS[1]) == 28 then "
                 "redis.call('SETRANGE', KEYS[1], 24, ARGV[1]) end return 1");

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

static err_t append(struct lane *lane, const struct lane_job *job)
{
    char now[24];
    char sequence[24];
    uint8_t guard_key[HEARTBEAT_GUARD_KEY];
    CLEANUP_BUF struct buf record_key = BUF_INIT(KEY_BYTES);
    CLEANUP_BUF struct buf mark_key = BUF_INIT(KEY_BYTES);
    (void)snprintf(now, sizeof now, "%" PRId64, job->now_ms);
    (void)snprintf(sequence, sizeof sequence, "%" PRId64, job->sequence);
    heartbeat_guard_key(job->uid, guard_key);
    err_t e =
        view_key(VIEW_DEVICE, job->partition, span_of(job->uid, sizeof job->uid), &record_key);
    if (e == ERR_OK) {
        e = view_mark_key(VIEW_DEVICE, job->partition, &mark_key);
    }
    if (e != ERR_OK) {
        return e;
    }
    const struct span key = span_of(guard_key, sizeof guard_key);
    const struct span args[] = {
        span_str(now),
        span_str(sequence),
        job->has_token ? span_of(job->token.nonce, sizeof job->token.nonce) : span_of("", 0),
        job->has_token ? span_of(job->token.parent, sizeof job->token.parent) : span_of("", 0),
        buf_span(&record_key),
        buf_span(&mark_key),
    };
    return redis_append_script(lane->redis, &beat_script, &key, 1, args,
                               sizeof args / sizeof args[0]);
}

static err_t take_reply(struct lane_job *job, const struct redis_reply *reply)
{
    int64_t verdict = 0;
    int64_t ratchet = 0;
    if (redis_reply_count(reply) != 4 || !redis_reply_integer(redis_reply_at(reply, 0), &verdict) ||
        !redis_reply_integer(redis_reply_at(reply, 1), &ratchet) || verdict < 0 ||
        verdict >= BEAT_COUNT) {
        return ERR_INTERNAL;
    }
    job->verdict = (enum beat_verdict)verdict;
    job->ratchet = (enum ratchet_verdict)ratchet;
    struct span guard = redis_reply_span(redis_reply_at(reply, 2));
    struct span record = redis_reply_span(redis_reply_at(reply, 3));
    if (guard.len > 0 && heartbeat_guard_decode(guard, &job->guard) != ERR_OK) {
        return ERR_INTERNAL;
    }
    return record.len > 0 ? view_value_payload(record, &job->record) : ERR_OK;
}

static void collect(struct lane *lane, struct lane_job *job)
{
    CLEANUP(redis_reply_free) struct redis_reply *reply = NULL;
    err_t e = redis_collect(lane->redis, &reply);
    if (e == ERR_OK) {
        e = take_reply(job, reply);
    }
    if (e != ERR_OK) {
        metric_inc(lane->failed);
        log_limited(LOG_LEVEL_WARN, NULL, "heartbeat_lookup_failed", LOG_ERR("error", e),
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
        results[i] = append(lane, jobs[i]);
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
    redis_register_script(lane->redis, &beat_script);
    redis_register_script(lane->redis, &flood_script);
    lane->queue = queue_new(options->queue_max);
    const struct metric_label *labels = METRIC_LABELS({"lane", options->name});
    lane->asked = metrics_counter(options->metrics, "fleetseal_heartbeat_lookups_total",
                                  "Heartbeats looked up in Redis.", labels);
    lane->batches = metrics_counter(options->metrics, "fleetseal_heartbeat_batches_total",
                                    "Round trips for them.", labels);
    lane->failed = metrics_counter(options->metrics, "fleetseal_heartbeat_lookup_errors_total",
                                   "Heartbeats Redis had no answer for.", labels);
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
