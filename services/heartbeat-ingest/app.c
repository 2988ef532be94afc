#include "app.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "common/digest.h"
#include "common/log.h"
#include "config.h"
#include "door.h"
#include "proto/topics.h"
#include "rebuild.h"
#include "server_ca.h"

#define ASK_MS        2000
#define HTTP_GRACE_MS 4000
#define FLUSH_MS      2000
#define RECORD_LINGER 30
#define RATCHET_MIN   32

/*
 * The doors open when Kafka has told the number of partitions: until then nothing could be routed.
 * A starter thread waits for that, so that signals are served meanwhile.
 */
struct app {
    const struct service *service;
    const struct config *config;
    struct identity_rules *rules;
    struct door door;
    struct http_route routes[DOOR_ROUTES];
    struct kafka_producer *records;
    struct reply_waiter *waiter;
    struct rebuild *rebuild;
    struct http_server *http;
    pthread_t starter;
    atomic_bool stopping;
    atomic_bool open;
};

/* ---- TLS clients ---- */

static err_t verify(void *ctx, const struct span *chain, size_t count, void **ret_identity,
                    struct fault *fault)
{
    struct app *app = ctx;
    struct identity *identity = NULL;
    err_t e = identity_of_chain(app->rules, chain, count, &identity, fault);
    *ret_identity = identity;
    return e;
}

/* ---- opening ---- */

static err_t start_lanes(struct app *app, const struct redis_config *redis)
{
    for (int64_t i = 0; i < app->config->lanes; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "%d", (int)i);
        const struct lane_options options = {.redis = redis,
                                             .queue_max = (size_t)app->config->queue_max,
                                             .metrics = app->service->metrics,
                                             .name = name};
        err_t e = lane_start(&options, &app->door.lanes[i]);
        if (e != ERR_OK) {
            return e;
        }
        app->door.lane_count++;
    }
    return ERR_OK;
}

static err_t start_backends(struct app *app, struct fault *fault)
{
    char host[SERVICE_HOST_SIZE];
    const struct redis_config redis = service_redis_config(app->service, "heartbeat-ingest", host);
    const struct kafka_config kafka = service_kafka(app->service);
    const struct kafka_producer_config records = {.linger_ms = RECORD_LINGER};
    const struct reply_waiter_config waiter = {
        .kafka = &kafka, .redis = &redis, .instance = app->config->common.instance};
    err_t e = start_lanes(app, &redis);
    if (e == ERR_OK) {
        e = kafka_producer_new(&kafka, &records, fault, &app->records);
    }
    if (e == ERR_OK) {
        e = reply_waiter_start(&waiter, fault, &app->waiter);
    }
    if (e == ERR_OK) {
        const struct rebuild_options rebuild = {.redis = &redis,
                                                .brokers = app->config->common.kafka_brokers,
                                                .client_id = app->config->common.instance,
                                                .partitions = app->door.partitions,
                                                .metrics = app->service->metrics};
        e = rebuild_start(&rebuild, &app->rebuild);
    }
    app->door.records = app->records;
    app->door.waiter = app->waiter;
    return e;
}

static err_t open_door(struct app *app, struct fault *fault)
{
    const struct config *config = app->config;
    const char *listen[] = {config->listen};
    struct http_server_options options = http_server_options_default();
    options.name = "device";
    options.listen = listen;
    options.listen_count = 1;
    options.routes = app->routes;
    options.route_count = DOOR_ROUTES;
    options.tls_cert_file = config->tls_certificate;
    options.tls_key_file = config->tls_key;
    options.ticket_key_file = config->ticket_key[0] ? config->ticket_key : NULL;
    options.ticket_lifetime_s = (uint32_t)(config->ticket_lifetime_ms / 1000);
    options.single_header = DEVICE_SIGNATURE_HEADER;
    options.client_cert = HTTP_CLIENT_CERT_REQUIRE;
    options.verify = verify;
    options.free_identity = free;
    options.ctx = app;
    options.threads = (unsigned)config->threads;
    options.connections_max = (uint32_t)config->connections_max;
    options.connections_per_address_max = (uint32_t)config->connections_per_address;
    options.accept_rate = (uint32_t)config->accept_rate;
    options.accept_burst = (uint32_t)config->accept_rate;
    options.metrics = app->service->metrics;
    door_routes(&app->door, app->routes);
    return http_server_start(&options, &app->http, fault);
}

