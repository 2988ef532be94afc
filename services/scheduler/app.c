#include "app.h"

#include <pthread.h>
#include <stdatomic.h>

#include "auto_renew.h"
#include "common/log.h"
#include "config.h"
#include "feeder.h"
#include "order_app.h"
#include "proto/topics.h"

#define STOP_MS        8000
#define STEP_MS        20  /* between two windows */
#define IDLE_MS        100 /* between two looks for open orders */
#define ASK_MS         2000
#define PARTITIONS_MAX 1024
#define AGAIN_MS       1000 /* to the next search after one that failed */

/*
 * Two threads besides the main one: the processor's, and a worker that feeds orders and scans for
 * what is due. Each has its own Redis connection and fleet view.
 */
struct app {
    const struct service *service;
    const struct config *config;

    struct redis *owner_redis; /* processor thread, from its start */
    struct fleet_view *owner_fleet;
    struct order_app orders;
    struct processor *processor;
    atomic_bool processor_started;

    pthread_t worker;
    atomic_bool stopping;
    struct redis *redis; /* worker thread, as all below */
    struct fleet_view *fleet;
    struct device_orders *device_orders;
    struct feeder *feeder;
    struct auto_renew *auto_renew;
};

/* ---- the worker ---- */

static err_t start_parts(struct app *app, int32_t partitions)
{
    app->owner_fleet = fleet_view_new(app->owner_redis, partitions);
    app->fleet = fleet_view_new(app->redis, partitions);
    app->device_orders =
        device_orders_new(&(struct device_orders_options){.kafka = service_kafka(app->service),
                                                          .partitions = partitions,
                                                          .clock = &clock_system,
                                                          .stopping = &app->stopping});
    app->feeder =
        feeder_new(&(struct feeder_options){.redis = app->redis,
                                            .fleet = app->fleet,
                                            .orders = app->device_orders,
                                            .metrics = app->service->metrics,
                                            .window = (unsigned)app->config->feed_window});
    app->auto_renew =
        auto_renew_new(&(struct auto_renew_options){.fleet = app->fleet,
                                                    .orders = app->device_orders,
                                                    .metrics = app->service->metrics,
                                                    .batch = (unsigned)app->config->scan_batch,
                                                    .resend_ms = app->config->resend_ms});
    order_app_init(&app->orders, app->owner_fleet, &clock_system, app->service->metrics);
    err_t e = processor_start(app->processor);
    atomic_store(&app->processor_started, e == ERR_OK);
    return e;
}

/* Neither of the two waits for the other to work again. */
static bool well(struct app *app, const char *event, err_t e)
{
    if (e == ERR_OK) {
        return true;
    }
    redis_abandon(app->redis);
    log_limited(LOG_LEVEL_WARN, NULL, event, LOG_ERR("error", e),
                LOG_STR("redis", redis_error_text(app->redis)));
    return false;
}

static bool step(struct app *app, int64_t *next_scan_ms)
{
    int32_t partitions[PARTITIONS_MAX];
    size_t count = processor_live_partitions(app->processor, partitions, PARTITIONS_MAX);
    bool busy = false;
    err_t e = feeder_step(app->feeder, partitions, count, &busy);
    bool fed = well(app, "feeding_waits", e);
    int64_t now_ms = clock_mono_ms(&clock_system);
    if (now_ms >= *next_scan_ms && !atomic_load(&app->stopping)) {
        e = auto_renew_scan(app->auto_renew, partitions, count);
        *next_scan_ms =
            now_ms + (well(app, "search_waits", e) ? app->config->scan_interval_ms : AGAIN_MS);
    }
    return fed && busy;
}

static void *work(void *arg)
{
    struct app *app = arg;
    int32_t partitions =
        service_wait_partitions(app->service, TOPIC_DEVICE_REQUESTS, &app->stopping);
    err_t e = partitions > 0 ? start_parts(app, partitions) : ERR_STOPPING;
    if (e != ERR_OK) {
        lifecycle_stop(app->service->lifecycle, e);
        return NULL;
    }
    int64_t next_scan_ms = 0;
    while (!atomic_load(&app->stopping)) {
        bool busy = step(app, &next_scan_ms);
        service_rest(&app->stopping, busy ? STEP_MS : IDLE_MS);
    }
    return NULL; /* each step has settled what it sent, or sends it again after the restart */
}

/* ---- start, stop ---- */

static err_t stop_worker(void *arg, int64_t limit_ms)
{
    struct app *app = arg;
    (void)limit_ms;
    atomic_store(&app->stopping, true);
    (void)pthread_join(app->worker, NULL);
    return ERR_OK;
}

static err_t stop_processor(void *arg, int64_t limit_ms)
{
    struct app *app = arg;
    return processor_stop(app->processor, (unsigned)limit_ms);
}

err_t app_start(const struct service *service, void **ret_app, struct fault *fault)
{
    struct app *app = xcalloc(1, sizeof *app);
    *ret_app = app;
    const struct processor_options options = service_processor(service);
    app->service = service;
    app->config = service->settings;
    app->owner_redis = service_redis(service, "scheduler.orders");
    app->redis = service_redis(service, "scheduler.worker");
    err_t e = processor_new(&order_processor, &app->orders, &options, &app->processor);
    if (e == ERR_OK && pthread_create(&app->worker, NULL, work, app) != 0) {
        e = fault_set(fault, ERR_INTERNAL, "", "threads", "no thread can be made");
    }
    if (e != ERR_OK) {
        return e;
    }
    lifecycle_on_stop(service->lifecycle, "worker", STOP_MS / 2, stop_worker, app);
    lifecycle_on_stop(service->lifecycle, "processor", STOP_MS, stop_processor, app);
    return ERR_OK;
}

void app_ready(void *arg, struct admin_reasons *reasons)
{
    struct app *app = arg;
    char reason[256];
    if (!atomic_load(&app->processor_started)) {
        admin_not_ready(reasons, "kafka", "the topics are not known yet");
    } else if (!processor_ready(app->processor, reason, sizeof reason)) {
        admin_not_ready(reasons, "orders", reason);
    }
}

void app_free(void *arg)
{
    struct app *app = arg;
    processor_free(app->processor);
    auto_renew_free(app->auto_renew);
    feeder_free(app->feeder);
    fleet_view_free(app->fleet);
    fleet_view_free(app->owner_fleet);
    device_orders_free(app->device_orders);
    redis_free(app->redis);
    redis_free(app->owner_redis);
    free(app);
}
