/* The settings of scheduler: one table (config.c), from which --help, --print-config and the checks
 * come. */
#ifndef SCHEDULER_CONFIG_H
#define SCHEDULER_CONFIG_H

#include "common/config_common.h"

struct config {
    struct common_config common;
    int64_t feed_window;
    int64_t scan_interval_ms;
    int64_t scan_batch;
    int64_t resend_ms;
};

extern const struct config_spec config_spec;

#endif
