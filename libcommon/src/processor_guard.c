/*
 * The crash guard: a request that ends its owner each time is found by counting how often work on
 * it was begun. It counts only after an unclean exit, while the first rounds hold one request each.
 * Its memory is Redis: losing it costs one more attempt.
 */
#include "processor_internal.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/log.h"

#define CAUTIOUS_ROUNDS 32
#define GUARD_SECONDS   "86400"
#define KEY_MAX         192

/* The guard is best effort. */
static void forget(err_t e)
{
    (void)e;
}

static void run_key(const struct processor *p, char out[KEY_MAX])
{
    (void)snprintf(out, KEY_MAX, "g:run:%s.%s", p->app->name, p->instance);
}

static void attempts_key(const struct processor *p, const struct work *w, char out[KEY_MAX])
{
    (void)snprintf(out, KEY_MAX, "g:crash:%s:%" PRId32 ":%" PRId64, p->app->name,
                   w->source.partition, w->source.offset);
}

bool guard_start(struct processor *p)
{
    char key[KEY_MAX];
    run_key(p, key);
    CLEANUP(redis_reply_free) struct redis_reply *before = NULL;
    err_t e = redis_command_str(p->redis, &before, "GETSET", key, "running", NULL);
    if (e == ERR_OK && redis_reply_kind(before) != REDIS_KIND_NIL) {
        p->cautious = CAUTIOUS_ROUNDS;
        log_warn(NULL, "unclean_exit", LOG_STR("app", p->app->name),
                 LOG_UINT("cautious_rounds", p->cautious));
    }
    return e == ERR_OK;
}

err_t guard_enter(struct processor *p, struct work *w, unsigned *ret_attempts)
{
    char key[KEY_MAX];
    attempts_key(p, w, key);
    CLEANUP(redis_reply_free) struct redis_reply *reply = NULL;
    err_t e = redis_command_str(p->redis, &reply, "INCR", key, NULL);
    int64_t attempts = 0;
    if (e == ERR_OK && !redis_reply_integer(reply, &attempts)) {
        e = ERR_INTERNAL;
    }
    if (e == ERR_OK) {
        e = redis_command_str(p->redis, NULL, "EXPIRE", key, GUARD_SECONDS, NULL);
    }
    w->guarded = e == ERR_OK;
    if (e == ERR_OK) {
        *ret_attempts = (unsigned)attempts;
    }
    return e;
}

void guard_undo(struct processor *p, struct work *w)
{
    if (w->guarded) {
        char key[KEY_MAX];
        attempts_key(p, w, key);
        /* Redis away: one attempt too many is counted, of three. */
        forget(redis_command_str(p->redis, NULL, "DECR", key, NULL));
        w->guarded = false;
    }
}

void guard_leave(struct processor *p, struct work *w)
{
    w->guarded = false;
    char key[KEY_MAX];
    attempts_key(p, w, key);
    /* Left behind it expires by itself; the offset never comes again. */
    forget(redis_command_str(p->redis, NULL, "DEL", key, NULL));
    p->cautious -= p->cautious > 0;
}

void guard_stop(struct processor *p)
{
    char key[KEY_MAX];
    run_key(p, key);
    forget(redis_command_str(p->redis, NULL, "DEL", key, NULL));
}
