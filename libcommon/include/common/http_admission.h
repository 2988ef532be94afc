/*
 * Who may open a connection: counts connections in all and per address, and meters how many start
 * per second, so that a flood is turned away before it costs a TLS handshake. Used by the acceptor
 * and, at the end of a connection, by the event loops; any thread.
 */
#ifndef COMMON_HTTP_ADMISSION_H
#define COMMON_HTTP_ADMISSION_H

#include <stdint.h>
#include <sys/socket.h>

#include "common/cleanup.h"
#include "common/err.h"

struct http_admission;

enum http_refusal {
    HTTP_REFUSAL_NONE,
    HTTP_REFUSAL_CONNECTIONS, /* the server is full */
    HTTP_REFUSAL_ADDRESS,     /* this address has its share */
    HTTP_REFUSAL_RATE,        /* too many started just now */
    HTTP_REFUSAL_COUNT_,
};
/* "connections", "address", "rate": label values. NONE stands for "descriptors", which run out
 * before admission is asked. */
const char *http_refusal_name(enum http_refusal refusal);

struct http_admission_limits {
    uint32_t connections_max;             /* > 0 */
    uint32_t connections_per_address_max; /* IPv4 address or IPv6 /64; 0: no limit */
    uint32_t rate;                        /* per second; 0: no limit */
    uint32_t burst;                       /* that may start at once; 0: as many as rate */
};

struct http_admission *http_admission_new(const struct http_admission_limits *limits);
/* Connections may still be counted in; they are forgotten. */
void http_admission_free(struct http_admission *admission);
CLEANUP_DEFINE(struct http_admission *, http_admission_free);

/* Counts a connection in, or says why not (then nothing was counted, and a refused one takes no
 * token of the rate). `now_ms` is monotonic. Other address families than IPv4 and IPv6 share one
 * count. */
enum http_refusal http_admission_enter(struct http_admission *admission,
                                       const struct sockaddr *address, int64_t now_ms);
/* Counts it out; `address` as at entry. */
void http_admission_leave(struct http_admission *admission, const struct sockaddr *address);
uint32_t http_admission_open(struct http_admission *admission);

#endif
