#include "app.h"

#include "ca_app.h"
#include "ca_keys.h"
#include "common/admin_server.h"
#include "common/log.h"
#include "device_app.h"

#define STOP_MS 4000

struct app {
    struct metrics *metrics;
    struct keystore *store;
    struct ca_keys *keys;
    struct device_snapshot *snapshot;
    struct device_app device_app;
    struct ca_app ca_app;
    struct processor *devices;
    struct processor *cas;
    struct admin_server *admin;
    struct lifecycle *lifecycle;
};

static void check_processor(struct processor *p, const char *part, struct admin_reasons *reasons)
{
    char reason[256];
    if (!processor_ready(p, reason, sizeof reason)) {
        admin_not_ready(reasons, part, reason);
    }
}

static void ready(void *ctx, struct admin_reasons *reasons)
{
    struct app *app = ctx;
    if (lifecycle_stopping(app->lifecycle)) {
        admin_not_ready(reasons, "process", "stopping");
    }
    if (!ca_keys_ready(app->keys)) {
        admin_not_ready(reasons, "keys", "the CA keys have not been read yet");
    }
    check_processor(app->devices, "devices", reasons);
    check_processor(app->cas, "cas", reasons);
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

static struct processor_options processor_options_of(const struct app *app,
                                                     const struct config *config)
{
    return (struct processor_options){
        .brokers = config->common.kafka_brokers,
        .instance = config->common.instance,
        .redis_address = config->common.redis_address,
        .redis_user = config->common.redis_user,
        .redis_password = (const char *)config->common.redis_password.value,
        .batch_max = (unsigned)config->batch_max,
        .transaction_spacing_ms = (unsigned)config->transaction_spacing_ms,
        .transaction_timeout_ms = (unsigned)config->transaction_timeout_ms,
        .session_timeout_ms = (unsigned)config->session_timeout_ms,
        .workers = (unsigned)config->workers,
        .metrics = app->metrics,
    };
}

static err_t make_snapshot(struct app *app, const struct config *config)
{
    char host[128];
    uint16_t port = 0;
    err_t e = config_split_host_port(config->common.redis_address, host, sizeof host, &port);
    if (e != ERR_OK) {
        return e;
    }
    const struct redis_config redis = {
        .host = host,
        .port = port,
        .user = config->common.redis_user[0] != 0 ? config->common.redis_user : NULL,
        .password = config->common.redis_password.len > 0
                        ? (const char *)config->common.redis_password.value
                        : NULL,
        .client_name = "ca-signer.snapshot",
    };
    const struct device_snapshot_options options = {.brokers = config->common.kafka_brokers,
                                                    .instance = config->common.instance,
                                                    .redis = redis_new(&redis),
                                                    .keys = app->keys};
    return device_snapshot_new(&options, &app->snapshot);
}

static err_t make_parts(struct app *app, const struct config *config, const char **ret_part)
{
    int64_t backdate_s = config->backdate_ms / 1000;
    struct fault fault = {0};
    *ret_part = "keystore";
    err_t e = keystore_file_new(config->kek_file, &app->store, &fault);
    if (e != ERR_OK) {
        log_error(NULL, "keystore_unusable", LOG_STR("text", fault.text));
        return e;
    }
    *ret_part = "keys";
    e = ca_keys_new(config->common.kafka_brokers, config->common.instance, app->store, &app->keys);
    if (e == ERR_OK) {
        *ret_part = "snapshot";
        e = make_snapshot(app, config);
    }
    const struct processor_options options = processor_options_of(app, config);
    if (e == ERR_OK) {
        *ret_part = "ca processor";
        ca_app_init(&app->ca_app, app->store, config->common.kafka_brokers, backdate_s,
                    app->metrics);
        e = processor_new(&ca_processor, &app->ca_app, &options, &app->cas);
    }
    if (e == ERR_OK) {
        *ret_part = "device processor";
        device_app_init(&app->device_app, app->snapshot, config->common.kafka_brokers, backdate_s,
                        app->metrics);
        e = processor_new(&device_processor, &app->device_app, &options, &app->devices);
    }
    return e;
}

static err_t start_admin(struct app *app, const struct config *config)
{
    struct fault fault = {0};
    const struct admin_server_options admin = {.listen = config->common.metrics_address,
                                               .metrics = app->metrics,
                                               .ready = ready,
                                               .ctx = app};
    err_t e = admin_server_start(&admin, &app->admin, &fault);
    if (e != ERR_OK) {
        log_error(NULL, "admin_server_unusable", LOG_STR("text", fault.text));
    }
    return e;
}

static err_t start_parts(struct app *app, const struct config *config, const char **ret_part)
{
    *ret_part = "admin server";
    err_t e = start_admin(app, config);
    if (e == ERR_OK) {
        *ret_part = "keys";
        e = ca_keys_start(app->keys);
    }
    if (e == ERR_OK) {
        *ret_part = "ca processor";
        e = processor_start(app->cas);
    }
    if (e == ERR_OK) {
        *ret_part = "device processor";
        e = processor_start(app->devices);
    }
    return e;
}

err_t app_check(const struct config *config, struct fault *fault)
{
    CLEANUP(keystore_free) struct keystore *store = NULL;
    return keystore_file_new(config->kek_file, &store, fault);
}

err_t app_start(const struct config *config, struct lifecycle *lifecycle, struct app **ret)
{
    CLEANUP(app_free) struct app *app = xcalloc(1, sizeof *app);
    app->lifecycle = lifecycle;
    app->metrics = metrics_new();
    metrics_add_process(app->metrics, config_spec.program);
    const char *part = "";
    err_t e = make_parts(app, config, &part);
    if (e == ERR_OK) {
        e = start_parts(app, config, &part);
    }
    if (e != ERR_OK) {
        log_fatal(NULL, "start_failed", LOG_STR("part", part), LOG_ERR("error", e));
        return e;
    }
    lifecycle_on_stop(lifecycle, "devices", STOP_MS, stop_devices, app);
    lifecycle_on_stop(lifecycle, "cas", STOP_MS, stop_cas, app);
    lifecycle_on_stop(lifecycle, "keys", STOP_MS / 2, stop_keys, app);
    *ret = TAKE(app);
    return ERR_OK;
}

/* Threads first, then what they look at: signers of ended threads hold keys of the store. */
void app_free(struct app *app)
{
    admin_server_free(app->admin);
    processor_free(app->devices);
    processor_free(app->cas);
    device_snapshot_free(app->snapshot);
    ca_keys_free(app->keys);
    keystore_free(app->store);
    metrics_free(app->metrics);
    free(app);
}
