/*
 * A client of raw bytes for tests of HTTP servers: it sends exactly what it is told, broken or not,
 * over TCP or TLS on loopback. Every wait ends by itself after WIRE_WAIT_MS. Header only.
 */
#ifndef SUPPORT_HTTP_WIRE_H
#define SUPPORT_HTTP_WIRE_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "test_support.h"

#define WIRE_WAIT_MS 20000

struct wire {
    int fd;
    SSL *ssl; /* NULL: plain TCP */
};

struct wire_response {
    int status; /* 0: the connection ended before a status line */
    char head[8192];
    char body[65536];
    size_t body_len;
};

static inline struct wire wire_open(uint16_t port)
{
    struct wire wire = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    const struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const struct timeval wait = {.tv_sec = WIRE_WAIT_MS / 1000};
    assert_true(wire.fd >= 0);
    (void)setsockopt(wire.fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    (void)setsockopt(wire.fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
    assert_int_equal(connect(wire.fd, (const struct sockaddr *)&address, sizeof address), 0);
    return wire;
}

static inline void wire_close(struct wire *wire)
{
    if (wire->ssl != NULL) {
        (void)SSL_shutdown(wire->ssl);
        SSL_free(wire->ssl);
        wire->ssl = NULL;
    }
    if (wire->fd >= 0) {
        (void)close(wire->fd);
        wire->fd = -1;
    }
}

/* Sends all of it; false when the server has closed. */
static inline bool wire_send_bytes(struct wire *wire, const void *bytes, size_t len)
{
    const char *at = bytes;
    while (len > 0) {
        const ssize_t sent = wire->ssl != NULL ? SSL_write(wire->ssl, at, (int)len)
                                               : send(wire->fd, at, len, MSG_NOSIGNAL);
        if (sent <= 0) {
            return false;
        }
        at += sent;
        len -= (size_t)sent;
    }
    return true;
}

static inline bool wire_send(struct wire *wire, const char *text)
{
    return wire_send_bytes(wire, text, strlen(text));
}

/* Bytes read, 0 at the end of the connection however it ends; fails the test when time is up. */
static inline size_t wire_receive(struct wire *wire, char *to, size_t size)
{
    errno = 0;
    const ssize_t got =
        wire->ssl != NULL ? SSL_read(wire->ssl, to, (int)size) : recv(wire->fd, to, size, 0);
    if (got <= 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        fail_msg("the server neither answered nor closed");
    }
    return got > 0 ? (size_t)got : 0;
}

/* The value of a header of the response, "" when it is not there. */
static inline const char *wire_header(const struct wire_response *response, const char *name,
                                      char *to, size_t size)
{
    const size_t len = strlen(name);
    to[0] = '\0';
    for (const char *line = response->head; (line = strstr(line, "\r\n")) != NULL;) {
        line += 2;
        if (strncasecmp(line, name, len) == 0 && line[len] == ':') {
            const char *value = line + len + 1 + strspn(line + len + 1, " ");
            (void)snprintf(to, size, "%.*s", (int)strcspn(value, "\r"), value);
            return to;
        }
    }
    return to;
}

/* Reads one response: head, then Content-Length bytes. */
static inline void wire_read(struct wire *wire, struct wire_response *ret)
{
    size_t len = 0;
    char number[32];
    ret->status = 0;
    ret->head[0] = '\0';
    ret->body_len = 0;
    while (strstr(ret->head, "\r\n\r\n") == NULL) {
        assert_true(len + 1 < sizeof ret->head);
        /* One byte at a time: what follows belongs to the body or to the next response. */
        if (wire_receive(wire, ret->head + len, 1) == 0) {
            return;
        }
        ret->head[++len] = '\0';
    }
    assert_int_equal(sscanf(ret->head, "HTTP/1.1 %d", &ret->status), 1);
    const size_t expected =
        (size_t)strtoul(wire_header(ret, "Content-Length", number, sizeof number), NULL, 10);
    assert_true(expected < sizeof ret->body);
    while (ret->body_len < expected) {
        const size_t got = wire_receive(wire, ret->body + ret->body_len, expected - ret->body_len);
        if (got == 0) {
            break;
        }
        ret->body_len += got;
    }
    ret->body[ret->body_len] = '\0';
}

/* True when the server closes without another byte. */
static inline bool wire_ended(struct wire *wire)
{
    char byte;
    return wire_receive(wire, &byte, 1) == 0;
}

/* Sends a request on a connection of its own, reads the response, closes. */
static inline void wire_ask(uint16_t port, const char *request, struct wire_response *ret)
{
    struct wire wire = wire_open(port);
    (void)wire_send(&wire, request);
    wire_read(&wire, ret);
    wire_close(&wire);
}

#endif
