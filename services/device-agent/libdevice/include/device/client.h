/*
 * A visit over a real connection, one device, one thread, blocking: what the agent runs. Bounded in
 * time whatever the server does, and ended early when the program is told to stop.
 */
#ifndef DEVICE_CLIENT_H
#define DEVICE_CLIENT_H

#include "device/conn.h"
#include "device/session.h"

struct device_client {
    struct device_server *server; /* borrowed */
    SSL_SESSION *session;         /* owned: the newest TLS session; NULL at first */
    int wake_fd;                  /* readable: stop now; -1: never */
    int64_t bound_ms;             /* of a visit: DEVICE_VISIT_BOUND_MS */
};
void device_client_deinit(struct device_client *c);

/*
 * Makes one visit. ERR_OK: it took place, look at *ret_outcome. ERR_BUSY: refused locally by the
 * flood interval; storage errors likewise; `fault` says why. ERR_STOPPING: woken; the visit will be
 * taken up by the next one.
 */
MUST_USE err_t device_client_visit(struct device_client *c, struct device *d,
                                   struct device_outcome *ret_outcome, struct fault *fault);

/* Waits until the time has passed; true when woken before. */
bool device_client_sleep(const struct device_client *c, int64_t ms);

#endif
