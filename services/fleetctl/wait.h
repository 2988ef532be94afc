/*
 * Waiting for what takes longer than a call: the outcome of a request, the devices of an order. It
 * goes on at the server whatever becomes of us, so what passes (no answer, 429, 503, an expired
 * token) is waited out for --timeout, and whatever ends the wait names it. Main thread.
 */
#ifndef FLEETCTL_WAIT_H
#define FLEETCTL_WAIT_H

#include "run_internal.h"

/* `answer` is a 202; afterwards it is what the call itself would have answered. Secrets that came
 * with the 202 are kept. */
err_t wait_for_request(struct run *r, struct client_answer *answer) MUST_USE;
/* Until no device of a placed order is under way; prints the order. ERR_CONFLICT: some did not
 * install it. */
err_t wait_for_order(struct run *r, const char *order_uid) MUST_USE;

#endif
