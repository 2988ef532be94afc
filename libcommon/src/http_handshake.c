/*
 * Handshakes that wait for their client. libmicrohttpd 0.9.75 takes a connection whose handshake
 * found nothing to read for readable still, and asks again at once and for ever: one client that
 * stops after its first message keeps an event loop busy. Here reading for GnuTLS is our own: with
 * nothing to read before the handshake is over, the connection is suspended, and resumed by one
 * thread for all when its socket has something, an end of file included. The reaper's shutdown is
 * one, so deadlines hold.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "http_private.h"

#define EVENTS 64

struct http_handshakes {
    int epoll;
    int wakeup; /* eventfd, ends the thread */
    pthread_t thread;
    pthread_mutex_t lock;      /* covers all below, and the members of connections named for it */
    struct http_conn *waiting; /* suspended, in no order */
    bool closed;
};

/* With the lock held. */
static void resume(struct http_handshakes *h, struct http_conn *conn)
{
    if (conn->wait_prev != NULL) {
        conn->wait_prev->wait_next = conn->wait_next;
    } else {
        h->waiting = conn->wait_next;
    }
    if (conn->wait_next != NULL) {
        conn->wait_next->wait_prev = conn->wait_prev;
    }
    conn->wait_prev = conn->wait_next = NULL;
    conn->waits = false;
    MHD_resume_connection(conn->mhd);
}

/* On the connection's own event loop. A connection that cannot be watched stays with
 * libmicrohttpd. */
static void suspend(struct http_handshakes *h, struct http_conn *conn)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLONESHOT, .data.ptr = conn};
    (void)pthread_mutex_lock(&h->lock);
    if (!h->closed && !conn->waits) {
        const int how = conn->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
        /* Armed with the lock held: the thread finds the connection suspended. */
        if (epoll_ctl(h->epoll, how, conn->fd, &event) == 0) {
            conn->watched = conn->waits = true;
            conn->wait_next = h->waiting;
            if (h->waiting != NULL) {
                h->waiting->wait_prev = conn;
            }
            h->waiting = conn;
            MHD_suspend_connection(conn->mhd);
        }
    }
    (void)pthread_mutex_unlock(&h->lock);
}

/* GnuTLS reads from the socket. */
static ssize_t pull(gnutls_transport_ptr_t ptr, void *to, size_t size)
{
    struct http_conn *conn = ptr;
    const ssize_t got = recv(conn->fd, to, size, 0);
    if (got < 0 && errno == EAGAIN && !conn->handshaken) {
        suspend(conn->server->handshakes, conn);
        errno = EAGAIN;
    }
    return got;
}

void http_handshakes_watch(struct http_conn *conn, gnutls_session_t session)
{
    gnutls_transport_ptr_t to = NULL;
    gnutls_transport_ptr_t from = NULL;
    gnutls_transport_get_ptr2(session, &from, &to);
    gnutls_transport_set_ptr2(session, conn, to);
    gnutls_transport_set_pull_function(session, pull);
}

static void *thread_main(void *arg)
{
    struct http_handshakes *h = arg;
    struct epoll_event events[EVENTS];
    for (;;) {
        const int n = epoll_wait(h->epoll, events, EVENTS, -1);
        (void)pthread_mutex_lock(&h->lock);
        for (int i = 0; i < n; i++) {
            struct http_conn *conn = events[i].data.ptr;
            if (conn == NULL) {
                (void)pthread_mutex_unlock(&h->lock);
                return NULL;
            }
            /* One event for each arming, and a suspended connection cannot end: it is there
             * unless closing has resumed it, after which nothing is looked at. */
            if (!h->closed) {
                resume(h, conn);
            }
        }
        (void)pthread_mutex_unlock(&h->lock);
    }
}

static err_t start(struct http_handshakes *h, struct fault *fault)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    int failed = 0;
    h->epoll = epoll_create1(EPOLL_CLOEXEC);
    h->wakeup = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (h->epoll < 0 || h->wakeup < 0 ||
        epoll_ctl(h->epoll, EPOLL_CTL_ADD, h->wakeup, &event) != 0) {
        failed = errno;
    } else {
        failed = pthread_create(&h->thread, NULL, thread_main, h);
    }
    return failed == 0 ? ERR_OK
                       : fault_set(fault, ERR_UNAVAILABLE, "unavailable", "",
                                   "cannot start a thread: %s", strerror(failed));
}

static void release(struct http_handshakes *h)
{
    if (h->wakeup >= 0) {
        (void)close(h->wakeup);
    }
    if (h->epoll >= 0) {
        (void)close(h->epoll);
    }
    (void)pthread_mutex_destroy(&h->lock);
    free(h);
}

err_t http_handshakes_start(struct http_handshakes **ret, struct fault *fault)
{
    struct http_handshakes *h = xcalloc(1, sizeof *h);
    h->epoll = h->wakeup = -1;
    (void)pthread_mutex_init(&h->lock, NULL);
    const err_t e = start(h, fault);
    if (e != ERR_OK) {
        release(h);
        return e;
    }
    *ret = h;
    return ERR_OK;
}

void http_handshakes_close(struct http_handshakes *h)
{
    if (h == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&h->lock);
    h->closed = true;
    while (h->waiting != NULL) {
        resume(h, h->waiting);
    }
    (void)pthread_mutex_unlock(&h->lock);
}

void http_handshakes_free(struct http_handshakes *h)
{
    if (h == NULL) {
        return;
    }
    const uint64_t one = 1;
    const ssize_t written = write(h->wakeup, &one, sizeof one);
    assert(written == (ssize_t)sizeof one);
    (void)written;
    (void)pthread_join(h->thread, NULL);
    release(h);
}
