#include "app.h"

#include "config.h"
#include "ledger_app.h"

#define STOP_MS 8000

struct app {
    struct ledger_app ledger;
    struct processor *processor;
};

static err_t stop_processor(void *arg, int64_t limit_ms)
{
    struct app *app = arg;
    return processor_stop(app->processor, (unsigned)limit_ms);
}

err_t app_start(const struct service *service, void **ret_app, struct fault *fault)
{
    const struct config *config = service->settings;
    (void)fault;
    struct app *app = xcalloc(1, sizeof *app);
    *ret_app = app;
    struct processor_options options = service_processor(service);
    options.batch_max = (unsigned)config->batch_max;
    options.transaction_spacing_ms = (unsigned)config->transaction_spacing_ms;
    ledger_app_init(&app->ledger, service->metrics);
    err_t e = processor_new(&ledger_processor, &app->ledger, &options, &app->processor);
    if (e == ERR_OK) {
        e = processor_start(app->processor);
    }
    if (e != ERR_OK) {
        return e;
    }
    lifecycle_on_stop(service->lifecycle, "processor", STOP_MS, stop_processor, app);
    return ERR_OK;
}

void app_ready(void *arg, struct admin_reasons *reasons)
{
    struct app *app = arg;
    char reason[256];
    if (!processor_ready(app->processor, reason, sizeof reason)) {
        admin_not_ready(reasons, "ledger", reason);
    }
}

void app_free(void *arg)
{
    struct app *app = arg;
    processor_free(app->processor);
    free(app);
}
