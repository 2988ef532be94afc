#include "app.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "common/admin_server.h"
#include "common/kafka_admin.h"
#include "common/log.h"
#include "fanout.h"
#include "proto/topics.h"
#include "sender.h"

#define STOP_MS          8000
#define FANOUT_STOP_MS   2000
#define SENDER_STOP_MS   7500
#define POLL_MS          100
#define AGAIN_MS         200 /* pause after an error */
#define ASK_MS           2000
#define REDIS_CONNECT_MS 500 /* short: the sender's transfers stand still meanwhile */
#define REDIS_COMMAND_MS 1000

/* A thread of ours with what it alone uses. */
struct worker {
    struct app *app;
    pthread_t thread;
    bool started;
    atomic_bool joined;
    struct redis *redis;
};

struct app {
    const struct config *config;
    const struct seal_kek *kek;
    struct lifecycle *lifecycle;
    struct metrics *metrics;
    struct admin_server *admin;
    atomic_bool stopping;
    struct worker fanout;
    struct worker sender;
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
        .connect_timeout_ms = REDIS_CONNECT_MS,
        .command_timeout_ms = REDIS_COMMAND_MS,
        .client_name = name});
}

/* ---- the workers ---- */

static struct kafka_config kafka_config(const struct app *app)
{
    return (struct kafka_config){.brokers = app->config->common.kafka_brokers,
                                 .client_id = app->config->common.instance};
}

static void rest(struct app *app, long ms)
{
    if (!atomic_load(&app->stopping)) {
        (void)nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000},
                        NULL);
    }
}

static err_t ask_partitions(const struct app *app, int32_t *ret)
{
    CLEANUP(kafka_admin_free) struct kafka_admin *admin = NULL;
    const struct kafka_config kafka = kafka_config(app);
    err_t e = kafka_admin_new(&kafka, NULL, &admin);
    return e == ERR_OK ? kafka_admin_partition_count(admin, TOPIC_EVENTS, ASK_MS, ret) : e;
}

/* The number of partitions must be known before anything else; Kafka may come later than we do. */
static int32_t wait_for_partitions(struct app *app)
{
    int32_t partitions = 0;
    while (!atomic_load(&app->stopping)) {
        err_t e = ask_partitions(app, &partitions);
        if (e == ERR_OK) {
            return partitions;
        }
        log_limited(LOG_LEVEL_WARN, NULL, "waiting_for_kafka", LOG_ERR("error", e));
        rest(app, AGAIN_MS);
    }
    return 0;
}

static void *run_fanout(void *arg)
{
    struct worker *w = arg;
    struct app *app = w->app;
    CLEANUP(fanout_free) struct fanout *fanout = NULL;
    const struct fanout_options options = {.kafka = kafka_config(app),
                                           .instance = app->config->common.instance,
                                           .redis = w->redis,
                                           .partitions = wait_for_partitions(app),
                                           .metrics = app->metrics};
    err_t e = options.partitions > 0 ? fanout_new(&options, &fanout) : ERR_STOPPING;
    if (e != ERR_OK) {
        lifecycle_stop(app->lifecycle, e);
        return NULL;
    }
    while (!atomic_load(&app->stopping)) {
        e = fanout_step(fanout, POLL_MS);
        atomic_store(&w->joined, fanout_joined(fanout));
        if (e != ERR_OK) {
            log_limited(LOG_LEVEL_WARN, NULL, "fanout_waits", LOG_ERR("error", e),
                        LOG_STR("redis", redis_error_text(w->redis)));
            rest(app, AGAIN_MS);
        }
    }
    fanout_stop(fanout, FANOUT_STOP_MS);
    return NULL;
}

