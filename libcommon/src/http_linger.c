/*
 * A client that is refused while it sends its body must see the answer. Closing a socket with
 * unread bytes resets the connection and may take the answer with it; so what the client still
 * sends is read and dropped here, without TLS, for a bounded time and size, on one thread for all.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "http_private.h"

#define LINGER_SOCKETS 64 /* more at once are simply closed */
#define LINGER_MS      3000
#define LINGER_BYTES   ((uint64_t)32 * 1024 * 1024)

struct lingering {
    int fd;
    int64_t until_ms;
    uint64_t bytes;
};

struct http_linger {
    pthread_mutex_t lock; /* covers added, added_count, stop */
    int added[LINGER_SOCKETS];
    size_t added_count;
    bool stop;
    int wakeup; /* eventfd */
    pthread_t thread;
    /* the thread's own */
    struct lingering sockets[LINGER_SOCKETS];
    size_t count;
};

static int64_t now_ms(void)
{
    return http_now_us() / 1000;
}

/* Takes over new sockets; false when it is time to end. */
static bool take_added(struct http_linger *linger)
{
    uint64_t ignored = 0;
    (void)!read(linger->wakeup, &ignored, sizeof ignored);
    (void)pthread_mutex_lock(&linger->lock);
    for (size_t i = 0; i < linger->added_count; i++) {
        if (linger->count == LINGER_SOCKETS) {
            (void)close(linger->added[i]);
        } else {
            linger->sockets[linger->count++] =
                (struct lingering){.fd = linger->added[i], .until_ms = now_ms() + LINGER_MS};
        }
    }
    linger->added_count = 0;
    const bool stop = linger->stop;
    (void)pthread_mutex_unlock(&linger->lock);
    return !stop;
}

/* False when the socket is done: closed by the client, broken, or it has had its share. */
static bool drain(struct lingering *socket)
{
    char scrap[65536];
    for (;;) {
        const ssize_t got = recv(socket->fd, scrap, sizeof scrap, MSG_DONTWAIT);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return got < 0 && errno == EAGAIN;
        }
        socket->bytes += (uint64_t)got;
        if (socket->bytes > LINGER_BYTES) {
            return false;
        }
    }
}

static void serve(struct http_linger *linger)
{
    for (size_t i = 0; i < linger->count;) {
        struct lingering *socket = &linger->sockets[i];
        if (drain(socket) && now_ms() < socket->until_ms) {
            i++;
        } else {
            (void)close(socket->fd);
            *socket = linger->sockets[--linger->count];
        }
    }
}

static void *linger_main(void *arg)
{
    struct http_linger *linger = arg;
    struct pollfd fds[LINGER_SOCKETS + 1];
    do {
        serve(linger);
        fds[0] = (struct pollfd){.fd = linger->wakeup, .events = POLLIN};
        for (size_t i = 0; i < linger->count; i++) {
            fds[i + 1] = (struct pollfd){.fd = linger->sockets[i].fd, .events = POLLIN};
        }
        (void)poll(fds, linger->count + 1, linger->count > 0 ? LINGER_MS / 10 : -1);
    } while (take_added(linger));
    for (size_t i = 0; i < linger->count; i++) {
        (void)close(linger->sockets[i].fd);
    }
    return NULL;
}

static void linger_free(struct http_linger *linger)
{
    if (linger->wakeup >= 0) {
        (void)close(linger->wakeup);
    }
    (void)pthread_mutex_destroy(&linger->lock);
    free(linger);
}

err_t http_linger_start(struct http_linger **ret_linger, struct fault *fault)
{
    struct http_linger *linger = xcalloc(1, sizeof *linger);
    (void)pthread_mutex_init(&linger->lock, NULL);
    linger->wakeup = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    const int failed =
        linger->wakeup < 0 ? errno : pthread_create(&linger->thread, NULL, linger_main, linger);
    if (failed != 0) {
        linger_free(linger);
        return fault_set(fault, ERR_UNAVAILABLE, "unavailable", "", "cannot start a thread: %s",
                         strerror(failed));
    }
    *ret_linger = linger;
    return ERR_OK;
}

static void wake(struct http_linger *linger)
{
    const uint64_t one = 1;
    (void)!write(linger->wakeup, &one, sizeof one);
}

void http_linger_stop(struct http_linger *linger)
{
    if (linger == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&linger->lock);
    linger->stop = true;
    (void)pthread_mutex_unlock(&linger->lock);
    wake(linger);
    (void)pthread_join(linger->thread, NULL);
    linger_free(linger);
}

void http_linger_add(struct http_linger *linger, int fd)
{
    (void)pthread_mutex_lock(&linger->lock);
    const int own =
        linger->added_count < LINGER_SOCKETS && !linger->stop ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : -1;
    if (own >= 0) {
        linger->added[linger->added_count++] = own;
    }
    (void)pthread_mutex_unlock(&linger->lock);
    if (own >= 0) {
        /* The answer ends here; only reading goes on. */
        (void)shutdown(own, SHUT_WR);
        wake(linger);
    }
}
