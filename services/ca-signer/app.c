#include "app.h"

#include <stdio.h>

#include "ca_app.h"
#include "ca_keys.h"
#include "config.h"
#include "device_app.h"

#define STOP_MS 4000

struct app {
    struct keystore *store;
    struct ca_keys *keys;
    struct device_snapshot *snapshot;
    struct device_app device_app;
    struct ca_app ca_app;
    struct processor *devices;
    struct processor *cas;
};

static void check_processor(struct processor *p, const char *part, struct admin_reasons *reasons)
{
    char reason[256];
    if (!processor_ready(p, reason, sizeof reason)) {
        admin_not_ready(reasons, part, reason);
    }
}

static err_t stop_devices(void *arg, int64_t limit_ms)
{
    return processor_stop(((struct app *)arg)->devices, (unsigned)limit_ms);
}

static err_t stop_cas(void *arg, int64_t limit_ms)
{
    return processor_stop(((struct app *)arg)->cas, (unsigned)limit_ms);
}

static err_t stop_keys(void *arg, int64_t limit_ms)
{
    (void)limit_ms; /* ends with its current call */
    ca_keys_stop(((struct app *)arg)->keys);
    return ERR_OK;
}

static struct processor_options processor_options_of(const struct service *service)
{
    const struct config *config = service->settings;
    struct processor_options options = service_processor(service);
    options.batch_max = (unsigned)config->batch_max;
    options.transaction_spacing_ms = (unsigned)config->transaction_spacing_ms;
    options.transaction_timeout_ms = (unsigned)config->transaction_timeout_ms;
    options.session_timeout_ms = (unsigned)config->session_timeout_ms;
    options.workers = (unsigned)config->workers;
    return options;
}

static err_t make_snapshot(struct app *app, const struct service *service)
{
    const struct device_snapshot_options options = {
        .brokers = service->common->kafka_brokers,
        .instance = service->common->instance,
        .redis = service_redis(service, "ca-signer.snapshot"),
        .keys = app->keys};
    return device_snapshot_new(&options, &app->snapshot);
}

static err_t open_store(const struct config *config, struct keystore **ret, struct fault *fault)
{
    err_t e = keystore_file_new(config->kek_file, ret, fault);
    if (e != ERR_OK) {
        (void)snprintf(fault->field, sizeof fault->field, "keystore.kek_file");
    }
    return e;
}

static err_t make_parts(struct app *app, const struct service *service, struct fault *fault)
{
    const struct config *config = service->settings;
    const struct processor_options options = processor_options_of(service);
    int64_t backdate_s = config->backdate_ms / 1000;
    err_t e = open_store(config, &app->store, fault);
    if (e != ERR_OK) {
        return e;
    }
    e = ca_keys_new(config->common.kafka_brokers, config->common.instance, app->store, &app->keys);
    if (e == ERR_OK) {
        e = make_snapshot(app, service);
    }
    if (e == ERR_OK) {
        ca_app_init(&app->ca_app, app->store, backdate_s, service->metrics);
        e = processor_new(&ca_processor, &app->ca_app, &options, &app->cas);
    }
    if (e == ERR_OK) {
        device_app_init(&app->device_app, app->snapshot, backdate_s, service->metrics);
        e = processor_new(&device_processor, &app->device_app, &options, &app->devices);
    }
    return e;
}

static err_t start_parts(struct app *app)
{
    err_t e = ca_keys_start(app->keys);
    if (e == ERR_OK) {
        e = processor_start(app->cas);
    }
    return e == ERR_OK ? processor_start(app->devices) : e;
}

err_t app_check(const void *settings, struct fault *fault)
{
    CLEANUP(keystore_free) struct keystore *store = NULL;
    return open_store(settings, &store, fault);
}

err_t app_start(const struct service *service, void **ret_app, struct fault *fault)
{
    struct app *app = xcalloc(1, sizeof *app);
    *ret_app = app;
    err_t e = make_parts(app, service, fault);
    if (e == ERR_OK) {
        e = start_parts(app);
    }
    if (e != ERR_OK) {
        return e;
    }
    lifecycle_on_stop(service->lifecycle, "devices", STOP_MS, stop_devices, app);
    lifecycle_on_stop(service->lifecycle, "cas", STOP_MS, stop_cas, app);
    lifecycle_on_stop(service->lifecycle, "keys", STOP_MS / 2, stop_keys, app);
    return ERR_OK;
}

void app_ready(void *arg, struct admin_reasons *reasons)
{
    struct app *app = arg;
    if (!ca_keys_ready(app->keys)) {
        admin_not_ready(reasons, "keys", "the CA keys have not been read yet");
    }
    check_processor(app->devices, "devices", reasons);
    check_processor(app->cas, "cas", reasons);
}

/* Threads first, then what they look at: signers of ended threads hold keys of the store. */
void app_free(void *arg)
{
    struct app *app = arg;
    processor_free(app->devices);
    processor_free(app->cas);
    device_snapshot_free(app->snapshot);
    ca_keys_free(app->keys);
    keystore_free(app->store);
    free(app);
}
