/*
 * Listeners and the thread that accepts. libmicrohttpd would accept by itself, but with one address
 * per daemon, limits per thread only, and no meter; here a connection is admitted first and handed
 * to the event loops in turn.
 */
#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "http_private.h"

/* How long the acceptor rests when descriptors have run out. */
#define REST_MS 100

static err_t bad_address(struct fault *fault, const char *text)
{
    return fault_set(fault, ERR_INVALID, "validation_error", "listen",
                     "\"%s\" is not host:port, [IPv6]:port or *:port", text);
}

/* Splits "host:port" and "[v6]:port". */
static err_t split_address(const char *text, char *host, size_t host_size, const char **ret_port)
{
    const char *colon = strrchr(text, ':');
    if (colon == NULL || colon == text || colon[1] == '\0') {
        return ERR_INVALID;
    }
    const char *start = text;
    size_t len = (size_t)(colon - text);
    if (text[0] == '[') {
        if (len < 3 || text[len - 1] != ']') {
            return ERR_INVALID;
        }
        start++;
        len -= 2;
    } else if (memchr(text, ':', len) != NULL) {
        return ERR_INVALID;
    }
    if (len >= host_size || strspn(colon + 1, "0123456789") != strlen(colon + 1)) {
        return ERR_INVALID;
    }
    (void)snprintf(host, host_size, "%.*s", (int)len, start);
    *ret_port = colon + 1;
    return ERR_OK;
}

static uint16_t port_of(const union http_address *address)
{
    return ntohs(address->any.sa_family == AF_INET6 ? address->v6.sin6_port : address->v4.sin_port);
}

static void set_port(union http_address *address, uint16_t port)
{
    if (address->any.sa_family == AF_INET6) {
        address->v6.sin6_port = htons(port);
    } else {
        address->v4.sin_port = htons(port);
    }
}

