/*
 * The tokens of `fleetctl login`, kept in $XDG_CONFIG_HOME/fleetctl/session.json (else ~/.config),
 * readable by its owner only, written aside and renamed. Main thread.
 */
#ifndef FLEETCTL_SESSION_H
#define FLEETCTL_SESSION_H

#include <stdint.h>

#include "common/err.h"

#define SESSION_TOKEN_MAX 1025

struct session {
    char api[512]; /* the API they are for */
    char access[SESSION_TOKEN_MAX];
    char refresh[SESSION_TOKEN_MAX];
    int64_t expires_s; /* of the access token, unix seconds */
};

/* ERR_ABSENT: nobody is logged in. ERR_INVALID with `fault`: the file can be read by others, or is
 * damaged. */
err_t session_load(char *(*get)(const char *), struct session *ret, struct fault *fault) MUST_USE;
err_t session_save(char *(*get)(const char *), const struct session *session,
                   struct fault *fault) MUST_USE;
/* No session is no error. */
err_t session_forget(char *(*get)(const char *), struct fault *fault) MUST_USE;

#endif
