#include <stdio.h>

#include "common/log.h"
#include "sender_internal.h"

#define AGAIN_MS  500 /* between two tries to read the registry */
#define TEXT_SIZE 128

/* ---- what is in hand ---- */

void sender_hold(struct sender *s, struct delivery *d)
{
    d->all_next = s->all;
    if (s->all != NULL) {
        s->all->all_previous = d;
    }
    s->all = d;
    s->holders += d->endpoint->in_hand.count == 0;
    room_add(&s->in_hand, d->len);
    room_add(&d->endpoint->in_hand, d->len);
}

void sender_let_go(struct sender *s, struct delivery *d)
{
    if (d->all_previous != NULL) {
        d->all_previous->all_next = d->all_next;
    } else {
        s->all = d->all_next;
    }
    if (d->all_next != NULL) {
        d->all_next->all_previous = d->all_previous;
    }
    room_remove(&s->in_hand, d->len);
    room_remove(&d->endpoint->in_hand, d->len);
    s->holders -= d->endpoint->in_hand.count == 0;
}

/* Puts a held delivery down. One of a partition that was taken away is its new owner's now, and
 * would go on twice: only its success is told. */
static void put_down(struct sender *s, struct delivery *d, const struct settlement *how)
{
    if (!group_holds(s->group, d->ticket) && how->outcome != WEBHOOK_DELIVERED) {
        sender_let_go(s, d);
        delivery_free(d);
        return;
    }
    sender_metrics_count(&s->metrics, how);
    sender_let_go(s, d);
    delivery_settle(&s->settle, d, how);
}

/* ---- putting down without an attempt ---- */

/* A round of the delivery all the same. */
static void defer(struct sender *s, struct delivery *d, bool may_give_up, const char *error)
{
    int64_t now_ms = clock_now_ms(&clock_system);
    struct settlement how = {.deferred = true,
                             .error = error != NULL ? error : "the endpoint did not work",
                             .failing_since = d->endpoint->failing_since,
                             .now_ms = now_ms};
    int64_t asked_ms = breaker_asked_ms(&d->endpoint->breaker, clock_mono_ms(&clock_system));
    how.choice = retry_choose(&s->plan, d->attempts + d->deferred + 1, asked_ms, may_give_up,
                              d->created_at, now_ms);
    how.outcome = how.choice.give_up ? WEBHOOK_GIVEN_UP : WEBHOOK_FAILED;
    how.told = how.choice.give_up || error != NULL;
    how.retry = !how.choice.give_up;
    put_down(s, d, &how);
}

void sender_overflow(struct sender *s, struct delivery *d)
{
    const struct endpoint *e = d->endpoint;
    int64_t now_ms = clock_now_ms(&clock_system);
    int64_t asked_ms = breaker_asked_ms(&e->breaker, clock_mono_ms(&clock_system));
    int64_t busy_ms = retry_work_off_ms(e->waiting, e->took_ms, s->options.config->per_endpoint);
    struct settlement how = {.full = true,
                             .retry = true,
                             .outcome = WEBHOOK_FAILED,
                             .failing_since = e->failing_since,
                             .now_ms = now_ms};
    how.choice = retry_choose(&s->plan, 1, asked_ms > busy_ms ? asked_ms : busy_ms, false,
                              d->created_at, now_ms);
    put_down(s, d, &how);
}

/* Found after a long stand-still it has its chances first. */
static void leave_alone(struct sender *s, struct delivery *d)
{
    defer(s, d, d->attempts > 0 || d->deferred >= (int32_t)s->plan.count, NULL);
}

void sender_give_back(struct sender *s, struct delivery *d)
{
    int64_t now_ms = clock_now_ms(&clock_system);
    const struct settlement how = {.retry = true,
                                   .outcome = WEBHOOK_FAILED,
                                   .choice = {.due_ms = now_ms + s->plan.tiers[0].delay_ms},
                                   .failing_since = d->endpoint->failing_since,
                                   .now_ms = now_ms};
    put_down(s, d, &how);
}

