#include "common/view.h"

#include <inttypes.h>
#include <stdio.h>

#define KEY_BYTES   512
#define KEYS_BYTES  ((size_t)4 * 1024 * 1024)
#define APPLY_BYTES ((size_t)16 * 1024 * 1024)
#define LOAD_MAX    4096
#define SCAN_COUNT  "1000"

/* KEYS: mark, then the record keys. Answers {log, offset, part, value...}; false where there is
 * none. */
static struct redis_script load_script =
    REDIS_SCRIPT_READ_ONLY("local m = redis.call('HMGET', KEYS[1], 'log', 'off', 'part') "
                           "local r = {m[1], m[2], m[3]} "
                           "if #KEYS > 1 then "
                           "  local v = redis.call('MGET', unpack(KEYS, 2)) "
                           "  for i = 1, #KEYS - 1 do r[i + 3] = v[i] end "
                           "end "
                           "return r");

/*
 * KEYS: mark. ARGV: tag, log, offset believed in, end, then (offset, key, stored value or "" for a
 * tombstone) for each record. Answers {1 or 0 (refused), log, offset}. Index entries live inside
 * the stored value, so overwriting one knows what to take out. Of several values for one key only
 * the last counts. Commands are gathered: a call of redis costs more than what it does.
 */
static struct redis_script apply_script = REDIS_SCRIPT(
    "local m = redis.call('HMGET', KEYS[1], 'log', 'off') "
    "local off = tonumber(m[2] or '-2') "
    "if not m[1] or m[1] ~= ARGV[2] or off < tonumber(ARGV[3]) then return {0, m[1] or '', m[2] or "
    "'-1'} end "
    "local byte, sub = string.byte, string.sub "
    "local function entries(v, key, out) "
    "  local pos = 3 "
    "  for i = 1, byte(v, 2) do "
    "    local n = byte(v, pos) "
    "    local name = sub(v, pos + 1, pos + n) "
    "    pos = pos + 1 + n "
    "    n = byte(v, pos) "
    "    local member = n > 0 and sub(v, pos + 1, pos + n) or key "
    "    pos = pos + 1 + n "
    "    out(name, member, (struct.unpack('<d', v, pos))) "
    "    pos = pos + 8 "
    "  end "
    "end "
    "local keys, names, values, at, n = {}, {}, {}, {}, 0 "
    "for i = 5, #ARGV, 3 do "
    "  if tonumber(ARGV[i]) > off then "
    "    local name = ARGV[i + 1] "
    "    local k = at[name] "
    "    if not k then "
    "      n = n + 1 "
    "      k, at[name], names[n], keys[n] = n, n, name, ARGV[1] .. ':' .. name "
    "    end "
    "    values[k] = ARGV[i + 2] "
    "  end "
    "end "
    "local gone, sets, adds, removes = {}, {}, {}, {} "
    "local function gather(to, name, a, b) "
    "  local list = to[name] "
    "  if not list then list = {} to[name] = list end "
    "  list[#list + 1] = a "
    "  if b then list[#list + 1] = b end "
    "end "
    "local function add(name, member, score) gather(adds, name, score, member) end "
    "local function replace(old, new, key) "
    "  local before = {} "
    "  entries(old, key, function(name, member, score) "
    "    before[name .. '\\0' .. member] = {name, member, score} "
    "  end) "
    "  if new ~= '' then entries(new, key, function(name, member, score) "
    "    local id = name .. '\\0' .. member "
    "    local o = before[id] "
    "    if not o or o[3] ~= score then add(name, member, score) end "
    "    before[id] = nil "
    "  end) end "
    "  for _, o in pairs(before) do gather(removes, o[1], o[2]) end "
    "end "
    "local old = n > 0 and redis.call('MGET', unpack(keys)) or {} "
    "for k = 1, n do "
    "  local v = values[k] "
    "  if old[k] then replace(old[k], v, names[k]) "
    "  elseif v ~= '' then entries(v, names[k], add) end "
    "  if v == '' then gone[#gone + 1] = keys[k] "
    "  else "
    "    sets[#sets + 1] = keys[k] "
    "    sets[#sets + 1] = v "
    "  end "
    "end "
    "for name, list in pairs(removes) do redis.call('ZREM', ARGV[1] .. 'i:' .. name, unpack(list)) "
    "end "
    "for name, list in pairs(adds) do redis.call('ZADD', ARGV[1] .. 'i:' .. name, unpack(list)) "
    "end "
    "if #gone > 0 then redis.call('DEL', unpack(gone)) end "
    "if #sets > 0 then redis.call('MSET', unpack(sets)) end "
    "if tonumber(ARGV[4]) > off then redis.call('HSET', KEYS[1], 'off', ARGV[4]) return {1, m[1], "
    "ARGV[4]} end "
    "return {1, m[1], m[2]}");

