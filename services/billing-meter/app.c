#include "app.h"

#include "common/admin_server.h"
#include "common/log.h"
#include "common/processor.h"
#include "ledger_app.h"

#define STOP_MS 8000

struct app {
    struct metrics *metrics;
    struct ledger_app ledger;
    struct processor *processor;
    struct admin_server *admin;
    struct lifecycle *lifecycle;
};

static void ready(void *ctx, struct admin_reasons *reasons)
{
    struct app *app = ctx;
    char reason[256];
    if (lifecycle_stopping(app->lifecycle)) {
        admin_not_ready(reasons, "process", "stopping");
    }
    if (!processor_ready(app->processor, reason, sizeof reason)) {
        admin_not_ready(reasons, "ledger", reason);
    }
}

static err_t stop_processor(void *arg, int64_t limit_ms)
{
    struct app *app = arg;
    return processor_stop(app->processor, (unsigned)limit_ms);
}

static err_t start_processor(struct app *app, const struct config *config)
{
    const struct processor_options options = {
        .brokers = config->common.kafka_brokers,
        .instance = config->common.instance,
        .redis_address = config->common.redis_address,
        .redis_user = config->common.redis_user,
        .redis_password = (const char *)config->common.redis_password.value,
        .batch_max = (unsigned)config->batch_max,
        .transaction_spacing_ms = (unsigned)config->transaction_spacing_ms,
        .metrics = app->metrics};
    ledger_app_init(&app->ledger, app->metrics);
    err_t e = processor_new(&ledger_processor, &app->ledger, &options, &app->processor);
    return e != ERR_OK ? e : processor_start(app->processor);
}

err_t app_start(const struct config *config, struct lifecycle *lifecycle, struct app **ret)
{
    struct fault fault = {0};
    CLEANUP(app_free) struct app *app = xcalloc(1, sizeof *app);
    app->lifecycle = lifecycle;
    app->metrics = metrics_new();
    metrics_add_process(app->metrics, config_spec.program);
    err_t e = start_processor(app, config);
    if (e != ERR_OK) {
        log_fatal(NULL, "start_failed", LOG_STR("part", "processor"), LOG_ERR("error", e));
        return e;
    }
    lifecycle_on_stop(lifecycle, "processor", STOP_MS, stop_processor, app);
    const struct admin_server_options admin = {.listen = config->common.metrics_address,
                                               .metrics = app->metrics,
                                               .ready = ready,
                                               .ctx = app};
    e = admin_server_start(&admin, &app->admin, &fault);
    if (e != ERR_OK) {
        log_fatal(NULL, "start_failed", LOG_STR("part", "admin_server"),
                  LOG_STR("text", fault.text));
        (void)stop_processor(app, STOP_MS);
        return e;
    }
    *ret = TAKE(app);
    return ERR_OK;
}

void app_free(struct app *app)
{
    admin_server_free(app->admin);
    processor_free(app->processor);
    metrics_free(app->metrics);
    free(app);
}
