#include "loop.h"

#include <errno.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "probe.h"

#define EVENTS         256
#define RETRY_MS       1000 /* after a visit that failed */
#define FAILURES_SHOWN 10

static int64_t now_ms(void)
{
    return clock_mono_ms(&clock_system);
}

static int64_t now_us(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* ---- connections ---- */

static void close_conn(struct loop *l, struct sim *s)
{
    if (s->conn == NULL) {
        return;
    }
    SSL_SESSION *newest = l->options->no_resume ? NULL : device_conn_session(s->conn);
    if (newest != NULL) {
        SSL_SESSION_free(s->resume);
        s->resume = newest;
    }
    device_conn_free(s->conn); /* which takes the descriptor out of epoll as well */
    s->conn = NULL;
    s->registered_fd = -1;
    s->asking = false;
    s->counted = false;
}

/* One event, then silence until asked for again. */
static bool arm(struct loop *l, struct sim *s, uint32_t events)
{
    int fd = device_conn_fd(s->conn);
    struct epoll_event e = {.events = events | EPOLLONESHOT, .data.ptr = s};
    if (s->registered_fd == fd && epoll_ctl(l->epoll_fd, EPOLL_CTL_MOD, fd, &e) == 0) {
        return true;
    }
    s->registered_fd = fd;
    return epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, fd, &e) == 0;
}

/* ---- visits ---- */

static void enqueue(struct loop *l, struct sim *s)
{
    heap_remove(&l->heap, &s->timer);
    s->state = SIM_QUEUED;
    s->next = NULL;
    *(l->queue_last != NULL ? &l->queue_last->next : &l->queue_first) = s;
    l->queue_last = s;
}

static void rest(struct loop *l, struct sim *s, int64_t wait_ms)
{
    s->state = SIM_RESTING;
    heap_set(&l->heap, &s->timer, now_ms() + wait_ms);
}

static void finish(struct loop *l, struct sim *s)
{
    s->state = SIM_FINISHED;
    close_conn(l, s);
    heap_remove(&l->heap, &s->timer);
    l->finished++;
    tally_add(&l->tally->finished);
}

static void count_renewal(struct loop *l, struct sim *s)
{
    const struct device_outcome *o = &s->session.outcome;
    s->renewing = s->renewing || strcmp(o->kind, "renew") == 0;
    if (o->installed && s->renewing) {
        tally_add(&l->tally->renewals_confirmed);
        s->renewals++;
    }
    if (o->installed || s->device->state.stage != DEVICE_STAGE_CONFIRM) {
        s->renewing = false;
    }
}

static void count_outcome(struct loop *l, struct sim *s)
{
    const struct device_outcome *o = &s->session.outcome;
    (void)atomic_fetch_add_explicit(&l->tally->retries, o->retries, memory_order_relaxed);
    if (o->heartbeat) {
        tally_add(&l->tally->heartbeats);
    }
    if (o->err == ERR_BUSY) { /* too early for the server: nothing has failed */
        tally_add(&l->tally->too_early);
    } else if (o->err != ERR_OK) {
        tally_add(&l->tally->visits_failed);
        (void)snprintf(s->error, sizeof s->error, "%.*s", (int)sizeof s->error - 1,
                       o->fault.text[0] != 0 ? o->fault.text : err_name(o->err));
    } else {
        s->error[0] = 0;
        tally_latency(l->tally, now_us() - s->started_us);
    }
    count_renewal(l, s);
}

static bool has_certificate(const struct sim *s)
{
    const struct device_state *d = &s->device->state;
    return d->current != DEVICE_SLOT_NONE && d->stage != DEVICE_STAGE_CONFIRM;
}

/* Has it done what the phase asks? */
static bool done_bootstrap(struct loop *l, const struct sim *s)
{
    if (s->session.outcome.err != ERR_OK || device_needs_bootstrap(s->device)) {
        return false;
    }
    tally_add(&l->tally->bootstrapped);
    tally_add(has_certificate(s) ? &l->tally->installed : &l->tally->waiting);
    return true;
}

/* As long as the server or the flood interval says. */
static void rest_held(struct loop *l, struct sim *s)
{
    int64_t hold = 0;
    if (device_heartbeat_hold_ms(s->device, &hold) != ERR_OK || hold < 1) {
        hold = RETRY_MS;
    }
    rest(l, s, hold);
}

