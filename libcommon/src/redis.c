#include "common/redis.h"

#include <assert.h>
#include <errno.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>

#include "redis_internal.h"

#define COMMAND_STR_MAX 32

struct redis {
    struct redis_config config;
    redisContext *context; /* NULL: not connected */
    uint64_t generation;
    size_t owed; /* replies the caller has not collected, `lost` of them in front */
    size_t lost;

    /* A reload of scripts inside a pipeline: its replies, which the caller never sees, stand behind
     * the next `reload_behind` replies. */
    size_t reload_replies;
    size_t reload_behind;

    int64_t retry_at_ms; /* no connect before; monotonic */
    struct backoff backoff;
    bool reconnect_when_idle; /* this server has stopped being the master */

    struct redis_script *scripts[REDIS_SCRIPTS_MAX];
    size_t scripts_count;
    bool scripts_stale; /* load all before the next command */
    bool script_missing;

    const char **argv; /* room for the pointers of one command */
    size_t *lens;
    size_t argv_capacity;
    char error[REDIS_ERROR_TEXT_MAX];
};

struct redis *redis_new(const struct redis_config *config)
{
    struct redis *r = xcalloc(1, sizeof *r);
    redis_config_copy(&r->config, config);
    r->backoff = BACKOFF_INIT(r->config.backoff_min_ms, r->config.backoff_max_ms);
    return r;
}

void redis_free(struct redis *r)
{
    if (r == NULL) {
        return;
    }
    if (r->context != NULL) {
        redisFree(r->context);
    }
    redis_config_deinit(&r->config);
    free(r->argv);
    free(r->lens);
    free(r);
}

uint64_t redis_generation(const struct redis *r)
{
    return r->generation;
}

size_t redis_owed(const struct redis *r)
{
    return r->owed;
}

const char *redis_error_text(const struct redis *r)
{
    return r->error;
}

bool redis_script_missing(const struct redis *r)
{
    return r->script_missing;
}

static void postpone_connect(struct redis *r)
{
    r->retry_at_ms = clock_mono_ms(r->config.clock) + redis_backoff_ms(&r->backoff);
}

/* The connection is gone or out of step: nothing owed will come. What the server has not received
 * yet it must not receive any more: done late, behind commands of the next connection, it could
 * undo them. */
