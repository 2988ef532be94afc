/* The settings of webhook-notifier: one table (config.c), from which --help, --print-config and the
 * checks come. */
#ifndef WEBHOOK_NOTIFIER_CONFIG_H
#define WEBHOOK_NOTIFIER_CONFIG_H

#include "common/config_common.h"
#include "retry.h"

struct config {
    struct common_config common;
    char kek_file[512];
    bool allow_private;
    bool allow_http;
    char ca_file[512];
    int64_t connect_timeout_ms;
    int64_t timeout_ms;
    int64_t per_endpoint;
    int64_t in_flight;
    int64_t pending;
    int64_t pending_bytes;
    int64_t endpoint_pending;
    char retry_tiers[200];
    int64_t give_up_ms;
    int64_t disable_after_ms;
    int64_t breaker_failures;
    int64_t breaker_open_ms;
};

extern const struct config_spec config_spec;

#endif
