/* Dropping views: all records of some partitions, found in one pass over the key space. */
#include <stdio.h>

#include "common/id.h"
#include "common/view.h"

#define KEY_BYTES  512
#define SCAN_COUNT "1000"
#define UNLINK_MAX 1000 /* keys of one call: Lua's stack is bounded */
#define TAG_SIZE   16

/* KEYS: mark. ARGV: generation last seen, new one. A mark without a log: nothing is believed. */
static struct redis_script begin_script =
    REDIS_SCRIPT("if (redis.call('HGET', KEYS[1], 'gen') or '') ~= ARGV[1] then return 0 end "
                 "redis.call('DEL', KEYS[1]) "
                 "redis.call('HSET', KEYS[1], 'gen', ARGV[2], 'part', '1') "
                 "return 1");

/* KEYS: mark, then keys of the same partition. ARGV: generation. */
static struct redis_script unlink_script =
    REDIS_SCRIPT("if redis.call('HGET', KEYS[1], 'gen') ~= ARGV[1] then return 0 end "
                 "redis.call('UNLINK', unpack(KEYS, 2)) "
                 "return 1");

/* KEYS: mark. ARGV: generation, log ("": no mark is left). */
static struct redis_script end_script =
    REDIS_SCRIPT("if redis.call('HGET', KEYS[1], 'gen') ~= ARGV[1] then return 0 end "
                 "if ARGV[2] == '' then redis.call('DEL', KEYS[1]) "
                 "else redis.call('HSET', KEYS[1], 'log', ARGV[2], 'off', '-1') end "
                 "return 1");

/* KEYS: mark. ARGV: log, new generation. */
static struct redis_script renew_script =
    REDIS_SCRIPT("if redis.call('HGET', KEYS[1], 'log') ~= ARGV[1] then return 0 end "
                 "redis.call('HSET', KEYS[1], 'gen', ARGV[2]) "
                 "return 1");

static void make_gen(char out[VIEW_GEN_MAX])
{
    uint8_t bytes[(VIEW_GEN_MAX - 1) / 2];
    random_bytes(bytes, sizeof bytes);
    hex_format(span_of(bytes, sizeof bytes), out);
}

/* What one of the scripts says. ERR_STALE: the mark is another owner's by now, or gone. */
static err_t answer_of(const struct redis_reply *reply)
{
    int64_t done = 0;
    return !redis_reply_integer(reply, &done) ? ERR_INTERNAL : done == 1 ? ERR_OK : ERR_STALE;
}

static err_t call(struct redis *r, struct redis_script *script, char letter, int partition,
                  const char *first, const char *second)
{
    CLEANUP_BUF struct buf key = BUF_INIT(KEY_BYTES);
    CLEANUP(redis_reply_free) struct redis_reply *reply = NULL;
    redis_register_script(r, script);
    err_t e = view_mark_key(letter, partition, &key);
    const struct span keys[] = {buf_span(&key)};
    const struct span args[] = {span_str(first), span_str(second)};
    if (e == ERR_OK) {
        e = redis_eval(r, script, keys, 1, args, 2, &reply);
    }
    return e == ERR_OK ? answer_of(reply) : e;
}

err_t view_drop_begin(struct redis *r, char letter, struct view_reset *resets, unsigned n,
                      struct view_drop *ret_drop)
{
    *ret_drop = (struct view_drop){.letter = letter, .resets = resets, .count = n, .cursor = "0"};
    make_gen(ret_drop->gen);
    err_t e = ERR_OK;
    /* The marks go first: while records vanish nobody may take absence for a fact. */
    for (unsigned i = 0; i < n && e == ERR_OK; i++) {
        e = call(r, &begin_script, letter, resets[i].partition, resets[i].seen, ret_drop->gen);
    }
    return e;
}