static void drop(struct redis *r)
{
    const struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    (void)setsockopt(r->context->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    redisFree(r->context);
    r->context = NULL;
    r->lost = r->owed;
    r->reload_replies = 0;
    r->reload_behind = 0;
    r->reconnect_when_idle = false;
    postpone_connect(r);
}

static err_t fail(struct redis *r)
{
    redis_describe_failure(r->context, &r->config, r->error);
    drop(r);
    return ERR_UNAVAILABLE;
}

/* Classifies an error reply and notes what it says about the connection. */
static err_t refused(struct redis *r, const char *message)
{
    (void)snprintf(r->error, sizeof r->error, "%s", message);
    if (strncmp(message, "NOSCRIPT", 8) == 0) {
        r->script_missing = true;
        r->scripts_stale = true;
    } else if (strncmp(message, "READONLY", 8) == 0) {
        /* a former master: the address may lead to the new one, this connection never will */
        r->reconnect_when_idle = true;
    }
    return redis_classify_error(message);
}

static err_t queue_script_loads(struct redis *r)
{
    for (size_t i = 0; i < r->scripts_count; i++) {
        const char *argv[] = {"SCRIPT", "LOAD", r->scripts[i]->text};
        if (redisAppendCommandArgv(r->context, 3, argv, NULL) != REDIS_OK) {
            return fail(r);
        }
    }
    r->reload_behind = r->owed - r->lost;
    r->reload_replies = r->scripts_count;
    r->scripts_stale = false;
    return ERR_OK;
}

/* Takes the replies of a reload. A user who may not load scripts relies on somebody else for it. */
static err_t take_script_loads(struct redis *r)
{
    while (r->reload_replies > 0) {
        void *reply = NULL;
        errno = 0;
        if (redisGetReply(r->context, &reply) != REDIS_OK) {
            return fail(r);
        }
        r->reload_replies--;
        const redisReply *answer = reply;
        err_t e = answer->type == REDIS_REPLY_ERROR ? refused(r, answer->str) : ERR_OK;
        freeReplyObject(reply);
        if (e != ERR_OK && e != ERR_FORBIDDEN) {
            drop(r);
            return e;
        }
    }
    return ERR_OK;
}

static err_t connect_now(struct redis *r)
{
    if (clock_mono_ms(r->config.clock) < r->retry_at_ms) {
        return ERR_UNAVAILABLE;
    }
    err_t e = redis_dial(&r->config, &r->context, r->error);
    if (e != ERR_OK) {
        postpone_connect(r);
        return e;
    }
    e = queue_script_loads(r);
    if (e == ERR_OK) {
        r->reload_behind = 0;
        e = take_script_loads(r);
    }
    if (e == ERR_OK) {
        r->generation++;
        r->error[0] = '\0';
    }
    return e;
}

err_t redis_connect(struct redis *r)
{
    if (r->reconnect_when_idle && r->owed == r->lost) {
        drop(r);
    }
    return r->context != NULL ? ERR_OK : connect_now(r);
}

/* What every append does first. */
static err_t prepare(struct redis *r)
{
    r->script_missing = false;
    if (r->owed >= r->config.pipeline_max) {
        return ERR_BUSY;
    }
    err_t e = redis_connect(r);
    if (e != ERR_OK) {
        return e;
    }
    bool reload = r->scripts_stale && r->reload_replies == 0;
    return reload ? queue_script_loads(r) : ERR_OK;
}

static void argv_reserve(struct redis *r, size_t count)
{
    if (count > r->argv_capacity) {
        r->argv = xrealloc(r->argv, count, sizeof *r->argv);
        r->lens = xrealloc(r->lens, count, sizeof *r->lens);
        r->argv_capacity = count;
    }
}

static size_t argv_put(struct redis *r, size_t at, const struct span *spans, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        /* hiredis copies from NULL when an empty span has no address */
        r->argv[at + i] = spans[i].ptr != NULL ? (const char *)spans[i].ptr : "";
        r->lens[at + i] = spans[i].len;
    }
    return at + count;
}

static err_t queue_command(struct redis *r, size_t argc)
{
    if (redisAppendCommandArgv(r->context, (int)argc, r->argv, r->lens) != REDIS_OK) {
        return fail(r);
    }
    r->owed++;
    return ERR_OK;
}

err_t redis_append(struct redis *r, const struct span *argv, size_t argc)
{
    assert(argc > 0);
    err_t e = prepare(r);
    if (e != ERR_OK) {
        return e;
    }
    argv_reserve(r, argc);
    return queue_command(r, argv_put(r, 0, argv, argc));
}

err_t redis_append_script(struct redis *r, const struct redis_script *script,
                          const struct span *keys, size_t keys_count, const struct span *args,
                          size_t args_count)
{
    assert(script->sha[0] != '\0');
    err_t e = prepare(r);
    if (e != ERR_OK) {
        return e;
    }
    char count[24];
    (void)snprintf(count, sizeof count, "%zu", keys_count);
    const char *command = script->read_only ? "EVALSHA_RO" : "EVALSHA";
    const struct span head[] = {span_str(command), span_str(script->sha), span_str(count)};
    argv_reserve(r, 3 + keys_count + args_count);
    size_t argc = argv_put(r, 0, head, 3);
    argc = argv_put(r, argc, keys, keys_count);
    return queue_command(r, argv_put(r, argc, args, args_count));
}

err_t redis_flush(struct redis *r)
{
    int done = 0;
    while (r->context != NULL && !done) {
        errno = 0;
        if (redisBufferWrite(r->context, &done) != REDIS_OK) {
            return fail(r);
        }
    }
    return r->context != NULL ? ERR_OK : ERR_UNAVAILABLE;
}

err_t redis_collect(struct redis *r, struct redis_reply **ret)
{
    assert(r->owed > 0);
    r->script_missing = false;
    if (r->lost == 0 && r->reload_replies > 0 && r->reload_behind == 0) {
        /* a failure here loses the caller's replies too; `lost` below tells each of them */
        (void)take_script_loads(r);
    }
    r->owed--;
    if (r->lost > 0) {
        r->lost--;
        return ERR_UNAVAILABLE;
    }
    void *reply = NULL;
    errno = 0;
    if (redisGetReply(r->context, &reply) != REDIS_OK) {
        return fail(r);
    }
    if (r->reload_behind > 0) {
        r->reload_behind--;
    }
    backoff_reset(&r->backoff);
    const redisReply *answer = reply;
    if (answer->type == REDIS_REPLY_ERROR) {
        err_t e = refused(r, answer->str);
        freeReplyObject(reply);
        return e;
    }
    *ret = reply;
    return ERR_OK;
}