static void visit_done(struct loop *l, struct sim *s)
{
    const struct options *o = l->options;
    err_t err = s->session.outcome.err;
    bool failed = err != ERR_OK;
    int64_t away = s->session.outcome.stay_away_ms;
    count_outcome(l, s);
    l->active--;
    if (!o->keep_alive || (failed && err != ERR_BUSY)) {
        close_conn(l, s);
    }
    bool done = o->phase == PHASE_BOOTSTRAP ? done_bootstrap(l, s)
                                            : o->phase == PHASE_RENEW && s->renewals >= o->renewals;
    device_session_end(&s->session);
    if (done) {
        finish(l, s);
    } else if (err == ERR_BUSY) {
        rest_held(l, s);
    } else if (!failed && o->phase == PHASE_IDLE && o->interval_ms == 0) {
        enqueue(l, s);
    } else {
        int64_t least = failed ? RETRY_MS : 0;
        least = away > least ? away : least;
        rest(l, s, o->interval_ms > least ? o->interval_ms : least);
    }
}

/* True when the answer is to be treated as lost. */
static bool drop(struct loop *l, const struct sim *s)
{
    bool counts = s->session.exchange == DEVICE_PICKUP || s->session.exchange == DEVICE_CONFIRM;
    if (l->options->drop_every == 0 || !counts || s->probe != PROBE_NONE ||
        ++l->drops % (unsigned)l->options->drop_every != 0) {
        return false;
    }
    tally_add(&l->tally->answers_dropped);
    return true;
}

static void take_answer(struct loop *l, struct sim *s)
{
    const struct device_http_answer *answer = device_conn_answer(s->conn);
    s->asking = false;
    if (!s->counted) {
        bool resumed = device_conn_resumed(s->conn);
        tally_add(resumed ? &l->tally->handshakes_resumed : &l->tally->handshakes_full);
        s->counted = true;
    }
    if (drop(l, s)) {
        struct fault why;
        (void)fault_set(&why, ERR_UNAVAILABLE, "dropped", "", "the answer was dropped on purpose");
        device_session_failed(&s->session, &why, true);
        close_conn(l, s);
        return;
    }
    bool reusable = device_conn_reusable(s->conn);
    if (!probe_answer(l, s, &answer)) {
        device_session_answer(&s->session, answer);
    }
    if (!reusable) {
        close_conn(l, s);
    }
}

static void lose_conn(struct loop *l, struct sim *s, const struct fault *why)
{
    bool stale = s->conn != NULL && device_conn_was_stale(s->conn);
    device_session_failed(&s->session, why, stale);
    close_conn(l, s);
}

/* The exchange goes on. False: nothing more to do until an event or the deadline. */
static bool drive(struct loop *l, struct sim *s)
{
    enum device_io io = device_conn_drive(s->conn);
    if (io == DEVICE_IO_ANSWER) {
        take_answer(l, s);
        return true;
    }
    if (io == DEVICE_IO_FAILED) {
        struct fault why = *device_conn_fault(s->conn);
        lose_conn(l, s, &why);
        return true;
    }
    if (!arm(l, s, io == DEVICE_IO_READ ? EPOLLIN : EPOLLOUT)) {
        struct fault why;
        (void)fault_set(&why, ERR_INTERNAL, "epoll", "", "epoll: %s", strerror(errno));
        lose_conn(l, s, &why);
        return true;
    }
    heap_set(&l->heap, &s->timer, now_ms() + device_conn_wait_ms(s->conn));
    return false;
}

static void send_request(struct loop *l, struct sim *s, struct device_http_request *request)
{
    struct fault why = {.code = ""};
    err_t err = probe_before(l, s, request);
    if (err == ERR_OK && s->conn == NULL) {
        err = device_conn_open(l->server, s->device, s->resume, &s->conn, &why);
    }
    if (err == ERR_OK) {
        err = device_conn_send(s->conn, request);
    }
    if (err != ERR_OK) {
        lose_conn(l, s, &why);
        return;
    }
    s->asking = true;
}

