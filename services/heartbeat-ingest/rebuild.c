#include "rebuild.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

#include "common/kafka_reader.h"
#include "common/log.h"
#include "proto/heartbeat.h"
#include "proto/topics.h"

#define LOOK_MS      1000
#define POLL_MS      100
#define BATCH        500
#define CLAIM_S      "60" /* a replica that died while rebuilding delays the next try by this */
#define WATERMARK_MS 5000
#define MARK_KEY     "g:h#"

/*
 * KEYS: guard. ARGV: guard. The log may hold several heartbeats of a device, the oldest first, and
 * a guard may have been begun since: the highest sequence (its bytes 9 to 16) stays. With an older
 * one the token that the device shows next would look like a fork.
 */
static struct redis_script restore_script = REDIS_SCRIPT(
    "local old = redis.call('GET', KEYS[1]) "
    "if old and #old == #ARGV[1] and "
    "struct.unpack('>I8', old, 9) >= struct.unpack('>I8', ARGV[1], 9) then return 0 end "
    "redis.call('SET', KEYS[1], ARGV[1]) "
    "return 1");

struct rebuild {
    struct redis *redis;
    char *brokers, *client_id;
    int32_t partitions;
    struct metric *runs, *restored;
    pthread_t thread;
    bool started;
    atomic_bool stopping;
};

/* ---- one record ---- */

static err_t append_guard(struct rebuild *r, const struct kafka_message *m, unsigned *owed)
{
    struct heartbeat beat;
    const struct json_limits limits = {1024, 2, 32};
    uint8_t uid[DEVICE_UID_BYTES];
    if (m->value.ptr == NULL ||
        codec_decode_text(&heartbeat_table, CODEC_KEEP, m->value, &limits, &beat, NULL) != ERR_OK ||
        device_uid_parse(span_str(beat.uid), uid) != ERR_OK) {
        return ERR_OK; /* nothing a guard could be made of; the device begins a new one */
    }
    struct heartbeat_guard guard = {.time_ms = beat.time_ms, .sequence = beat.sequence};
    uint8_t key[HEARTBEAT_GUARD_KEY];
    uint8_t bytes[HEARTBEAT_GUARD_BYTES];
    memcpy(guard.accepted, beat.accepted, sizeof guard.accepted);
    heartbeat_guard_key(uid, key);
    heartbeat_guard_encode(&guard, bytes);
    struct span key_span = span_of(key, sizeof key);
    struct span value = span_of(bytes, sizeof bytes);
    err_t e = redis_append_script(r->redis, &restore_script, &key_span, 1, &value, 1);
    *owed += e == ERR_OK;
    return e;
}

static err_t restore_batch(struct rebuild *r, const struct kafka_batch *batch)
{
    unsigned owed = 0;
    err_t e = ERR_OK;
    for (size_t i = 0; i < batch->count && e == ERR_OK; i++) {
        e = batch->messages[i].eof ? ERR_OK : append_guard(r, &batch->messages[i], &owed);
    }
    for (unsigned i = 0; i < owed; i++) {
        CLEANUP(redis_reply_free) struct redis_reply *reply = NULL;
        err_t one = redis_collect(r->redis, &reply);
        e = e == ERR_OK ? one : e;
    }
    metric_add(r->restored, owed);
    return e;
}

/* ---- the whole topic ---- */

static err_t start_partitions(struct rebuild *r, struct kafka_reader *reader, int64_t *ends)
{
    for (int32_t p = 0; p < r->partitions; p++) {
        err_t e = kafka_reader_high_watermark(reader, TOPIC_HEARTBEATS, p, WATERMARK_MS, &ends[p]);
        if (e == ERR_OK) {
            e = kafka_reader_start(reader, TOPIC_HEARTBEATS, p, KAFKA_OFFSET_BEGINNING);
        }
        if (e != ERR_OK) {
            return e;
        }
    }
    return ERR_OK;
}

static unsigned count_ended(struct kafka_reader *reader, const struct kafka_batch *batch,
                            const int64_t *ends)
{
    unsigned ended = 0;
    for (size_t i = 0; i < batch->count; i++) {
        const struct kafka_message *m = &batch->messages[i];
        if (m->eof && m->offset >= ends[m->partition]) {
            kafka_reader_stop(reader, TOPIC_HEARTBEATS, m->partition);
            ended++;
        }
    }
    return ended;
}

