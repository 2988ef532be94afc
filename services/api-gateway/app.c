#include "app.h"

#include <stdio.h>

#include "common/admin_server.h"
#include "common/lifecycle.h"
#include "common/log.h"
#include "common/processor.h"
#include "common/seal.h"
#include "door.h"
#include "registry_owner.h"
#include "registry_sweep.h"

#define SERVICE "api-gateway"

#define DOOR_STOP_MS  4000
#define OWNER_STOP_MS 4000
#define SWEEP_STOP_MS 1000

struct app {
    const struct config *config;
    struct metrics *metrics;
    struct door_service *door;
    struct processor *owner;
    struct registry_sweep *sweep;
    struct admin_server *admin;
};

static void app_deinit(struct app *app)
{
    admin_server_free(app->admin);
    door_service_free(app->door);
    registry_sweep_free(app->sweep);
    processor_free(app->owner);
    metrics_free(app->metrics);
}
CLEANUP_DEFINE_EMBEDDED(struct app, app_deinit);

static void ready(void *ctx, struct admin_reasons *reasons)
{
    struct app *app = ctx;
    char text[128] = "";
    const char *reason = "";
    if (app->door != NULL && !door_service_ready(app->door, &reason)) {
        admin_not_ready(reasons, "door", reason);
    }
    if (app->owner != NULL && processor_broken(app->owner)) {
        admin_not_ready(reasons, "registry", "a partition stopped with an alarm; see the log");
    } else if (app->owner != NULL && !processor_ready(app->owner, text, sizeof text)) {
        admin_not_ready(reasons, "registry", text);
    }
}

static err_t stop_door(void *arg, int64_t limit_ms)
{
    struct app *app = arg;
    door_service_stop(app->door, (uint32_t)(limit_ms / 2));
    return ERR_OK;
}

static err_t stop_owner(void *arg, int64_t limit_ms)
{
    struct app *app = arg;
    return processor_stop(app->owner, (unsigned)limit_ms);
}

static err_t stop_sweep(void *arg, int64_t limit_ms)
{
    struct app *app = arg;
    (void)limit_ms;
    registry_sweep_free(TAKE(app->sweep));
    return ERR_OK;
}

static err_t start_owner(struct app *app)
{
    const struct common_config *c = &app->config->common;
    const struct processor_options options = {
        .brokers = c->kafka_brokers,
        .instance = c->instance,
        .redis_address = c->redis_address,
        .redis_user = c->redis_user[0] != '\0' ? c->redis_user : NULL,
        .redis_password = c->redis_password.len > 0 ? (const char *)c->redis_password.value : NULL,
        .metrics = app->metrics,
    };
    err_t err = processor_new(&registry_owner_app, NULL, &options, &app->owner);
    if (err == ERR_OK) {
        err = processor_start(app->owner);
    }
    return err == ERR_OK ? registry_sweep_start(c, &app->sweep) : err;
}

static err_t start(struct app *app, struct fault *fault)
{
    app->metrics = metrics_new();
    metrics_add_process(app->metrics, SERVICE);
    if (config_has_owner(app->config)) {
        err_t err = start_owner(app);
        if (err != ERR_OK) {
            return err;
        }
    }
    if (config_has_door(app->config)) {
        err_t err = door_service_start(app->config, app->metrics, &app->door, fault);
        if (err != ERR_OK) {
            return err;
        }
    }
    const struct admin_server_options admin = {.listen = app->config->common.metrics_address,
                                               .metrics = app->metrics,
                                               .ready = ready,
                                               .ctx = app};
    return admin_server_start(&admin, &app->admin, fault);
}

int app_check(const struct config *config)
{
    struct fault fault;
    CLEANUP(seal_kek_free) struct seal_kek *kek = NULL;
    if (config->webhook_kek_file[0] != '\0' &&
        seal_kek_read(config->webhook_kek_file, &kek, &fault) != ERR_OK) {
        (void)fprintf(stderr, "webhook.kek_file: %s\n", fault.text);
        return err_exit_status(ERR_INVALID);
    }
    return 0;
}

int app_run(const struct config *config)
{
    CLEANUP(lifecycle_free) struct lifecycle *lifecycle = NULL;
    if (lifecycle_new(LIFECYCLE_STOP_MS, &lifecycle) != ERR_OK) {
        return err_exit_status(ERR_UNAVAILABLE);
    }
    common_config_start_log(&config->common, SERVICE);
    CLEANUP(app_deinit) struct app app = {.config = config};
    struct fault fault = {0};
    err_t err = start(&app, &fault);
    if (err != ERR_OK) {
        log_fatal(NULL, "start_failed", LOG_ERR("error", err), LOG_STR("setting", fault.field),
                  LOG_STR("text", fault.text));
        return err_exit_status(err);
    }
    if (app.door != NULL) {
        lifecycle_on_stop(lifecycle, "door", DOOR_STOP_MS, stop_door, &app);
    }
    if (app.owner != NULL) {
        lifecycle_on_stop(lifecycle, "sweep", SWEEP_STOP_MS, stop_sweep, &app);
        lifecycle_on_stop(lifecycle, "registry", OWNER_STOP_MS, stop_owner, &app);
    }
    log_info(NULL, "ready", LOG_UINT("port", app.door != NULL ? door_service_port(app.door) : 0),
             LOG_UINT("metrics_port", admin_server_port(app.admin)));
    return lifecycle_run(lifecycle);
}
