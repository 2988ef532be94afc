#include "redis_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "common/id.h"

#define DEFAULT_CONNECT_MS  2000
#define DEFAULT_COMMAND_MS  5000
#define DEFAULT_BACKOFF_MIN 50
#define DEFAULT_BACKOFF_MAX 5000
#define DEFAULT_PIPELINE    10000

static char *copy_or_null(const char *s)
{
    return s != NULL ? xstrdup(s) : NULL;
}

static int int_or(int value, int fallback)
{
    return value > 0 ? value : fallback;
}

void redis_config_copy(struct redis_config *to, const struct redis_config *from)
{
    *to = (struct redis_config){
        .host = xstrdup(from->host),
        .port = from->port,
        .user = copy_or_null(from->user),
        .password = copy_or_null(from->password),
        .client_name = copy_or_null(from->client_name),
        .connect_timeout_ms = int_or(from->connect_timeout_ms, DEFAULT_CONNECT_MS),
        .command_timeout_ms = int_or(from->command_timeout_ms, DEFAULT_COMMAND_MS),
        .backoff_min_ms = int_or(from->backoff_min_ms, DEFAULT_BACKOFF_MIN),
        .backoff_max_ms = int_or(from->backoff_max_ms, DEFAULT_BACKOFF_MAX),
        .pipeline_max = from->pipeline_max > 0 ? from->pipeline_max : DEFAULT_PIPELINE,
        .clock = from->clock != NULL ? from->clock : &clock_system,
    };
}

void redis_config_deinit(struct redis_config *config)
{
    if (config->password != NULL) {
        explicit_bzero((char *)config->password, strlen(config->password));
    }
    free((char *)config->host);
    free((char *)config->user);
    free((char *)config->password);
    free((char *)config->client_name);
    *config = (struct redis_config){0};
}

err_t redis_classify_error(const char *message)
{
    static const struct {
        const char *prefix;
        err_t e;
    } TABLE[] = {
        {"LOADING", ERR_UNAVAILABLE},
        {"READONLY", ERR_UNAVAILABLE},
        {"MASTERDOWN", ERR_UNAVAILABLE},
        {"OOM", ERR_UNAVAILABLE},
        {"TRYAGAIN", ERR_UNAVAILABLE},
        {"CLUSTERDOWN", ERR_UNAVAILABLE},
        {"BUSY", ERR_UNAVAILABLE},
        {"MISCONF", ERR_UNAVAILABLE},
        {"NOREPLICAS", ERR_UNAVAILABLE},
        {"NOSCRIPT", ERR_UNAVAILABLE},
        {"ERR max number of clients reached", ERR_UNAVAILABLE},
        {"NOAUTH", ERR_FORBIDDEN},
        {"WRONGPASS", ERR_FORBIDDEN},
        {"NOPERM", ERR_FORBIDDEN},
    };
    for (size_t i = 0; i < sizeof TABLE / sizeof TABLE[0]; i++) {
        size_t len = strlen(TABLE[i].prefix);
        if (strncmp(message, TABLE[i].prefix, len) == 0 &&
            (message[len] == ' ' || message[len] == '\0')) {
            return TABLE[i].e;
        }
    }
    return ERR_INTERNAL;
}

void redis_describe_failure(const redisContext *context, const struct redis_config *config,
                            char text[REDIS_ERROR_TEXT_MAX])
{
    const char *why = context != NULL ? context->errstr : "out of memory";
    bool late = context != NULL && context->err == REDIS_ERR_IO && errno == EAGAIN;
#ifdef REDIS_ERR_TIMEOUT /* hiredis >= 1.0 has a code of its own for it */
    late = late || (context != NULL && context->err == REDIS_ERR_TIMEOUT);
#endif
    if (late) {
        why = "no answer in time"; /* hiredis says "Resource temporarily unavailable" */
    }
    (void)snprintf(text, REDIS_ERROR_TEXT_MAX, "%s:%u: %s", config->host, config->port, why);
}

int64_t redis_backoff_ms(struct backoff *backoff)
{
    uint64_t random = 0;
    random_bytes(&random, sizeof random);
    return backoff_next_ms(backoff, random);
}

/* Sends one command of the greeting and checks its reply. */
static err_t greet(redisContext *context, const struct redis_config *config, int argc,
                   const char **argv, char text[REDIS_ERROR_TEXT_MAX])
{
    redisReply *reply = redisCommandArgv(context, argc, argv, NULL);
    if (reply == NULL) {
        redis_describe_failure(context, config, text);
        return ERR_UNAVAILABLE;
    }
    err_t e = ERR_OK;
    if (reply->type == REDIS_REPLY_ERROR) {
        (void)snprintf(text, REDIS_ERROR_TEXT_MAX, "%s: %s", argv[0], reply->str);
        e = redis_classify_error(reply->str);
    }
    freeReplyObject(reply);
    return e;
}

static err_t authenticate(redisContext *context, const struct redis_config *config,
                          char text[REDIS_ERROR_TEXT_MAX])
{
    if (config->password == NULL) {
        return ERR_OK;
    }
    if (config->user == NULL) {
        return greet(context, config, 2, (const char *[]){"AUTH", config->password}, text);
    }
    return greet(context, config, 3, (const char *[]){"AUTH", config->user, config->password},
                 text);
}

static struct timeval timeval_of_ms(int ms)
{
    return (struct timeval){.tv_sec = ms / 1000, .tv_usec = (ms % 1000) * 1000L};
}

err_t redis_dial(const struct redis_config *config, redisContext **ret,
                 char text[REDIS_ERROR_TEXT_MAX])
{
    errno = 0;
    CLEANUP(redisFree)
    redisContext *context = redisConnectWithTimeout(config->host, config->port,
                                                    timeval_of_ms(config->connect_timeout_ms));
    if (context == NULL || context->err != 0 ||
        redisSetTimeout(context, timeval_of_ms(config->command_timeout_ms)) != REDIS_OK ||
        redisEnableKeepAlive(context) != REDIS_OK || fcntl(context->fd, F_SETFD, FD_CLOEXEC) != 0) {
        redis_describe_failure(context, config, text);
        return ERR_UNAVAILABLE;
    }
    err_t e = authenticate(context, config, text);
    if (e != ERR_OK) {
        return e;
    }
    if (config->client_name != NULL) {
        e = greet(context, config, 3, (const char *[]){"CLIENT", "SETNAME", config->client_name},
                  text);
        if (e != ERR_OK && e != ERR_FORBIDDEN) { /* the name is a convenience an ACL may refuse */
            return e;
        }
    }
    *ret = TAKE(context);
    return ERR_OK;
}
