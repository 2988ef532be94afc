/* Owns every long-lived object of heartbeat-ingest, and their order. For common/service.h. */
#ifndef HEARTBEAT_INGEST_APP_H
#define HEARTBEAT_INGEST_APP_H

#include "common/service.h"

err_t app_start(const struct service *service, void **ret_app, struct fault *fault) MUST_USE;
void app_ready(void *arg, struct admin_reasons *reasons);
void app_free(void *arg);

#endif