static int listen_on(const union http_address *address, socklen_t len, int backlog)
{
    const int on = 1;
    const int fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return -1;
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (address->any.sa_family == AF_INET6) {
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    }
    if (bind(fd, &address->any, len) != 0 || listen(fd, backlog) != 0) {
        const int saved = errno;
        (void)close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}

static err_t add_listener(struct http_server *server, size_t option, union http_address *address,
                          struct fault *fault)
{
    const char *text = server->options.listen[option];
    if (server->listener_count == HTTP_LISTENERS_MAX) {
        return fault_set(fault, ERR_INVALID, "validation_error", "listen",
                         "at most %d addresses are accepted", HTTP_LISTENERS_MAX);
    }
    socklen_t len = address->any.sa_family == AF_INET6 ? sizeof address->v6 : sizeof address->v4;
    const int fd = listen_on(address, len, server->options.backlog);
    if (fd < 0) {
        return fault_set(fault, ERR_UNAVAILABLE, "unavailable", "listen", "cannot listen on %s: %s",
                         text, strerror(errno));
    }
    (void)getsockname(fd, &address->any, &len);
    server->listeners[server->listener_count++] =
        (struct http_listener){.fd = fd, .port = port_of(address), .option = option};
    return ERR_OK;
}

/* "*:port": every address of both families, on the same port. */
static err_t open_any(struct http_server *server, size_t option, const char *port,
                      struct fault *fault)
{
    union http_address v4 = {.v4 = {.sin_family = AF_INET}};
    union http_address v6 = {.v6 = {.sin6_family = AF_INET6, .sin6_addr = in6addr_any}};
    const unsigned long number = strtoul(port, NULL, 10);
    set_port(&v4, (uint16_t)number);
    err_t e = add_listener(server, option, &v4, fault);
    if (e != ERR_OK) {
        return e;
    }
    const int probe = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (probe < 0) {
        return ERR_OK; /* a machine without IPv6 */
    }
    (void)close(probe);
    set_port(&v6, port_of(&v4));
    return add_listener(server, option, &v6, fault);
}

static err_t open_option(struct http_server *server, size_t option, struct fault *fault)
{
    const char *text = server->options.listen[option];
    char host[256];
    const char *port = NULL;
    if (split_address(text, host, sizeof host, &port) != ERR_OK ||
        strtoul(port, NULL, 10) > 65535) {
        return bad_address(fault, text);
    }
    if (strcmp(host, "*") == 0) {
        return open_any(server, option, port, fault);
    }
    const struct addrinfo hints = {.ai_family = AF_UNSPEC,
                                   .ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    if (getaddrinfo(host, port, &hints, &found) != 0) {
        return bad_address(fault, text);
    }
    union http_address address = {0};
    memcpy(&address, found->ai_addr,
           found->ai_addrlen < sizeof address ? found->ai_addrlen : sizeof address);
    freeaddrinfo(found);
    return add_listener(server, option, &address, fault);
}

err_t http_accept_open(struct http_server *server, struct fault *fault)
{
    for (size_t i = 0; i < server->options.listen_count; i++) {
        const err_t e = open_option(server, i, fault);
        if (e != ERR_OK) {
            return e;
        }
    }
    return ERR_OK;
}

uint16_t http_server_port(const struct http_server *server, size_t index)
{
    for (size_t i = 0; i < server->listener_count; i++) {
        if (server->listeners[i].option == index) {
            return server->listeners[i].port;
        }
    }
    return 0;
}

/* ---- the acceptor thread ---- */

/* Closes with a reset: a flood must not leave thousands of sockets in TIME_WAIT. */
static void turn_away(int fd)
{
    const struct linger reset = {.l_onoff = 1, .l_linger = 0};
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    (void)close(fd);
}

static void admit(struct http_server *server, int fd, const union http_address *address,
                  socklen_t len, unsigned *next_loop)
{
    const enum http_refusal refusal =
        http_admission_enter(server->admission, &address->any, http_now_ms(server));
    if (refusal != HTTP_REFUSAL_NONE) {
        metric_inc(server->stats.refused[refusal]);
        turn_away(fd);
        return;
    }
    metric_inc(server->stats.accepted);
    struct MHD_Daemon *loop = server->loops[(*next_loop)++ % server->loop_count];
    if (MHD_add_connection(loop, fd, &address->any, len) != MHD_YES) {
        /* Out of memory in the library, which has closed the socket. */
        http_admission_leave(server->admission, &address->any);
    }
}

/* Accepts what is there; false when descriptors have run out. */
static bool accept_all(struct http_server *server, int listener, unsigned *next_loop)
{
    for (;;) {
        union http_address address = {0};
        socklen_t len = sizeof address;
        const int fd = accept4(listener, &address.any, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            admit(server, fd, &address, len, next_loop);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            metric_inc(server->stats.refused[HTTP_REFUSAL_NONE]);
            return false;
        } else if (errno == EAGAIN) {
            return true;
        }
        /* Anything else is about that one connection (aborted, reset): the next one. */
    }
}

static void *acceptor_main(void *arg)
{
    struct http_server *server = arg;
    struct pollfd fds[HTTP_LISTENERS_MAX + 1];
    unsigned next_loop = 0;
    bool resting = false;
    fds[0] = (struct pollfd){.fd = server->accept_wakeup, .events = POLLIN};
    for (size_t i = 0; i < server->listener_count; i++) {
        fds[i + 1] = (struct pollfd){.fd = server->listeners[i].fd, .events = POLLIN};
    }
    for (;;) {
        const nfds_t watched = resting ? 1 : server->listener_count + 1;
        const int ready = poll(fds, watched, resting ? REST_MS : -1);
        if (ready > 0 && fds[0].revents != 0) {
            return NULL;
        }
        resting = false;
        for (nfds_t i = 1; i < watched; i++) {
            if (fds[i].revents != 0 && !accept_all(server, fds[i].fd, &next_loop)) {
                resting = true;
            }
        }
    }
}

err_t http_accept_start(struct http_server *server, struct fault *fault)
{
    server->accept_wakeup = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    const int failed = server->accept_wakeup < 0
                           ? errno
                           : pthread_create(&server->acceptor, NULL, acceptor_main, server);
    if (failed != 0) {
        return fault_set(fault, ERR_UNAVAILABLE, "unavailable", "", "cannot start a thread: %s",
                         strerror(failed));
    }
    server->acceptor_running = true;
    return ERR_OK;
}

void http_accept_stop(struct http_server *server)
{
    if (server->acceptor_running) {
        const uint64_t one = 1;
        const ssize_t written = write(server->accept_wakeup, &one, sizeof one);
        assert(written == (ssize_t)sizeof one);
        (void)written;
        (void)pthread_join(server->acceptor, NULL);
        server->acceptor_running = false;
    }
    for (size_t i = 0; i < server->listener_count; i++) {
        if (server->listeners[i].fd >= 0) {
            (void)close(server->listeners[i].fd);
            server->listeners[i].fd = -1;
        }
    }
    if (server->accept_wakeup >= 0) {
        (void)close(server->accept_wakeup);
        server->accept_wakeup = -1;
    }
}
