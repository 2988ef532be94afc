#include "common/service.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "common/kafka_admin.h"
#include "common/log.h"

#define USAGE_STATUS 64
#define ASK_MS       2000
#define ASK_AGAIN_MS 200

struct running {
    const struct service_spec *spec;
    struct service service;
    struct admin_server *admin;
    void *app;
    atomic_bool started;
};

static void ready(void *ctx, struct admin_reasons *reasons)
{
    struct running *r = ctx;
    if (lifecycle_stopping(r->service.lifecycle)) {
        admin_not_ready(reasons, "process", "stopping");
    } else if (!atomic_load(&r->started)) {
        admin_not_ready(reasons, "process", "starting");
    } else if (r->spec->ready != NULL) {
        r->spec->ready(r->app, reasons);
    }
}

static void running_deinit(struct running *r)
{
    admin_server_free(r->admin); /* it looks at the app, also by gauges */
    if (r->app != NULL) {
        r->spec->free(r->app);
    }
    metrics_free(r->service.metrics);
    lifecycle_free(r->service.lifecycle);
    config_wipe(r->spec->config, r->spec->settings);
}
CLEANUP_DEFINE_EMBEDDED(struct running, running_deinit);

static err_t start_admin(struct running *r, struct fault *fault)
{
    r->service.metrics = metrics_new();
    metrics_add_process(r->service.metrics, r->spec->config->program);
    const struct admin_server_options options = {.listen = r->spec->common->metrics_address,
                                                 .metrics = r->service.metrics,
                                                 .ready = ready,
                                                 .ctx = r};
    return admin_server_start(&options, &r->admin, fault);
}

static int run(struct running *r)
{
    struct fault fault = {0};
    const char *part = "lifecycle";
    err_t e = lifecycle_new(LIFECYCLE_STOP_MS, &r->service.lifecycle);
    if (e == ERR_OK) {
        part = "admin_server";
        e = start_admin(r, &fault);
    }
    if (e == ERR_OK) {
        part = "service";
        e = r->spec->start(&r->service, &r->app, &fault);
    }
    if (e != ERR_OK) {
        log_fatal(NULL, "start_failed", LOG_STR("part", part), LOG_ERR("error", e),
                  LOG_STR("field", fault.field), LOG_STR("text", fault.text));
        return err_exit_status(e);
    }
    atomic_store(&r->started, true);
    log_info(NULL, "started", LOG_UINT("metrics_port", admin_server_port(r->admin)));
    int status = lifecycle_run(r->service.lifecycle);
    if (lifecycle_unfinished(r->service.lifecycle)) {
        _exit(status); /* a thread that did not stop in time still uses what would be freed */
    }
    return status;
}

static int check(const struct service_spec *spec)
{
    struct fault fault = {0};
    err_t e = spec->check != NULL ? spec->check(spec->settings, &fault) : ERR_OK;
    if (e != ERR_OK) {
        (void)fprintf(stderr, "%s: %s: %s\n", spec->config->program, fault.field, fault.text);
    }
    config_wipe(spec->config, spec->settings);
    return err_exit_status(e);
}

int service_main(const struct service_spec *spec, int argc, char *const *argv)
{
    switch (config_main(spec->config, argc, argv, spec->settings)) {
    case CONFIG_RUN:
        break;
    case CONFIG_CHECK:
        return check(spec);
    case CONFIG_EXIT:
        return 0;
    case CONFIG_FAIL:
        return USAGE_STATUS;
    }
    common_config_start_log(spec->common, spec->config->program);
    CLEANUP(running_deinit)
    struct running r = {.spec = spec,
                        .service = {.settings = spec->settings, .common = spec->common}};
    return run(&r);
}

/* ---- for the parts ---- */

static const char *user_of(const struct common_config *c)
{
    return c->redis_user[0] != '\0' ? c->redis_user : NULL;
}

static const char *password_of(const struct common_config *c)
{
    return c->redis_password.len > 0 ? (const char *)c->redis_password.value : NULL;
}

struct redis_config service_redis_config(const struct service *service, const char *client_name,
                                         char host[SERVICE_HOST_SIZE])
{
    const struct common_config *c = service->common;
    uint16_t port = 0;
    if (config_split_host_port(c->redis_address, host, SERVICE_HOST_SIZE, &port) != ERR_OK) {
        abort(); /* the configuration was checked */
    }
    return (struct redis_config){.host = host,
                                 .port = port,
                                 .user = user_of(c),
                                 .password = password_of(c),
                                 .client_name = client_name};
}

struct redis *service_redis(const struct service *service, const char *client_name)
{
    char host[SERVICE_HOST_SIZE];
    const struct redis_config config = service_redis_config(service, client_name, host);
    return redis_new(&config);
}

struct kafka_config service_kafka(const struct service *service)
{
    return (struct kafka_config){.brokers = service->common->kafka_brokers,
                                 .client_id = service->common->instance};
}

struct processor_options service_processor(const struct service *service)
{
    const struct common_config *c = service->common;
    return (struct processor_options){.brokers = c->kafka_brokers,
                                      .instance = c->instance,
                                      .redis_address = c->redis_address,
                                      .redis_user = user_of(c),
                                      .redis_password = password_of(c),
                                      .metrics = service->metrics};
}

static err_t ask_partitions(const struct service *service, const char *topic, int32_t *ret)
{
    CLEANUP(kafka_admin_free) struct kafka_admin *admin = NULL;
    const struct kafka_config kafka = service_kafka(service);
    err_t e = kafka_admin_new(&kafka, NULL, &admin);
    return e == ERR_OK ? kafka_admin_partition_count(admin, topic, ASK_MS, ret) : e;
}

int32_t service_wait_partitions(const struct service *service, const char *topic,
                                const atomic_bool *stopping)
{
    while (!atomic_load(stopping)) {
        int32_t partitions = 0;
        err_t e = ask_partitions(service, topic, &partitions);
        if (e == ERR_OK) {
            return partitions;
        }
        log_limited(LOG_LEVEL_WARN, NULL, "waiting_for_kafka", LOG_ERR("error", e));
        service_rest(stopping, ASK_AGAIN_MS);
    }
    return 0;
}

void service_rest(const atomic_bool *stopping, long ms)
{
    if (!atomic_load(stopping)) {
        (void)nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000},
                        NULL);
    }
}
