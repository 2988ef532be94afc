/* What an answer means, and what follows from it: the second half of session.h. */
#include <stdio.h>

#include "common/id.h"
#include "device/wire.h"
#include "device_internal.h"
#include "session_internal.h"

#define BACKOFF_FIRST_MS INT64_C(1000)
#define BACKOFF_MAX_MS   INT64_C(60000)
#define LATER_MS         INT64_C(2000) /* a 202 without Retry-After */
#define AT_ONCE_MAX      3             /* repetitions without any wait, as a server may ask */
#define SKIPS_MAX        8

/* Half of it up to all of it, so that a fleet which failed together does not come back together. */
static int64_t jittered(int64_t ms)
{
    uint32_t random = 0;
    random_bytes(&random, sizeof random);
    return ms / 2 + (int64_t)(random % ((uint64_t)ms / 2 + 1));
}

static int64_t backoff(const struct device_session *s)
{
    int64_t ms = BACKOFF_FIRST_MS << (s->failures < 6 ? s->failures : 6);
    return jittered(ms < BACKOFF_MAX_MS ? ms : BACKOFF_MAX_MS);
}

/* Sends the same again in `wait_ms`, or ends the visit when its bound would pass. */
static void again(struct device_session *s, int64_t wait_ms, err_t err, const struct fault *why)
{
    s->outcome.retries++;
    s->ready_mono_ms = session_mono_ms(s) + wait_ms;
    if (s->ready_mono_ms > s->deadline_mono_ms) {
        session_finish(s, err, why);
    }
}

void device_session_failed(struct device_session *s, const struct fault *why, bool again_at_once)
{
    int64_t wait = again_at_once ? 0 : backoff(s);
    s->failures += again_at_once ? 0 : 1;
    again(s, wait, ERR_UNAVAILABLE, why);
}

/* 202, 429 and 5xx: the server was not in time, or wants to be left alone for a while. */
static void put_off(struct device_session *s, const struct device_http_answer *a,
                    const struct fault *why)
{
    bool told = a->retry_after_s >= 0;
    int64_t wait = told ? a->retry_after_s * 1000 : a->status == 202 ? LATER_MS : backoff(s);
    if (wait == 0 && s->failures >= AT_ONCE_MAX) {
        wait = backoff(s);
    }
    s->failures++;
    if (a->status == 429 && s->exchange == DEVICE_HEARTBEAT) {
        err_t err = told ? device_heartbeat_defer(s->device, wait) : ERR_OK;
        if (err != ERR_OK) {
            session_finish_storage(s, err);
        } else {
            session_finish(s, ERR_BUSY, why);
        }
        return;
    }
    again(s, wait, a->status == 202 ? ERR_TIMEOUT : ERR_UNAVAILABLE, why);
    if (s->done && told) {
        s->outcome.stay_away_ms = wait;
    }
    if (s->done && told && s->exchange == DEVICE_HEARTBEAT &&
        device_heartbeat_defer(s->device, wait) != ERR_OK) { /* come when told, not later */
        session_finish_storage(s, ERR_INTERNAL);
    }
}

/* The server has seen a higher number: this device's state is older than what it once sent. */
static void skip_ahead(struct device_session *s, const struct fault *why)
{
    if (s->skips == SKIPS_MAX) {
        session_finish(s, ERR_STALE, why);
        return;
    }
    err_t err = device_skip_sequence(s->device, UINT64_C(1000) << (2 * s->skips++));
    if (err != ERR_OK) {
        session_finish_storage(s, err);
        return;
    }
    s->outcome.retries++;
    session_open(s, s->exchange);
}

static void commit_then_open(struct device_session *s, const struct device_state *next,
                             enum device_exchange exchange)
{
    err_t err = device_commit(s->device, next);
    if (err != ERR_OK) {
        session_finish_storage(s, err);
    } else {
        s->outcome.retries++;
        session_open(s, exchange);
    }
}

static void forget_bootstrap(struct device_session *s)
{
    struct device_state next = s->device->state;
    next.standing = DEVICE_STANDING_NEW;
    commit_then_open(s, &next, DEVICE_BOOTSTRAP);
}

/* The server cannot read its own token, so its key was lost: what a device without one means is the
 * server's to judge. */
static void forget_token(struct device_session *s)
{
    struct device_state next = s->device->state;
    next.token[0] = 0;
    commit_then_open(s, &next, DEVICE_HEARTBEAT);
}

