#include "common/config_common.h"

#include <unistd.h>

const struct codec_name config_log_levels[] = {
    {LOG_LEVEL_DEBUG, "debug"},
    {LOG_LEVEL_INFO, "info"},
    {LOG_LEVEL_WARN, "warn"},
    {LOG_LEVEL_ERROR, "error"},
    {0, NULL},
};

void common_config_start_log(const struct common_config *config, const char *service)
{
    log_init(&(struct log_options){.service = service,
                                   .instance = config->instance,
                                   .level = config->log_level,
                                   .debug_topics = config->log_debug,
                                   .fd = STDOUT_FILENO});
}
