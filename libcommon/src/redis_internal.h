/*
 * What redis.c and redis_subscriber.c share: making a connection that is ready for commands, and
 * reading error replies. hiredis types do not leave these files.
 */
#ifndef COMMON_SRC_REDIS_INTERNAL_H
#define COMMON_SRC_REDIS_INTERNAL_H

#include <hiredis/hiredis.h>

#include "common/backoff.h"
#include "common/redis.h"

#define REDIS_ERROR_TEXT_MAX 256

CLEANUP_DEFINE(redisContext *, redisFree);

/* An owned copy of a configuration, its defaults filled in. */
void redis_config_copy(struct redis_config *to, const struct redis_config *from);
/* Frees the copy's strings, wiping the password. */
void redis_config_deinit(struct redis_config *config);

/* Connects, authenticates, names the connection. On an error `text` says what failed. */
err_t redis_dial(const struct redis_config *config, redisContext **ret,
                 char text[REDIS_ERROR_TEXT_MAX]) MUST_USE;

/* The class of an error reply ("WRONGTYPE Operation against ..."). */
err_t redis_classify_error(const char *message);
/* Why a context failed, for people. */
void redis_describe_failure(const redisContext *context, const struct redis_config *config,
                            char text[REDIS_ERROR_TEXT_MAX]);

/* How long to wait now before the next attempt; counts as one failure more. */
int64_t redis_backoff_ms(struct backoff *backoff);

#endif
