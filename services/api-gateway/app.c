#include "app.h"

#include <stdio.h>

#include "common/log.h"
#include "common/seal.h"
#include "config.h"
#include "door.h"
#include "registry_owner.h"
#include "registry_sweep.h"

#define DOOR_STOP_MS  4000
#define OWNER_STOP_MS 4000
#define SWEEP_STOP_MS 1000

struct app {
    struct door_service *door;
    struct processor *owner;
    struct registry_sweep *sweep;
};

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

static err_t start_owner(struct app *app, const struct service *service)
{
    const struct processor_options options = service_processor(service);
    err_t err = processor_new(&registry_owner_app, NULL, &options, &app->owner);
    if (err == ERR_OK) {
        err = processor_start(app->owner);
    }
    return err == ERR_OK ? registry_sweep_start(service->common, &app->sweep) : err;
}

static err_t start_door(struct app *app, const struct service *service, struct fault *fault)
{
    err_t err = door_service_start(service->settings, service->metrics, &app->door, fault);
    if (err == ERR_OK) {
        log_info(NULL, "door_open", LOG_UINT("port", door_service_port(app->door)));
    }
    return err;
}

err_t app_check(const void *settings, struct fault *fault)
{
    const struct config *config = settings;
    CLEANUP(seal_kek_free) struct seal_kek *kek = NULL;
    if (config->webhook_kek_file[0] != '\0' &&
        seal_kek_read(config->webhook_kek_file, &kek, fault) != ERR_OK) {
        (void)snprintf(fault->field, sizeof fault->field, "webhook.kek_file");
        return ERR_INVALID;
    }
    return ERR_OK;
}

err_t app_start(const struct service *service, void **ret_app, struct fault *fault)
{
    const struct config *config = service->settings;
    struct app *app = xcalloc(1, sizeof *app);
    *ret_app = app;
    err_t err = config_has_owner(config) ? start_owner(app, service) : ERR_OK;
    if (err == ERR_OK && config_has_door(config)) {
        err = start_door(app, service, fault);
    }
    if (err != ERR_OK) {
        return err;
    }
    if (app->door != NULL) {
        lifecycle_on_stop(service->lifecycle, "door", DOOR_STOP_MS, stop_door, app);
    }
    if (app->owner != NULL) {
        lifecycle_on_stop(service->lifecycle, "sweep", SWEEP_STOP_MS, stop_sweep, app);
        lifecycle_on_stop(service->lifecycle, "registry", OWNER_STOP_MS, stop_owner, app);
    }
    return ERR_OK;
}

void app_ready(void *arg, struct admin_reasons *reasons)
{
    struct app *app = arg;
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

void app_free(void *arg)
{
    struct app *app = arg;
    door_service_free(app->door);
    registry_sweep_free(app->sweep);
    processor_free(app->owner);
    free(app);
}