/* A verdict against the request. Only an answer of the service's own shape may undo an install: a
 * proxy's error page may not. */
static void refused(struct device_session *s, const struct device_http_answer *a,
                    const struct fault *why)
{
    err_t err = ERR_OK;
    bool typed = why->code[0] != 0;
    if (strcmp(why->code, "stale_sequence") == 0) {
        skip_ahead(s, why);
        return;
    }
    if (strcmp(why->code, "bad_token") == 0 && s->exchange == DEVICE_HEARTBEAT &&
        s->device->state.token[0] != 0) {
        forget_token(s);
        return;
    }
    if (s->exchange == DEVICE_CONFIRM && typed && a->status != 401) {
        char reason[DEVICE_REASON_MAX + 1];
        (void)snprintf(reason, sizeof reason, "confirmation refused: %s", why->code);
        err = device_return(s->device, reason);
    }
    if (err != ERR_OK) {
        session_finish_storage(s, err);
    } else if (strcmp(why->code, "not_bootstrapped") == 0 && s->exchange != DEVICE_BOOTSTRAP) {
        forget_bootstrap(s);
    } else {
        session_finish(s, a->status == 409 ? ERR_CONFLICT : ERR_FORBIDDEN, why);
    }
}

static void apply_settings(struct device_session *s, struct device_state *next,
                           const struct device_settings *settings)
{
    if (settings->heartbeat_interval_s > 0) {
        next->heartbeat_interval_s = settings->heartbeat_interval_s;
    }
    if (settings->flood_interval_s >= 0) {
        next->flood_interval_s = settings->flood_interval_s;
    }
    if (settings->token[0] != 0) {
        memcpy(next->token, settings->token, sizeof next->token);
    }
    int64_t wait_s =
        settings->next_heartbeat_s > 0 ? settings->next_heartbeat_s : next->heartbeat_interval_s;
    next->next_heartbeat_ms = session_wall_ms(s) + wait_s * 1000;
}

static void install(struct device_session *s, const struct device_delivery *delivery)
{
    struct device_grant grant = device_delivery_grant(delivery);
    struct fault why = {.code = ""};
    err_t err = device_install(s->device, &grant, &why);
    if (err != ERR_OK) {
        session_finish(s, err, &why);
    } else {
        session_open(s, DEVICE_CONFIRM);
    }
}

/* Kept only when it changed: it hardly ever does. */
static err_t keep_server_ca(struct device *d, struct span pem)
{
    CLEANUP_BUF struct buf kept = BUF_INIT(DEVICE_SERVER_CA_MAX);
    if (pem.len == 0 || (storage_read(d->storage, DEVICE_SERVER_CA_FILE, &kept) == ERR_OK &&
                         span_eq(buf_span(&kept), pem))) {
        return ERR_OK;
    }
    return storage_replace(d->storage, DEVICE_SERVER_CA_FILE, pem);
}

/* With a certificate the device is no longer new when that is installed, or found unusable: until
 * then the next visit bootstraps again. Without one its key is free for work that may come. */
static void apply_bootstrap(struct device_session *s, struct device_state *next,
                            const struct device_bootstrap_answer *a)
{
    next->standing = a->delivered ? DEVICE_STANDING_NEW : a->standing;
    memcpy(next->standing_reason, a->reason, sizeof next->standing_reason);
    memcpy(next->domain, a->domain, sizeof next->domain);
    memcpy(next->profile_reported, s->device->profile, sizeof next->profile_reported);
    if (next->stage == DEVICE_STAGE_KEY) {
        (void)snprintf(next->operation, sizeof next->operation, "%s",
                       a->delivered ? a->delivery.operation : "");
    }
    apply_settings(s, next, &a->settings);
}

static void bootstrap_answered(struct device_session *s, struct span body)
{
    CLEANUP(device_bootstrap_answer_deinit) struct device_bootstrap_answer a = {.delivered = false};
    struct fault why = {.code = ""};
    struct device *d = s->device;
    err_t err = device_read_bootstrap(body, &a, &why);
    if (err != ERR_OK) {
        session_finish(s, err, &why);
        return;
    }
    struct device_state next = d->state;
    apply_bootstrap(s, &next, &a);
    err = keep_server_ca(d, buf_span(&a.server_ca));
    if (err == ERR_OK) {
        err = device_commit(d, &next);
    }
    if (err != ERR_OK) {
        session_finish_storage(s, err);
        return;
    }
    s->outcome.bootstrapped = true;
    s->outcome.first = a.delivered;
    if (a.delivered) {
        install(s, &a.delivery);
    } else {
        session_finish(s, ERR_OK, NULL);
    }
}