/* Unlinks up to UNLINK_MAX keys of one partition; its mark, which guards the call, stays. */
static err_t append_unlink(struct redis *r, const struct view_drop *drop, struct span mark,
                           const struct span *keys, unsigned n)
{
    CLEANUP_FREE struct span *all = xcalloc((size_t)n + 1, sizeof *all);
    const struct span gen = span_str(drop->gen);
    all[0] = mark;
    memcpy(all + 1, keys, n * sizeof *keys);
    return redis_append_script(r, &unlink_script, all, n + 1, &gen, 1);
}

/* The keys of a page that belong to one of the partitions. */
static err_t unlink_of(struct redis *r, const struct view_drop *drop, int partition,
                       const struct redis_reply *page, unsigned *owed)
{
    char tag[TAG_SIZE];
    size_t len = (size_t)snprintf(tag, sizeof tag, "{%c%d}", drop->letter, partition);
    CLEANUP_BUF struct buf mark = BUF_INIT(KEY_BYTES);
    struct span keys[UNLINK_MAX];
    unsigned n = 0;
    err_t e = view_mark_key(drop->letter, partition, &mark);
    for (size_t i = 0; i < redis_reply_count(page) && e == ERR_OK; i++) {
        struct span key = redis_reply_span(redis_reply_at(page, i));
        if (key.len > len && memcmp(key.ptr, tag, len) == 0 && !span_eq(key, buf_span(&mark))) {
            keys[n++] = key;
        }
        if (n == UNLINK_MAX || (n > 0 && i + 1 == redis_reply_count(page))) {
            e = append_unlink(r, drop, buf_span(&mark), keys, n);
            *owed += e == ERR_OK;
            n = 0;
        }
    }
    return e;
}

static err_t unlink_page(struct redis *r, const struct view_drop *drop,
                         const struct redis_reply *page)
{
    unsigned owed = 0;
    err_t e = ERR_OK;
    redis_register_script(r, &unlink_script);
    for (unsigned i = 0; i < drop->count && e == ERR_OK; i++) {
        e = unlink_of(r, drop, drop->resets[i].partition, page, &owed);
    }
    for (; owed > 0; owed--) {
        CLEANUP(redis_reply_free) struct redis_reply *reply = NULL;
        err_t one = redis_collect(r, &reply);
        one = one == ERR_OK ? answer_of(reply) : one;
        e = e == ERR_OK ? one : e;
    }
    return e;
}

static err_t end(struct redis *r, struct view_drop *drop)
{
    err_t e = ERR_OK;
    for (unsigned i = 0; i < drop->count && e == ERR_OK; i++) {
        e = call(r, &end_script, drop->letter, drop->resets[i].partition, drop->gen,
                 drop->resets[i].log);
    }
    drop->done = e == ERR_OK;
    return e;
}

err_t view_drop_step(struct redis *r, struct view_drop *drop)
{
    char pattern[TAG_SIZE];
    CLEANUP(redis_reply_free) struct redis_reply *answer = NULL;
    /* The brace opens our hash tag; nothing else in the store begins so. */
    (void)snprintf(pattern, sizeof pattern, "{%c*", drop->letter);
    err_t e = redis_command_str(r, &answer, "SCAN", drop->cursor, "MATCH", pattern, "COUNT",
                                SCAN_COUNT, NULL);
    if (e != ERR_OK) {
        return e;
    }
    if (redis_reply_count(answer) != 2) {
        return ERR_INTERNAL;
    }
    e = unlink_page(r, drop, redis_reply_at(answer, 1));
    (void)snprintf(drop->cursor, sizeof drop->cursor, "%s",
                   (const char *)redis_reply_span(redis_reply_at(answer, 0)).ptr);
    return e == ERR_OK && strcmp(drop->cursor, "0") == 0 ? end(r, drop) : e;
}

err_t view_renew(struct redis *r, char letter, int partition, const char *log)
{
    char gen[VIEW_GEN_MAX];
    make_gen(gen);
    return call(r, &renew_script, letter, partition, log, gen);
}
