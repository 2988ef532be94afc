/* Owns every long-lived object of webhook-notifier, and their order. Main thread. */
#ifndef WEBHOOK_NOTIFIER_APP_H
#define WEBHOOK_NOTIFIER_APP_H

#include "common/err.h"
#include "common/lifecycle.h"
#include "common/seal.h"
#include "config.h"

struct app;

/* Starts everything and registers how it stops; `kek` is borrowed for the life of the app. Kafka or
 * Redis being away is not an error. */
err_t app_start(const struct config *config, const struct seal_kek *kek,
                struct lifecycle *lifecycle, struct app **ret) MUST_USE;
/* After lifecycle_run. */
void app_free(struct app *app);
CLEANUP_DEFINE(struct app *, app_free);

#endif
