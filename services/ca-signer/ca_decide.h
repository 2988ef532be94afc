/*
 * What becomes of a CA: made by request, changed by request. Pure: keys, certificates and times
 * come in as arguments. A request id is answered the same for a week, whatever happens in between;
 * the same id with another body is refused. Called by ca_app.c on the processor's thread, and by
 * the tests.
 */
#ifndef CA_SIGNER_CA_DECIDE_H
#define CA_SIGNER_CA_DECIDE_H

#include "proto/ca.h"
#include "proto/envelope.h"

#define EVENT_CA_CREATED "io.fleetseal.ca.created.v1"
#define EVENT_CA_UPDATED "io.fleetseal.ca.updated.v1"

enum ca_request_kind { CA_ASKS_CREATE, CA_ASKS_UPDATE };

struct ca_outcome {
    struct ca *state; /* owned; NULL: nothing changes */
    bool sign;        /* create: key and certificate are to be made, then ca_made() or ca_not_made()
                         completes it */
    bool release_seat; /* create: refused for good, the domain's seat is free again */
    const char *event; /* type; NULL: none */
    int status;
    struct fault fault; /* code "" for success */
    cJSON *result;      /* owned */
};
void ca_outcome_deinit(struct ca_outcome *o);

struct ca_command {
    enum ca_request_kind kind;
    struct envelope envelope;
    struct uuid id; /* of the CA */
    struct uuid domain;
    union {
        struct ca_create create;
        struct ca_update update;
    } of;
    struct ca_outcome outcome;
};
/* ERR_INVALID, ERR_TOO_LARGE, ERR_UNSUPPORTED with a fault: it belongs to the dead letters. `key`
 * is the CA's id as uuid_format spells it. *ret is owned by the caller. */
err_t ca_command_decode(struct span key, struct span value, struct ca_command **ret,
                        struct fault *fault) MUST_USE;
void ca_command_free(struct ca_command *c);
CLEANUP_DEFINE(struct ca_command *, ca_command_free);

/* `old` is NULL when there is no such CA. Fills c->outcome, which is empty. */
void ca_decide(const struct ca *old, struct ca_command *c, int64_t now_ms);

/* What was made for a create. */
struct ca_made {
    struct span certificate;
    int64_t not_before_ms, not_after_ms;
};
void ca_made(struct ca_command *c, const struct ca_made *made, int64_t now_ms);
void ca_not_made(struct ca_command *c, err_t why, const struct fault *fault);

#endif