static void *run_sender(void *arg)
{
    struct worker *w = arg;
    struct app *app = w->app;
    CLEANUP(sender_free) struct sender *sender = NULL;
    const struct sender_options options = {.kafka = kafka_config(app),
                                           .config = app->config,
                                           .redis = w->redis,
                                           .kek = app->kek,
                                           .partitions = wait_for_partitions(app),
                                           .metrics = app->metrics};
    err_t e = options.partitions > 0 ? sender_new(&options, &sender) : ERR_STOPPING;
    if (e != ERR_OK) {
        lifecycle_stop(app->lifecycle, e);
        return NULL;
    }
    while (!atomic_load(&app->stopping)) {
        e = sender_step(sender);
        atomic_store(&w->joined, sender_joined(sender));
        if (e != ERR_OK) {
            log_limited(LOG_LEVEL_WARN, NULL, "sender_waits", LOG_ERR("error", e));
            rest(app, AGAIN_MS);
        }
    }
    sender_stop(sender, SENDER_STOP_MS);
    return NULL;
}

/* ---- start, stop ---- */

static void ready(void *ctx, struct admin_reasons *reasons)
{
    struct app *app = ctx;
    if (lifecycle_stopping(app->lifecycle)) {
        admin_not_ready(reasons, "process", "stopping");
    }
    if (!atomic_load(&app->fanout.joined)) {
        admin_not_ready(reasons, "fanout", "has no partitions of the events yet");
    }
    if (!atomic_load(&app->sender.joined)) {
        admin_not_ready(reasons, "sender", "has no partitions of the deliveries yet");
    }
}

static void join_worker(struct worker *w)
{
    if (w->started) {
        (void)pthread_join(w->thread, NULL);
        w->started = false;
    }
}

static err_t stop_workers(void *arg, int64_t limit_ms)
{
    struct app *app = arg;
    (void)limit_ms;
    atomic_store(&app->stopping, true);
    join_worker(&app->fanout);
    join_worker(&app->sender);
    return ERR_OK;
}

static err_t start_worker(struct app *app, struct worker *w, const char *redis_name,
                          void *(*run)(void *))
{
    w->app = app;
    w->redis = connect_redis(app->config, redis_name);
    w->started = pthread_create(&w->thread, NULL, run, w) == 0;
    return w->started ? ERR_OK : ERR_INTERNAL;
}

err_t app_start(const struct config *config, const struct seal_kek *kek,
                struct lifecycle *lifecycle, struct app **ret)
{
    struct fault fault = {0};
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        log_fatal(NULL, "start_failed", LOG_STR("part", "libcurl"));
        return ERR_INTERNAL;
    }
    CLEANUP(app_free) struct app *app = xcalloc(1, sizeof *app);
    app->config = config;
    app->kek = kek;
    app->lifecycle = lifecycle;
    app->metrics = metrics_new();
    metrics_add_process(app->metrics, config_spec.program);
    const struct admin_server_options admin = {.listen = config->common.metrics_address,
                                               .metrics = app->metrics,
                                               .ready = ready,
                                               .ctx = app};
    err_t e = admin_server_start(&admin, &app->admin, &fault);
    if (e == ERR_OK) {
        e = start_worker(app, &app->fanout, "webhook-notifier.fanout", run_fanout);
    }
    if (e == ERR_OK) {
        e = start_worker(app, &app->sender, "webhook-notifier.send", run_sender);
    }
    if (e != ERR_OK) {
        log_fatal(NULL, "start_failed", LOG_ERR("error", e), LOG_STR("text", fault.text));
        (void)stop_workers(app, STOP_MS);
        return e;
    }
    lifecycle_on_stop(lifecycle, "workers", STOP_MS, stop_workers, app);
    *ret = TAKE(app);
    return ERR_OK;
}

void app_free(struct app *app)
{
    admin_server_free(app->admin);
    if (app->fanout.redis != NULL) {
        redis_free(app->fanout.redis);
    }
    if (app->sender.redis != NULL) {
        redis_free(app->sender.redis);
    }
    metrics_free(app->metrics);
    curl_global_cleanup();
    free(app);
}
