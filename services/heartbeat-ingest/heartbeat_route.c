/* POST /v1/device/heartbeat: one Redis round trip, no transaction. */
#include <inttypes.h>
#include <stdio.h>

#include "beat_lookup.h"
#include "common/id.h"
#include "common/log.h"
#include "door.h"
#include "proto/topics.h"

#define DEADLINE_MS  3000
#define RECORD_BYTES 512

/* A heartbeat on its way through a lane. */
struct beat {
    struct beat_lookup look;
    struct door *door;
    struct lane *lane;
    struct http_ticket *ticket;
    struct identity who;
    struct beat_request request;
};

/* A deadline that was quicker has answered already; nothing is left to do then. */
static void finish(struct beat *b, struct http_response *response)
{
    err_t late = http_resume(b->ticket, response);
    (void)late;
}

static void answer_fault(struct beat *b, err_t e, const char *code, const char *text,
                         uint32_t retry_after_s)
{
    struct fault fault = {0};
    (void)fault_set(&fault, e, code, "", "%s", text);
    struct http_response *response = http_response_fault(e, &fault);
    if (retry_after_s > 0) {
        http_response_set_retry_after(response, retry_after_s);
    }
    finish(b, response);
}

/* Rebuilds last-seen and ratchet after a loss of Redis; never waited for, and dropped rather than
 * in the way. */
static void write_record(const struct beat *b)
{
    struct heartbeat record = {
        .type = HEARTBEAT_TYPE, .time_ms = b->look.now_ms, .sequence = b->look.sequence};
    memcpy(record.uid, b->who.uid_text, sizeof record.uid);
    memcpy(record.installed, b->request.installed, sizeof record.installed);
    memcpy(record.accepted, b->look.guard.accepted, sizeof record.accepted);
    CLEANUP_BUF struct buf value = BUF_INIT(RECORD_BYTES);
    if (codec_encode(&heartbeat_table, &record, &value) != ERR_OK) {
        abort(); /* our own struct, our own table */
    }
    const struct kafka_record out = {.topic = TOPIC_HEARTBEATS,
                                     .partition = b->look.partition,
                                     .key = span_str(b->who.uid_text),
                                     .value = buf_span(&value)};
    if (kafka_producer_produce(b->door->records, &out) != ERR_OK) {
        metric_inc(b->door->metrics.records_dropped);
    }
}

static void note_ratchet(const struct beat *b)
{
    if (b->look.verdict != BEAT_OPENED || b->look.ratchet == RATCHET_FINE) {
        return;
    }
    bool fork = b->look.ratchet == RATCHET_FORK;
    metric_inc(fork ? b->door->metrics.forks : b->door->metrics.adopted);
    if (fork) {
        log_limited(LOG_LEVEL_WARN, &(struct log_context){.device = b->who.uid_text},
                    "ratchet_fork", LOG_INT("sequence", b->look.sequence));
        door_report_fork(b->door, &b->who, b->look.sequence, b->look.has_token);
    }
}

static void answer_accepted(struct beat *b)
{
    CLEANUP(device_free) struct device *device = NULL;
    if (device_unpack_bare(span_str(b->who.uid_text), b->look.record, &device) != ERR_OK) {
        answer_fault(b, ERR_INTERNAL, "internal_error", "the device's record cannot be read", 0);
        return;
    }
    uint8_t token[RATCHET_TOKEN_BYTES];
    uint32_t random = 0;
    random_bytes(&random, sizeof random);
    ratchet_issue(&b->door->ratchet_key, b->look.uid, b->look.guard.accepted, token);
    CLEANUP_BUF struct buf body = BUF_INIT(BEAT_ANSWER_MAX);
    err_t e = beat_answer(device, beat_next_s(device->settings.heartbeat_interval_s, random), token,
                          &body);
    if (e != ERR_OK) {
        answer_fault(b, ERR_INTERNAL, "internal_error", "the answer does not fit", 0);
        return;
    }
    if (b->look.verdict == BEAT_OPENED) {
        write_record(b);
        if (b->request.has_result) {
            /* Only now: what is refused must not reach the owner's topic, and a repeat was told
             * before. */
            door_report_failure(b->door, &b->who, b->look.sequence, &b->request.result);
        }
        if ((int64_t)b->look.guard.flood_s != device->settings.flood_interval_s) {
            lane_set_flood(b->lane, b->look.uid, (uint32_t)device->settings.flood_interval_s);
        }
    }
    finish(b, http_response_json(200, &body));
}

