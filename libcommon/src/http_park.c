/*
 * Suspended requests. A ticket is answered exactly once: whoever moves its state away from WAITING
 * under the lock (a resume, or the timer for a deadline or a stop) answers, everybody else is late.
 * MHD_resume_connection is called with the lock held: when the lock is free and nothing is parked,
 * no thread is inside libmicrohttpd on behalf of a suspended request, which is what stopping the
 * daemons needs. The park is counted by the server and by every ticket, so that a ticket may
 * outlive the server.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "http_private.h"

/* How often connections are checked against their deadlines. */
#define REAP_INTERVAL_MS 100

enum ticket_state {
    TICKET_WAITING, /* in the heap; resume or timer moves it on */
    TICKET_WOKEN,   /* the timer makes the answer; out of the heap */
    TICKET_DONE,    /* answered; `req` is gone */
};

struct http_park {
    _Atomic size_t references;
    pthread_mutex_t lock; /* covers all below and the tickets' members */
    pthread_cond_t changed;
    struct http_ticket **heap; /* WAITING tickets by deadline */
    size_t heap_count;
    size_t heap_capacity;
    size_t parked; /* WAITING and WOKEN */
    bool closed;
    bool stop;
    struct http_server *server; /* of the timer thread */
    pthread_t timer;
};

struct http_ticket {
    _Atomic unsigned references; /* the request's and the holder's */
    struct http_park *park;      /* reference */
    enum ticket_state state;
    struct http_request *req;
    int64_t deadline_ms;
    size_t heap_index;
    http_wake_fn on_wake;
};

static void park_unref(struct http_park *park)
{
    if (atomic_fetch_sub(&park->references, 1) == 1) {
        assert(park->parked == 0);
        free(park->heap);
        (void)pthread_cond_destroy(&park->changed);
        (void)pthread_mutex_destroy(&park->lock);
        free(park);
    }
}

/* ---- the heap, with the lock held ---- */

static void heap_put(struct http_park *park, size_t index, struct http_ticket *ticket)
{
    park->heap[index] = ticket;
    ticket->heap_index = index;
}

static void heap_up(struct http_park *park, size_t index)
{
    struct http_ticket *ticket = park->heap[index];
    while (index > 0 && park->heap[(index - 1) / 2]->deadline_ms > ticket->deadline_ms) {
        heap_put(park, index, park->heap[(index - 1) / 2]);
        index = (index - 1) / 2;
    }
    heap_put(park, index, ticket);
}

static void heap_down(struct http_park *park, size_t index)
{
    struct http_ticket *ticket = park->heap[index];
    for (;;) {
        size_t child = index * 2 + 1;
        if (child >= park->heap_count) {
            break;
        }
        if (child + 1 < park->heap_count &&
            park->heap[child + 1]->deadline_ms < park->heap[child]->deadline_ms) {
            child++;
        }
        if (park->heap[child]->deadline_ms >= ticket->deadline_ms) {
            break;
        }
        heap_put(park, index, park->heap[child]);
        index = child;
    }
    heap_put(park, index, ticket);
}

static void heap_add(struct http_park *park, struct http_ticket *ticket)
{
    if (park->heap_count == park->heap_capacity) {
        park->heap_capacity = park->heap_capacity > 0 ? park->heap_capacity * 2 : 64;
        park->heap = xrealloc(park->heap, park->heap_capacity, sizeof(struct http_ticket *));
    }
    heap_put(park, park->heap_count++, ticket);
    heap_up(park, ticket->heap_index);
}

static void heap_remove(struct http_park *park, const struct http_ticket *ticket)
{
    const size_t index = ticket->heap_index;
    struct http_ticket *last = park->heap[--park->heap_count];
    if (last != ticket) {
        heap_put(park, index, last);
        heap_up(park, index);
        heap_down(park, last->heap_index);
    }
}

/* ---- tickets ---- */

void http_ticket_free(struct http_ticket *ticket)
{
    if (ticket != NULL && atomic_fetch_sub(&ticket->references, 1) == 1) {
        park_unref(ticket->park);
        free(ticket);
    }
}

struct http_ticket *http_suspend(struct http_request *req, uint32_t deadline_ms,
                                 http_wake_fn on_wake)
{
    struct http_park *park = req->server->park;
    assert(req->stage == HTTP_STAGE_HANDLER && req->response == NULL && req->ticket == NULL);
    struct http_ticket *ticket = xcalloc(1, sizeof *ticket);
    atomic_init(&ticket->references, 2);
    (void)atomic_fetch_add(&park->references, 1);
    ticket->park = park;
    ticket->req = req;
    ticket->on_wake = on_wake;
    ticket->deadline_ms = http_now_ms(req->server) + deadline_ms;
    req->ticket = ticket;
    MHD_suspend_connection(req->mhd);
    (void)pthread_mutex_lock(&park->lock);
    heap_add(park, ticket);
    park->parked++;
    metric_inc(req->server->stats.suspended);
    if (ticket->heap_index == 0 || park->closed) {
        (void)pthread_cond_broadcast(&park->changed);
    }
    (void)pthread_mutex_unlock(&park->lock);
    return ticket;
}

/* With the lock held: the answer is there, the event loop may go on. */
static void answer(struct http_ticket *ticket, struct http_response *response)
{
    struct http_park *park = ticket->park;
    struct http_request *req = TAKE(ticket->req);
    ticket->state = TICKET_DONE;
    req->response = response;
    metric_add(park->server->stats.suspended, -1);
    MHD_resume_connection(req->mhd);
    if (--park->parked == 0 && park->closed) {
        (void)pthread_cond_broadcast(&park->changed);
    }
}

