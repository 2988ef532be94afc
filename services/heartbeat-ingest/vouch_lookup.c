#include "vouch_lookup.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/view.h"
#include "proto/registry.h"
#include "proto/topics.h"

#define KEYS       4
#define ARGS       15
#define KEY_BYTES  128
#define NUMBER     24
#define LEX_BYTES  (REGISTRY_ALIAS_SIZE + 2)
#define BUDGET_KEY "g:u"
#define TIMES_KEY  "g:us"
#define NOTES_KEY  "g:ud"
#define SENT_KEY   "g:m:"

/*
 * KEYS: budget, times, notes, messages sent. ARGV: 1 device record, 2 mark of its view, 3 alias
 * index ("" where no profile is named), 4 and 5 its range, 6 mark of that view, 7 UID, 8 now (ms),
 * 9 budget, 10 window (ms), 11 sightings kept, 12 for how long (ms), 13 messages, 14 in this time
 * (ms), 15 the message. Answers {device, profile, whole, budget, ms left of the window, ms until
 * the device may send another message}; the budget's numbers are those of enum vouch_budget. The
 * windows are timed by Redis alone: no door's clock can stretch them.
 */
static struct redis_script vouch_script = REDIS_SCRIPT(
    "local uid, now, max, window = ARGV[7], ARGV[8], tonumber(ARGV[9]), tonumber(ARGV[10]) "
    "local function is_whole(mark) local m = redis.call('HMGET', mark, 'log', 'part') "
    "return m[1] and not m[2] end "
    "local device, profile = redis.call('EXISTS', ARGV[1]), 0 "
    "local whole = is_whole(ARGV[2]) "
    "if ARGV[3] ~= '' then "
    "profile = #redis.call('ZRANGEBYLEX', ARGV[3], ARGV[4], ARGV[5], 'LIMIT', 0, 1) "
    "whole = whole and is_whole(ARGV[6]) end "
    "local unknown = device + profile == 0 "
    "if unknown and not whole then return {0, 0, 0, 0, 0, 0} end "
    "whole = whole and 1 or 0 "
    "local budget, left = 0, 0 "
    "if unknown then budget = 2 "
    "if max > 0 and (redis.call('SISMEMBER', KEYS[1], uid) == 1 or "
    "redis.call('SCARD', KEYS[1]) < max) then budget = 1 redis.call('SADD', KEYS[1], uid) end "
    "left = redis.call('PTTL', KEYS[1]) "
    "if left == -1 or left > window then redis.call('PEXPIRE', KEYS[1], window) left = window end "
    "end "
    /* Whoever is let through is no sighting. */
    "if budget < 2 then if redis.call('ZREM', KEYS[2], uid) == 1 then "
    "redis.call('HDEL', KEYS[3], uid) end "
    "local wait, most = 0, tonumber(ARGV[13]) "
    "if most > 0 and redis.call('SISMEMBER', KEYS[4], ARGV[15]) == 0 then "
    "if redis.call('SCARD', KEYS[4]) >= most then "
    "wait = math.max(redis.call('PTTL', KEYS[4]), 1) "
    "else redis.call('SADD', KEYS[4], ARGV[15]) "
    "if redis.call('PTTL', KEYS[4]) < 0 then redis.call('PEXPIRE', KEYS[4], ARGV[14]) end "
    "end end "
    "return {device, profile, whole, budget, left, wait} end "
    "local first, count = string.match(redis.call('HGET', KEYS[3], uid) or '', "
    "'^(%d+) %d+ (%d+) ') "
    "redis.call('HSET', KEYS[3], uid, string.format('%s %s %d %d', first or now, now, "
    "(count or 0) + 1, ARGV[3] == '' and 0 or 1)) "
    "redis.call('ZADD', KEYS[2], now, uid) "
    "local old = redis.call('ZCOUNT', KEYS[2], '-inf', "
    "string.format('%.0f', tonumber(now) - tonumber(ARGV[12]))) "
    "local gone = math.min(math.max(redis.call('ZCARD', KEYS[2]) - tonumber(ARGV[11]), old), 100) "
    "gone = gone > 0 and redis.call('ZRANGE', KEYS[2], 0, gone - 1) or {} "
    "if #gone > 0 then redis.call('ZREM', KEYS[2], unpack(gone)) "
    "redis.call('HDEL', KEYS[3], unpack(gone)) end "
    "redis.call('PEXPIRE', KEYS[2], ARGV[12]) redis.call('PEXPIRE', KEYS[3], ARGV[12]) "
    "return {device, profile, whole, budget, left, 0}");

/* Where the view keeps what is asked, and what of the alias index belongs to the profile. */
struct places {
    struct buf record, mark, alias, alias_mark;
    char low[LEX_BYTES], high[LEX_BYTES];
};

