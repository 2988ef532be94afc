/*
 * Sweeps stored results whose time is over: finds them by the view's `expire` index and asks the
 * registry's owner, in chunks, to drop them; while there is more, as fast as the owner does. Every
 * replica with the owner's role sweeps; the owner decides by the records themselves, so asking
 * twice is harmless.
 */
#ifndef API_GATEWAY_REGISTRY_SWEEP_H
#define API_GATEWAY_REGISTRY_SWEEP_H

#include "common/config_common.h"
#include "common/err.h"

struct registry_sweep;

/* Starts the thread; `config` is borrowed until free. */
err_t registry_sweep_start(const struct common_config *config,
                           struct registry_sweep **ret) MUST_USE;
/* Ends the thread, within about a second. Accepts NULL. */
void registry_sweep_free(struct registry_sweep *s);

#endif