/* KEYS: mark. ARGV: log, offset. Answers 1, or 0: the view stands elsewhere. */
static struct redis_script whole_script = REDIS_SCRIPT(
    "local m = redis.call('HMGET', KEYS[1], 'log', 'off') "
    "if m[1] ~= ARGV[1] or tonumber(m[2] or '-2') < tonumber(ARGV[2]) then return 0 end "
    "redis.call('HDEL', KEYS[1], 'part') "
    "return 1");

static void mark_set(struct view_mark *mark, struct span log, const struct redis_reply *offset)
{
    *mark = VIEW_MARK_NONE;
    int64_t value = -1;
    if (log.len == 0 || log.len >= sizeof mark->log || !redis_reply_integer(offset, &value)) {
        return;
    }
    memcpy(mark->log, log.ptr, log.len);
    mark->log[log.len] = 0;
    mark->offset = value;
}

err_t view_load_append(struct redis *r, char letter, int partition, const struct span *keys,
                       unsigned n)
{
    if (n > LOAD_MAX) {
        return ERR_TOO_LARGE;
    }
    redis_register_script(r, &load_script);
    CLEANUP_BUF struct buf bytes = BUF_INIT(KEYS_BYTES);
    CLEANUP_FREE size_t *ends = xcalloc(n + 1, sizeof *ends);
    CLEANUP_FREE struct span *redis_keys = xcalloc(n + 1, sizeof *redis_keys);
    err_t e = view_mark_key(letter, partition, &bytes);
    ends[0] = bytes.len;
    for (unsigned i = 0; i < n && e == ERR_OK; i++) {
        e = view_key(letter, partition, keys[i], &bytes);
        ends[i + 1] = bytes.len;
    }
    if (e != ERR_OK) {
        return e;
    }
    size_t from = 0;
    for (unsigned i = 0; i <= n; i++) {
        redis_keys[i] = span_of(bytes.ptr + from, ends[i] - from);
        from = ends[i];
    }
    return redis_append_script(r, &load_script, redis_keys, n + 1, NULL, 0);
}

err_t view_load_collect(struct redis *r, unsigned n, struct arena *arena, struct span *ret_values,
                        struct view_mark *ret_mark)
{
    CLEANUP(redis_reply_free) struct redis_reply *reply = NULL;
    err_t e = redis_collect(r, &reply);
    if (e != ERR_OK) {
        return e;
    }
    /* Lua ends a table at its first nil, but false becomes a nil element: the count is always
     * whole. */
    if (redis_reply_count(reply) != n + 3) {
        return ERR_INTERNAL;
    }
    mark_set(ret_mark, redis_reply_span(redis_reply_at(reply, 0)), redis_reply_at(reply, 1));
    ret_mark->part = redis_reply_span(redis_reply_at(reply, 2)).len > 0;
    for (unsigned i = 0; i < n; i++) {
        struct span payload = {0};
        struct span stored = redis_reply_span(redis_reply_at(reply, i + 3));
        if (stored.ptr != NULL) {
            e = view_value_payload(stored, &payload);
            if (e != ERR_OK) {
                return e;
            }
        }
        ret_values[i] = arena_span(arena, payload);
    }
    return ERR_OK;
}

/* The arguments of one apply call; the numbers and values they point at live in `bytes`. */
static err_t apply_arguments(const struct view_write *writes, unsigned n, struct buf *bytes,
                             struct span *args)
{
    CLEANUP_FREE size_t *ends = xcalloc((size_t)n * 2 + 1, sizeof *ends);
    for (unsigned i = 0; i < n; i++) {
        (void)buf_printf(bytes, "%" PRId64, writes[i].offset);
        ends[2 * (size_t)i] = bytes->len;
        if (!writes[i].record->deleted) {
            err_t e = view_value_encode(writes[i].record, bytes);
            if (e != ERR_OK) {
                return e;
            }
        }
        ends[2 * (size_t)i + 1] = bytes->len;
    }
    if (!buf_ok(bytes)) {
        return ERR_TOO_LARGE;
    }
    size_t from = 0;
    for (unsigned i = 0; i < n; i++) {
        args[3 * (size_t)i] = span_of(bytes->ptr + from, ends[2 * (size_t)i] - from);
        args[3 * (size_t)i + 1] = buf_span(&writes[i].record->key);
        from = ends[2 * (size_t)i];
        args[3 * (size_t)i + 2] = span_of(bytes->ptr + from, ends[2 * (size_t)i + 1] - from);
        from = ends[2 * (size_t)i + 1];
    }
    return ERR_OK;
}

