/* The settings of ca-signer: one table (config.c), from which --help, --print-config and the checks
 * come. */
#ifndef CA_SIGNER_CONFIG_H
#define CA_SIGNER_CONFIG_H

#include "common/config_common.h"

struct config {
    struct common_config common;
    char kek_file[512];
    int64_t batch_max;
    int64_t transaction_spacing_ms;
    int64_t transaction_timeout_ms;
    int64_t session_timeout_ms;
    int64_t workers;
    int64_t backdate_ms;
};

extern const struct config_spec config_spec;

#endif
