#include "common/redis_subscriber.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "redis_internal.h"

struct redis_subscriber {
    struct redis_config redis;
    struct redis_subscriber_config config; /* its strings are copies, `redis` is not used */
    pthread_t thread;
    int wake_fd; /* readable once the thread must end */
    atomic_bool up;

    /* of the thread alone */
    redisContext *context;
    bool pinged; /* a PING is out and nothing has come since */
    bool stopping;
    char text[REDIS_ERROR_TEXT_MAX];
};

/* Waits for input of the server (ERR_OK), the end (ERR_STOPPING) or timeout_ms (ERR_TIMEOUT). */
static err_t wait_input(struct redis_subscriber *s, int timeout_ms)
{
    struct pollfd fds[] = {{.fd = s->wake_fd, .events = POLLIN},
                           {.fd = s->context != NULL ? s->context->fd : -1, .events = POLLIN}};
    int n = poll(fds, 2, timeout_ms);
    if (n > 0 && fds[0].revents != 0) {
        s->stopping = true;
        return ERR_STOPPING;
    }
    return n > 0 ? ERR_OK : ERR_TIMEOUT;
}

static err_t lost_connection(struct redis_subscriber *s)
{
    redis_describe_failure(s->context, &s->redis, s->text);
    return ERR_UNAVAILABLE;
}

static err_t send_command(struct redis_subscriber *s, int argc, const char **argv)
{
    if (redisAppendCommandArgv(s->context, argc, argv, NULL) != REDIS_OK) {
        return lost_connection(s);
    }
    for (int done = 0; !done;) {
        errno = 0;
        if (redisBufferWrite(s->context, &done) != REDIS_OK) {
            return lost_connection(s);
        }
    }
    return ERR_OK;
}

static bool is_word(const redisReply *reply, const char *word)
{
    return reply->type == REDIS_REPLY_STRING && strcmp(reply->str, word) == 0;
}

static struct span bytes_of(const redisReply *reply)
{
    return span_of(reply->str, reply->str != NULL ? (size_t)reply->len : 0);
}

/* One push of the server: a message, the confirmation of the subscription, or a PONG. */
static err_t dispatch(struct redis_subscriber *s, const redisReply *reply)
{
    if (reply->type == REDIS_REPLY_ERROR) {
        (void)snprintf(s->text, sizeof s->text, "%s", reply->str);
        return redis_classify_error(reply->str);
    }
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements == 0) {
        return ERR_OK;
    }
    redisReply **part = reply->element;
    if (reply->elements == 3 && is_word(part[0], "message")) {
        s->config.on_message(s->config.ctx, bytes_of(part[1]), bytes_of(part[2]));
    } else if (reply->elements == 4 && is_word(part[0], "pmessage")) {
        s->config.on_message(s->config.ctx, bytes_of(part[2]), bytes_of(part[3]));
    } else if (is_word(part[0], "subscribe") || is_word(part[0], "psubscribe")) {
        atomic_store(&s->up, true);
        if (s->config.on_gap != NULL) {
            s->config.on_gap(s->config.ctx);
        }
    }
    return ERR_OK;
}

static err_t read_input(struct redis_subscriber *s)
{
    errno = 0;
    if (redisBufferRead(s->context) != REDIS_OK) {
        return lost_connection(s);
    }
    s->pinged = false;
    for (;;) {
        void *reply = NULL;
        if (redisGetReplyFromReader(s->context, &reply) != REDIS_OK) {
            return lost_connection(s);
        }
        if (reply == NULL) {
            return ERR_OK;
        }
        err_t e = dispatch(s, reply);
        freeReplyObject(reply);
        if (e != ERR_OK) {
            return e;
        }
    }
}

/* A silent connection may be a dead one: ask, and give up when nothing comes. */
static err_t probe(struct redis_subscriber *s)
{
    if (s->pinged) {
        (void)snprintf(s->text, sizeof s->text, "%s:%u: silent", s->redis.host, s->redis.port);
        return ERR_UNAVAILABLE;
    }
    s->pinged = true;
    return send_command(s, 1, (const char *[]){"PING"});
}

/* One life of the connection; returns why it ended. */
static err_t serve_connection(struct redis_subscriber *s)
{
    err_t e = redis_dial(&s->redis, &s->context, s->text);
    if (e != ERR_OK) {
        return e;
    }
    s->pinged = false;
    const char *verb = s->config.pattern ? "PSUBSCRIBE" : "SUBSCRIBE";
    e = send_command(s, 2, (const char *[]){verb, s->config.channel});
    while (e == ERR_OK) {
        e = wait_input(s, s->redis.command_timeout_ms);
        if (e == ERR_OK) {
            e = read_input(s);
        } else if (e == ERR_TIMEOUT) {
            e = probe(s);
        }
    }
    return e;
}

static void *run(void *arg)
{
    struct redis_subscriber *s = arg;
    struct backoff backoff = BACKOFF_INIT(s->redis.backoff_min_ms, s->redis.backoff_max_ms);
    while (!s->stopping) {
        err_t e = serve_connection(s);
        if (s->context != NULL) {
            redisFree(s->context);
            s->context = NULL;
        }
        if (atomic_exchange(&s->up, false)) {
            backoff_reset(&backoff);
        }
        if (s->stopping) {
            break;
        }
        if (s->config.on_error != NULL) {
            s->config.on_error(s->config.ctx, e, s->text);
        }
        (void)wait_input(
            s, (int)redis_backoff_ms(&backoff)); /* cut short by the end, which `stopping` tells */
    }
    return NULL;
}

static void release(struct redis_subscriber *s)
{
    if (s->wake_fd >= 0) {
        (void)close(s->wake_fd);
    }
    redis_config_deinit(&s->redis);
    free((char *)s->config.channel);
    free(s);
}

err_t redis_subscriber_start(const struct redis_subscriber_config *config,
                             struct redis_subscriber **ret)
{
    struct redis_subscriber *s = xcalloc(1, sizeof *s);
    redis_config_copy(&s->redis, config->redis);
    s->config = *config;
    s->config.redis = NULL;
    s->config.channel = xstrdup(config->channel);
    s->wake_fd = eventfd(0, EFD_CLOEXEC);
    if (s->wake_fd < 0 || pthread_create(&s->thread, NULL, run, s) != 0) {
        release(s);
        return ERR_INTERNAL;
    }
    *ret = s;
    return ERR_OK;
}

void redis_subscriber_stop(struct redis_subscriber *s)
{
    if (s == NULL) {
        return;
    }
    (void)eventfd_write(s->wake_fd, 1); /* cannot fail: the counter goes from 0 to 1 */
    (void)pthread_join(s->thread, NULL);
    release(s);
}

bool redis_subscriber_is_up(const struct redis_subscriber *s)
{
    return atomic_load(&s->up);
}
