/*
 * The agent: what it owns while a command runs, and the commands. One thread; signals come in as
 * descriptors.
 */
#ifndef AGENT_APP_H
#define AGENT_APP_H

#include "config.h"
#include "device/client.h"

struct app {
    const struct config *config;
    struct device *device;
    int lock_fd;          /* held: nobody else changes this device; -1: only looking */
    int stop_fd;          /* readable: SIGTERM or SIGINT came */
    int nudge_fd;         /* readable: SIGUSR1 came, a heartbeat is wanted now */
    SSL_SESSION *session; /* of the last visit, to resume from */
};

/* Runs the command to its end; what people or scripts are to read goes to standard output. `fault`
 * says what went wrong. */
MUST_USE err_t app_run(const struct config *config, struct fault *fault);

/* One visit with the trust anchors of now. Errors as device_client_visit; ERR_OK with an outcome
 * that failed is passed on as that failure. */
MUST_USE err_t app_visit(struct app *a, struct device_outcome *ret, struct fault *fault);

/* The daemon: visits when they are due, until told to stop. */
MUST_USE err_t daemon_run(struct app *a, struct fault *fault);
/* What the next visit waits for besides its time. */
struct daemon_due {
    int64_t hold_ms;   /* the flood interval, for a heartbeat */
    int64_t away_ms;   /* left of what the server asked for when it put the last visit off */
    bool urgent;       /* a bootstrap or an owed confirmation, not a heartbeat */
    bool visited;      /* a visit was just made: no second one at once, however urgent */
    unsigned failures; /* visits that failed in a row */
};
/* When the next visit is due, in milliseconds from now. Pure but for `random`, of which all 32 bits
 * count. */
int64_t daemon_wait_ms(const struct device_state *state, const struct daemon_due *due,
                       int64_t now_ms, uint32_t random);
/* How long at most to rest before the wall clock is looked at again, which may have been set:
 * shorter when it shows a time before the last answer, so that it is known to be wrong. Pure. */
int64_t daemon_look_again_ms(const struct device_state *state, int64_t now_ms);

/* Takes the state directory's lock. ERR_CONFLICT: another agent has it, its process id is in
 * *ret_pid (0: not known). */
MUST_USE err_t lock_take(const char *state_dir, int *ret_fd, long *ret_pid, struct fault *fault);

/* Prints what is known of the device. */
void status_print(const struct config *config, const struct device *d, FILE *to);
/* True when the device has a confirmed certificate and is active. */
bool status_activated(const struct device *d);

#endif