err_t view_apply_append(struct redis *r, char letter, int partition, const struct view_mark *prev,
                        int64_t end, const struct view_write *writes, unsigned n)
{
    if (n > VIEW_WRITES_MAX) {
        return ERR_TOO_LARGE;
    }
    redis_register_script(r, &apply_script);
    CLEANUP_BUF struct buf mark_key = BUF_INIT(KEY_BYTES);
    CLEANUP_BUF struct buf bytes = BUF_INIT(APPLY_BYTES);
    CLEANUP_FREE struct span *args = xcalloc(4 + (size_t)n * 3, sizeof *args);
    err_t e = view_mark_key(letter, partition, &mark_key);
    if (e == ERR_OK) {
        e = apply_arguments(writes, n, &bytes, args + 4);
    }
    if (e != ERR_OK) {
        return e;
    }
    char tag[32];
    char prev_text[32];
    char end_text[32];
    (void)snprintf(tag, sizeof tag, "{%c%d}", letter, partition);
    (void)snprintf(prev_text, sizeof prev_text, "%" PRId64, prev->offset);
    (void)snprintf(end_text, sizeof end_text, "%" PRId64, end);
    args[0] = span_str(tag);
    args[1] = span_str(prev->log);
    args[2] = span_str(prev_text);
    args[3] = span_str(end_text);
    struct span key = buf_span(&mark_key);
    return redis_append_script(r, &apply_script, &key, 1, args, 4 + (size_t)n * 3);
}

err_t view_apply_collect(struct redis *r, struct view_mark *ret_mark)
{
    CLEANUP(redis_reply_free) struct redis_reply *reply = NULL;
    err_t e = redis_collect(r, &reply);
    if (e != ERR_OK) {
        return e;
    }
    int64_t applied = 0;
    if (redis_reply_count(reply) != 3 || !redis_reply_integer(redis_reply_at(reply, 0), &applied)) {
        return ERR_INTERNAL;
    }
    mark_set(ret_mark, redis_reply_span(redis_reply_at(reply, 1)), redis_reply_at(reply, 2));
    return applied ? ERR_OK : ERR_STALE;
}

err_t view_mark_read(struct redis *r, char letter, int partition, struct view_mark *ret_mark)
{
    CLEANUP_BUF struct buf key = BUF_INIT(KEY_BYTES);
    CLEANUP(redis_reply_free) struct redis_reply *reply = NULL;
    err_t e = view_mark_key(letter, partition, &key);
    if (e == ERR_OK) {
        e = redis_command(r,
                          (struct span[]){span_str("HMGET"), buf_span(&key), span_str("log"),
                                          span_str("off"), span_str("part"), span_str("gen")},
                          6, &reply);
    }
    if (e != ERR_OK) {
        return e;
    }
    struct span gen = redis_reply_span(redis_reply_at(reply, 3));
    if (redis_reply_count(reply) != 4 || gen.len >= sizeof ret_mark->gen) {
        return ERR_INTERNAL;
    }
    mark_set(ret_mark, redis_reply_span(redis_reply_at(reply, 0)), redis_reply_at(reply, 1));
    ret_mark->part = redis_reply_span(redis_reply_at(reply, 2)).len > 0;
    if (gen.len > 0) {
        memcpy(ret_mark->gen, gen.ptr, gen.len);
    }
    ret_mark->gen[gen.len] = 0;
    return ERR_OK;
}

err_t view_whole(struct redis *r, char letter, int partition, const struct view_mark *mark)
{
    redis_register_script(r, &whole_script);
    CLEANUP_BUF struct buf key = BUF_INIT(KEY_BYTES);
    CLEANUP(redis_reply_free) struct redis_reply *reply = NULL;
    char offset[32];
    (void)snprintf(offset, sizeof offset, "%" PRId64, mark->offset);
    err_t e = view_mark_key(letter, partition, &key);
    if (e == ERR_OK) {
        const struct span keys[] = {buf_span(&key)};
        const struct span args[] = {span_str(mark->log), span_str(offset)};
        e = redis_eval(r, &whole_script, keys, 1, args, 2, &reply);
    }
    int64_t done = 0;
    if (e == ERR_OK && (!redis_reply_integer(reply, &done) || done != 1)) {
        e = ERR_STALE;
    }
    return e;
}
