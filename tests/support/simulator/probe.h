/*
 * Requests that no honest device makes, put in before or after a confirmation: what must change
 * nothing. One thread: the loop's.
 */
#ifndef SIMULATOR_PROBE_H
#define SIMULATOR_PROBE_H

#include "loop.h"

/* Replaces the request about to be sent by a probe when one is asked for and not made yet. */
MUST_USE err_t probe_before(struct loop *l, struct sim *s, struct device_http_request *request);
/* An answer came. True: it belonged to a probe, or a replay has to be made first, and the session
 * must not see it. False: the session has to see *answer, which after a replay is the first one. */
bool probe_answer(struct loop *l, struct sim *s, const struct device_http_answer **answer);

#endif
