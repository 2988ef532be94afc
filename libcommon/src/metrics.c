#include "common/metrics.h"

#include <assert.h>
#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum type { TYPE_COUNTER, TYPE_GAUGE, TYPE_HISTOGRAM };

struct metric_histogram {
    size_t count;
    double bounds[METRIC_BOUNDS_MAX];
    _Atomic uint64_t hits[METRIC_BOUNDS_MAX + 1]; /* the last is beyond every bound */
    _Atomic int64_t sum_millionths;
};

struct series {
    struct series *next;
    char *labels; /* `a="x",b="y"`, or "" */
    struct metric metric;
    double (*read)(void *arg);
    void *arg;
    struct metric_histogram *histogram;
};

/* All series of one name, in the order of registration. */
struct family {
    struct family *next;
    char *name;
    char *help;
    enum type type;
    struct series *first;
    struct series **last;
};

struct metrics {
    pthread_mutex_t lock; /* the lists; values are atomic */
    struct family *first;
    struct family **last;
};

const double metric_seconds[13] = {0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.1,
                                   0.25,  0.5,    1,     2.5,  5,    10};

struct metrics *metrics_new(void)
{
    struct metrics *m = xcalloc(1, sizeof *m);
    (void)pthread_mutex_init(&m->lock, NULL);
    m->last = &m->first;
    return m;
}

static void free_family(struct family *family)
{
    for (struct series *s = family->first, *next; s != NULL; s = next) {
        next = s->next;
        free(s->labels);
        free(s->histogram);
        free(s);
    }
    free(family->name);
    free(family->help);
    free(family);
}

void metrics_free(struct metrics *metrics)
{
    if (metrics == NULL) {
        return;
    }
    for (struct family *f = metrics->first, *next; f != NULL; f = next) {
        next = f->next;
        free_family(f);
    }
    (void)pthread_mutex_destroy(&metrics->lock);
    free(metrics);
}

static bool is_name(const char *name)
{
    bool digit_first = name[0] >= '0' && name[0] <= '9';
    size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
    return len > 0 && name[len] == 0 && !digit_first;
}

/* Escapes backslash, newline and, in label values, the quote. */
static void append_escaped(struct buf *to, const char *text, bool quote)
{
    for (; *text != 0; text++) {
        if (*text == '\n') {
            (void)buf_append_str(to, "\\n");
            continue;
        }
        if (*text == '\\' || (quote && *text == '"')) {
            (void)buf_append_byte(to, '\\');
        }
        (void)buf_append_byte(to, (uint8_t)*text);
    }
}

static char *format_labels(const struct metric_label *labels)
{
    struct buf text = BUF_INIT(4096);
    for (; labels != NULL && labels->name != NULL; labels++) {
        assert(is_name(labels->name));
        (void)buf_printf(&text, "%s%s=\"", text.len > 0 ? "," : "", labels->name);
        append_escaped(&text, labels->value, true);
        (void)buf_append_byte(&text, '"');
    }
    assert(buf_ok(&text));
    return buf_take(&text, NULL);
}

static struct family *find_family(struct metrics *m, const char *name, const char *help,
                                  enum type type)
{
    for (struct family *f = m->first; f != NULL; f = f->next) {
        if (strcmp(f->name, name) == 0) {
            assert(f->type == type);
            return f;
        }
    }
    struct family *f = xcalloc(1, sizeof *f);
    f->name = xstrdup(name);
    f->help = xstrdup(help);
    f->type = type;
    f->last = &f->first;
    *m->last = f;
    m->last = &f->next;
    return f;
}

/* Adds a finished series, so that a scrape never sees half of one. */
static void register_series(struct metrics *m, const char *name, const char *help, enum type type,
                            const struct metric_label *labels, struct series *series)
{
    assert(is_name(name));
    series->labels = format_labels(labels);
    (void)pthread_mutex_lock(&m->lock);
    struct family *family = find_family(m, name, help, type);
    for (const struct series *s = family->first; s != NULL; s = s->next) {
        assert(strcmp(s->labels, series->labels) != 0);
    }
    *family->last = series;
    family->last = &series->next;
    (void)pthread_mutex_unlock(&m->lock);
}

struct metric *metrics_counter(struct metrics *metrics, const char *name, const char *help,
                               const struct metric_label *labels)
{
    struct series *series = xcalloc(1, sizeof *series);
    register_series(metrics, name, help, TYPE_COUNTER, labels, series);
    return &series->metric;
}

struct metric *metrics_gauge(struct metrics *metrics, const char *name, const char *help,
                             const struct metric_label *labels)
{
    struct series *series = xcalloc(1, sizeof *series);
    register_series(metrics, name, help, TYPE_GAUGE, labels, series);
    return &series->metric;
}

void metrics_gauge_read(struct metrics *metrics, const char *name, const char *help,
                        const struct metric_label *labels, double (*read)(void *arg), void *arg)
{
    struct series *series = xcalloc(1, sizeof *series);
    series->read = read;
    series->arg = arg;
    register_series(metrics, name, help, TYPE_GAUGE, labels, series);
}

