/*
 * How a process lives and dies. main() creates the lifecycle before any other thread, starts its
 * parts, registers how each is stopped, announces itself ready and calls lifecycle_run, which waits
 * for SIGTERM or SIGINT and then stops the parts in the order they were registered: first
 * not-ready, then input, work in hand, output, connections. A second signal ends the process at
 * once; so does the watchdog when stopping takes longer than promised, until lifecycle_free. Losing
 * that race is safe: what is not committed is done again.
 */
#ifndef COMMON_LIFECYCLE_H
#define COMMON_LIFECYCLE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/cleanup.h"
#include "common/err.h"

struct lifecycle;

/* From the first signal to the end of the process. */
#define LIFECYCLE_STOP_MS   10000
#define LIFECYCLE_STEPS_MAX 32

/*
 * Blocks SIGTERM and SIGINT in this thread and all it creates, and ignores SIGPIPE. Main thread,
 * before the second thread. `stop_ms` is the watchdog's limit (LIFECYCLE_STOP_MS in programs).
 * ERR_UNAVAILABLE: no descriptors left.
 */
MUST_USE err_t lifecycle_new(int64_t stop_ms, struct lifecycle **ret);

/* Ends the watchdog; the last call of main. Accepts NULL. */
void lifecycle_free(struct lifecycle *lifecycle);
CLEANUP_DEFINE(struct lifecycle *, lifecycle_free);

/*
 * One step of the orderly stop. `stop` runs on the main thread and should return within `limit_ms`,
 * which it is told; what it returns and an overrun are logged, and the next step follows in any
 * case. `name` is a constant.
 */
void lifecycle_on_stop(struct lifecycle *lifecycle, const char *name, int64_t limit_ms,
                       err_t (*stop)(void *arg, int64_t limit_ms), void *arg);

/* Waits for the first signal or lifecycle_stop, runs the steps and returns the exit status: 0 after
 * a signal, else what err_exit_status makes of the reason. Main thread, once. */
int lifecycle_run(struct lifecycle *lifecycle);
/* Behind lifecycle_run: a step said ERR_TIMEOUT. A thread of its part may still run, so nothing may
 * be freed: the process ends by _exit. */
bool lifecycle_unfinished(const struct lifecycle *lifecycle);

/* Asks for the orderly stop from inside, for a reason that is beyond repair; the first reason
 * counts. Any thread, also before lifecycle_run. */
void lifecycle_stop(struct lifecycle *lifecycle, err_t reason);

/* True from the first signal or lifecycle_stop on. Any thread. */
bool lifecycle_stopping(const struct lifecycle *lifecycle);

#endif