static void *start(void *arg)
{
    struct app *app = arg;
    struct fault fault = {0};
    app->door.partitions =
        service_wait_partitions(app->service, TOPIC_DEVICE_REQUESTS, &app->stopping);
    if (app->door.partitions == 0) {
        return NULL;
    }
    err_t e = start_backends(app, &fault);
    if (e == ERR_OK) {
        e = open_door(app, &fault);
    }
    if (e != ERR_OK) {
        log_fatal(NULL, "start_failed", LOG_STR("part", "door"), LOG_ERR("error", e),
                  LOG_STR("field", fault.field), LOG_STR("text", fault.text));
        lifecycle_stop(app->service->lifecycle, e);
        return NULL;
    }
    log_info(NULL, "door_open", LOG_INT("port", http_server_port(app->http, 0)),
             LOG_INT("partitions", app->door.partitions));
    atomic_store(&app->open, true);
    return NULL;
}

/* ---- stopping ---- */

static err_t stop_starter(void *arg, int64_t limit_ms)
{
    struct app *app = arg;
    (void)limit_ms;
    atomic_store(&app->stopping, true);
    (void)pthread_join(app->starter, NULL);
    return ERR_OK;
}

static err_t stop_http(void *arg, int64_t limit_ms)
{
    struct app *app = arg;
    if (app->http != NULL) {
        http_server_stop(app->http, (uint32_t)limit_ms);
    }
    return ERR_OK;
}

static err_t stop_backends(void *arg, int64_t limit_ms)
{
    struct app *app = arg;
    for (size_t i = 0; i < app->door.lane_count; i++) {
        lane_stop(TAKE(app->door.lanes[i]));
    }
    app->door.lane_count = 0;
    rebuild_stop(TAKE(app->rebuild));
    reply_waiter_stop(TAKE(app->waiter), (int)limit_ms / 2);
    return app->records != NULL ? kafka_producer_flush(app->records, (int)limit_ms / 2) : ERR_OK;
}

/* ---- start ---- */

static err_t load(struct app *app, struct fault *fault)
{
    const struct config *config = app->config;
    if (config->ratchet_key.len < RATCHET_MIN) {
        return fault_set(fault, ERR_INVALID, "file_invalid", "device.ratchet_key_file",
                         "must hold %d bytes or more", RATCHET_MIN);
    }
    struct digest key = digest_sha256(span_of(config->ratchet_key.value, config->ratchet_key.len));
    memcpy(app->door.ratchet_key.bytes, key.bytes, sizeof app->door.ratchet_key.bytes);
    app->door.clock = &clock_system;
    app->door.exchange_deadline_ms = (uint32_t)config->exchange_deadline_ms;
    app->door.vouch = (struct vouch_rules){.unvouched_max = config->unvouched_max,
                                           .unvouched_window_ms = config->unvouched_window_ms,
                                           .sightings_max = config->sightings_max,
                                           .sighting_ttl_ms = config->sighting_ttl_ms,
                                           .messages_max = config->messages_max,
                                           .messages_window_ms = config->messages_window_ms};
    err_t e = server_ca_read(config->server_ca, &app->door.server_ca, fault);
    return e == ERR_OK ? identity_rules_new(config->manufacturers, &app->rules, fault) : e;
}

err_t app_start(const struct service *service, void **ret_app, struct fault *fault)
{
    struct app *app = xcalloc(1, sizeof *app);
    *ret_app = app;
    app->service = service;
    app->config = service->settings;
    door_metrics_init(&app->door.metrics, service->metrics);
    err_t e = load(app, fault);
    if (e == ERR_OK && pthread_create(&app->starter, NULL, start, app) != 0) {
        e = fault_set(fault, ERR_INTERNAL, "", "threads", "no thread can be made");
    }
    if (e != ERR_OK) {
        return e;
    }
    lifecycle_on_stop(service->lifecycle, "starter", 2L * ASK_MS, stop_starter, app);
    lifecycle_on_stop(service->lifecycle, "http", HTTP_GRACE_MS, stop_http, app);
    lifecycle_on_stop(service->lifecycle, "backends", FLUSH_MS, stop_backends, app);
    return ERR_OK;
}

void app_ready(void *arg, struct admin_reasons *reasons)
{
    struct app *app = arg;
    struct reply_waiter_stats stats;
    if (!atomic_load(&app->open)) {
        admin_not_ready(reasons, "kafka", "the topics are not known yet");
        return;
    }
    reply_waiter_stats(app->waiter, &stats);
    if (!stats.subscribed) {
        admin_not_ready(reasons, "redis", "not subscribed to replies");
    }
}

void app_free(void *arg)
{
    struct app *app = arg;
    http_server_free(app->http);
    kafka_producer_free(app->records);
    identity_rules_free(app->rules);
    free(app->door.server_ca);
    explicit_bzero(&app->door.ratchet_key, sizeof app->door.ratchet_key);
    free(app);
}
