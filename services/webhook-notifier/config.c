#include "config.h"

#include "common/version.h"

#define DAY_MS INT64_C(86400000)

static const struct config_row rows[] = {
    CONFIG_COMMON_ROWS(struct config, common),
    CONFIG_PATH(struct config, kek_file, "webhook.kek_file", CONFIG_REQUIRED,
                "32-byte key-encryption key of the webhooks' secrets, shared with api-gateway."),
    CONFIG_BOOL(struct config, allow_private, "webhook.allow_private", "false",
                "Also deliver to addresses that are not public: loopback, private, link-local."),
    CONFIG_BOOL(struct config, allow_http, "webhook.allow_http", "false",
                "Also deliver over plain HTTP; implied by webhook.allow_private."),
    CONFIG_PATH(struct config, ca_file, "webhook.ca_file", "",
                "PEM file of the authorities that endpoints' certificates are checked against; "
                "none: the system's."),
    CONFIG_DURATION(struct config, connect_timeout_ms, "send.connect_timeout", "5s", 100, 60000,
                    "Longest time for connecting to an endpoint."),
    CONFIG_DURATION(struct config, timeout_ms, "send.timeout", "15s", 100, 120000,
                    "Longest time for one delivery, connecting included."),
    CONFIG_INT(struct config, per_endpoint, "send.per_endpoint", "4", 1, 64, "deliveries",
               "Most deliveries under way to one endpoint."),
    CONFIG_INT(struct config, in_flight, "send.in_flight", "512", 1, 4096, "deliveries",
               "Most deliveries under way in total."),
    CONFIG_INT(
        struct config, pending, "send.pending", "10000", 1, 1000000, "deliveries",
        "Most deliveries in memory; more go to a retry tier, unless their endpoint holds less than "
        "its share."),
    CONFIG_SIZE(struct config, pending_bytes, "send.pending_bytes", "32MiB", 1048576,
                INT64_C(4294967296), "The same in bytes."),
    CONFIG_INT(struct config, endpoint_pending, "send.endpoint_pending", "2000", 1, 1000000,
               "deliveries", "Most deliveries in memory for one endpoint."),
    CONFIG_STRING(struct config, retry_tiers, "retry.tiers", "5s,1m,5m,30m,2h,6h",
                  "Delays after the first, second, ... failure; a topic "
                  "fleetseal.webhook.retry.<delay> must exist for each."),
    CONFIG_DURATION(struct config, give_up_ms, "retry.give_up", "24h", 1000, 30 * DAY_MS,
                    "A delivery is tried again for this long."),
    CONFIG_DURATION(struct config, disable_after_ms, "webhook.disable_after", "24h", 1000,
                    30 * DAY_MS, "A webhook that only fails for this long is disabled."),
    CONFIG_INT(struct config, breaker_failures, "breaker.failures", "5", 1, 1000, "failures",
               "Failures in a row after which an endpoint is left alone for a while."),
    CONFIG_DURATION(struct config, breaker_open_ms, "breaker.open", "30s", 100, 3600000,
                    "That while; then one delivery tries."),
};

static void check(const void *config, struct config_problems *problems)
{
    const struct config *c = config;
    struct retry_plan plan;
    if (retry_plan_parse(c->retry_tiers, c->give_up_ms, &plan) != ERR_OK) {
        config_problem(problems, "retry.tiers",
                       "must be at most %d ascending delays such as 5s,1m,2h", RETRY_TIERS_MAX);
    }
    if (c->connect_timeout_ms > c->timeout_ms) {
        config_problem(problems, "send.connect_timeout", "must not be longer than send.timeout");
    }
}

const struct config_spec config_spec = {
    .program = "webhook-notifier",
    .summary = "delivers lifecycle events to webhooks, signed, at least once",
    .rows = rows,
    .count = sizeof rows / sizeof rows[0],
    .size = sizeof(struct config),
    .check = check,
    .versions = version_libraries,
};