static err_t read_all(struct rebuild *r)
{
    const struct kafka_config config = {.brokers = r->brokers, .client_id = r->client_id};
    CLEANUP(kafka_reader_free) struct kafka_reader *reader = NULL;
    CLEANUP_FREE int64_t *ends = xcalloc((size_t)r->partitions, sizeof *ends);
    CLEANUP(kafka_batch_deinit) struct kafka_batch batch;
    kafka_batch_init(&batch, BATCH);
    err_t e = kafka_reader_new(&config, &(struct kafka_reader_config){0}, NULL, &reader);
    if (e == ERR_OK) {
        e = start_partitions(r, reader, ends);
    }
    for (unsigned ended = 0; e == ERR_OK && ended < (unsigned)r->partitions;) {
        if (atomic_load(&r->stopping)) {
            e = ERR_STOPPING;
            break;
        }
        e = kafka_reader_poll(reader, &batch, POLL_MS);
        if (e == ERR_OK) {
            e = restore_batch(r, &batch);
        }
        ended += count_ended(reader, &batch, ends);
        kafka_batch_clear(&batch);
    }
    return e;
}

/* ---- when ---- */

/* True when the guards are gone and this replica is the one to bring them back. */
static err_t claim(struct rebuild *r, bool *ret)
{
    CLEANUP(redis_reply_free) struct redis_reply *reply = NULL;
    err_t e = redis_command_str(r->redis, &reply, "SET", MARK_KEY, "rebuilding", "NX", "EX",
                                CLAIM_S, NULL);
    *ret = e == ERR_OK && redis_reply_kind(reply) != REDIS_KIND_NIL;
    return e;
}

static err_t look(struct rebuild *r)
{
    bool ours = false;
    err_t e = claim(r, &ours);
    if (e != ERR_OK || !ours) {
        return e;
    }
    e = read_all(r);
    if (e == ERR_OK) {
        e = redis_command_str(r->redis, NULL, "SET", MARK_KEY, "whole", NULL);
    }
    if (e == ERR_OK) {
        metric_inc(r->runs);
        log_info(NULL, "heartbeat_guards_rebuilt", LOG_INT("restored", metric_get(r->restored)));
    }
    return e;
}

static void *run(void *arg)
{
    struct rebuild *r = arg;
    while (!atomic_load(&r->stopping)) {
        err_t e = look(r);
        if (e != ERR_OK && e != ERR_STOPPING) {
            if (redis_owed(r->redis) > 0) {
                redis_abandon(r->redis);
            }
            log_limited(LOG_LEVEL_WARN, NULL, "guard_rebuild_waits", LOG_ERR("error", e),
                        LOG_STR("redis", redis_error_text(r->redis)));
        }
        for (int i = 0; i < LOOK_MS / POLL_MS && !atomic_load(&r->stopping); i++) {
            (void)nanosleep(&(struct timespec){.tv_nsec = POLL_MS * 1000000L}, NULL);
        }
    }
    return NULL;
}

err_t rebuild_start(const struct rebuild_options *options, struct rebuild **ret)
{
    struct rebuild *r = xcalloc(1, sizeof *r);
    r->redis = redis_new(options->redis);
    redis_register_script(r->redis, &restore_script);
    r->brokers = xstrdup(options->brokers);
    r->client_id = xstrdup(options->client_id);
    r->partitions = options->partitions;
    r->runs = metrics_counter(options->metrics, "fleetseal_guard_rebuilds_total",
                              "Times the heartbeat guards were brought back.", METRIC_NO_LABELS);
    r->restored = metrics_counter(options->metrics, "fleetseal_guards_restored_total",
                                  "Heartbeat records read for that.", METRIC_NO_LABELS);
    r->started = pthread_create(&r->thread, NULL, run, r) == 0;
    if (!r->started) {
        rebuild_stop(r);
        return ERR_INTERNAL;
    }
    *ret = r;
    return ERR_OK;
}

void rebuild_stop(struct rebuild *r)
{
    if (r == NULL) {
        return;
    }
    atomic_store(&r->stopping, true);
    if (r->started) {
        (void)pthread_join(r->thread, NULL);
    }
    redis_free(r->redis);
    free(r->brokers);
    free(r->client_id);
    free(r);
}
