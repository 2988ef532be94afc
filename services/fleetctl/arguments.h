/*
 * The command line: argv -> what is to be done. Reads the files that options name, nothing else.
 * Main thread.
 */
#ifndef FLEETCTL_ARGUMENTS_H
#define FLEETCTL_ARGUMENTS_H

#include <cjson/cJSON.h>
#include <stdint.h>

#include "commands.h"
#include "common/buf.h"
#include "common/err.h"

#define ARGUMENTS_FILE_MAX ((size_t)16 * 1024 * 1024)

struct arguments {
    const struct command *command; /* NULL: only help was asked for */
    bool help;
    bool version;
    /* Settings: flag, else environment, else NULL. Borrowed from argv and the environment. */
    const char *api;
    const char *server_ca;
    const char *token_file;
    const char *operator_token_file; /* environment only: used when nobody is logged in */
    const char *domain;
    const char *idempotency_key;
    bool json;
    bool wait;
    int64_t timeout_s; /* of --wait and of requests that take longer */
    cJSON *body;       /* owned */
    struct buf csv;    /* used when csv_given */
    bool csv_given;
};

/*
 * Parses. On failure `fault` says which argument is wrong and what would be accepted. ERR_INVALID:
 * the command line; ERR_ABSENT, ERR_TOO_LARGE: a file. `environment` is looked up with getenv
 * semantics by `get` (getenv in the program).
 */
err_t arguments_parse(int argc, char *const *argv, char *(*get)(const char *),
                      struct arguments *ret, struct fault *fault) MUST_USE;
void arguments_deinit(struct arguments *a);
CLEANUP_DEFINE_EMBEDDED(struct arguments, arguments_deinit);

/* The first line of a small file, without its end; "-" reads standard input. ERR_ABSENT,
 * ERR_TOO_LARGE with `fault`. */
err_t arguments_read_line(const char *path, struct buf *to, struct fault *fault) MUST_USE;

/* What --help prints: of one command, of a group (command NULL, group set), or of everything. */
void arguments_help(const struct command *command, const char *group, struct buf *to);

#endif