static void answer(struct beat *b)
{
    metric_inc(b->door->metrics.beats[b->look.verdict]);
    note_ratchet(b);
    switch (b->look.verdict) {
    case BEAT_OPENED:
    case BEAT_REPEATED:
        answer_accepted(b);
        return;
    case BEAT_FLOOD:
        answer_fault(b, ERR_BUSY, "heartbeat_too_early",
                     "the last heartbeat was too short a while ago: wait as Retry-After says",
                     beat_retry_after(&b->look.guard, b->look.now_ms));
        return;
    case BEAT_STALE:
        answer_fault(b, ERR_STALE, "stale_sequence",
                     "sequence must be higher than that of any message before", 0);
        return;
    case BEAT_UNKNOWN:
        answer_fault(b, ERR_CONFLICT, "not_bootstrapped",
                     "this device has not bootstrapped: POST /v1/device/bootstrap first", 0);
        return;
    case BEAT_REBUILD:
    case BEAT_COUNT:
        break;
    }
    answer_fault(b, ERR_UNAVAILABLE, "unavailable", "the device's state is being rebuilt", 5);
}

static void done(struct lane_job *job)
{
    struct beat *b = job->ctx;
    if (job->result == ERR_OK) {
        answer(b);
    } else {
        answer_fault(b, ERR_UNAVAILABLE, "unavailable", "the device's state cannot be read now", 5);
    }
    free(b);
}

static struct http_response *too_late(struct http_request *req, void *ctx, enum http_wake why)
{
    (void)req;
    (void)ctx;
    (void)why;
    return http_response_fault(ERR_UNAVAILABLE, NULL);
}

static err_t take_token(struct beat *b, struct fault *fault)
{
    if (b->request.token_len == 0) {
        return ERR_OK;
    }
    err_t e = ratchet_open(&b->door->ratchet_key, b->who.uid,
                           span_of(b->request.token, b->request.token_len), &b->look.token);
    if (e != ERR_OK) {
        metric_inc(b->door->metrics.bad_tokens);
        return fault_set(fault, ERR_FORBIDDEN, "bad_token", "token",
                         "was not made by this service for this device");
    }
    b->look.has_token = true;
    return ERR_OK;
}

static err_t prepare(struct http_request *req, struct door *door, struct beat *b,
                     struct fault *fault)
{
    const struct json_limits limits = {BEAT_BODY_MAX, 4, 32};
    b->door = door;
    b->who = *(const struct identity *)http_request_identity(req);
    err_t e = codec_decode_text(&beat_request_table, CODEC_STRICT, http_request_body(req), &limits,
                                &b->request, fault);
    if (e == ERR_OK) {
        e = take_token(b, fault);
    }
    memcpy(b->look.uid, b->who.uid, sizeof b->look.uid);
    b->look.partition = door_partition(door, &b->who);
    b->look.sequence = b->request.sequence;
    b->look.now_ms = clock_now_ms(door->clock);
    b->look.job = (struct lane_job){.question = &beat_question, .done = done, .ctx = b};
    b->lane = door_lane(door, &b->who);
    return e;
}

void heartbeat_route(struct http_request *req, void *ctx)
{
    struct door *door = ctx;
    struct fault fault = {0};
    CLEANUP_FREE struct beat *b = xcalloc(1, sizeof *b);
    err_t e = prepare(req, door, b, &fault);
    if (e != ERR_OK) {
        http_reply_fault(req, e, &fault);
        return;
    }
    b->ticket = http_suspend(req, DEADLINE_MS, too_late);
    e = lane_ask(b->lane, &b->look.job);
    if (e != ERR_OK) {
        answer_fault(b, e == ERR_BUSY ? ERR_UNAVAILABLE : e, "unavailable",
                     "too many heartbeats at once", 5);
        return;
    }
    (void)TAKE(b);
}
