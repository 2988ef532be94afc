/*
 * A device's connection: TCP, TLS 1.2 or 1.3 with the root-of-trust key as client, one request and
 * one answer at a time, kept alive while the server agrees. Nothing here blocks except the name
 * look-up: the caller waits for the descriptor to become ready as device_conn_drive tells, and no
 * longer than device_conn_wait_ms, so one loop can hold thousands. Time is the device's clock.
 * SIGPIPE must be ignored by the program.
 */
#ifndef DEVICE_CONN_H
#define DEVICE_CONN_H

#include <openssl/ssl.h>

#include "device/device.h"
#include "device/http.h"

#define DEVICE_CONNECT_TIMEOUT_MS 15000 /* connection and handshake */
#define DEVICE_ADDRESS_TIMEOUT_MS 5000  /* of it for one address, while others are left to try */
#define DEVICE_ANSWER_TIMEOUT_MS  30000 /* from a request to its whole answer */

CLEANUP_DEFINE(SSL_SESSION *, SSL_SESSION_free);

/* A server as devices know it: name, addresses, and who vouches for it. Shared by connections of
 * one thread. It remembers which address answered and which ran out of time: the next connection
 * begins with the one, or behind the other. */
struct device_server;

struct device_server_options {
    const char *url;       /* https://name[:port] */
    struct span trusted;   /* PEM: anchors given at the factory or by the operator */
    struct span delivered; /* PEM: anchors that a bootstrap brought; may be empty, or damaged */
};
/* ERR_INVALID with the reason in `fault`: not such a URL, or no certificate in the PEM. */
MUST_USE err_t device_server_new(const struct device_server_options *options,
                                 struct device_server **ret, struct fault *fault);
void device_server_free(struct device_server *s);
CLEANUP_DEFINE(struct device_server *, device_server_free);
/* Value of the Host header. Borrowed. */
const char *device_server_host(const struct device_server *s);

enum device_io {
    DEVICE_IO_READ,   /* come back when the descriptor is readable */
    DEVICE_IO_WRITE,  /* ... writable */
    DEVICE_IO_ANSWER, /* complete: device_conn_answer */
    DEVICE_IO_FAILED, /* of no use any more: device_conn_fault */
};

struct device_conn;

/*
 * Starts connecting for `d`, whose key and certificate are borrowed until the connection is freed.
 * `resume` (may be NULL, not consumed) is the TLS session of an earlier connection.
 * ERR_UNAVAILABLE: the name has no address, or no connection can be started; ERR_INTERNAL.
 */
MUST_USE err_t device_conn_open(struct device_server *s, struct device *d, SSL_SESSION *resume,
                                struct device_conn **ret, struct fault *fault);
void device_conn_free(struct device_conn *c);
CLEANUP_DEFINE(struct device_conn *, device_conn_free);

/* Queues a request (copied). Only when no other is under way. ERR_TOO_LARGE. */
MUST_USE err_t device_conn_send(struct device_conn *c, const struct device_http_request *request);
/* Goes as far as it can without waiting. A step whose time is over goes on with the server's next
 * address, or fails. */
enum device_io device_conn_drive(struct device_conn *c);
/* After DEVICE_IO_READ or _WRITE: device_conn_drive is due in so many milliseconds, whatever the
 * descriptor does. */
int64_t device_conn_wait_ms(const struct device_conn *c);
/* The descriptor; it may change between two calls of device_conn_drive while connecting. */
int device_conn_fd(const struct device_conn *c);
/* After DEVICE_IO_ANSWER, until the next request; borrowed. */
const struct device_http_answer *device_conn_answer(const struct device_conn *c);
/* After DEVICE_IO_FAILED. */
const struct fault *device_conn_fault(const struct device_conn *c);
/* True when another request may be sent after the answer. */
bool device_conn_reusable(const struct device_conn *c);
/* True when the failure may only mean that the server had closed a connection at rest: the request
 * may be sent again at once on a new one. */
bool device_conn_was_stale(const struct device_conn *c);
/* True when the handshake was an abbreviated one. */
bool device_conn_resumed(const struct device_conn *c);
/* The newest TLS session to resume from, NULL: none was given. The caller owns the reference. */
SSL_SESSION *device_conn_session(const struct device_conn *c);

#endif
