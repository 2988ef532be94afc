/* Owns every long-lived object of ca-signer, and their order. For common/service.h. */
#ifndef CA_SIGNER_APP_H
#define CA_SIGNER_APP_H

#include "common/service.h"

/* The key store opens. */
err_t app_check(const void *settings, struct fault *fault) MUST_USE;
err_t app_start(const struct service *service, void **ret_app, struct fault *fault) MUST_USE;
void app_ready(void *arg, struct admin_reasons *reasons);
void app_free(void *arg);

#endif
