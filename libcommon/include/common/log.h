/*
 * The log: one JSON object per line on standard output, written by one write(2), so that lines of
 * many threads and processes never mix. Fields: time, level, service, instance, event, then domain,
 * device and request from the context, then the caller's own.
 *
 *     log_info(&ctx, "certificate_issued", LOG_STR("serial", serial), LOG_INT("took_ms", took));
 *     log_limited(LOG_LEVEL_WARN, NULL, "redis_away", LOG_ERR("error", e));
 *     log_debug("kafka", NULL, "rebalanced", LOG_INT("partitions", n));
 *
 * Arguments are not evaluated when the line is not written. The event is a stable word in snake
 * case; what varies is a field. Never a secret, a token or private key material. libcommon itself
 * logs at debug only: a failure is logged once, by whoever decides what happens next. Any thread
 * after log_init; before it, lines at info and above go out without service and instance.
 */
#ifndef COMMON_LOG_H
#define COMMON_LOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/err.h"

enum log_level {
    LOG_LEVEL_DEBUG,
    LOG_LEVEL_INFO,
    LOG_LEVEL_WARN,
    LOG_LEVEL_ERROR,
    LOG_LEVEL_FATAL, /* the process ends because of it */
    LOG_LEVEL_COUNT_
};

/* One line, its newline included: up to PIPE_BUF, which is what a pipe takes as a whole. */
#define LOG_LINE_MAX 4096
/* Longer values are cut, and the line says "truncated":true; so do lines that lost whole fields. */
#define LOG_VALUE_MAX 1024

struct log_options {
    const char *service;
    const char *instance;
    enum log_level level;
    const char *debug_topics;  /* comma-separated names, "" for none; NULL as "" */
    const struct clock *clock; /* NULL: the system's */
    int fd;                    /* where lines go; 1 in programs */
};

/* Call before the second thread starts, again at will in tests. Copies everything but the clock.
 * With level debug every topic is on; with another level exactly the named ones. */
void log_init(const struct log_options *options);

/* "debug", "info", "warn", "error", "fatal". */
const char *log_level_name(enum log_level level);

/* Whose work a line is about; empty or NULL members leave their field out. Borrowed for the call.
 */
struct log_context {
    const char *domain;
    const char *device;
    const char *request;
};

struct log_field {
    const char *key; /* NULL ends a list */
    enum { LOG_KIND_STR, LOG_KIND_INT, LOG_KIND_UINT, LOG_KIND_DOUBLE, LOG_KIND_BOOL } kind;
    union {
        struct span str;
        int64_t i;
        uint64_t u;
        double d;
        bool b;
    } value;
};

/* Fields. Bytes of any origin are safe in LOG_STR and LOG_SPAN: they are escaped. */
#define LOG_STR(name, text)                                                                        \
    ((struct log_field){.key = (name), .kind = LOG_KIND_STR, .value.str = span_str(text)})
#define LOG_SPAN(name, span)                                                                       \
    ((struct log_field){.key = (name), .kind = LOG_KIND_STR, .value.str = (span)})
#define LOG_INT(name, number)                                                                      \
    ((struct log_field){.key = (name), .kind = LOG_KIND_INT, .value.i = (int64_t)(number)})
#define LOG_UINT(name, number)                                                                     \
    ((struct log_field){.key = (name), .kind = LOG_KIND_UINT, .value.u = (uint64_t)(number)})
#define LOG_DOUBLE(name, number)                                                                   \
    ((struct log_field){.key = (name), .kind = LOG_KIND_DOUBLE, .value.d = (number)})
#define LOG_BOOL(name, flag)                                                                       \
    ((struct log_field){.key = (name), .kind = LOG_KIND_BOOL, .value.b = (flag)})
#define LOG_ERR(name, code) LOG_STR(name, err_name(code))

/* Lines: (context or NULL, event, fields...). */
#define log_info(context, ...)      LOG_AT_(LOG_LEVEL_INFO, context, __VA_ARGS__, LOG_END_)
#define log_warn(context, ...)      LOG_AT_(LOG_LEVEL_WARN, context, __VA_ARGS__, LOG_END_)
#define log_error(context, ...)     LOG_AT_(LOG_LEVEL_ERROR, context, __VA_ARGS__, LOG_END_)
#define log_fatal(context, ...)     LOG_AT_(LOG_LEVEL_FATAL, context, __VA_ARGS__, LOG_END_)
#define log_at(level, context, ...) LOG_AT_(level, context, __VA_ARGS__, LOG_END_)

/* (topic, context or NULL, event, fields...): written when the topic is switched on. */
#define log_debug(topic, context, ...)                                                             \
    do {                                                                                           \
        if (log_topic_enabled(topic)) {                                                            \
            log_write_(LOG_LEVEL_DEBUG, context, LOG_EVENT_(__VA_ARGS__, LOG_END_),                \
                       LOG_FIELDS_(__VA_ARGS__, LOG_END_), 0);                                     \
        }                                                                                          \
    } while (0)

/* (level, context or NULL, event, fields...): at most LOG_LIMIT_LINES lines in LOG_LIMIT_MS from
 * this place in the code; the next line that passes carries "dropped", the number that did not. */
#define LOG_LIMIT_LINES 5
#define LOG_LIMIT_MS    10000
#define log_limited(level, context, ...)                                                           \
    do {                                                                                           \
        static struct log_limit limit_ = {0};                                                      \
        uint64_t dropped_ = 0;                                                                     \
        if (log_enabled(level) && log_limit_pass(&limit_, &dropped_)) {                            \
            log_write_(level, context, LOG_EVENT_(__VA_ARGS__, LOG_END_),                          \
                       LOG_FIELDS_(__VA_ARGS__, LOG_END_), dropped_);                              \
        }                                                                                          \
    } while (0)

/* Below: what the macros are made of. */

struct log_limit {
    _Atomic int64_t window_start_ms;
    _Atomic uint32_t lines;
    _Atomic uint64_t dropped;
};
bool log_limit_pass(struct log_limit *limit, uint64_t *ret_dropped);

extern _Atomic int log_level_now_;
static inline bool log_enabled(enum log_level level)
{
    return (int)level >= atomic_load_explicit(&log_level_now_, memory_order_relaxed);
}
bool log_topic_enabled(const char *topic);

#define LOG_END_                ((struct log_field){.key = NULL})
#define LOG_EVENT_(event, ...)  event
#define LOG_FIELDS_(event, ...) ((const struct log_field[]){__VA_ARGS__})
#define LOG_AT_(level, context, ...)                                                               \
    do {                                                                                           \
        if (log_enabled(level)) {                                                                  \
            log_write_(level, context, LOG_EVENT_(__VA_ARGS__), LOG_FIELDS_(__VA_ARGS__), 0);      \
        }                                                                                          \
    } while (0)
void log_write_(enum log_level level, const struct log_context *context, const char *event,
                const struct log_field *fields, uint64_t dropped);

#endif
