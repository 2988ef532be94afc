#include "config.h"

#include "common/version.h"

static const struct config_row rows[] = {
    CONFIG_COMMON_ROWS(struct config, common),
    CONFIG_INT(struct config, feed_window, "feed.window", "500", 1, 1000, "devices",
               "Devices of an order handed to their owners at once; the next ones follow when "
               "these were taken."),
    CONFIG_DURATION(
        struct config, scan_interval_ms, "scan.interval", "10s", 100, 3600000,
        "Time between two searches for certificates that are due for automatic renewal."),
    CONFIG_INT(struct config, scan_batch, "scan.batch", "500", 1, 1000, "devices",
               "Most devices ordered per CA and partition in one search."),
    CONFIG_DURATION(
        struct config, resend_ms, "scan.resend", "60s", 1000, 86400000,
        "A device that stays due is ordered again after this time, then after twice as long "
        "each time, up to 1h."),
};

const struct config_spec config_spec = {
    .program = "scheduler",
    .summary = "owns orders, feeds them to the devices' owners, and orders automatic renewals",
    .rows = rows,
    .count = sizeof rows / sizeof rows[0],
    .size = sizeof(struct config),
    .versions = version_libraries,
};
