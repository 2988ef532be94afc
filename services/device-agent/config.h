/*
 * The agent's command line: one table of commands and one of options, from which reading, checking
 * and --help come. An option that is not given is looked for in the environment. Main thread.
 */
#ifndef AGENT_CONFIG_H
#define AGENT_CONFIG_H

#include <stdint.h>
#include <stdio.h>

#include "common/err.h"

enum command {
    COMMAND_UID,
    COMMAND_SEAL,
    COMMAND_STATUS,
    COMMAND_BOOTSTRAP,
    COMMAND_HEARTBEAT,
    COMMAND_RUN,
    COMMAND_HELP,
    COMMAND_VERSION,
    COMMAND_COUNT,
};

/* Strings are borrowed from the command line and the environment; NULL where not given. */
struct config {
    enum command command;
    const char *state_dir;
    const char *server, *server_ca; /* needed by commands that talk to it */
    const char *profile, *serial;   /* seal */
    const char *model, *firmware;   /* told at bootstrap */
    bool json;
    bool wait;         /* status: until activated */
    int64_t timeout_s; /* of that, and of one visit */
};

/* ERR_INVALID: `fault` says which option and what is expected. */
MUST_USE err_t config_read(int argc, char **argv, struct config *ret, struct fault *fault);
void config_help(FILE *to);

#endif
