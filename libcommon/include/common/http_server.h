/*
 * HTTP/1.1 server over libmicrohttpd with the limits of that library closed: admission before TLS
 * (connections, connections per address, accept rate), hard deadlines for headers, body, sending
 * and idleness, strict framing (a connection ends after a chunked body), bodies bounded per route
 * and in sum, requests that are answered later from other threads, and an orderly stop. Used by the
 * doors and by admin_server.
 *
 * Threads: one acceptor, `threads` event loops that run handlers, one timer. No callback may block.
 * All functions below: any thread, one at a time per server unless said otherwise.
 */
#ifndef COMMON_HTTP_SERVER_H
#define COMMON_HTTP_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/err.h"
#include "common/http_request.h"
#include "common/metrics.h"

struct http_server;

enum http_route_flag {
    HTTP_ROUTE_CLIENT_CERT = 1 << 0, /* without a client certificate: 401 no_certificate */
};

#define HTTP_QUERY_ANY "*" /* what nobody asks for is ignored */

typedef void (*http_handler_fn)(struct http_request *req, void *ctx);

/* One row of the routing table. Case matters. HEAD is served by the row of GET, OPTIONS by the
 * table itself. */
struct http_route {
    enum http_method method;
    unsigned flags;      /* enum http_route_flag */
    const char *pattern; /* "/v1/things/{id}": a {param} is one whole, non-empty segment */
    http_handler_fn handler;
    size_t max_body;          /* bytes; 0: the route takes no body */
    const char *content_type; /* of bodies, several with commas; NULL: anything */
    /* The one query parameter it takes, others are refused; NULL: none; HTTP_QUERY_ANY */
    const char *query;
    void *ctx;
};

enum http_client_cert {
    HTTP_CLIENT_CERT_NONE,    /* not asked for */
    HTTP_CLIENT_CERT_REQUEST, /* asked for; without one the handshake succeeds */
    HTTP_CLIENT_CERT_REQUIRE, /* without one the handshake fails */
};

/* What the access hook is told when a request has ended. Borrowed for the call. */
struct http_access {
    enum http_method method;
    const char *route; /* pattern, "" when none matched: never the raw path */
    unsigned status;   /* 0: the connection ended before an answer */
    uint32_t duration_us;
    uint64_t body_bytes_in;
    uint64_t body_bytes_out;
    const char *request_id;
    const char *peer_address;
    bool sent; /* the response left completely */
};

struct http_server_options {
    const char *name; /* of the server in metrics: "api", "device" */

    /* "127.0.0.1:8080", "[::1]:0", "*:443" (every address, IPv4 and IPv6). Port 0: any free one. */
    const char *const *listen;
    size_t listen_count;
    int backlog;

    const struct http_route *routes; /* borrowed until http_server_free */
    size_t route_count;

    /* TLS 1.2 and 1.3 when both are set: PEM files, chain leaf first. Changed files are noticed
     * within `tls_refresh_ms` (0: never) and used for new handshakes; until they fit together the
     * old ones are, and http_tls_files_changed_total{result="refused"} counts. */
    const char *tls_cert_file;
    const char *tls_key_file;
    /* 64 random bytes, the same file for every replica; NULL: sessions are not resumed. The keys in
     * use are derived from it and rotate by themselves. */
    const char *ticket_key_file;
    uint32_t ticket_lifetime_s; /* up to 7 days */
    uint32_t tls_refresh_ms;

