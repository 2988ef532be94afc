/*
 * One thread's share of the fleet: an event loop over many devices' visits, each a device session
 * over its own non-blocking connection.
 */
#ifndef SIMULATOR_LOOP_H
#define SIMULATOR_LOOP_H

#include "device/conn.h"
#include "device/session.h"
#include "fleet.h"
#include "heap.h"
#include "options.h"
#include "tally.h"

enum probe {
    PROBE_NONE,
    PROBE_FORGED,       /* the confirmation, signed by another key */
    PROBE_WRONG_SERIAL, /* a confirmation for another serial */
    PROBE_REPLAY,       /* the confirmation once more */
};

enum sim_state {
    SIM_RESTING,  /* waits in the heap for its next visit */
    SIM_QUEUED,   /* due, waits for a free place */
    SIM_VISITING, /* has a session */
    SIM_FINISHED, /* did what the phase asks, or the phase is over for it */
};

struct sim {
    struct heap_item timer; /* next visit, end of a wait, or deadline of an exchange */
    struct sim *next;       /* in the queue */
    size_t number;          /* in the fleet */
    struct device *device;
    enum sim_state state;
    struct device_session session;
    struct device_conn *conn;
    SSL_SESSION *resume;
    int registered_fd;     /* in epoll; -1: none */
    bool asking;           /* a request is under way */
    bool counted;          /* this connection's handshake was counted */
    int64_t started_us;    /* of the visit */
    int64_t renewals;      /* confirmed in this phase */
    bool renewing;         /* the owed confirmation is for a renewal */
    enum probe probe;      /* the request under way is not the session's */
    unsigned probes_done;  /* bits: for the present confirmation */
    struct buf probe_body; /* what is sent instead */
    char probe_signature[DEVICE_SIGNATURE_TEXT_SIZE];
    struct device_http_answer first_answer; /* to the confirmation that is being replayed */
    char error[200];                        /* the last visit's */
};

struct loop {
    const struct options *options;
    struct tally *tally;
    const atomic_bool *stop;
    struct device_server *server; /* owned */
    struct sim *sims;             /* owned */
    size_t count;
    struct heap heap;
    struct sim *queue_first, *queue_last;
    size_t active, finished;
    size_t places; /* how many may be active */
    int epoll_fd;
    int64_t end_ms; /* monotonic */
    unsigned drops; /* answers counted for --drop-answer-every */
};

/* Takes every `step`-th device of the part of the fleet that takes part, from `offset` on. Errors
 * as device_open and device_server_new, with the reason in `fault`. */
MUST_USE err_t loop_init(struct loop *l, const struct options *o, struct fleet *fleet,
                         size_t offset, size_t step, struct fault *fault);
/* Runs until every device is done, the deadline passes or `stop` is set. */
void loop_run(struct loop *l);
/* Counts what did not finish, tells of the first few, and puts what the devices remember back. */
MUST_USE err_t loop_finish(struct loop *l, struct fleet *fleet, unsigned *told);
void loop_deinit(struct loop *l);

#endif