static void cancel(struct sender *s, struct delivery *d)
{
    const struct settlement how = {.told = true,
                                   .outcome = WEBHOOK_CANCELLED,
                                   .error = d->endpoint->why_not,
                                   .now_ms = clock_now_ms(&clock_system)};
    put_down(s, d, &how);
}

static void put_down_waiting(struct sender *s, struct endpoint *e,
                             void (*how)(struct sender *s, struct delivery *d))
{
    for (struct delivery *d; (d = endpoint_pop(e)) != NULL;) {
        how(s, d);
    }
}

/* ---- after an attempt ---- */

static void note_health(struct sender *s, struct endpoint *e, enum answer answer, int64_t wait_ms,
                        int64_t now_ms)
{
    const struct config *c = s->options.config;
    const struct breaker_limits limits = {(unsigned)c->breaker_failures, c->breaker_open_ms};
    if (answer == ANSWER_DELIVERED) {
        breaker_success(&e->breaker);
        e->failing_since = 0;
        e->last_success_ms = now_ms;
        return;
    }
    int64_t mono_ms = clock_mono_ms(&clock_system);
    breaker_failure(&e->breaker, &limits, mono_ms);
    if (answer == ANSWER_THROTTLED && wait_ms > 0) {
        /* meant for all deliveries, not just for this one */
        int64_t longest_ms = s->plan.tiers[s->plan.count - 1].delay_ms;
        breaker_hold(&e->breaker, wait_ms < longest_ms ? wait_ms : longest_ms, mono_ms);
    }
    if (e->failing_since == 0) {
        e->failing_since = now_ms;
    }
}

/* Long enough, and not only because nobody was there to try. */
static bool failed_too_long(const struct sender *s, const struct endpoint *e, int64_t now_ms)
{
    const struct config *c = s->options.config;
    return now_ms - e->failing_since >= c->disable_after_ms &&
           e->breaker.failures >= (unsigned)c->breaker_failures;
}

static void stop_endpoint(struct endpoint *e, const char *reason)
{
    const struct log_context context = {.domain = e->domain};
    log_warn(&context, "webhook_disabled", LOG_STR("webhook", e->id), LOG_STR("reason", reason));
    e->stopped_ms = clock_mono_ms(&clock_system);
}

static void settle_failure(struct sender *s, struct delivery *d, const struct settlement *attempt,
                           bool throttled)
{
    struct endpoint *e = d->endpoint;
    struct settlement how = *attempt;
    char reason[TEXT_SIZE];
    char since[TIME_TEXT_SIZE];
    how.failing_since = e->failing_since;
    how.choice =
        retry_choose(&s->plan, d->attempts + d->deferred + 1,
                     throttled ? how.result->retry_after_ms : 0, true, d->created_at, how.now_ms);
    how.outcome = how.choice.give_up ? WEBHOOK_GIVEN_UP : WEBHOOK_FAILED;
    how.retry = !how.choice.give_up;
    if (failed_too_long(s, e, how.now_ms)) {
        time_format(e->failing_since, since);
        (void)snprintf(reason, sizeof reason, "every delivery has failed since %s", since);
        how.outcome = WEBHOOK_GIVEN_UP;
        how.retry = false;
        how.disable = reason;
        stop_endpoint(e, reason);
    }
    put_down(s, d, &how);
}