/* What cannot be done is reported by the next heartbeat. */
static void decline(struct device_session *s, const char *reason)
{
    err_t err = device_note_failure(s->device, s->operation, reason);
    struct fault why;
    (void)fault_set(&why, ERR_UNSUPPORTED, "cannot_do", "", "%s", reason);
    if (err != ERR_OK) {
        session_finish_storage(s, err);
    } else {
        session_finish(s, ERR_UNSUPPORTED, &why);
    }
}

static bool kind_known(const char *kind)
{
    static const char *const kinds[] = {"issue", "renew", "update", "transfer"};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strcmp(kind, kinds[i]) == 0) {
            return true;
        }
    }
    return false;
}

static void take_work(struct device_session *s, const struct device_heartbeat_answer *a)
{
    memcpy(s->operation, a->operation, sizeof s->operation);
    memcpy(s->outcome.kind, a->kind, sizeof s->outcome.kind);
    s->new_key = a->new_key;
    if (!kind_known(a->kind)) {
        decline(s, "unsupported: this agent does not know that kind of work");
    } else if (!a->new_key && device_current_key(s->device) == NULL) {
        decline(s, "no_key: there is no key to renew a certificate for");
    } else {
        session_open(s, DEVICE_PICKUP);
    }
}

static void heartbeat_answered(struct device_session *s, struct span body)
{
    struct device_heartbeat_answer a;
    struct fault why = {.code = ""};
    err_t err = device_read_heartbeat(body, &a, &why);
    if (err != ERR_OK) {
        session_finish(s, err, &why);
        return;
    }
    struct device_state next = s->device->state;
    apply_settings(s, &next, &a.settings);
    next.failed_operation[0] = 0; /* reported with this heartbeat */
    next.failed_reason[0] = 0;
    err = device_commit(s->device, &next);
    if (err != ERR_OK) {
        session_finish_storage(s, err);
        return;
    }
    s->outcome.heartbeat = true;
    if (a.work) {
        take_work(s, &a);
    } else {
        session_finish(s, ERR_OK, NULL);
    }
}

static void pickup_answered(struct device_session *s, struct span body)
{
    CLEANUP(device_delivery_deinit) struct device_delivery delivery = {.chain_count = 0};
    struct fault why = {.code = ""};
    err_t err = device_read_pickup(body, &delivery, &why);
    if (err == ERR_OK && strcmp(delivery.operation, s->operation) != 0) {
        err = fault_set(&why, ERR_INVALID, "bad_answer", "operation",
                        "the certificate is for another operation than was asked for");
    }
    if (err != ERR_OK) {
        session_finish(s, err, &why);
    } else {
        install(s, &delivery);
    }
}

static void confirm_answered(struct device_session *s, struct span body)
{
    struct device *d = s->device;
    struct fault why = {.code = ""};
    err_t err = device_read_confirm(body, d->state.operation, device_current_serial(d), &why);
    if (err != ERR_OK) {
        session_finish(s, err, &why);
        return;
    }
    err = device_confirmed(d);
    if (err != ERR_OK) {
        session_finish_storage(s, err);
        return;
    }
    s->outcome.installed = true;
    if (s->opening && !device_needs_bootstrap(d) && session_check_hold(d, NULL) == ERR_OK) {
        s->opening = false;
        session_open(s, DEVICE_HEARTBEAT);
    } else {
        session_finish(s, ERR_OK, NULL);
    }
}

void device_session_answer(struct device_session *s, const struct device_http_answer *answer)
{
    static void (*const handlers[DEVICE_EXCHANGE_COUNT])(struct device_session *, struct span) = {
        [DEVICE_BOOTSTRAP] = bootstrap_answered,
        [DEVICE_HEARTBEAT] = heartbeat_answered,
        [DEVICE_PICKUP] = pickup_answered,
        [DEVICE_CONFIRM] = confirm_answered,
    };
    struct fault why = {.code = ""};
    if (answer->status == 200) {
        handlers[s->exchange](s, buf_span(&answer->body));
        return;
    }
    device_read_error(answer->status, buf_span(&answer->body), &why);
    if (answer->status == 202 || answer->status == 408 || answer->status == 429 ||
        answer->status >= 500) {
        put_off(s, answer, &why);
    } else {
        refused(s, answer, &why);
    }
}
