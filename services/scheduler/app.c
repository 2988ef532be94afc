#include "app.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "auto_renew.h"
#include "common/admin_server.h"
#include "common/kafka_admin.h"
#include "common/log.h"
#include "common/processor.h"
#include "feeder.h"
#include "order_app.h"
#include "proto/topics.h"

#define STOP_MS           8000
#define STEP_MS           20  /* between two windows */
#define IDLE_MS           100 /* between two looks for open orders */
#define ASK_MS            2000
#define PARTITIONS_MAX    1024
#define FLUSH_STOP_MS     2000
#define PRODUCE_LINGER_MS 2

/*
 * Two threads besides the main one: the processor's, and a worker that feeds orders and scans for
 * what is due. Each has its own Redis connection and fleet view.
 */
struct app {
    const struct config *config;
    struct lifecycle *lifecycle;
    struct metrics *metrics;
    struct admin_server *admin;

    struct redis *owner_redis; /* processor thread, from its start */
    struct fleet_view *owner_fleet;
    struct order_app orders;
    struct processor *processor;
    atomic_bool processor_started;

    pthread_t worker;
    bool worker_started;
    atomic_bool stopping;
    struct redis *redis; /* worker thread, as all below */
    struct fleet_view *fleet;
    struct kafka_producer *producer;
    struct device_orders device_orders;
    struct feeder *feeder;
    struct auto_renew *auto_renew;
};

static struct redis *connect_redis(const struct config *config, const char *name)
{
    char host[128];
    uint16_t port = 0;
    if (config_split_host_port(config->common.redis_address, host, sizeof host, &port) != ERR_OK) {
        abort(); /* the configuration was checked */
    }
    return redis_new(&(struct redis_config){
        .host = host,
        .port = port,
        .user = config->common.redis_user[0] ? config->common.redis_user : NULL,
        .password = config->common.redis_password.len
                        ? (const char *)config->common.redis_password.value
                        : NULL,
        .client_name = name});
}

/* ---- the worker ---- */

static void rest(struct app *app, long ms)
{
    if (!atomic_load(&app->stopping)) {
        (void)nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000},
                        NULL);
    }
}

static err_t ask_partitions(const struct config *config, int32_t *ret)
{
    CLEANUP(kafka_admin_free) struct kafka_admin *admin = NULL;
    const struct kafka_config kafka = {.brokers = config->common.kafka_brokers,
                                       .client_id = config->common.instance};
    err_t e = kafka_admin_new(&kafka, NULL, &admin);
    return e == ERR_OK ? kafka_admin_partition_count(admin, TOPIC_DEVICE_REQUESTS, ASK_MS, ret) : e;
}

/* The number of partitions must be known before anything else; Kafka may come later than we do. */
static int32_t wait_for_partitions(struct app *app)
{
    int32_t partitions = 0;
    while (!atomic_load(&app->stopping)) {
        err_t e = ask_partitions(app->config, &partitions);
        if (e == ERR_OK) {
            return partitions;
        }
        log_limited(LOG_LEVEL_WARN, NULL, "waiting_for_kafka", LOG_ERR("error", e));
        rest(app, IDLE_MS);
    }
    return 0;
}

static err_t start_parts(struct app *app, int32_t partitions)
{
    const struct kafka_config kafka = {.brokers = app->config->common.kafka_brokers,
                                       .client_id = app->config->common.instance};
    err_t e =
        kafka_producer_new(&kafka, &(struct kafka_producer_config){.linger_ms = PRODUCE_LINGER_MS},
                           NULL, &app->producer);
    if (e != ERR_OK) {
        return e;
    }
    app->owner_fleet = fleet_view_new(app->owner_redis, partitions);
    app->fleet = fleet_view_new(app->redis, partitions);
    app->device_orders = (struct device_orders){
        .producer = app->producer, .partitions = partitions, .clock = &clock_system};
    app->feeder =
        feeder_new(&(struct feeder_options){.redis = app->redis,
                                            .fleet = app->fleet,
                                            .orders = &app->device_orders,
                                            .metrics = app->metrics,
                                            .window = (unsigned)app->config->feed_window});
    app->auto_renew =
        auto_renew_new(&(struct auto_renew_options){.fleet = app->fleet,
                                                    .orders = &app->device_orders,
                                                    .metrics = app->metrics,
                                                    .batch = (unsigned)app->config->scan_batch,
                                                    .resend_ms = app->config->resend_ms});
    order_app_init(&app->orders, app->owner_fleet, &clock_system, app->metrics);
    e = processor_start(app->processor);
    atomic_store(&app->processor_started, e == ERR_OK);
    return e;
}

