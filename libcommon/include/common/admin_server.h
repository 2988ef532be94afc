/*
 * The port of operations, beside the one of the service: GET /healthz (the process answers), GET
 * /readyz (it can do its work, or why not), GET /metrics (Prometheus text format). Plain HTTP, one
 * event loop; guarded by where it listens, not by credentials. Every service has one.
 */
#ifndef COMMON_ADMIN_SERVER_H
#define COMMON_ADMIN_SERVER_H

#include <stdint.h>

#include "common/cleanup.h"
#include "common/err.h"
#include "common/metrics.h"

struct admin_server;
struct admin_reasons;

struct admin_server_options {
    const char *listen;      /* as in http_server.h; "127.0.0.1:0" takes a free port */
    struct metrics *metrics; /* borrowed; what /metrics shows */
    /*
     * Names what keeps the service from its work, with admin_not_ready, nothing when it is ready.
     * Runs on the server's thread for each /readyz and must not block. NULL: always ready.
     */
    void (*ready)(void *ctx, struct admin_reasons *reasons);
    void *ctx;
};

/* Inside `ready`: the part ("kafka", "redis", "partitions") and the reason, for people. Copied. */
void admin_not_ready(struct admin_reasons *reasons, const char *part, const char *reason);

/* ERR_INVALID: not an address; ERR_UNAVAILABLE: it cannot be bound. `fault` says so. */
MUST_USE err_t admin_server_start(const struct admin_server_options *options,
                                  struct admin_server **ret_server, struct fault *fault);
/* The bound port. */
uint16_t admin_server_port(const struct admin_server *server);
/* Stops at once and frees. Accepts NULL. Before the metrics and whatever `ready` looks at go. */
void admin_server_free(struct admin_server *server);
CLEANUP_DEFINE(struct admin_server *, admin_server_free);

#endif
