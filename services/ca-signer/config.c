#include "config.h"

#include "common/version.h"

static const struct config_row rows[] = {
    CONFIG_COMMON_ROWS(struct config, common),
    CONFIG_PATH(
        struct config, kek_file, "keystore.kek_file", CONFIG_REQUIRED,
        "File with the key-encryption key of the CA keys: 32 raw bytes, for its owner only."),
    CONFIG_INT(struct config, batch_max, "batch.max", "1000", 1, 5000, "requests",
               "Most requests in one transaction."),
    CONFIG_DURATION(struct config, transaction_spacing_ms, "batch.spacing", "20ms", 1, 1000,
                    "Shortest time from a commit to the next transaction, unless a batch is full."),
    CONFIG_DURATION(struct config, transaction_timeout_ms, "kafka.transaction_timeout", "10s", 2000,
                    60000, "After this time the broker aborts a transaction that hangs."),
    CONFIG_DURATION(struct config, session_timeout_ms, "kafka.session_timeout", "30s", 6000, 300000,
                    "After this time the partitions of a silent replica move to another one."),
    CONFIG_INT(struct config, workers, "workers", "0", 0, 256, "threads",
               "Threads that verify and sign; 0: one per core."),
    CONFIG_DURATION(struct config, backdate_ms, "certificate.backdate", "5m", 0, 86400000,
                    "notBefore lies this far back, for devices whose clock is behind."),
};

const struct config_spec config_spec = {
    .program = "ca-signer",
    .summary = "owns CAs and devices: verifies proofs, signs certificates, keeps their records",
    .rows = rows,
    .count = sizeof rows / sizeof rows[0],
    .size = sizeof(struct config),
    .versions = version_libraries,
};
