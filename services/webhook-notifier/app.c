#include "app.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "common/log.h"
#include "common/seal.h"
#include "config.h"
#include "fanout.h"
#include "proto/topics.h"
#include "sender.h"

#define STOP_MS          8000
#define FANOUT_STOP_MS   2000
#define SENDER_STOP_MS   7500
#define POLL_MS          100
#define AGAIN_MS         200 /* pause after an error */
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
    const struct service *service;
    const struct config *config;
    struct seal_kek *kek;
    atomic_bool stopping;
    struct worker fanout;
    struct worker sender;
};

/* ---- the workers ---- */

static void *run_fanout(void *arg)
{
    struct worker *w = arg;
    struct app *app = w->app;
    CLEANUP(fanout_free) struct fanout *fanout = NULL;
    const struct fanout_options options = {
        .kafka = service_kafka(app->service),
        .instance = app->service->common->instance,
        .redis = w->redis,
        .partitions = service_wait_partitions(app->service, TOPIC_EVENTS, &app->stopping),
        .metrics = app->service->metrics};
    err_t e = options.partitions > 0 ? fanout_new(&options, &fanout) : ERR_STOPPING;
    if (e != ERR_OK) {
        lifecycle_stop(app->service->lifecycle, e);
        return NULL;
    }
    while (!atomic_load(&app->stopping)) {
        e = fanout_step(fanout, POLL_MS);
        atomic_store(&w->joined, fanout_joined(fanout));
        if (e != ERR_OK) {
            log_limited(LOG_LEVEL_WARN, NULL, "fanout_waits", LOG_ERR("error", e),
                        LOG_STR("redis", redis_error_text(w->redis)));
            service_rest(&app->stopping, AGAIN_MS);
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
    const struct sender_options options = {
        .kafka = service_kafka(app->service),
        .config = app->config,
        .redis = w->redis,
        .kek = app->kek,
        .partitions = service_wait_partitions(app->service, TOPIC_EVENTS, &app->stopping),
        .metrics = app->service->metrics};
    err_t e = options.partitions > 0 ? sender_new(&options, &sender) : ERR_STOPPING;
    if (e != ERR_OK) {
        lifecycle_stop(app->service->lifecycle, e);
        return NULL;
    }
    while (!atomic_load(&app->stopping)) {
        e = sender_step(sender);
        atomic_store(&w->joined, sender_joined(sender));
        if (e != ERR_OK) {
            log_limited(LOG_LEVEL_WARN, NULL, "sender_waits", LOG_ERR("error", e));
            service_rest(&app->stopping, AGAIN_MS);
        }
    }
    sender_stop(sender, SENDER_STOP_MS);
    return NULL;
}

/* ---- start, stop ---- */

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
    char host[SERVICE_HOST_SIZE];
    struct redis_config redis = service_redis_config(app->service, redis_name, host);
    redis.connect_timeout_ms = REDIS_CONNECT_MS;
    redis.command_timeout_ms = REDIS_COMMAND_MS;
    w->app = app;
    w->redis = redis_new(&redis);
    w->started = pthread_create(&w->thread, NULL, run, w) == 0;
    return w->started ? ERR_OK : ERR_INTERNAL;
}

static err_t read_kek(const struct config *config, struct seal_kek **ret, struct fault *fault)
{
    err_t e = seal_kek_read(config->kek_file, ret, fault);
    if (e != ERR_OK) {
        (void)snprintf(fault->field, sizeof fault->field, "webhook.kek_file");
    }
    return e;
}

err_t app_check(const void *settings, struct fault *fault)
{
    CLEANUP(seal_kek_free) struct seal_kek *kek = NULL;
    return read_kek(settings, &kek, fault);
}

err_t app_start(const struct service *service, void **ret_app, struct fault *fault)
{
    struct app *app = xcalloc(1, sizeof *app);
    *ret_app = app;
    app->service = service;
    app->config = service->settings;
    err_t e = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK ? ERR_OK : ERR_INTERNAL;
    if (e == ERR_OK) {
        e = read_kek(app->config, &app->kek, fault);
    }
    if (e == ERR_OK) {
        e = start_worker(app, &app->fanout, "webhook-notifier.fanout", run_fanout);
    }
    if (e == ERR_OK) {
        e = start_worker(app, &app->sender, "webhook-notifier.send", run_sender);
    }
    if (e != ERR_OK) {
        (void)stop_workers(app, STOP_MS);
        return e;
    }
    lifecycle_on_stop(service->lifecycle, "workers", STOP_MS, stop_workers, app);
    return ERR_OK;
}

void app_ready(void *arg, struct admin_reasons *reasons)
{
    struct app *app = arg;
    if (!atomic_load(&app->fanout.joined)) {
        admin_not_ready(reasons, "fanout", "has no partitions of the events yet");
    }
    if (!atomic_load(&app->sender.joined)) {
        admin_not_ready(reasons, "sender", "has no partitions of the deliveries yet");
    }
}

void app_free(void *arg)
{
    struct app *app = arg;
    redis_free(app->fanout.redis);
    redis_free(app->sender.redis);
    seal_kek_free(app->kek);
    curl_global_cleanup();
    free(app);
}