/* Takes a visit as far as it goes without waiting. */
static void advance(struct loop *l, struct sim *s)
{
    struct device_http_request request;
    int64_t wait_ms = 0;
    for (;;) {
        if (s->asking) {
            if (!drive(l, s)) {
                return;
            }
            continue;
        }
        switch (device_session_step(&s->session, &request, &wait_ms)) {
        case DEVICE_STEP_SEND:
            send_request(l, s, &request);
            break;
        case DEVICE_STEP_WAIT:
            heap_set(&l->heap, &s->timer, now_ms() + wait_ms);
            return;
        case DEVICE_STEP_DONE:
            visit_done(l, s);
            return;
        }
    }
}

static void start_visit(struct loop *l, struct sim *s)
{
    struct fault why = {.code = ""};
    if (l->options->phase == PHASE_BOOTSTRAP && has_certificate(s) && done_bootstrap(l, s)) {
        finish(l, s); /* in an earlier run */
        return;
    }
    int64_t left = l->end_ms - now_ms();
    int64_t bound = left < DEVICE_VISIT_BOUND_MS ? left : DEVICE_VISIT_BOUND_MS;
    err_t err = device_session_begin(&s->session, s->device, bound, &why);
    if (err != ERR_OK) {
        rest_held(l, s);
        return;
    }
    s->state = SIM_VISITING;
    s->started_us = now_us();
    l->active++;
    advance(l, s);
}

/* ---- the loop ---- */

static void timer_rang(struct loop *l, struct sim *s)
{
    heap_remove(&l->heap, &s->timer);
    if (s->state == SIM_RESTING) {
        enqueue(l, s);
        return;
    }
    advance(l, s); /* which lets a connection notice that its time is over */
}

static int run_timers(struct loop *l)
{
    for (;;) {
        struct heap_item *first = heap_first(&l->heap);
        if (first == NULL) {
            return 100;
        }
        int64_t wait = first->at_ms - now_ms();
        if (wait > 0) {
            return wait < 100 ? (int)wait : 100;
        }
        timer_rang(l, (struct sim *)(void *)first); /* the item is the first member */
    }
}

/* No more visits than were waiting at the start: one that ends at once must not keep the loop. */
static void run_queue(struct loop *l)
{
    const struct sim *last = l->queue_last;
    while (l->queue_first != NULL && l->active < l->places) {
        struct sim *s = l->queue_first;
        l->queue_first = s->next;
        if (l->queue_first == NULL) {
            l->queue_last = NULL;
        }
        bool end = s == last;
        start_visit(l, s);
        if (end) {
            return;
        }
    }
}

void loop_run(struct loop *l)
{
    struct epoll_event events[EVENTS];
    while (l->finished < l->count && now_ms() < l->end_ms && !atomic_load(l->stop)) {
        int wait = run_timers(l);
        run_queue(l);
        bool more = l->queue_first != NULL && l->active < l->places;
        int n = epoll_wait(l->epoll_fd, events, EVENTS, more ? 0 : wait);
        for (int i = 0; i < n; i++) {
            struct sim *s = events[i].data.ptr;
            if (s->state == SIM_VISITING && s->asking) {
                advance(l, s);
            }
        }
    }
}

/* ---- start and end ---- */

static err_t open_sim(struct sim *s, const struct options *o, const struct fleet *fleet,
                      struct fault *fault)
{
    static const struct clock *const clock = &clock_system;
    const struct fleet_image *image = &fleet->images[s->number];
    struct storage *storage = storage_new_memory();
    struct device_options options = {
        .clock = clock,
        .rot_key = fleet->keys[s->number],
        .model = "simulated",
        .firmware = "1.0",
        .agent = "fleetseal-simulator",
        .flood_override_s = o->flood_s,
    };
    if (storage_import_memory(storage, buf_span(&image->storage)) != ERR_OK) {
        storage_free(storage);
        return fault_set(fault, ERR_CORRUPT, "state", "", "the state of device %zu is damaged",
                         s->number);
    }
    err_t err = device_open(storage, &options, &s->device, fault);
    if (err != ERR_OK) {
        return err;
    }
    bool last = (int64_t)s->number >= o->devices - o->last_count;
    const char *profile = last ? o->last_profile : o->profile;
    if (profile != NULL && s->device->profile[0] == 0) {
        char serial[DEVICE_SERIAL_SIZE];
        (void)snprintf(serial, sizeof serial, "SIM%09u", (unsigned)s->number);
        err = device_seal(s->device, profile, serial, fault);
    }
    const unsigned char *at = image->session.ptr;
    if (image->session.len > 0 && !o->no_resume) {
        s->resume = d2i_SSL_SESSION(NULL, &at, (long)image->session.len);
    }
    return err;
}

