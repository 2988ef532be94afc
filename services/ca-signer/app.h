/* Owns every long-lived object of ca-signer, and their order. Main thread. */
#ifndef CA_SIGNER_APP_H
#define CA_SIGNER_APP_H

#include "common/err.h"
#include "common/lifecycle.h"
#include "config.h"

struct app;

/* What only the program can check: opens the key-encryption key. The fault says what is wrong. */
err_t app_check(const struct config *config, struct fault *fault) MUST_USE;
/* Starts everything and registers how it stops. Kafka or Redis being away is not an error. */
err_t app_start(const struct config *config, struct lifecycle *lifecycle,
                struct app **ret) MUST_USE;
/* After lifecycle_run. */
void app_free(struct app *app);
CLEANUP_DEFINE(struct app *, app_free);

#endif
