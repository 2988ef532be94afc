/*
 * What the simulator was asked to do: one table of flags, read once by main.
 */
#ifndef SIMULATOR_OPTIONS_H
#define SIMULATOR_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "common/err.h"

enum phase {
    PHASE_LIST,      /* print the UIDs, no network */
    PHASE_BOOTSTRAP, /* every device until it has a confirmed certificate, or is told to wait */
    PHASE_RENEW,     /* heartbeats until renewal work was installed and confirmed */
    PHASE_IDLE,      /* heartbeats without work, as a load */
    PHASE_COUNT,
};

struct options {
    enum phase phase;
    int64_t devices;
    int64_t first, count; /* the part of the fleet that takes part */
    const char *server, *server_ca;
    const char *profile;
    const char *last_profile; /* of the last `last_count` devices */
    int64_t last_count;
    const char *keys_file, *state_file;
    int64_t threads, concurrency;
    int64_t deadline_s;
    int64_t seconds;         /* of PHASE_IDLE */
    int64_t interval_ms;     /* between the heartbeats of a device */
    int64_t flood_s;         /* local refusal: -1 as the server says */
    int64_t renewals;        /* to be confirmed per device in PHASE_RENEW */
    int64_t drop_every;      /* every n-th answer to a pick-up or confirmation is lost; 0: none */
    bool keep_alive;         /* the connection stays open between heartbeats */
    bool no_resume;          /* every handshake is a full one */
    bool with_keys;          /* PHASE_LIST prints the public keys too */
    bool probe_replay;       /* every confirmation is sent once more */
    bool probe_forged;       /* ... and before it one signed by another key */
    bool probe_wrong_serial; /* ... and one for another serial */
};

/* Reads the command line. ERR_INVALID: `fault` says which flag and what is expected. *ret_help is
 * set when only the help was asked for. */
MUST_USE err_t options_read(int argc, char **argv, struct options *ret, bool *ret_help,
                            struct fault *fault);
void options_help(FILE *to);
const char *phase_name(enum phase phase);

#endif
