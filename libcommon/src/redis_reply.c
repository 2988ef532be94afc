#include "redis_internal.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>

/* A redis_reply is hiredis' own object under another name, so that no reply is ever copied. */
static const redisReply *native(const struct redis_reply *reply)
{
    return (const redisReply *)(const void *)reply;
}

void redis_reply_free(struct redis_reply *reply)
{
    if (reply != NULL) {
        freeReplyObject(reply);
    }
}

enum redis_kind redis_reply_kind(const struct redis_reply *reply)
{
    switch (native(reply)->type) {
    case REDIS_REPLY_INTEGER:
        return REDIS_KIND_INTEGER;
    case REDIS_REPLY_STRING:
    case REDIS_REPLY_STATUS:
        return REDIS_KIND_STRING;
    case REDIS_REPLY_ARRAY:
        return REDIS_KIND_ARRAY;
    case REDIS_REPLY_ERROR:
        return REDIS_KIND_ERROR;
    default: /* without HELLO 3 there are no others */
        return REDIS_KIND_NIL;
    }
}

struct span redis_reply_span(const struct redis_reply *reply)
{
    const redisReply *n = native(reply);
    enum redis_kind kind = redis_reply_kind(reply);
    if (kind != REDIS_KIND_STRING && kind != REDIS_KIND_ERROR) {
        return span_of(NULL, 0);
    }
    return span_of(n->str, (size_t)n->len);
}

static bool parse_decimal(struct span text, int64_t *ret)
{
    bool digit_first = text.len > 0 && (isdigit(text.ptr[0]) || text.ptr[0] == '-');
    if (!digit_first || memchr(text.ptr, '\0', text.len) != NULL) {
        return false;
    }
    char *end = NULL;
    errno = 0;
    long long value = strtoll((const char *)text.ptr, &end, 10); /* hiredis keeps a NUL behind */
    if (errno != 0 || end != (const char *)text.ptr + text.len) {
        return false;
    }
    *ret = value;
    return true;
}

bool redis_reply_integer(const struct redis_reply *reply, int64_t *ret)
{
    if (redis_reply_kind(reply) == REDIS_KIND_INTEGER) {
        *ret = native(reply)->integer;
        return true;
    }
    return redis_reply_kind(reply) == REDIS_KIND_STRING &&
           parse_decimal(redis_reply_span(reply), ret);
}

size_t redis_reply_count(const struct redis_reply *reply)
{
    return redis_reply_kind(reply) == REDIS_KIND_ARRAY ? native(reply)->elements : 0;
}

const struct redis_reply *redis_reply_at(const struct redis_reply *reply, size_t i)
{
    assert(i < redis_reply_count(reply));
    return (const struct redis_reply *)(const void *)native(reply)->element[i];
}
