/*
 * bench-load: HTTPS requests from many keep-alive connections, or each over a new one.
 *
 *   bench-load --port P [--seconds S] [--connections N] [--threads T]
 *              [--rate R]                       open loop, per second; else as fast as it goes
 *              [--reconnect full|resumed]       a new TLS connection for each request
 *              [--path PATH --bearer-file F --body TEXT]   default: heartbeats of bench-seed's
 * devices
 *
 * With --rate the time of an answer counts from when its request was due, sent or not. The first
 * fifth of the run warms up. Prints one JSON object.
 */
#include <arpa/inet.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>

#include "keys.h"
#include "load.h"

#define EVENTS      256
#define THREADS_MAX 16
#define SAMPLES_MAX 4000000
#define BEARER_MAX  1024
#define WARM_SHARE  0.2

struct options {
    struct load_plan plan;
    int connections, threads;
    double seconds, rate;
    bool reconnect;
};

struct worker {
    const struct options *options;
    pthread_t thread;
    int epoll_fd;
    struct load_conn *conns;
    int count;
    struct load_conn **idle; /* open loop: connections without a request */
    int idle_count;
    double start_us, warm_us, end_us, next_us;
    float *samples; /* ms */
    size_t sample_count, sample_capacity;
    uint64_t answers, good, failures, resumed;
    int bad_status; /* the last that was not 2xx */
};