struct metric_histogram *metrics_histogram(struct metrics *metrics, const char *name,
                                           const char *help, const struct metric_label *labels,
                                           const double *bounds, size_t count)
{
    assert(count <= METRIC_BOUNDS_MAX);
    struct series *series = xcalloc(1, sizeof *series);
    struct metric_histogram *h = xcalloc(1, sizeof *h);
    h->count = count;
    for (size_t i = 0; i < count; i++) {
        assert(i == 0 || bounds[i] > bounds[i - 1]);
        h->bounds[i] = bounds[i];
    }
    series->histogram = h;
    register_series(metrics, name, help, TYPE_HISTOGRAM, labels, series);
    return h;
}

void metric_observe(struct metric_histogram *h, double value)
{
    if (!(value >= 0)) {
        value = 0;
    }
    size_t i = 0;
    while (i < h->count && value > h->bounds[i]) {
        i++;
    }
    (void)atomic_fetch_add_explicit(&h->hits[i], 1, memory_order_relaxed);
    double millionths = value * 1e6 < 9e18 ? value * 1e6 : 9e18;
    (void)atomic_fetch_add_explicit(&h->sum_millionths, (int64_t)(millionths + 0.5),
                                    memory_order_relaxed);
}

static void write_sample(struct buf *to, const char *name, const char *suffix, const char *labels,
                         const char *more)
{
    (void)buf_printf(to, "%s%s", name, suffix);
    if (labels[0] != 0 || more[0] != 0) {
        const char *comma = labels[0] != 0 && more[0] != 0 ? "," : "";
        (void)buf_printf(to, "{%s%s%s}", labels, comma, more);
    }
    (void)buf_append_byte(to, ' ');
}

static void write_histogram(struct buf *to, const char *name, const struct series *s)
{
    struct metric_histogram *h = s->histogram;
    uint64_t total = 0;
    for (size_t i = 0; i <= h->count; i++) {
        total += atomic_load_explicit(&h->hits[i], memory_order_relaxed);
        char bound[48] = "le=\"+Inf\"";
        if (i < h->count) {
            (void)snprintf(bound, sizeof bound, "le=\"%g\"", h->bounds[i]);
        }
        write_sample(to, name, "_bucket", s->labels, bound);
        (void)buf_printf(to, "%llu\n", (unsigned long long)total);
    }
    int64_t sum = atomic_load_explicit(&h->sum_millionths, memory_order_relaxed);
    write_sample(to, name, "_sum", s->labels, "");
    (void)buf_printf(to, "%.6f\n", (double)sum / 1e6);
    write_sample(to, name, "_count", s->labels, "");
    (void)buf_printf(to, "%llu\n", (unsigned long long)total);
}

static void write_series(struct buf *to, const char *name, struct series *s)
{
    if (s->histogram != NULL) {
        write_histogram(to, name, s);
        return;
    }
    write_sample(to, name, "", s->labels, "");
    if (s->read != NULL) {
        (void)buf_printf(to, "%.15g\n", s->read(s->arg));
    } else {
        (void)buf_printf(to, "%lld\n", (long long)metric_get(&s->metric));
    }
}

err_t metrics_write(struct metrics *metrics, struct buf *to)
{
    static const char *const types[] = {"counter", "gauge", "histogram"};
    (void)pthread_mutex_lock(&metrics->lock);
    for (const struct family *f = metrics->first; f != NULL; f = f->next) {
        (void)buf_printf(to, "# HELP %s ", f->name);
        append_escaped(to, f->help, false);
        (void)buf_printf(to, "\n# TYPE %s %s\n", f->name, types[f->type]);
        for (struct series *s = f->first; s != NULL; s = s->next) {
            write_series(to, f->name, s);
        }
    }
    (void)pthread_mutex_unlock(&metrics->lock);
    return buf_ok(to) ? ERR_OK : ERR_TOO_LARGE;
}

static double resident_bytes(void *arg)
{
    (void)arg;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file == NULL) {
        return 0;
    }
    char line[128] = "";
    const char *read = fgets(line, sizeof line, file);
    (void)fclose(file);
    const char *second = read != NULL ? strchr(line, ' ') : NULL;
    double pages = second != NULL ? (double)strtoull(second, NULL, 10) : 0;
    return pages * (double)sysconf(_SC_PAGESIZE);
}

static double open_fds(void *arg)
{
    (void)arg;
    DIR *dir = opendir("/proc/self/fd");
    if (dir == NULL) {
        return 0;
    }
    double count = -3; /* ".", ".." and the directory itself */
    while (readdir(dir) != NULL) {
        count++;
    }
    (void)closedir(dir);
    return count;
}

void metrics_add_process(struct metrics *metrics, const char *service)
{
    metrics_gauge_read(metrics, "process_resident_memory_bytes", "Resident memory.",
                       METRIC_NO_LABELS, resident_bytes, NULL);
    metrics_gauge_read(metrics, "process_open_fds", "Open file descriptors.", METRIC_NO_LABELS,
                       open_fds, NULL);
    metric_set(metrics_gauge(metrics, "process_start_time_seconds",
                             "Start of the process, seconds since 1970.", METRIC_NO_LABELS),
               (int64_t)time(NULL));
    metric_set(metrics_gauge(metrics, "fleetseal_build_info", "1, labelled with the version.",
                             METRIC_LABELS({"service", service}, {"version", FLEETSEAL_VERSION})),
               1);
}
