/* What session.c and session_answer.c share. */
#ifndef DEVICE_SESSION_INTERNAL_H
#define DEVICE_SESSION_INTERNAL_H

#include "device/session.h"

int64_t session_mono_ms(const struct device_session *s);
int64_t session_wall_ms(const struct device_session *s);

/* Makes the request for an exchange; from here on it is repeated as it is. A failure to make it
 * ends the visit. */
void session_open(struct device_session *s, enum device_exchange exchange);
/* Ends the visit with this result; `why` may be NULL. */
void session_finish(struct device_session *s, err_t err, const struct fault *why);
void session_finish_storage(struct device_session *s, err_t err);
/* ERR_BUSY while the flood interval forbids an opening heartbeat. */
MUST_USE err_t session_check_hold(struct device *d, struct fault *fault);

#endif
