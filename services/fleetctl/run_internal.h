/* What the files of a run share: run.c does what the command line says, wait.c waits for what takes
 * longer. */
#ifndef FLEETCTL_RUN_INTERNAL_H
#define FLEETCTL_RUN_INTERNAL_H

#include "client.h"
#include "run.h"
#include "session.h"

/* What one run of the program holds. */
struct run {
    const struct arguments *a;
    char *(*get)(const char *);
    struct client client;
    struct session session;
    struct buf token; /* read from a file; secret */
    int64_t deadline_ms;
};

/* Members of answers; 0 and "" where there is none. */
int64_t run_integer_of(const cJSON *object, const char *name);
const char *run_text_of(const cJSON *object, const char *name);

/* One call, of which nothing is printed. On failure either `ret` holds the server's refusal or,
 * with the status 0, `fault` tells. */
err_t run_ask(const struct run *r, const char *path, const cJSON *body, const char *key,
              struct client_answer *ret, struct fault *fault) MUST_USE;
/* Prints why run_ask or run_renew_token failed; returns `err`. */
err_t run_explain(const struct run *r, err_t err, const struct client_answer *answer,
                  const struct fault *fault);

/* True when the token in use is that of a session, which can be renewed. */
bool run_can_renew_token(const struct run *r);
/* Gets new tokens for the session; run_save_session keeps them, and prints why it cannot. */
err_t run_renew_token(struct run *r, struct client_answer *answer, struct fault *fault) MUST_USE;
err_t run_save_session(const struct run *r) MUST_USE;

/* Prints an answer as the command wants it. */
void run_show_answer(const struct run *r, const cJSON *json);

#endif