static err_t open_server(struct loop *l, struct fault *fault)
{
    CLEANUP_BUF struct buf ca = BUF_INIT((size_t)1024 * 1024);
    err_t err = fleet_read_file(l->options->server_ca, &ca, fault);
    if (err != ERR_OK) {
        return err;
    }
    struct device_server_options o = {.url = l->options->server, .trusted = buf_span(&ca)};
    return device_server_new(&o, &l->server, fault);
}

static void init_sim(struct sim *s, size_t number)
{
    s->number = number;
    s->registered_fd = -1;
    s->probe_body = BUF_INIT(DEVICE_REQUEST_MAX);
    s->first_answer.body = BUF_INIT(DEVICE_ANSWER_MAX);
}

err_t loop_init(struct loop *l, const struct options *o, struct fleet *fleet, size_t offset,
                size_t step, struct fault *fault)
{
    l->options = o;
    l->count = ((size_t)o->count - offset + step - 1) / step;
    l->sims = xcalloc(l->count, sizeof *l->sims);
    l->places = ((size_t)o->concurrency + step - 1) / step;
    l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    int64_t seconds = o->phase == PHASE_IDLE ? o->seconds : o->deadline_s;
    l->end_ms = now_ms() + seconds * 1000;
    if (l->epoll_fd < 0) {
        return fault_set(fault, ERR_INTERNAL, "epoll", "", "epoll: %s", strerror(errno));
    }
    err_t err = open_server(l, fault);
    for (size_t i = 0; err == ERR_OK && i < l->count; i++) {
        struct sim *s = &l->sims[i];
        init_sim(s, (size_t)o->first + offset + i * step);
        err = open_sim(s, o, fleet, fault);
        enqueue(l, s);
    }
    return err;
}

static void tell(const struct loop *l, const struct sim *s, unsigned *told)
{
    if (*told == FAILURES_SHOWN) {
        return;
    }
    ++*told;
    const char *why = s->error[0] != 0           ? s->error
                      : atomic_load(l->stop)     ? "stopped"
                      : s->state == SIM_VISITING ? "under way when the time was over"
                                                 : "no work came in time";
    (void)fprintf(stderr, "device %zu %s: %s\n", s->number, s->device->uid, why);
}

static err_t keep(const struct loop *l, struct sim *s, struct fleet_image *image)
{
    buf_deinit(&image->storage);
    buf_deinit(&image->session);
    image->storage = BUF_INIT_SECRET((size_t)256 * 1024);
    image->session = BUF_INIT_SECRET((size_t)64 * 1024);
    unsigned char *der = NULL;
    int len = s->resume != NULL && !l->options->no_resume ? i2d_SSL_SESSION(s->resume, &der) : 0;
    if (len > 0) {
        (void)buf_append(&image->session, der, (size_t)len);
        OPENSSL_clear_free(der, (size_t)len);
    }
    return storage_export_memory(s->device->storage, &image->storage);
}

err_t loop_finish(struct loop *l, struct fleet *fleet, unsigned *told)
{
    err_t err = ERR_OK;
    for (size_t i = 0; i < l->count; i++) {
        struct sim *s = &l->sims[i];
        if (s->state == SIM_VISITING) {
            device_session_end(&s->session);
        }
        close_conn(l, s);
        bool failed = l->options->phase == PHASE_IDLE ? s->error[0] != 0 : s->state != SIM_FINISHED;
        if (failed) {
            tally_add(&l->tally->failures);
            tell(l, s, told);
        }
        err_t kept = keep(l, s, &fleet->images[s->number]);
        err = err == ERR_OK ? kept : err;
    }
    return err;
}

void loop_deinit(struct loop *l)
{
    for (size_t i = 0; l->sims != NULL && i < l->count; i++) {
        struct sim *s = &l->sims[i];
        device_conn_free(s->conn);
        SSL_SESSION_free(s->resume);
        device_free(s->device);
        buf_deinit(&s->probe_body);
        device_http_answer_deinit(&s->first_answer);
    }
    free(l->sims);
    heap_deinit(&l->heap);
    device_server_free(l->server);
    if (l->epoll_fd >= 0) {
        (void)close(l->epoll_fd);
    }
}
