/*
 * One connection to Redis, over hiredis (0.14 or 1.x): pipelining, scripts by digest, reconnection
 * with back-off, and the translation of Redis' errors into ours. Used by every service. A `struct
 * redis` belongs to one thread, which alone may touch it and its replies; a thread that needs Redis
 * makes its own. SIGPIPE must be ignored by the process.
 *
 * Nothing is sent before the first command. Any I/O or protocol error drops the connection: every
 * reply still owed is lost and reported as ERR_UNAVAILABLE, and whether those commands ran is
 * unknown, so what is sent must be safe to send again. The next command connects anew, but not
 * before the back-off has passed (until then it fails with ERR_UNAVAILABLE at once).
 *
 * Error translation, the same for every function below that talks to the server:
 *     ERR_UNAVAILABLE  no connection, no answer in time, or the server cannot serve now (LOADING,
 *                      READONLY, MASTERDOWN, OOM, TRYAGAIN, CLUSTERDOWN, BUSY, MISCONF): back off
 *                      and do it again
 *     ERR_FORBIDDEN    credentials or ACL refuse it (NOAUTH, WRONGPASS, NOPERM): configuration
 *     ERR_INTERNAL     any other error reply (WRONGTYPE, a script that failed): a bug of ours
 * redis_error_text() says it for the log.
 */
#ifndef COMMON_REDIS_H
#define COMMON_REDIS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/err.h"

struct redis;
struct redis_reply;

struct redis_config {
    const char *host; /* name or address */
    uint16_t port;
    const char *user;          /* NULL: the default user */
    const char *password;      /* NULL: no AUTH is sent */
    const char *client_name;   /* shown by CLIENT LIST; no spaces; NULL: none */
    int connect_timeout_ms;    /* 0: 2000 */
    int command_timeout_ms;    /* longest silence while a reply is owed; 0: 5000 */
    int backoff_min_ms;        /* first wait after a failed connect; 0: 50 */
    int backoff_max_ms;        /* 0: 5000 */
    size_t pipeline_max;       /* replies owed at once; 0: 10000 */
    const struct clock *clock; /* for the back-off; NULL: the system's. Borrowed */
};

/* Copies the configuration (the strings too); does not connect. Never fails. */
struct redis *redis_new(const struct redis_config *config) __attribute__((returns_nonnull));
/* Closes the connection. Replies handed out before stay valid until they are freed. */
void redis_free(struct redis *r);
CLEANUP_DEFINE(struct redis *, redis_free);

/* Connects now if there is no connection; of use at start, to tell a wrong password early. */
err_t redis_connect(struct redis *r) MUST_USE;
/* Rises by one at each successful connect, 0 before the first. Whoever relies on what an earlier
 * command did on the same connection, or on Redis still holding what it held, compares it. */
uint64_t redis_generation(const struct redis *r);
/* Replies owed: appended and not collected yet, the lost ones included. */
size_t redis_owed(const struct redis *r);
/* What went wrong last, for people; "" if nothing. Valid until the next call on `r`. Carries the
 * server's text, never a password. */
const char *redis_error_text(const struct redis *r);

/*
 * Pipelining. redis_append queues one command (argv[0] is its name; the bytes are copied), and
 * redis_collect returns the replies in the order of the appends; the first collect sends what is
 * queued. When append fails nothing was queued and no reply is owed: ERR_UNAVAILABLE, or ERR_BUSY
 * when pipeline_max replies are owed (collect first).
 */
err_t redis_append(struct redis *r, const struct span *argv, size_t argc) MUST_USE;
/* Sends what is queued without waiting for a reply; optional. */
err_t redis_flush(struct redis *r) MUST_USE;
/* The next reply; owned by the caller, redis_reply_free. On an error *ret is untouched and that one
 * reply is used up; the replies behind it are still owed (after a lost connection each of them is
 * ERR_UNAVAILABLE). Calling it with nothing owed is a programmer's error. */
