#include "serial_guard.h"

#include <string.h>

#include "common/digest.h"
#include "common/id.h"
#include "device_decide.h"

#define PREFIX     "g:sn:"
#define PREFIX_LEN (sizeof PREFIX - 1)
#define UID_BYTES  (DEVICE_UID_LEN / 2)
#define HASH_BYTES 8

/*
 * KEYS: the domain's guard, which holds the number n of its buckets. ARGV: hash, UID. Answers the
 * holder. With m the largest power of two up to n, the first n - m buckets have been split: a hash
 * lies in bucket h mod 2m if there is such a one, else in h mod m. A bucket that gets long makes
 * one more: that of the next unsplit one's upper half.
 */
static struct redis_script claim_script =
    REDIS_SCRIPT("local n, m = tonumber(redis.call('GET', KEYS[1]) or 1), 1 "
                 "while m * 2 <= n do m = m * 2 end "
                 "local function number(h) "
                 "local v = struct.unpack('>I4', h) "
                 "local i = v % (2 * m) if i >= n then i = v % m end return i end "
                 "local function key(i) return KEYS[1] .. struct.pack('>I4', i) end "
                 "local k = key(number(ARGV[1])) "
                 "local held = redis.call('HGET', k, ARGV[1]) "
                 "if held then return held end "
                 "redis.call('HSET', k, ARGV[1], ARGV[2]) "
                 "if redis.call('HLEN', k) > 80 then "
                 "local from, to = key(n - m), key(n) "
                 "local all = redis.call('HGETALL', from) "
                 "redis.call('SET', KEYS[1], n + 1) "
                 "for j = 1, #all, 2 do "
                 "if struct.unpack('>I4', all[j]) % (2 * m) == n then "
                 "redis.call('HDEL', from, all[j]) redis.call('HSET', to, all[j], all[j + 1]) "
                 "end end end "
                 "return ARGV[2]");

void serial_guard_register(struct redis *r)
{
    redis_register_script(r, &claim_script);
}

struct call {
    uint8_t key[PREFIX_LEN + sizeof(struct uuid)];
    uint8_t hash[HASH_BYTES];
    uint8_t uid[UID_BYTES];
};

static struct call call_of(const struct serial_claim *c)
{
    struct call call;
    size_t len = 0;
    memcpy(call.key, PREFIX, PREFIX_LEN);
    memcpy(call.key + PREFIX_LEN, c->domain.bytes, sizeof(struct uuid));
    memcpy(call.hash, digest_sha256(span_str(c->serial)).bytes, sizeof call.hash);
    if (hex_decode(span_str(c->uid), call.uid, sizeof call.uid, &len) != ERR_OK) {
        memset(call.uid, 0, sizeof call.uid); /* not a UID: the request's key was checked */
    }
    return call;
}

static err_t take(struct serial_claim *c, const struct redis_reply *reply)
{
    struct span holder = redis_reply_span(reply);
    if (holder.len != UID_BYTES) {
        return ERR_CORRUPT;
    }
    hex_format(holder, c->holder);
    return ERR_OK;
}

static err_t append(struct redis *r, const struct call *call)
{
    const struct span key = span_of(call->key, sizeof call->key);
    const struct span args[] = {span_of(call->hash, sizeof call->hash),
                                span_of(call->uid, sizeof call->uid)};
    return redis_append_script(r, &claim_script, &key, 1, args, 2);
}

/* The server had forgotten the script: one by one, loading it again. */
static err_t claim_alone(struct redis *r, struct serial_claim *c)
{
    const struct call call = call_of(c);
    const struct span key = span_of(call.key, sizeof call.key);
    const struct span args[] = {span_of(call.hash, sizeof call.hash),
                                span_of(call.uid, sizeof call.uid)};
    CLEANUP(redis_reply_free) struct redis_reply *reply = NULL;
    err_t e = redis_eval(r, &claim_script, &key, 1, args, 2, &reply);
    return e != ERR_OK ? e : take(c, reply);
}

err_t serial_guard_claim(struct redis *r, struct serial_claim *claims, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        const struct call call = call_of(&claims[i]);
        err_t e = append(r, &call);
        if (e != ERR_OK) {
            redis_abandon(r);
            return e;
        }
    }
    err_t result = ERR_OK;
    for (unsigned i = 0; i < n; i++) {
        CLEANUP(redis_reply_free) struct redis_reply *reply = NULL;
        err_t e = redis_collect(r, &reply);
        claims[i].holder[0] = 0;
        if (e == ERR_OK) {
            e = take(&claims[i], reply);
        } else if (redis_script_missing(r)) {
            e = ERR_OK;
        }
        result = result == ERR_OK ? e : result;
    }
    for (unsigned i = 0; i < n && result == ERR_OK; i++) {
        result = claims[i].holder[0] != 0 ? ERR_OK : claim_alone(r, &claims[i]);
    }
    return result;
}

/* ---- for the requests of a round ---- */

err_t serial_guard_ask(struct redis *r, const struct snapshot_want *wants, unsigned n)
{
    CLEANUP_FREE struct serial_claim *claims = xcalloc(n + 1, sizeof *claims);
    CLEANUP_FREE unsigned *whose = xcalloc(n + 1, sizeof *whose);
    unsigned count = 0;
    for (unsigned i = 0; i < n; i++) {
        struct serial_claim claim = {.serial =
                                         device_claimed_serial(wants[i].device, wants[i].request)};
        if (claim.serial[0] != 0 &&
            uuid_parse(span_str(wants[i].request->snapshots.profile->domain), &claim.domain) ==
                ERR_OK) {
            memcpy(claim.uid, wants[i].request->uid, sizeof claim.uid);
            whose[count] = i;
            claims[count++] = claim;
        }
    }
    err_t e = serial_guard_claim(r, claims, count);
    for (unsigned i = 0; i < count && e == ERR_OK; i++) {
        memcpy(wants[whose[i]].request->snapshots.serial_holder, claims[i].holder,
               sizeof claims[i].holder);
    }
    return e;
}
