/*
 * The gateway's settings, read once by main and handed on. Main thread.
 */
#ifndef API_GATEWAY_CONFIG_H
#define API_GATEWAY_CONFIG_H

#include "common/config.h"
#include "common/config_common.h"

enum gateway_role { GATEWAY_BOTH, GATEWAY_DOOR, GATEWAY_OWNER };

struct config {
    struct common_config common;
    enum gateway_role role;
    char listen[128];
    char tls_cert_file[512];
    char tls_key_file[512];
    struct config_secret token_key;
    struct config_secret operator_token;
    char webhook_kek_file[512];
    int64_t answer_timeout_ms;
    int64_t rate_requests, rate_burst;
    int64_t login_rate, login_burst;
    int64_t threads;
    int64_t connections_max;
    int64_t connections_per_address;
    int64_t list_scan_max;
};

extern const struct config_spec config_spec;

static inline bool config_has_door(const struct config *c)
{
    return c->role != GATEWAY_OWNER;
}
static inline bool config_has_owner(const struct config *c)
{
    return c->role != GATEWAY_DOOR;
}

#endif
