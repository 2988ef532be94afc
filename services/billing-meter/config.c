#include "config.h"

#include "common/version.h"

static const struct config_row rows[] = {
    CONFIG_COMMON_ROWS(struct config, common),
    CONFIG_INT(struct config, batch_max, "batch.max", "1000", 1, 5000, "requests",
               "Most installs in one transaction."),
    CONFIG_DURATION(struct config, transaction_spacing_ms, "batch.spacing", "20ms", 1, 1000,
                    "Shortest time from a commit to the next transaction, unless a batch is full."),
};

const struct config_spec config_spec = {
    .program = "billing-meter",
    .summary = "turns proven installs into charges, exactly once",
    .rows = rows,
    .count = sizeof rows / sizeof rows[0],
    .size = sizeof(struct config),
    .versions = version_libraries,
};
