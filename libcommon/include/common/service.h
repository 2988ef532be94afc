/*
 * What every service's main() does, in one place: settings, log, signals, the port of operations,
 * the service's own parts, waiting for the end, and the end. A service fills in a struct
 * service_spec; its parts register how they are stopped with lifecycle_on_stop.
 *
 *     config_main -> --check-config | log -> signals -> /healthz, /readyz, /metrics -> start
 *     -> SIGTERM or lifecycle_stop -> the steps, in their order -> free -> exit status
 *
 * The port of operations is there from the beginning to the end: a service that cannot start yet
 * says so on /readyz, as one that stops does.
 */
#ifndef COMMON_SERVICE_H
#define COMMON_SERVICE_H

#include <stdatomic.h>

#include "common/admin_server.h"
#include "common/config_common.h"
#include "common/kafka_common.h"
#include "common/lifecycle.h"
#include "common/processor.h"
#include "common/redis.h"

/* The running service, for its parts; all borrowed, and alive until `free` has returned. */
struct service {
    const void *settings;
    const struct common_config *common; /* inside the settings */
    struct lifecycle *lifecycle;
    struct metrics *metrics;
};

struct service_spec {
    const struct config_spec *config;
    void *settings;                     /* config->size bytes; filled in, wiped at the end */
    const struct common_config *common; /* inside */
    /* What --check-config can tell beyond the settings themselves (keys that open, ...): on an
     * error `fault` names the setting. May be NULL. Before the log is there. */
    err_t (*check)(const void *settings, struct fault *fault);
    /* Makes and starts the parts and registers how they stop. On an error *ret_app is NULL or what
     * `free` shall end and free, and `fault` may say more. Kafka or Redis being away is no error.
     */
    err_t (*start)(const struct service *service, void **ret_app, struct fault *fault);
    /* As in admin_server.h; not called before `start` nor after the stop has begun. Any thread. */
    void (*ready)(void *app, struct admin_reasons *reasons);
    /* After all steps of the stop, or after a start that failed. */
    void (*free)(void *app);
};

/* The whole of main. Returns the exit status. */
int service_main(const struct service_spec *spec, int argc, char *const *argv);

/* Connections as the common settings want them. `host` is what the result points at, `client_name`
 * a constant. */
#define SERVICE_HOST_SIZE 128
struct redis_config service_redis_config(const struct service *service, const char *client_name,
                                         char host[SERVICE_HOST_SIZE]);
struct redis *service_redis(const struct service *service, const char *client_name)
    __attribute__((returns_nonnull));
struct kafka_config service_kafka(const struct service *service);
struct processor_options service_processor(const struct service *service);

/* The number of partitions of a topic, waiting for Kafka until it tells or `stopping` turns true
 * (then 0). Logs that it waits. */
int32_t service_wait_partitions(const struct service *service, const char *topic,
                                const atomic_bool *stopping);
/* Sleeps, unless `stopping` is true already. */
void service_rest(const atomic_bool *stopping, long ms);

#endif
