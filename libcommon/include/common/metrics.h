/*
 * Metrics in the Prometheus text format 0.0.4. Everything is registered at start with its fixed
 * labels, never by device, domain or endpoint, so that the number of series is known; afterwards
 * counting is one relaxed atomic operation from any thread. Registration happens before the second
 * thread starts or under the registry's own lock; handles live as long as the registry.
 */
#ifndef COMMON_METRICS_H
#define COMMON_METRICS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/cleanup.h"

struct metrics; /* a registry */

/* A counter or a gauge. */
struct metric {
    _Atomic int64_t value;
};

struct metric_label {
    const char *name; /* NULL ends a list */
    const char *value;
};
/* METRIC_LABELS({"method", "GET"}, {"code", "200"}); METRIC_NO_LABELS for none. Copied. */
#define METRIC_LABELS(...) ((const struct metric_label[]){__VA_ARGS__, {NULL, NULL}})
#define METRIC_NO_LABELS   ((const struct metric_label *)NULL)

struct metrics *metrics_new(void);
/* Accepts NULL. Nobody may count afterwards. */
void metrics_free(struct metrics *metrics);
CLEANUP_DEFINE(struct metrics *, metrics_free);

/*
 * Each returns the handle of a new series. A name may be registered many times with different
 * labels, always with the same type and, for people, the same help. A second registration of the
 * same name and labels, or a name that is not one, is a bug and aborts. Counters end in _total.
 */
struct metric *metrics_counter(struct metrics *metrics, const char *name, const char *help,
                               const struct metric_label *labels);
struct metric *metrics_gauge(struct metrics *metrics, const char *name, const char *help,
                             const struct metric_label *labels);
/* A gauge that is asked when scraped: `read` runs on the scraping thread and must not block. */
void metrics_gauge_read(struct metrics *metrics, const char *name, const char *help,
                        const struct metric_label *labels, double (*read)(void *arg), void *arg);

struct metric_histogram;
/* `bounds` are ascending upper limits, +Inf is added; copied; at most METRIC_BOUNDS_MAX. */
#define METRIC_BOUNDS_MAX 32
struct metric_histogram *metrics_histogram(struct metrics *metrics, const char *name,
                                           const char *help, const struct metric_label *labels,
                                           const double *bounds, size_t count);
/* Seconds from 1 ms to 10 s, for requests and transactions. */
extern const double metric_seconds[13];
#define METRIC_SECONDS metric_seconds, (sizeof metric_seconds / sizeof metric_seconds[0])

static inline void metric_add(struct metric *m, int64_t n)
{
    (void)atomic_fetch_add_explicit(&m->value, n, memory_order_relaxed);
}
static inline void metric_inc(struct metric *m)
{
    metric_add(m, 1);
}
static inline void metric_set(struct metric *m, int64_t value)
{
    atomic_store_explicit(&m->value, value, memory_order_relaxed);
}
static inline int64_t metric_get(struct metric *m)
{
    return atomic_load_explicit(&m->value, memory_order_relaxed);
}
/* Negative and not-a-number values count as 0. Sums are kept to the millionth. */
void metric_observe(struct metric_histogram *h, double value);

/* process_resident_memory_bytes, process_open_fds, process_start_time_seconds and
 * fleetseal_build_info{service,version}. */
void metrics_add_process(struct metrics *metrics, const char *service);

/* Appends the exposition. ERR_TOO_LARGE as buf_append. Any thread. */
err_t metrics_write(struct metrics *metrics, struct buf *to);
#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

#endif
