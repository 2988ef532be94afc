/*
 * Asking again and again how far something is: what an answer means for that, and how long to
 * pause. Pure.
 */
#ifndef FLEETCTL_POLL_H
#define FLEETCTL_POLL_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"

struct poll {
    int64_t pause_ms; /* the next pause; grows by half each time */
    int64_t most_ms;
    bool renewed; /* the token, since it was believed last */
};

enum poll_next {
    POLL_LOOK,  /* an answer: the caller sees whether it is over, and pauses if not */
    POLL_PAUSE, /* nothing is wrong with what was asked: later */
    POLL_RENEW, /* the token is not believed any more: get another one, and ask at once */
    POLL_END,   /* will not get better */
};

/* After a call that ended with `err`; `can_renew`: there is a refresh token. */
enum poll_next poll_judge(struct poll *p, err_t err, bool can_renew);

/* How long to pause, at least as long as the server asked for, when `left_ms` are left of the time
 * for all. Less than 0: it would be over before asking is allowed again. */
int64_t poll_take_pause(struct poll *p, int64_t left_ms, int64_t retry_after_s);

#endif
