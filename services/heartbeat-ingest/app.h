/* Owns every long-lived object of heartbeat-ingest, and their order. Main thread. */
#ifndef HEARTBEAT_INGEST_APP_H
#define HEARTBEAT_INGEST_APP_H

#include "common/err.h"
#include "common/lifecycle.h"
#include "config.h"

struct app;

/* Starts everything and registers how it stops. Kafka or Redis being away is not an error. */
err_t app_start(const struct config *config, struct lifecycle *lifecycle,
                struct app **ret) MUST_USE;
/* After lifecycle_run. */
void app_free(struct app *app);
CLEANUP_DEFINE(struct app *, app_free);

#endif
