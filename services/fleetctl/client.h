/*
 * HTTPS to the API, over libcurl. Main thread.
 */
#ifndef FLEETCTL_CLIENT_H
#define FLEETCTL_CLIENT_H

#include <cjson/cJSON.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"

struct client {
    const char *api;       /* "https://host:port" */
    const char *server_ca; /* NULL: the system's trust store */
    const char *token;     /* NULL: none is sent */
};

struct client_answer {
    long status;
    int64_t retry_after_s; /* 0: not said */
    cJSON *json;           /* owned; NULL when the body was none */
};
void client_answer_deinit(struct client_answer *a);
CLEANUP_DEFINE_EMBEDDED(struct client_answer, client_answer_deinit);

/* Once per process, before the first call. */
err_t client_start(void) MUST_USE;
void client_stop(void);

/*
 * POSTs `body` (`type` is its content type) and reads the answer, whatever its status. `key` may be
 * NULL. ERR_UNAVAILABLE with `fault`: no connection, no answer, a certificate that is not trusted;
 * ERR_TOO_LARGE; ERR_CORRUPT: not an answer of this API, unless its status says that it passes.
 */
err_t client_post(const struct client *c, const char *path, const char *type, struct span body,
                  const char *key, struct client_answer *ret, struct fault *fault) MUST_USE;

/* What a status means for the caller: ERR_OK for 2xx. */
err_t client_status_error(long status);

#endif