static double now_us(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void note(struct worker *w, const struct load_conn *c, double now)
{
    if (now < w->warm_us) {
        return;
    }
    w->answers++;
    w->resumed += c->resumed;
    if (c->status / 100 == 2) {
        w->good++;
    } else {
        w->bad_status = c->status;
    }
    if (w->sample_count == w->sample_capacity && w->sample_capacity < SAMPLES_MAX) {
        w->sample_capacity = w->sample_capacity ? 2 * w->sample_capacity : 4096;
        w->samples = xrealloc(w->samples, w->sample_capacity, sizeof *w->samples);
    }
    if (w->sample_count < w->sample_capacity) {
        w->samples[w->sample_count++] = (float)((now - c->due_us) / 1e3);
    }
}

static void watch(struct worker *w, struct load_conn *c, enum load_io io, bool fresh)
{
    struct epoll_event e = {.events = (io == LOAD_READ ? EPOLLIN : EPOLLOUT) | EPOLLONESHOT,
                            .data.ptr = c};
    bench_demand(epoll_ctl(w->epoll_fd, fresh ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, c->fd, &e) == 0,
                 "epoll");
}

/* A new connection whose request waits for the handshake. */
static void reopen(struct worker *w, struct load_conn *c)
{
    load_conn_ask(c);
    bench_demand(load_conn_open(c), "connect");
    watch(w, c, LOAD_WRITE, true);
}

static void drive(struct worker *w, struct load_conn *c);

static void ask(struct worker *w, struct load_conn *c, double due_us)
{
    c->due_us = due_us;
    if (w->options->reconnect || c->fd < 0) {
        reopen(w, c);
    } else {
        load_conn_ask(c);
        drive(w, c);
    }
}

static void drive(struct worker *w, struct load_conn *c)
{
    enum load_io io = load_conn_drive(c);
    if (io == LOAD_READ || io == LOAD_WRITE) {
        watch(w, c, io, false);
        return;
    }
    double now = now_us();
    if (io == LOAD_ANSWER) {
        note(w, c, now);
    } else {
        w->failures++;
        load_conn_close(c);
    }
    w->idle[w->idle_count++] = c;
}

/* Gives idle connections their next request when one is due. */
static int dispatch(struct worker *w)
{
    double rate = w->options->rate / w->options->threads;
    int budget = w->idle_count; /* one that fails at once must not keep us here */
    while (w->idle_count > 0 && budget-- > 0) {
        double now = now_us();
        if (rate > 0 && w->next_us > now) {
            double wait_ms = (w->next_us - now) / 1e3;
            return wait_ms < 1 ? 1 : (int)wait_ms;
        }
        double due = rate > 0 ? w->next_us : now;
        w->next_us += rate > 0 ? 1e6 / rate : 0;
        ask(w, w->idle[--w->idle_count], due);
    }
    return w->idle_count > 0 ? 0 : 100;
}

static void *run(void *arg)
{
    struct worker *w = arg;
    struct epoll_event events[EVENTS];
    while (now_us() < w->end_us) {
        int wait = dispatch(w);
        int n = epoll_wait(w->epoll_fd, events, EVENTS, wait);
        for (int i = 0; i < n; i++) {
            drive(w, events[i].data.ptr);
        }
    }
    return NULL;
}

static void prepare(struct worker *w, const struct options *o, int index, double start_us)
{
    w->options = o;
    w->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    w->count = o->connections / o->threads;
    w->conns = xcalloc((size_t)w->count, sizeof *w->conns);
    w->idle = xcalloc((size_t)w->count, sizeof *w->idle);
    for (int i = 0; i < w->count; i++) {
        load_conn_init(&w->conns[i], &o->plan, (uint32_t)(index + i * o->threads),
                       o->plan.body == NULL);
        w->idle[w->idle_count++] = &w->conns[i];
    }
    w->start_us = start_us;
}

static int by_value(const void *a, const void *b)
{
    float x = *(const float *)a;
    float y = *(const float *)b;
    return (x > y) - (x < y);
}

static void report(struct worker *workers, const struct options *o)
{
    struct worker sum = {0};
    size_t total = 0;
    for (int i = 0; i < o->threads; i++) {
        total += workers[i].sample_count;
    }
    CLEANUP_FREE float *all = xcalloc(total + 1, sizeof *all);
    for (int i = 0; i < o->threads; i++) {
        const struct worker *w = &workers[i];
        if (w->sample_count > 0) {
            memcpy(all + sum.sample_count, w->samples, w->sample_count * sizeof *all);
        }
        sum.sample_count += w->sample_count;
        sum.answers += w->answers;
        sum.good += w->good;
        sum.failures += w->failures;
        sum.resumed += w->resumed;
        sum.bad_status = w->bad_status != 0 ? w->bad_status : sum.bad_status;
    }
    qsort(all, total, sizeof *all, by_value);
    double seconds = (workers[0].end_us - workers[0].warm_us) / 1e6;
    (void)printf(
        "{\"answers\":%llu,\"good\":%llu,\"failures\":%llu,\"bad_status\":%d,"
        "\"resumed\":%llu,\"seconds\":%.2f,\"rate\":%.1f,\"p50_ms\":%.2f,\"p99_ms\":%.2f}\n",
        (unsigned long long)sum.answers, (unsigned long long)sum.good,
        (unsigned long long)sum.failures, sum.bad_status, (unsigned long long)sum.resumed, seconds,
        (double)sum.good / seconds, (double)all[total / 2], (double)all[total * 99 / 100]);
}

static const char *read_bearer(const char *path)
{
    static char text[BEARER_MAX];
    FILE *file = fopen(path, "re");
    bench_demand(file != NULL && fgets(text, sizeof text, file) != NULL, path);
    (void)fclose(file);
    text[strcspn(text, "\r\n")] = 0;
    return text;
}

static void take_option(struct options *o, int c, const char *text)
{
    switch (c) {
    case 'p':
        o->plan.address.sin_port = htons((uint16_t)strtoul(text, NULL, 10));
        break;
    case 's':
        o->seconds = strtod(text, NULL);
        break;
    case 'c':
        o->connections = (int)strtol(text, NULL, 10);
        break;
    case 't':
        o->threads = (int)strtol(text, NULL, 10);
        break;
    case 'r':
        o->rate = strtod(text, NULL);
        break;
    case 'n':
        o->reconnect = true;
        o->plan.resume = strcmp(text, "resumed") == 0;
        break;
    case 'a':
        o->plan.path = text;
        break;
    case 'f':
        o->plan.bearer = read_bearer(text);
        break;
    case 'b':
        o->plan.body = text;
        break;
    default:
        bench_demand(false, "reading the options");
    }
}

int main(int argc, char **argv)
{
    static const struct option names[] = {{"port", required_argument, NULL, 'p'},
                                          {"seconds", required_argument, NULL, 's'},
                                          {"connections", required_argument, NULL, 'c'},
                                          {"threads", required_argument, NULL, 't'},
                                          {"rate", required_argument, NULL, 'r'},
                                          {"reconnect", required_argument, NULL, 'n'},
                                          {"path", required_argument, NULL, 'a'},
                                          {"bearer-file", required_argument, NULL, 'f'},
                                          {"body", required_argument, NULL, 'b'},
                                          {NULL, 0, NULL, 0}};
    static struct worker workers[THREADS_MAX];
    struct options o = {.connections = 64, .threads = 1, .seconds = 5};
    o.plan.address =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    o.plan.path = "/v1/device/heartbeat";
    int c;
    while ((c = getopt_long(argc, argv, "", names, NULL)) != -1) {
        take_option(&o, c, optarg);
    }
    bench_demand(o.plan.address.sin_port != 0 && o.threads > 0 && o.threads <= THREADS_MAX &&
                     o.connections >= o.threads,
                 "reading --port, --threads, --connections");
    (void)signal(SIGPIPE, SIG_IGN);
    o.plan.tls = load_tls_new();
    for (int i = 0; i < o.threads; i++) {
        prepare(&workers[i], &o, i, 0);
    }
    double start = now_us();
    for (int i = 0; i < o.threads; i++) {
        struct worker *w = &workers[i];
        w->start_us = w->next_us = start;
        w->warm_us = start + o.seconds * WARM_SHARE * 1e6;
        w->end_us = start + o.seconds * 1e6;
        bench_demand(pthread_create(&w->thread, NULL, run, w) == 0, "thread");
    }
    for (int i = 0; i < o.threads; i++) {
        (void)pthread_join(workers[i].thread, NULL);
    }
    report(workers, &o);
    for (int i = 0; i < o.threads; i++) {
        for (int k = 0; k < workers[i].count; k++) {
            load_conn_deinit(&workers[i].conns[k]);
        }
        free(workers[i].conns);
        free(workers[i].idle);
        free(workers[i].samples);
    }
    SSL_CTX_free(o.plan.tls);
    return 0;
}