err_t http_resume(struct http_ticket *ticket, struct http_response *response)
{
    CLEANUP(http_ticket_free) struct http_ticket *owned = ticket;
    CLEANUP(http_response_free) struct http_response *unused = response;
    struct http_park *park = owned->park;
    (void)pthread_mutex_lock(&park->lock);
    const bool first = owned->state == TICKET_WAITING;
    if (first) {
        heap_remove(park, owned);
        answer(owned, TAKE(unused));
    }
    (void)pthread_mutex_unlock(&park->lock);
    return first ? ERR_OK : ERR_STALE;
}

struct http_response *http_park_collect(struct http_request *req)
{
    struct http_park *park = req->server->park;
    (void)pthread_mutex_lock(&park->lock);
    struct http_response *response = TAKE(req->response);
    (void)pthread_mutex_unlock(&park->lock);
    return response;
}

/* ---- the timer thread ---- */

static struct http_response *default_answer(enum http_wake why)
{
    return http_response_fault(why == HTTP_WAKE_STOPPING ? ERR_STOPPING : ERR_TIMEOUT, NULL);
}

/* With the lock held, which is given up while the service makes its answer. */
static void wake(struct http_park *park, struct http_ticket *ticket, enum http_wake why)
{
    heap_remove(park, ticket);
    ticket->state = TICKET_WOKEN;
    /* The request's reference keeps the ticket: the request cannot end before it is resumed. */
    struct http_request *req = ticket->req;
    (void)pthread_mutex_unlock(&park->lock);
    struct http_response *response = ticket->on_wake != NULL
                                         ? ticket->on_wake(req, req->match.route->ctx, why)
                                         : default_answer(why);
    assert(response != NULL);
    (void)pthread_mutex_lock(&park->lock);
    answer(ticket, response);
}

/* Wakes what is due, everything once closed; with the lock held. */
static void wake_due(struct http_park *park)
{
    const int64_t now_ms = http_now_ms(park->server);
    while (park->heap_count > 0) {
        struct http_ticket *first = park->heap[0];
        if (first->deadline_ms <= now_ms) {
            wake(park, first, HTTP_WAKE_DEADLINE);
        } else if (park->closed) {
            wake(park, first, HTTP_WAKE_STOPPING);
        } else {
            return;
        }
    }
}

/* With the lock held: until something changes, the first ticket is due, or connections are. */
static void wait_for_work(struct http_park *park, int64_t reap_at_ms)
{
    int64_t until_ms = reap_at_ms;
    if (park->heap_count > 0 && park->heap[0]->deadline_ms < until_ms) {
        until_ms = park->heap[0]->deadline_ms;
    }
    const int64_t wait_ms = until_ms - http_now_ms(park->server);
    if (wait_ms <= 0) {
        return;
    }
    struct timespec at;
    (void)clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec += wait_ms / 1000;
    at.tv_nsec += wait_ms % 1000 * 1000000;
    if (at.tv_nsec >= 1000000000) {
        at.tv_sec++;
        at.tv_nsec -= 1000000000;
    }
    (void)pthread_cond_timedwait(&park->changed, &park->lock, &at);
}

static void *timer_main(void *arg)
{
    struct http_park *park = arg;
    int64_t reap_at_ms = http_now_ms(park->server) + REAP_INTERVAL_MS;
    (void)pthread_mutex_lock(&park->lock);
    while (!park->stop) {
        wake_due(park);
        if (http_now_ms(park->server) >= reap_at_ms) {
            (void)pthread_mutex_unlock(&park->lock);
            http_conn_reap(park->server, http_now_ms(park->server));
            if (park->server->tls != NULL && park->server->options.tls_refresh_ms > 0) {
                http_tls_refresh(park->server, http_now_ms(park->server));
            }
            (void)pthread_mutex_lock(&park->lock);
            reap_at_ms = http_now_ms(park->server) + REAP_INTERVAL_MS;
        } else {
            wait_for_work(park, reap_at_ms);
        }
    }
    (void)pthread_mutex_unlock(&park->lock);
    return NULL;
}

err_t http_park_start(struct http_server *server, struct fault *fault)
{
    struct http_park *park = xcalloc(1, sizeof *park);
    pthread_condattr_t monotonic;
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&park->lock, NULL);
    (void)pthread_cond_init(&park->changed, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    atomic_init(&park->references, 1);
    park->server = server;
    const int failed = pthread_create(&park->timer, NULL, timer_main, park);
    if (failed != 0) {
        park_unref(park);
        return fault_set(fault, ERR_UNAVAILABLE, "unavailable", "", "cannot start a thread: %s",
                         strerror(failed));
    }
    server->park = park;
    return ERR_OK;
}

void http_park_close(struct http_park *park)
{
    (void)pthread_mutex_lock(&park->lock);
    park->closed = true;
    (void)pthread_cond_broadcast(&park->changed);
    while (park->parked > 0) {
        (void)pthread_cond_wait(&park->changed, &park->lock);
    }
    (void)pthread_mutex_unlock(&park->lock);
}

void http_park_stop(struct http_park *park)
{
    (void)pthread_mutex_lock(&park->lock);
    park->stop = true;
    (void)pthread_cond_broadcast(&park->changed);
    (void)pthread_mutex_unlock(&park->lock);
    (void)pthread_join(park->timer, NULL);
}

void http_park_free(struct http_park *park)
{
    if (park != NULL) {
        park_unref(park);
    }
}