static void places_deinit(struct places *p)
{
    buf_deinit(&p->record);
    buf_deinit(&p->mark);
    buf_deinit(&p->alias);
    buf_deinit(&p->alias_mark);
}
CLEANUP_DEFINE_EMBEDDED(struct places, places_deinit);

static err_t find_profile(const struct vouch_lookup *look, struct places *p)
{
    char alias[REGISTRY_ALIAS_SIZE];
    registry_alias_profile(look->profile, alias);
    (void)snprintf(p->low, sizeof p->low, "[%s", alias);
    (void)snprintf(p->high, sizeof p->high, "[%s\xff", alias);
    err_t e = view_index_key(VIEW_REGISTRY, look->profile_partition, span_str("alias"), &p->alias);
    return e == ERR_OK ? view_mark_key(VIEW_REGISTRY, look->profile_partition, &p->alias_mark) : e;
}

static err_t find(const struct vouch_lookup *look, struct places *p)
{
    *p = (struct places){.record = BUF_INIT(KEY_BYTES),
                         .mark = BUF_INIT(KEY_BYTES),
                         .alias = BUF_INIT(KEY_BYTES),
                         .alias_mark = BUF_INIT(KEY_BYTES)};
    err_t e =
        view_key(VIEW_DEVICE, look->partition, span_of(look->uid, sizeof look->uid), &p->record);
    if (e == ERR_OK) {
        e = view_mark_key(VIEW_DEVICE, look->partition, &p->mark);
    }
    return e == ERR_OK && look->profile[0] != 0 ? find_profile(look, p) : e;
}

static err_t append(struct redis *redis, const struct lane_job *job)
{
    const struct vouch_lookup *look = (const struct vouch_lookup *)job;
    CLEANUP(places_deinit) struct places p;
    err_t e = find(look, &p);
    if (e != ERR_OK) {
        return e;
    }
    char uid[DEVICE_UID_SIZE];
    device_uid_text(look->uid, uid);
    const int64_t values[] = {look->now_ms,
                              look->rules->unvouched_max,
                              look->rules->unvouched_window_ms,
                              look->rules->sightings_max,
                              look->rules->sighting_ttl_ms,
                              look->rules->messages_max,
                              look->rules->messages_window_ms,
                              (int64_t)look->message};
    char numbers[sizeof values / sizeof values[0]][NUMBER];
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        (void)snprintf(numbers[i], sizeof numbers[i], "%" PRId64, values[i]);
    }
    uint8_t sent[sizeof SENT_KEY - 1 + DEVICE_UID_BYTES];
    memcpy(sent, SENT_KEY, sizeof SENT_KEY - 1);
    memcpy(sent + sizeof SENT_KEY - 1, look->uid, DEVICE_UID_BYTES);
    const struct span keys[KEYS] = {span_str(BUDGET_KEY), span_str(TIMES_KEY), span_str(NOTES_KEY),
                                    span_of(sent, sizeof sent)};
    const struct span args[ARGS] = {
        buf_span(&p.record),  buf_span(&p.mark),       buf_span(&p.alias),   span_str(p.low),
        span_str(p.high),     buf_span(&p.alias_mark), span_str(uid),        span_str(numbers[0]),
        span_str(numbers[1]), span_str(numbers[2]),    span_str(numbers[3]), span_str(numbers[4]),
        span_str(numbers[5]), span_str(numbers[6]),    span_str(numbers[7])};
    return redis_append_script(redis, &vouch_script, keys, KEYS, args, ARGS);
}

static err_t take(struct lane_job *job, const struct redis_reply *reply)
{
    struct vouch_lookup *look = (struct vouch_lookup *)job;
    int64_t n[6];
    if (redis_reply_count(reply) != sizeof n / sizeof n[0]) {
        return ERR_INTERNAL;
    }
    for (size_t i = 0; i < sizeof n / sizeof n[0]; i++) {
        if (!redis_reply_integer(redis_reply_at(reply, i), &n[i])) {
            return ERR_INTERNAL;
        }
    }
    if (n[3] < VOUCH_BUDGET_UNASKED || n[3] > VOUCH_BUDGET_SPENT) {
        return ERR_INTERNAL;
    }
    look->facts = (struct vouch_facts){.device = n[0] != 0,
                                       .profile = n[1] != 0,
                                       .whole = n[2] != 0,
                                       .budget = (enum vouch_budget)n[3]};
    look->left_ms = n[4];
    look->wait_ms = n[5];
    return ERR_OK;
}

const struct lane_question vouch_question = {
    .script = &vouch_script, .append = append, .take = take};
