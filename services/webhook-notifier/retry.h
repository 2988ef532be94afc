/*
 * When a delivery is tried again. The retry topics are tiers of one delay each, so that inside a
 * tier what was written first is due first, and a partition only ever waits for its head. Pure;
 * times are UTC milliseconds. Any thread.
 */
#ifndef WEBHOOK_NOTIFIER_RETRY_H
#define WEBHOOK_NOTIFIER_RETRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

#define RETRY_TIERS_MAX 12
#define RETRY_TOPIC_MAX 64

struct retry_tier {
    char topic[RETRY_TOPIC_MAX];
    int64_t delay_ms;
};
struct retry_plan {
    struct retry_tier tiers[RETRY_TIERS_MAX]; /* delays ascending */
    size_t count;
    int64_t give_up_ms; /* after this time from the fan-out nothing is tried again */
};

/* "5s,1m,5m": names of the tiers' topics and their delays (ms, s, m, h). ERR_INVALID: not that
 * form, not ascending, or too many. */
err_t retry_plan_parse(const char *text, int64_t give_up_ms, struct retry_plan *ret) MUST_USE;

struct retry_choice {
    bool give_up;
    size_t tier;
    int64_t due_ms;
};
/*
 * After the `round`th time (>= 1) it did not work. `wait_ms` is what the endpoint asked for (0:
 * nothing): the shortest tier that is not shorter, as far as there is one. `may_give_up` is false
 * when nothing was tried, so that a delivery found after a long stand-still has its chance.
 */
struct retry_choice retry_choose(const struct retry_plan *plan, int32_t round, int64_t wait_ms,
                                 bool may_give_up, int64_t created_ms, int64_t now_ms);

/* How long an endpoint that takes `took_ms` for each, `at_once` at a time, needs for what waits;
 * five minutes at most, since it may become faster. */
int64_t retry_work_off_ms(size_t waiting, int64_t took_ms, int64_t at_once);

/* The longest time between the writing of a record to a tier and when it is due. */
int64_t retry_longest_wait(const struct retry_tier *tier);

/* Value of Retry-After: seconds or an HTTP date. ERR_INVALID: neither. A time that is past is 0. */
err_t retry_after_parse(const char *value, int64_t now_ms, int64_t *ret_ms) MUST_USE;

/* What an answer means. */
enum answer {
    ANSWER_DELIVERED, /* 2xx */
    ANSWER_FAILED,    /* everything else: 3xx too, redirects are not followed */
    ANSWER_THROTTLED, /* 429, 503: Retry-After counts */
    ANSWER_GONE,      /* 410 */
};
enum answer answer_of(long status);

#endif
