#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "app.h"
#include "common/id.h"
#include "common/log.h"

#define FAILURE_FIRST_MS INT64_C(30000)
#define FAILURE_MAX_MS   INT64_C(3600000)
#define LOOK_AGAIN_MS    INT64_C(3600000) /* the wall clock may have been set meanwhile */
#define LOOK_OFTEN_MS    INT64_C(60000)   /* ... and has to be */
#define SPREAD_MAX_MS    INT64_C(600000)

static int64_t share(int64_t ms, uint32_t random)
{
    return (int64_t)((uint64_t)ms * random >> 32);
}

/* Half of it up to all of it. */
static int64_t spread_out(int64_t ms, uint32_t random)
{
    return ms / 2 + share(ms / 2, random);
}

int64_t daemon_wait_ms(const struct device_state *state, const struct daemon_due *due,
                       int64_t now_ms, uint32_t random)
{
    int64_t wait = 0;
    if (due->failures > 0) {
        wait = FAILURE_FIRST_MS << (due->failures < 8 ? due->failures - 1 : 7);
        wait = wait < FAILURE_MAX_MS ? wait : FAILURE_MAX_MS;
        wait = spread_out(wait, random);
    } else if (due->urgent) {
        /* Whatever the server's answers make of the device, they must not make it call without a
         * pause. */
        wait = due->visited ? spread_out(FAILURE_FIRST_MS, random) : 0;
    } else {
        int64_t interval = state->heartbeat_interval_s * 1000;
        int64_t spread = interval / 20 < SPREAD_MAX_MS ? interval / 20 : SPREAD_MAX_MS;
        wait = state->next_heartbeat_ms - now_ms;
        /* A clock that was stepped back must not put it off for ever. */
        wait = wait < interval ? wait : interval;
        wait = wait > 0 ? wait + share(spread, random) : 0;
    }
    if (!due->urgent && wait < due->hold_ms) {
        wait = due->hold_ms;
    }
    return wait > due->away_ms ? wait : due->away_ms;
}

int64_t daemon_look_again_ms(const struct device_state *state, int64_t now_ms)
{
    bool before_last = now_ms < state->heartbeat_sent_ms ||
                       now_ms < state->next_heartbeat_ms - state->heartbeat_interval_s * 1000;
    return before_last ? LOOK_OFTEN_MS : LOOK_AGAIN_MS;
}

/* 1: a heartbeat is wanted now; 0: the time is over; -1: told to stop. */
static int rest(const struct app *a, int64_t ms)
{
    struct pollfd fds[2] = {{.fd = a->stop_fd, .events = POLLIN},
                            {.fd = a->nudge_fd, .events = POLLIN}};
    int64_t most = daemon_look_again_ms(&a->device->state, clock_now_ms(&clock_system));
    int n = poll(fds, 2, (int)(ms < most ? ms : most));
    if (n > 0 && fds[0].revents != 0) {
        return -1;
    }
    if (n > 0 && fds[1].revents != 0) {
        struct signalfd_siginfo info;
        ssize_t got = read(a->nudge_fd, &info, sizeof info); /* one is enough */
        return got == (ssize_t)sizeof info ? 1 : 0;
    }
    return 0;
}

static void tell(const struct app *a, err_t err, const struct device_outcome *o,
                 const struct fault *fault)
{
    struct log_context context = {.device = a->device->uid};
    const struct device_state *s = &a->device->state;
    if (err != ERR_OK) {
        log_warn(&context, "visit_failed", LOG_ERR("error", err), LOG_STR("why", fault->text));
        return;
    }
    log_info(&context, o->installed ? "certificate_installed" : "visited",
             LOG_STR("state", device_standing_name(s->standing)), LOG_STR("work", o->kind),
             LOG_STR("serial", device_current_serial(a->device)),
             LOG_INT("retries", (int64_t)o->retries));
}

static bool is_urgent(const struct device *d)
{
    return device_needs_bootstrap(d) || d->state.stage == DEVICE_STAGE_CONFIRM;
}

/* What the visits so far have left behind. */
struct past {
    bool visited;
    unsigned failures;          /* in a row */
    int64_t away_until_mono_ms; /* as the server asked */
};

static int64_t next_wait(struct app *a, const struct past *past)
{
    struct daemon_due due = {.away_ms = past->away_until_mono_ms - clock_mono_ms(&clock_system),
                             .urgent = is_urgent(a->device),
                             .visited = past->visited,
                             .failures = past->failures};
    uint32_t random = 0;
    random_bytes(&random, sizeof random);
    if (device_heartbeat_hold_ms(a->device, &due.hold_ms) != ERR_OK) {
        due.hold_ms = FAILURE_FIRST_MS; /* a full disk; tried again then */
    }
    return daemon_wait_ms(&a->device->state, &due, clock_now_ms(&clock_system), random);
}

err_t daemon_run(struct app *a, struct fault *fault)
{
    struct past past = {.visited = false};
    int64_t wait = next_wait(a, &past);
    log_info(&(struct log_context){.device = a->device->uid}, "agent_started",
             LOG_STR("version", FLEETSEAL_VERSION), LOG_INT("first_visit_ms", wait));
    for (;;) {
        int64_t start = clock_mono_ms(&clock_system);
        int woken = rest(a, wait);
        if (woken < 0) {
            return ERR_OK;
        }
        wait -= clock_mono_ms(&clock_system) - start;
        if (woken == 0 && wait > 0) {
            int64_t fresh = next_wait(a, &past);
            wait = fresh < wait ? fresh : wait;
            continue;
        }
        struct device_outcome outcome = {.err = ERR_OK};
        err_t err = app_visit(a, &outcome, fault);
        if (err == ERR_STOPPING) {
            return ERR_OK;
        }
        tell(a, err, &outcome, fault);
        past.visited = true;
        /* An early heartbeat was refused: nothing has failed. */
        past.failures = err == ERR_OK || err == ERR_BUSY ? 0 : past.failures + 1;
        past.away_until_mono_ms = clock_mono_ms(&clock_system) + outcome.stay_away_ms;
        wait = next_wait(a, &past);
    }
}
