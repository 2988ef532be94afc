/* The settings of billing-meter: one table (config.c), from which --help, --print-config and the
 * checks come. */
#ifndef BILLING_METER_CONFIG_H
#define BILLING_METER_CONFIG_H

#include "common/config_common.h"

struct config {
    struct common_config common;
    int64_t batch_max;
    int64_t transaction_spacing_ms;
};

extern const struct config_spec config_spec;

#endif