static bool step(struct app *app, int64_t *next_scan_ms)
{
    int32_t partitions[PARTITIONS_MAX];
    size_t count = processor_live_partitions(app->processor, partitions, PARTITIONS_MAX);
    bool busy = false;
    err_t e = feeder_step(app->feeder, partitions, count, &busy);
    int64_t now_ms = clock_mono_ms(&clock_system);
    if (e == ERR_OK && now_ms >= *next_scan_ms) {
        e = auto_renew_scan(app->auto_renew, partitions, count);
        *next_scan_ms = now_ms + app->config->scan_interval_ms;
    }
    if (e != ERR_OK) {
        if (redis_owed(app->redis) > 0) {
            redis_abandon(app->redis);
        }
        log_limited(LOG_LEVEL_WARN, NULL, "scheduling_waits", LOG_ERR("error", e),
                    LOG_STR("redis", redis_error_text(app->redis)));
        return false;
    }
    return busy;
}

static void *work(void *arg)
{
    struct app *app = arg;
    int32_t partitions = wait_for_partitions(app);
    err_t e = partitions > 0 ? start_parts(app, partitions) : ERR_STOPPING;
    if (e != ERR_OK) {
        lifecycle_stop(app->lifecycle, e);
        return NULL;
    }
    int64_t next_scan_ms = 0;
    while (!atomic_load(&app->stopping)) {
        bool busy = step(app, &next_scan_ms);
        rest(app, busy ? STEP_MS : IDLE_MS);
    }
    if (kafka_producer_flush(app->producer, FLUSH_STOP_MS) != ERR_OK) {
        log_warn(NULL, "requests_not_delivered",
                 LOG_UINT("count", kafka_producer_undelivered(app->producer)));
    }
    return NULL;
}

/* ---- start, stop ---- */

static void ready(void *ctx, struct admin_reasons *reasons)
{
    struct app *app = ctx;
    char reason[256];
    if (lifecycle_stopping(app->lifecycle)) {
        admin_not_ready(reasons, "process", "stopping");
    }
    if (!atomic_load(&app->processor_started)) {
        admin_not_ready(reasons, "kafka", "the topics are not known yet");
    } else if (!processor_ready(app->processor, reason, sizeof reason)) {
        admin_not_ready(reasons, "orders", reason);
    }
}

static err_t stop_worker(void *arg, int64_t limit_ms)
{
    struct app *app = arg;
    (void)limit_ms;
    atomic_store(&app->stopping, true);
    if (app->worker_started) {
        (void)pthread_join(app->worker, NULL);
        app->worker_started = false;
    }
    return ERR_OK;
}

static err_t stop_processor(void *arg, int64_t limit_ms)
{
    struct app *app = arg;
    return processor_stop(app->processor, (unsigned)limit_ms);
}

static err_t start_threads(struct app *app)
{
    const struct common_config *common = &app->config->common;
    const struct processor_options options = {.brokers = common->kafka_brokers,
                                              .instance = common->instance,
                                              .redis_address = common->redis_address,
                                              .redis_user = common->redis_user,
                                              .redis_password =
                                                  (const char *)common->redis_password.value,
                                              .metrics = app->metrics};
    err_t e = processor_new(&order_processor, &app->orders, &options, &app->processor);
    if (e == ERR_OK && pthread_create(&app->worker, NULL, work, app) != 0) {
        e = ERR_INTERNAL;
    }
    app->worker_started = e == ERR_OK;
    return e;
}

err_t app_start(const struct config *config, struct lifecycle *lifecycle, struct app **ret)
{
    struct fault fault = {0};
    CLEANUP(app_free) struct app *app = xcalloc(1, sizeof *app);
    app->config = config;
    app->lifecycle = lifecycle;
    app->metrics = metrics_new();
    metrics_add_process(app->metrics, config_spec.program);
    app->owner_redis = connect_redis(config, "scheduler.orders");
    app->redis = connect_redis(config, "scheduler.worker");
    err_t e = start_threads(app);
    if (e != ERR_OK) {
        log_fatal(NULL, "start_failed", LOG_STR("part", "threads"), LOG_ERR("error", e));
        return e;
    }
    lifecycle_on_stop(lifecycle, "worker", STOP_MS / 2, stop_worker, app);
    lifecycle_on_stop(lifecycle, "processor", STOP_MS, stop_processor, app);
    const struct admin_server_options admin = {.listen = config->common.metrics_address,
                                               .metrics = app->metrics,
                                               .ready = ready,
                                               .ctx = app};
    e = admin_server_start(&admin, &app->admin, &fault);
    if (e != ERR_OK) {
        log_fatal(NULL, "start_failed", LOG_STR("part", "admin_server"),
                  LOG_STR("text", fault.text));
        (void)stop_worker(app, STOP_MS);
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
    auto_renew_free(app->auto_renew);
    feeder_free(app->feeder);
    fleet_view_free(app->fleet);
    fleet_view_free(app->owner_fleet);
    kafka_producer_free(app->producer);
    if (app->redis != NULL) {
        redis_free(app->redis);
        redis_free(app->owner_redis);
    }
    metrics_free(app->metrics);
    free(app);
}
