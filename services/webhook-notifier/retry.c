#include "retry.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/webhook.h"

#define DELAY_MAX_MS    INT64_C(604800000)
#define GRID            10 /* due times are rounded up to a tenth of the delay: fewer wake-ups */
#define WORK_OFF_MAX_MS INT64_C(300000)
#define SECONDS_MAX     INT64_C(31536000)

static int64_t unit_ms(const char *unit)
{
    static const struct {
        const char *name;
        int64_t ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}};
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (strcmp(unit, units[i].name) == 0) {
            return units[i].ms;
        }
    }
    return 0;
}

static err_t parse_tier(const char *name, size_t len, struct retry_tier *ret)
{
    char text[16];
    char *unit = NULL;
    if (len == 0 || len >= sizeof text || name[0] < '1' || name[0] > '9') {
        return ERR_INVALID;
    }
    (void)snprintf(text, sizeof text, "%.*s", (int)len, name);
    long number = strtol(text, &unit, 10);
    int64_t ms = unit_ms(unit);
    if (ms == 0 || number > DELAY_MAX_MS / ms) {
        return ERR_INVALID;
    }
    ret->delay_ms = number * ms;
    (void)snprintf(ret->topic, sizeof ret->topic, WEBHOOK_RETRY_TOPIC "%s", text);
    return ERR_OK;
}

err_t retry_plan_parse(const char *text, int64_t give_up_ms, struct retry_plan *ret)
{
    struct retry_plan plan = {.give_up_ms = give_up_ms};
    for (const char *at = text;; at++) {
        size_t len = strcspn(at, ",");
        struct retry_tier *tier = &plan.tiers[plan.count];
        if (plan.count == RETRY_TIERS_MAX || parse_tier(at, len, tier) != ERR_OK ||
            (plan.count > 0 && tier[-1].delay_ms >= tier->delay_ms)) {
            return ERR_INVALID;
        }
        plan.count++;
        at += len;
        if (*at == '\0') {
            break;
        }
    }
    *ret = plan;
    return ERR_OK;
}

static int64_t round_up(int64_t ms, int64_t grid)
{
    return grid > 1 ? (ms + grid - 1) / grid * grid : ms;
}

struct retry_choice retry_choose(const struct retry_plan *plan, int32_t round, int64_t wait_ms,
                                 bool may_give_up, int64_t created_ms, int64_t now_ms)
{
    size_t tier = round > 1 ? (size_t)round - 1 : 0;
    if (tier >= plan->count) {
        tier = plan->count - 1;
    }
    while (tier + 1 < plan->count && plan->tiers[tier].delay_ms < wait_ms) {
        tier++;
    }
    int64_t delay_ms = plan->tiers[tier].delay_ms;
    int64_t due_ms = round_up(now_ms + delay_ms, delay_ms / GRID);
    return (struct retry_choice){.give_up = may_give_up && due_ms > created_ms + plan->give_up_ms,
                                 .tier = tier,
                                 .due_ms = due_ms};
}

int64_t retry_work_off_ms(size_t waiting, int64_t took_ms, int64_t at_once)
{
    int64_t ms = (int64_t)waiting * took_ms / at_once;
    return ms < WORK_OFF_MAX_MS ? ms : WORK_OFF_MAX_MS;
}

int64_t retry_longest_wait(const struct retry_tier *tier)
{
    return tier->delay_ms + tier->delay_ms / GRID;
}

err_t retry_after_parse(const char *value, int64_t now_ms, int64_t *ret_ms)
{
    size_t digits = strspn(value, "0123456789");
    if (digits > 0 && value[digits] == '\0') {
        long long seconds = digits < 12 ? strtoll(value, NULL, 10) : SECONDS_MAX;
        *ret_ms = (seconds < SECONDS_MAX ? seconds : SECONDS_MAX) * 1000;
        return ERR_OK;
    }
    time_t at = digits == 0 ? curl_getdate(value, NULL) : -1;
    if (at < 0) {
        return ERR_INVALID;
    }
    int64_t wait_ms = (int64_t)at * 1000 - now_ms;
    *ret_ms = wait_ms > 0 ? wait_ms : 0;
    return ERR_OK;
}

enum answer answer_of(long status)
{
    if (status >= 200 && status < 300) {
        return ANSWER_DELIVERED;
    }
    if (status == 410) {
        return ANSWER_GONE;
    }
    return status == 429 || status == 503 ? ANSWER_THROTTLED : ANSWER_FAILED;
}
