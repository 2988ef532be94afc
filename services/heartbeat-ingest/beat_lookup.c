#include "beat_lookup.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/view.h"
#include "proto/topics.h"

#define KEY_BYTES 128

/*
 * KEYS: guard. ARGV: now (ms), sequence, nonce ("" without a token), parent, view record, view
 * mark. Answers {verdict, ratchet, guard, stored record}; the numbers are those of beat.h and
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

static err_t append(struct redis *redis, const struct lane_job *job)
{
    const struct beat_lookup *look = (const struct beat_lookup *)job;
    char now[24];
    char sequence[24];
    uint8_t guard_key[HEARTBEAT_GUARD_KEY];
    CLEANUP_BUF struct buf record_key = BUF_INIT(KEY_BYTES);
    CLEANUP_BUF struct buf mark_key = BUF_INIT(KEY_BYTES);
    (void)snprintf(now, sizeof now, "%" PRId64, look->now_ms);
    (void)snprintf(sequence, sizeof sequence, "%" PRId64, look->sequence);
    heartbeat_guard_key(look->uid, guard_key);
    err_t e =
        view_key(VIEW_DEVICE, look->partition, span_of(look->uid, sizeof look->uid), &record_key);
    if (e == ERR_OK) {
        e = view_mark_key(VIEW_DEVICE, look->partition, &mark_key);
    }
    if (e != ERR_OK) {
        return e;
    }
    const struct span key = span_of(guard_key, sizeof guard_key);
    const struct span args[] = {
        span_str(now),
        span_str(sequence),
        look->has_token ? span_of(look->token.nonce, sizeof look->token.nonce) : span_of("", 0),
        look->has_token ? span_of(look->token.parent, sizeof look->token.parent) : span_of("", 0),
        buf_span(&record_key),
        buf_span(&mark_key),
    };
    return redis_append_script(redis, &beat_script, &key, 1, args, sizeof args / sizeof args[0]);
}

static err_t take(struct lane_job *job, const struct redis_reply *reply)
{
    struct beat_lookup *look = (struct beat_lookup *)job;
    int64_t verdict = 0;
    int64_t ratchet = 0;
    if (redis_reply_count(reply) != 4 || !redis_reply_integer(redis_reply_at(reply, 0), &verdict) ||
        !redis_reply_integer(redis_reply_at(reply, 1), &ratchet) || verdict < 0 ||
        verdict >= BEAT_COUNT) {
        return ERR_INTERNAL;
    }
    look->verdict = (enum beat_verdict)verdict;
    look->ratchet = (enum ratchet_verdict)ratchet;
    struct span guard = redis_reply_span(redis_reply_at(reply, 2));
    struct span record = redis_reply_span(redis_reply_at(reply, 3));
    if (guard.len > 0 && heartbeat_guard_decode(guard, &look->guard) != ERR_OK) {
        return ERR_INTERNAL;
    }
    return record.len > 0 ? view_value_payload(record, &look->record) : ERR_OK;
}

const struct lane_question beat_question = {.script = &beat_script, .append = append, .take = take};