    enum http_client_cert client_cert;
    /*
     * Judges a client's chain (DER, leaf first, 1..HTTP_PEER_CERTS_MAX): at its first request on a
     * connection, resumed sessions included, and again after http_server_bump_trust. *ret_identity
     * (may stay NULL) is kept for http_request_identity and freed by `free_identity`. An error is
     * answered with `fault` and closes the connection. Required unless HTTP_CLIENT_CERT_NONE. A
     * longer chain is refused before it is asked (401 client_certificate_invalid).
     */
    err_t (*verify)(void *ctx, const struct span *chain, size_t count, void **ret_identity,
                    struct fault *fault);
    void (*free_identity)(void *identity);
    /*
     * Judges a routed request when its headers are there, before a byte of its body is kept:
     * credentials, rate. An error is answered with `fault`; *retry_after_s > 0 sets the header.
     * NULL: everything is admitted. May call http_request_set_user.
     */
    err_t (*admit)(void *ctx, struct http_request *req, struct fault *fault,
                   uint32_t *retry_after_s);
    /* WWW-Authenticate of every 401 (RFC 9110 11.6.1), a constant; NULL: none, where the credential
     * is a client certificate. */
    const char *challenge;
    /* Told of every ended request, on a server thread; NULL: nobody. `req` is still valid. */
    void (*on_access)(void *ctx, const struct http_request *req, const struct http_access *access);
    void *ctx; /* of the callbacks above */

    unsigned threads;
    uint32_t connections_max;
    uint32_t connections_per_address_max; /* IPv6: per /64; 0: no limit (behind one NAT) */
    uint32_t accept_rate;                 /* new connections per second; 0: no limit */
    uint32_t accept_burst;
    /* A header that must not come twice, besides Authorization and what HTTP has of that kind; a
     * constant; NULL: no more. */
    const char *single_header;
    size_t connection_memory;   /* bytes per connection for headers and read buffer */
    size_t body_memory;         /* bytes of all request bodies together; over it 503 */
    uint32_t header_timeout_ms; /* handshake and headers together */
    uint32_t body_timeout_ms;
    uint32_t send_timeout_ms;
    uint32_t idle_timeout_ms; /* between requests */

    /* Where the server registers requests by route and status class with their duration, requests
     * in flight and suspended, connections open, refused by reason and cut by phase, handshakes by
     * kind, all labelled with `name`. Must outlive the server; NULL: nobody reads them. */
    struct metrics *metrics;
    const struct clock *clock; /* monotonic part only */
};

/* Defaults for everything but name, listen, routes and TLS: 2 threads, 4096 connections, 10 s for
 * headers, 10 s for bodies, 30 s for sending, 60 s idle, 16 KiB per connection, 64 MiB of bodies.
 */
struct http_server_options http_server_options_default(void);

/*
 * Checks the options, binds, starts the threads. The strings and files are read or copied before it
 * returns, the routes are borrowed. ERR_INVALID: an option or file is at fault, `fault` names it;
 * ERR_UNAVAILABLE: the address cannot be bound or descriptors do not suffice.
 */
MUST_USE err_t http_server_start(const struct http_server_options *options,
                                 struct http_server **ret_server, struct fault *fault);

/* The bound port of the `index`-th listen option (of its IPv4 part for "*"). */
uint16_t http_server_port(const struct http_server *server, size_t index);

/* Reads certificate, key and ticket key again now; new handshakes use them. On failure the old ones
 * stay and `fault` names the file. */
MUST_USE err_t http_server_reload_tls(struct http_server *server, struct fault *fault);

/* Every connection's chain is judged again at its next request. Call when a trust anchor or a
 * revocation has changed. Any thread, also from callbacks. */
void http_server_bump_trust(struct http_server *server);

/* No new connections from now on; each answer on an open one says Connection: close. Requests are
 * still served. */
void http_server_quiesce(struct http_server *server);

/*
 * Quiesces; requests that arrive from now on get 503; waits up to `grace_ms` for the ones in hand,
 * then wakes the suspended ones (HTTP_WAKE_STOPPING), gives answers a moment to leave, closes
 * everything and joins the threads. Tickets still held stay valid for http_resume (ERR_STALE).
 */
void http_server_stop(struct http_server *server, uint32_t grace_ms);

/* Stops with no grace if that has not happened, then frees. Tickets must be spent. */
void http_server_free(struct http_server *server);
CLEANUP_DEFINE(struct http_server *, http_server_free);

#endif