void sender_finished(void *ctx, void *token, const struct transfer_result *result)
{
    struct sender *s = ctx;
    struct delivery *d = token;
    struct endpoint *e = d->endpoint;
    struct settlement how = {
        .attempted = true, .told = true, .result = result, .now_ms = clock_now_ms(&clock_system)};
    enum answer answer = answer_of(result->status);
    e->in_flight--;
    s->in_flight--;
    e->took_ms = e->took_ms > 0 ? (3 * e->took_ms + result->duration_ms) / 4 : result->duration_ms;
    sender_metrics_observe(&s->metrics, (double)result->duration_ms / 1000);
    note_health(s, e, answer, result->retry_after_ms, how.now_ms);
    if (answer == ANSWER_DELIVERED) {
        how.outcome = WEBHOOK_DELIVERED;
        put_down(s, d, &how);
    } else if (answer == ANSWER_GONE) {
        how.outcome = WEBHOOK_GONE;
        how.disable = "the endpoint answered 410 Gone";
        stop_endpoint(e, how.disable);
        put_down(s, d, &how);
    } else {
        settle_failure(s, d, &how, answer == ANSWER_THROTTLED);
    }
}

/* ---- sending ---- */

static err_t start(struct sender *s, struct endpoint *e, struct delivery *d)
{
    char id[UUID_TEXT_SIZE];
    int64_t now_s = clock_now_ms(&clock_system) / 1000;
    CLEANUP_BUF struct buf body = BUF_INIT(WEBHOOK_DELIVERY_MAX);
    CLEANUP_BUF struct buf signature = BUF_INIT(SIGNATURE_HEADER_MAX);
    err_t err = delivery_body(d, id, &body);
    if (err == ERR_OK) {
        err = signature_header(&e->secrets, id, now_s, buf_span(&body), &signature);
    }
    if (err != ERR_OK) {
        return err;
    }
    const struct transfer_request request = {.url = e->url,
                                             .id = id,
                                             .timestamp_s = now_s,
                                             .signature = buf_cstr(&signature),
                                             .body = &body,
                                             .token = d};
    return transfers_start(s->transfers, &request);
}

static void send_one(struct sender *s, struct endpoint *e)
{
    struct delivery *d = endpoint_pop(e);
    if (!group_holds(s->group, d->ticket)) {
        breaker_unknown(&e->breaker);
        sender_let_go(s, d);
        delivery_free(d);
        return;
    }
    err_t err = e->secrets.count > 0 ? start(s, e, d) : ERR_ABSENT;
    if (err != ERR_OK) {
        log_limited(LOG_LEVEL_ERROR, NULL, "delivery_not_started", LOG_STR("webhook", e->id),
                    LOG_ERR("error", err));
        breaker_unknown(&e->breaker);
        defer(s, d, true, "it cannot be signed: the secret does not open");
        return;
    }
    e->in_flight++;
    s->in_flight++;
}

/* Sends as much as its state allows. False: nothing more now. */
static bool serve_once(struct sender *s, struct endpoint *e, int64_t now_ms)
{
    if (!e->active) {
        put_down_waiting(s, e, cancel);
        return false;
    }
    switch (breaker_gate(&e->breaker, now_ms)) {
    case BREAKER_PASS:
        send_one(s, e);
        return true;
    case BREAKER_PROBE:
        breaker_probe(&e->breaker);
        send_one(s, e);
        return false;
    case BREAKER_WAIT:
        return false;
    case BREAKER_REFUSE:
        put_down_waiting(s, e, leave_alone);
        return false;
    }
    return false;
}

void sender_serve(void *ctx, struct endpoint *e)
{
    struct sender *s = ctx;
    const struct config *c = s->options.config;
    int64_t now_ms = clock_mono_ms(&clock_system);
    bool more = now_ms >= s->registry_after_ms;
    while (more && e->waiting > 0 && e->in_flight < (unsigned)c->per_endpoint &&
           s->in_flight < (size_t)c->in_flight) {
        err_t err = endpoints_load(s->endpoints, e, now_ms);
        if (err != ERR_OK) {
            s->registry_after_ms = now_ms + AGAIN_MS;
            log_limited(LOG_LEVEL_WARN, NULL, "registry_not_read", LOG_ERR("error", err),
                        LOG_STR("redis", redis_error_text(s->options.redis)));
            return;
        }
        more = serve_once(s, e, now_ms);
    }
}