err_t redis_collect(struct redis *r, struct redis_reply **ret) MUST_USE;
/* Gives up the replies owed: drops the connection if there are any (they would be out of step). */
void redis_abandon(struct redis *r);
/* Append and collect in one; only with nothing owed. `ret` may be NULL: only success matters. */
err_t redis_command(struct redis *r, const struct span *argv, size_t argc,
                    struct redis_reply **ret) MUST_USE;
/* The same for C strings: redis_command_str(r, &reply, "GET", key, NULL). */
err_t redis_command_str(struct redis *r, struct redis_reply **ret, const char *name, ...)
    __attribute__((sentinel)) MUST_USE;

/*
 * A Lua script, called by digest. `text` must outlive every connection it is registered with. Fill
 * it with REDIS_SCRIPT("...") and call redis_register_script() once per connection object before
 * the first use: it is then loaded at each connect (needs ACL `+script|load`; a user without it
 * relies on somebody else having loaded the script).
 */
struct redis_script {
    const char *text;
    char sha[41];   /* lower-case hex SHA-1, filled in by redis_register_script */
    bool read_only; /* called by EVALSHA_RO: needs no more than the right to read its keys */
};
#define REDIS_SCRIPT(source)                                                                       \
    {                                                                                              \
        .text = (source)                                                                           \
    }
#define REDIS_SCRIPT_READ_ONLY(source)                                                             \
    {                                                                                              \
        .text = (source), .read_only = true                                                        \
    }
#define REDIS_SCRIPTS_MAX 32

/* At most REDIS_SCRIPTS_MAX per connection object; registering one again changes nothing. A
 * script may be shared by threads. */
void redis_register_script(struct redis *r, struct redis_script *script);
/*
 * Queues one EVALSHA. When the server does not know the script (it was restarted or SCRIPT FLUSHed
 * meanwhile), redis_collect returns ERR_UNAVAILABLE for it and redis_script_missing() turns true
 * until the next append, before which all scripts are loaded again: that call did nothing, the
 * other calls of the pipeline are not touched, the connection stays. The caller does that one
 * again.
 */
err_t redis_append_script(struct redis *r, const struct redis_script *script,
                          const struct span *keys, size_t keys_count, const struct span *args,
                          size_t args_count) MUST_USE;
/* True when the last redis_collect failed only because the script was not loaded. */
bool redis_script_missing(const struct redis *r);
/* One call, reloading once by itself when the script is missing. Only with nothing owed. */
err_t redis_eval(struct redis *r, const struct redis_script *script, const struct span *keys,
                 size_t keys_count, const struct span *args, size_t args_count,
                 struct redis_reply **ret) MUST_USE;

/*
 * A reply is a small tree of values; all views point into it and live until redis_reply_free of
 * the top. Elements of an array are borrowed from it and never freed by themselves.
 */
enum redis_kind {
    REDIS_KIND_NIL,
    REDIS_KIND_INTEGER,
    REDIS_KIND_STRING, /* bulk or status ("OK") */
    REDIS_KIND_ARRAY,
    REDIS_KIND_ERROR, /* only inside an array (EXEC, a script's table); a top one is an err_t */
};
void redis_reply_free(struct redis_reply *reply);
CLEANUP_DEFINE(struct redis_reply *, redis_reply_free);
enum redis_kind redis_reply_kind(const struct redis_reply *reply);
/* The bytes of a string or of an error, NUL-terminated behind the span; empty (ptr NULL) for all
 * other kinds. */
struct span redis_reply_span(const struct redis_reply *reply);
/* The value of an integer, or of a string that is one in decimal digits; false for anything else.
 */
bool redis_reply_integer(const struct redis_reply *reply, int64_t *ret);
/* Elements of an array; 0 for all other kinds. */
size_t redis_reply_count(const struct redis_reply *reply);
/* Element i < count. */
const struct redis_reply *redis_reply_at(const struct redis_reply *reply, size_t i)
    __attribute__((returns_nonnull));

/* A view store that evicts breaks invariants silently, so every owner asks at start. ERR_CONFLICT
 * when maxmemory-policy is not `noeviction` (redis_error_text names it); needs ACL `+info`. */
err_t redis_check_noeviction(struct redis *r) MUST_USE;

#endif
