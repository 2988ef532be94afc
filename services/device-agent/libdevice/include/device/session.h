/*
 * One visit of a device to its server, without I/O: what to send, what an answer means, when to
 * come back. A visit settles an owed confirmation, bootstraps a device the server does not know
 * yet, or is a heartbeat; work that comes with it is picked up, installed and confirmed in the same
 * visit. The agent drives one session over a blocking connection, the simulator thousands over its
 * own event loop. Owned by one thread at a time, together with its device.
 *
 *     device_session_begin(&s, device, ...)
 *     for (;;) switch (device_session_step(&s, &request, &wait_ms)) {
 *     case DEVICE_STEP_SEND: send request; device_session_answer() or device_session_failed()
 *     case DEVICE_STEP_WAIT: come back in wait_ms
 *     case DEVICE_STEP_DONE: look at s.outcome; device_session_end(&s)
 *     }
 */
#ifndef DEVICE_SESSION_H
#define DEVICE_SESSION_H

#include "device/device.h"
#include "device/http.h"

#define DEVICE_VISIT_BOUND_MS                                                                      \
    (INT64_C(5) * 60 * 1000) /* a visit ends by then, in success or clean abort                    \
                              */

enum device_step {
    DEVICE_STEP_SEND,
    DEVICE_STEP_WAIT,
    DEVICE_STEP_DONE,
};

/* What came of a visit. */
struct device_outcome {
    err_t err;                  /* ERR_OK: everything that was to do is done */
    struct fault fault;         /* why not */
    bool bootstrapped;          /* a bootstrap was answered */
    bool heartbeat;             /* a heartbeat was answered */
    bool installed;             /* a certificate was installed and the server confirmed it */
    bool first;                 /* ... the first one of this device's bootstrap, not ordered work */
    char kind[DEVICE_WORD_MAX]; /* of the work that came with the heartbeat; "" */
    unsigned retries;           /* requests sent again */
    int64_t stay_away_ms;       /* the server asked not to be called for so long from now; 0 */
};

struct device_session {
    struct device *device;
    struct device_outcome outcome;
    enum device_exchange exchange; /* the one being made */
    bool done;
    bool opening;             /* nothing but an owed confirmation was exchanged yet */
    int64_t deadline_mono_ms; /* of the visit */
    int64_t ready_mono_ms;    /* not to be sent before */
    unsigned failures;        /* in a row, for the back-off */
    unsigned skips;           /* gaps left behind a stale sequence */

    char operation[DEVICE_OPERATION_SIZE]; /* of the work being picked up */
    bool new_key;
    struct buf body;
    char signature[DEVICE_SIGNATURE_TEXT_SIZE]; /* "": none */
};

/*
 * Starts a visit that ends within `bound_ms`. ERR_BUSY: an opening heartbeat is not allowed yet by
 * the flood interval, `fault` says for how long; nothing was started. Storage errors likewise.
 * After ERR_OK the session must be ended.
 */
MUST_USE err_t device_session_begin(struct device_session *s, struct device *d, int64_t bound_ms,
                                    struct fault *fault);

/* The next thing to do. At DEVICE_STEP_SEND everything of *ret_request but the host is set,
 * borrowed from the session until the next call with it; a request that is sent again is the same
 * to the byte. */
enum device_step device_session_step(struct device_session *s,
                                     struct device_http_request *ret_request, int64_t *ret_wait_ms);
/* The answer to the request just sent. */
void device_session_answer(struct device_session *s, const struct device_http_answer *answer);
/* No answer came. `again_at_once`: the connection was an old one that the server had closed. */
void device_session_failed(struct device_session *s, const struct fault *why, bool again_at_once);

void device_session_end(struct device_session *s);

#endif