void redis_abandon(struct redis *r)
{
    if (r->owed > r->lost) {
        drop(r);
    }
    r->owed = 0;
    r->lost = 0;
}

static err_t collect_into(struct redis *r, struct redis_reply **ret)
{
    CLEANUP(redis_reply_free) struct redis_reply *reply = NULL;
    err_t e = redis_collect(r, &reply);
    if (e == ERR_OK && ret != NULL) {
        *ret = TAKE(reply);
    }
    return e;
}

err_t redis_command(struct redis *r, const struct span *argv, size_t argc, struct redis_reply **ret)
{
    assert(r->owed == 0);
    err_t e = redis_append(r, argv, argc);
    return e == ERR_OK ? collect_into(r, ret) : e;
}

err_t redis_command_str(struct redis *r, struct redis_reply **ret, const char *name, ...)
{
    struct span argv[COMMAND_STR_MAX] = {span_str(name)};
    size_t argc = 1;
    va_list args;
    va_start(args, name);
    for (const char *arg = va_arg(args, const char *); arg != NULL;
         arg = va_arg(args, const char *)) {
        assert(argc < COMMAND_STR_MAX);
        argv[argc++] = span_str(arg);
    }
    va_end(args);
    return redis_command(r, argv, argc, ret);
}

err_t redis_eval(struct redis *r, const struct redis_script *script, const struct span *keys,
                 size_t keys_count, const struct span *args, size_t args_count,
                 struct redis_reply **ret)
{
    assert(r->owed == 0);
    err_t e = ERR_OK;
    for (int attempt = 0; attempt < 2; attempt++) {
        e = redis_append_script(r, script, keys, keys_count, args, args_count);
        if (e != ERR_OK) {
            return e;
        }
        e = collect_into(r, ret);
        if (!r->script_missing) {
            return e;
        }
    }
    return e;
}

static void sha1_hex(const char *text, char out[41])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    size_t len = 0;
    if (EVP_Q_digest(NULL, "SHA1", NULL, text, strlen(text), digest, &len) != 1) {
        abort(); /* without SHA-1 no script can be named; the FIPS provider has it too */
    }
    for (size_t i = 0; i < 20; i++) {
        (void)snprintf(out + 2 * i, 3, "%02x", digest[i]);
    }
}

void redis_register_script(struct redis *r, struct redis_script *script)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* scripts are shared by threads */
    (void)pthread_mutex_lock(&lock);
    if (script->sha[0] == '\0') {
        sha1_hex(script->text, script->sha);
    }
    (void)pthread_mutex_unlock(&lock);
    for (size_t i = 0; i < r->scripts_count; i++) {
        if (r->scripts[i] == script) {
            return;
        }
    }
    assert(r->scripts_count < REDIS_SCRIPTS_MAX);
    r->scripts[r->scripts_count++] = script;
    r->scripts_stale = true;
}

err_t redis_check_noeviction(struct redis *r)
{
    CLEANUP(redis_reply_free) struct redis_reply *reply = NULL;
    err_t e = redis_command_str(r, &reply, "INFO", "memory", NULL);
    if (e != ERR_OK) {
        return e;
    }
    static const char FIELD[] = "\nmaxmemory_policy:";
    struct span info = redis_reply_span(reply);
    const char *at = memmem(info.ptr, info.len, FIELD, strlen(FIELD));
    if (at == NULL) {
        (void)snprintf(r->error, sizeof r->error, "INFO does not tell maxmemory_policy");
        return ERR_INTERNAL;
    }
    at += strlen(FIELD);
    if (strncmp(at, "noeviction\r", 11) == 0) {
        return ERR_OK;
    }
    (void)snprintf(r->error, sizeof r->error, "maxmemory-policy must be noeviction, is %.*s",
                   (int)strcspn(at, "\r\n"), at);
    return ERR_CONFLICT;
}
