/*
 * The settings every service shares: put a `struct common_config` into the service's own and
 * CONFIG_COMMON_ROWS at the head of its table. Main thread.
 */
#ifndef COMMON_CONFIG_COMMON_H
#define COMMON_CONFIG_COMMON_H

#include "common/config.h"
#include "common/log.h"

struct common_config {
    char instance[64];
    char kafka_brokers[512];
    char redis_address[128];
    char redis_user[64];
    struct config_secret redis_password;
    char metrics_address[128];
    enum log_level log_level;
    char log_debug[200];
};

extern const struct codec_name config_log_levels[];

/* T is the service's struct, c its member of type struct common_config. */
#define CONFIG_COMMON_ROWS(T, c)                                                                   \
    CONFIG_NAME(T, c.instance, "instance", CONFIG_REQUIRED,                                        \
                "Name of this replica: unique in its service, the same after a restart."),         \
        CONFIG_HOST_PORTS(T, c.kafka_brokers, "kafka.brokers", "127.0.0.1:9092",                   \
                          "Kafka brokers to start from."),                                         \
        CONFIG_HOST_PORT(T, c.redis_address, "redis.address", "127.0.0.1:6379", "Redis server."),  \
        CONFIG_STRING(T, c.redis_user, "redis.user", "",                                           \
                      "Redis user; none: the connection is not authenticated."),                   \
        CONFIG_SECRET(T, c.redis_password, "redis.password_file", "",                              \
                      "File with the password of the Redis user."),                                \
        CONFIG_LISTEN(T, c.metrics_address, "metrics.address", "127.0.0.1:9464",                   \
                      "Where /healthz, /readyz and /metrics are served."),                         \
        CONFIG_ENUM(T, c.log_level, "log.level", "info", config_log_levels,                        \
                    "Least level that is logged."),                                                \
        CONFIG_STRING(T, c.log_debug, "log.debug", "",                                             \
                      "Debug topics switched on singly, separated by commas.")

/* log_init from the settings, to standard output. `service` is the program's name. */
void common_config_start_log(const struct common_config *config, const char *service);

#endif
