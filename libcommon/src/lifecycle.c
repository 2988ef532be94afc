#include "common/lifecycle.h"

#include <assert.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"

struct step {
    const char *name;
    int64_t limit_ms;
    err_t (*stop)(void *arg, int64_t limit_ms);
    void *arg;
};

struct lifecycle {
    int signal_fd;
    int stop_fd; /* readable after lifecycle_stop */
    int free_fd; /* readable when the watchdog shall end */
    int64_t stop_ms;
    _Atomic int reason; /* err_t of lifecycle_stop; ERR_OK for none */
    atomic_bool stopping;
    struct step steps[LIFECYCLE_STEPS_MAX];
    size_t step_count;
    pthread_t watchdog;
    bool watched;
    bool unfinished; /* a step of the stop ran out of time */
};

static void close_fd(int fd)
{
    if (fd >= 0) {
        (void)close(fd);
    }
}

static void raise_event(int fd)
{
    uint64_t one = 1;
    ssize_t n = write(fd, &one, sizeof one);
    (void)n; /* the counter is never near its maximum */
}

err_t lifecycle_new(int64_t stop_ms, struct lifecycle **ret)
{
    CLEANUP(lifecycle_free) struct lifecycle *l = xcalloc(1, sizeof *l);
    l->signal_fd = l->stop_fd = l->free_fd = -1;
    l->stop_ms = stop_ms;
    (void)signal(SIGPIPE, SIG_IGN);
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
    l->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    l->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    l->free_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (l->signal_fd < 0 || l->stop_fd < 0 || l->free_fd < 0) {
        return ERR_UNAVAILABLE;
    }
    *ret = TAKE(l);
    return ERR_OK;
}

void lifecycle_free(struct lifecycle *lifecycle)
{
    if (lifecycle == NULL) {
        return;
    }
    if (lifecycle->watched) {
        raise_event(lifecycle->free_fd);
        (void)pthread_join(lifecycle->watchdog, NULL);
    }
    close_fd(lifecycle->signal_fd);
    close_fd(lifecycle->stop_fd);
    close_fd(lifecycle->free_fd);
    free(lifecycle);
}

void lifecycle_on_stop(struct lifecycle *lifecycle, const char *name, int64_t limit_ms,
                       err_t (*stop)(void *arg, int64_t limit_ms), void *arg)
{
    assert(lifecycle->step_count < LIFECYCLE_STEPS_MAX);
    lifecycle->steps[lifecycle->step_count++] = (struct step){name, limit_ms, stop, arg};
}

/* The number of the signal that waits, 0 for none. */
static int take_signal(const struct lifecycle *l)
{
    struct signalfd_siginfo info;
    ssize_t n = read(l->signal_fd, &info, sizeof info);
    return n == (ssize_t)sizeof info ? (int)info.ssi_signo : 0;
}

/* Waits for a signal or the other descriptor; the signal's number, 0 for the descriptor, -1 when
 * time is up. */
static int wait_signal(const struct lifecycle *l, int other, int64_t timeout_ms)
{
    int64_t end = clock_mono_ms(&clock_system) + timeout_ms;
    for (;;) {
        int64_t left = timeout_ms < 0 ? -1 : end - clock_mono_ms(&clock_system);
        if (timeout_ms >= 0 && left <= 0) {
            return -1;
        }
        struct pollfd fds[2] = {{.fd = l->signal_fd, .events = POLLIN},
                                {.fd = other, .events = POLLIN}};
        if (poll(fds, 2, (int)left) < 0) {
            continue; /* EINTR by a debugger */
        }
        if (fds[0].revents != 0) {
            int number = take_signal(l);
            if (number != 0) {
                return number;
            }
        }
        if (fds[1].revents != 0) {
            return 0;
        }
    }
}

static void *watch(void *arg)
{
    struct lifecycle *l = arg;
    int number = wait_signal(l, l->free_fd, l->stop_ms);
    if (number > 0) {
        log_warn(NULL, "stopped_at_once", LOG_INT("signal", number));
        _exit(128 + number);
    }
    if (number < 0) {
        log_fatal(NULL, "stop_too_slow", LOG_INT("limit_ms", l->stop_ms));
        _exit(err_exit_status(ERR_INTERNAL));
    }
    return NULL;
}

/* False: it may still be running. */
static bool run_step(const struct step *step)
{
    int64_t start = clock_mono_ms(&clock_system);
    err_t e = step->stop(step->arg, step->limit_ms);
    int64_t took = clock_mono_ms(&clock_system) - start;
    if (e != ERR_OK || took > step->limit_ms) {
        log_warn(NULL, "stop_step_incomplete", LOG_STR("step", step->name), LOG_ERR("error", e),
                 LOG_INT("took_ms", took), LOG_INT("limit_ms", step->limit_ms));
    } else {
        log_debug("lifecycle", NULL, "stop_step", LOG_STR("step", step->name),
                  LOG_INT("took_ms", took));
    }
    return e != ERR_TIMEOUT;
}

int lifecycle_run(struct lifecycle *lifecycle)
{
    int number = wait_signal(lifecycle, lifecycle->stop_fd, -1);
    atomic_store(&lifecycle->stopping, true);
    err_t reason = (err_t)atomic_load(&lifecycle->reason);
    log_info(NULL, "stopping", LOG_INT("signal", number), LOG_ERR("reason", reason));
    if (pthread_create(&lifecycle->watchdog, NULL, watch, lifecycle) == 0) {
        lifecycle->watched = true;
    }
    for (size_t i = 0; i < lifecycle->step_count; i++) {
        lifecycle->unfinished |= !run_step(&lifecycle->steps[i]);
    }
    return err_exit_status(reason);
}

void lifecycle_stop(struct lifecycle *lifecycle, err_t reason)
{
    int none = ERR_OK;
    (void)atomic_compare_exchange_strong(&lifecycle->reason, &none, (int)reason);
    atomic_store(&lifecycle->stopping, true);
    raise_event(lifecycle->stop_fd);
}

bool lifecycle_unfinished(const struct lifecycle *lifecycle)
{
    return lifecycle->unfinished;
}

bool lifecycle_stopping(const struct lifecycle *lifecycle)
{
    return atomic_load(&lifecycle->stopping);
}
