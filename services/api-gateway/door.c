#include "door.h"

#include <stdio.h>

#include "caller.h"
#include "calls.h"
#include "common/json.h"
#include "common/kafka_admin.h"
#include "common/log.h"
#include "proto/topics.h"
#include "write.h"

#define ROUTES_MAX       64
#define KAFKA_WAIT_MS    30000
#define PENDING_MAX      16384
#define BODY_MEMORY      ((size_t)128 * 1024 * 1024)
#define BODY_DEPTH       8
#define DOMAIN_PARAMETER "DomainUID"
#define FLUSH_MS         2000

struct door_service {
    struct door door;
    struct redis_config redis;
    char redis_host[256];
    struct caller_rates *rates;
    struct caller_rates *logins;
    struct seal_kek *kek;
    struct http_route routes[ROUTES_MAX];
    size_t route_count;
    struct http_server *server;
};

/* ---- one request ---- */

static err_t check_rate(struct caller_rates *rates, const char *name, int64_t now_ms,
                        struct fault *fault, uint32_t *retry_after_s)
{
    if (caller_rates_take(rates, name, now_ms, retry_after_s)) {
        return ERR_OK;
    }
    return fault_set(fault, ERR_BUSY, "rate_limited", "",
                     "too many requests of this credential; wait as Retry-After says");
}

static err_t admit(void *ctx, struct http_request *req, struct fault *fault,
                   uint32_t *retry_after_s)
{
    struct door_service *d = ctx;
    const struct api_call *call = api_call_find(http_request_route(req));
    if (call == NULL) {
        return ERR_OK; /* the API description */
    }
    int64_t now_ms = clock_mono_ms(d->door.clock);
    struct caller *caller = xcalloc(1, sizeof *caller);
    caller->call = call;
    http_request_set_user(req, caller, free);
    if (call->access == API_PUBLIC) {
        return check_rate(d->logins, http_request_peer_address(req), now_ms, fault, retry_after_s);
    }
    err_t err = caller_authenticate(&d->door, req, caller, fault);
    if (err != ERR_OK) {
        return err;
    }
    err = check_rate(d->rates, caller->id, now_ms, fault, retry_after_s);
    if (err == ERR_OK && call->access == API_OPERATOR && caller->kind != CALLER_OPERATOR) {
        err = fault_set(fault, ERR_FORBIDDEN, "forbidden", "",
                        "this call is for the operator's token only");
    }
    return err;
}

static err_t read_body(struct exchange *x, struct fault *fault)
{
    const struct codec_table *table = x->call->body;
    x->body = xcalloc(1, table->size);
    if (api_is_csv(x)) {
        return ERR_OK;
    }
    struct span text = http_request_body(x->req);
    if (text.len == 0) {
        text = span_str("{}"); /* what is missing is then named by its field */
    }
    const struct json_limits limits = {
        .max_bytes = x->call->max_body, .max_depth = BODY_DEPTH, .max_values = x->call->max_values};
    err_t err = codec_decode_text(table, CODEC_STRICT, text, &limits, x->body, fault);
    /* Too long a list or text is a mistake in a field; 413 is for the body as a whole. */
    return err == ERR_TOO_LARGE && fault->field[0] != '\0' ? ERR_INVALID : err;
}

/* A CSV has no member for it: there, and only there, it is a query parameter. "": none. */
static err_t named_domain(const struct exchange *x, const char **ret, struct fault *fault)
{
    const char *query = http_request_query(x->req, DOMAIN_PARAMETER);
    if (query != NULL && !api_is_csv(x)) {
        return fault_set(fault, ERR_INVALID, "unknown_field", DOMAIN_PARAMETER,
                         "a JSON body names it itself");
    }
    *ret = query != NULL ? query : ((const struct api_body *)x->body)->domain_uid;
    return ERR_OK;
}

static err_t choose_domain(struct exchange *x, struct fault *fault)
{
    const char *named = "";
    err_t err = named_domain(x, &named, fault);
    if (err != ERR_OK) {
        return err;
    }
    if (named[0] != '\0' && !registry_uuid_valid(named)) {
        return fault_set(fault, ERR_INVALID, "validation_error", "DomainUID",
                         "must be a lower-case UUID");
    }
    if (x->call->access != API_DOMAIN) {
        (void)snprintf(x->domain, sizeof x->domain, "%s", named);
        return ERR_OK;
    }
    if (x->caller->kind == CALLER_OPERATOR) {
        if (named[0] == '\0') {
            return fault_set(fault, ERR_INVALID, "missing_field", "DomainUID",
                             "the operator's token acts on a domain: name it");
        }
        memcpy(x->domain, named, sizeof x->domain);
        memcpy(x->caller->domain, named, sizeof x->domain);
        return ERR_OK;
    }
    memcpy(x->domain, x->caller->domain, sizeof x->domain);
    if (named[0] != '\0' && strcmp(named, x->domain) != 0) {
        return fault_set(fault, ERR_ABSENT, "not_found", "DomainUID", "there is no domain %s",
                         named);
    }
    return ERR_OK;
}

static void handle(struct http_request *req, void *ctx)
{
    struct door_service *d = ctx;
    struct caller *caller = http_request_user(req);
    struct exchange x = {.door = &d->door,
                         .req = req,
                         .call = caller->call,
                         .caller = caller,
                         .now_ms = clock_now_ms(d->door.clock)};
    struct fault fault = {0};
    err_t err = read_body(&x, &fault);
    if (err == ERR_OK) {
        err = choose_domain(&x, &fault);
    }
    if (err == ERR_OK) {
        /* known now: a repeat may leave it out, or name it */
        ((struct api_body *)x.body)->domain_uid[0] = '\0';
        x.redis = views_take(d->door.views);
        /* of writes the owner knows */
        if (x.call->access != API_DOMAIN || x.call->write || registry_domain_exists(&x)) {
            x.call->serve(&x);
        }
        views_give(d->door.views, x.redis);
    } else {
        api_fault(&x, err, &fault);
    }
    codec_free(x.call->body, x.body);
    free(x.body);
}

static void serve_description(struct http_request *req, void *ctx)
{
    (void)ctx;
    CLEANUP_BUF struct buf text = BUF_INIT(openapi_size + 1);
    err_t err = buf_append(&text, openapi_text, openapi_size);
    http_reply(req, err == ERR_OK ? http_response_body(200, "application/yaml", &text)
                                  : http_response_fault(err, NULL));
}

/* One line per write and login, whatever became of it: who did what to which domain. */
static void on_access(void *ctx, const struct http_request *req, const struct http_access *access)
{
    (void)ctx;
    const struct caller *caller = http_request_user(req);
    if (caller == NULL || !(caller->call->write || caller->call->access == API_PUBLIC)) {
        return;
    }
    static const char *const kinds[] = {"nobody", "operator", "access-key"};
    const struct log_context context = {.domain = caller->domain, .request = access->request_id};
    log_info(&context, "audit", LOG_STR("call", caller->call->path),
             LOG_STR("actor_kind", kinds[caller->kind]), LOG_STR("actor", caller->id),
             LOG_STR("peer", access->peer_address), LOG_STR("operation", caller->request_id),
             LOG_UINT("status", access->status), LOG_UINT("took_us", access->duration_us));
}

/* ---- life ---- */

static void add_routes(struct door_service *d)
{
    d->routes[d->route_count++] = (struct http_route){.method = HTTP_GET,
                                                      .pattern = "/openapi.yaml",
                                                      .handler = serve_description,
                                                      .query = HTTP_QUERY_ANY};
    for (size_t i = 0; i < api_calls_count; i++) {
        for (const struct api_call *call = api_calls[i]; call->path != NULL; call++) {
            d->routes[d->route_count++] = (struct http_route){
                .method = HTTP_POST,
                .pattern = call->path,
                .handler = handle,
                .max_body = call->max_csv > call->max_body ? call->max_csv : call->max_body,
                .content_type =
                    call->max_csv > 0 ? "application/json, text/csv" : "application/json",
                .ctx = d,
                .query = call->max_csv > 0 ? DOMAIN_PARAMETER : NULL,
            };
        }
    }
}

static void log_kafka(void *ctx, int level, const char *facility, const char *text)
{
    (void)ctx;
    log_limited(level <= 3 ? LOG_LEVEL_WARN : LOG_LEVEL_DEBUG, NULL, "kafka",
                LOG_STR("facility", facility), LOG_STR("text", text));
}

static err_t count_partitions(const struct kafka_config *kafka, int32_t *ret, struct fault *fault)
{
    CLEANUP(kafka_admin_free) struct kafka_admin *admin = NULL;
    err_t err = kafka_admin_new(kafka, fault, &admin);
    if (err == ERR_OK) {
        err = kafka_admin_wait(admin, KAFKA_WAIT_MS);
    }
    if (err == ERR_OK) {
        err = kafka_admin_partition_count(admin, TOPIC_REGISTRY_REQUESTS, KAFKA_WAIT_MS, ret);
    }
    if (err != ERR_OK) {
        return fault_set(fault, err, "kafka", "kafka.brokers", "%s: cannot read topic %s (%s)",
                         "Kafka", TOPIC_REGISTRY_REQUESTS, err_name(err));
    }
    return ERR_OK;
}

static err_t start_back_end(struct door_service *d, const struct config *config,
                            struct fault *fault)
{
    uint16_t port = 0;
    err_t err = config_split_host_port(config->common.redis_address, d->redis_host,
                                       sizeof d->redis_host, &port);
    if (err != ERR_OK) {
        return err;
    }
    d->redis = (struct redis_config){
        .host = d->redis_host,
        .port = port,
        .user = config->common.redis_user[0] != '\0' ? config->common.redis_user : NULL,
        .password = config->common.redis_password.len > 0
                        ? (const char *)config->common.redis_password.value
                        : NULL,
        .client_name = "api-gateway",
        .connect_timeout_ms = 1000,
        .command_timeout_ms = 1000,
    };
    const struct kafka_config kafka = {
        .brokers = config->common.kafka_brokers, .client_id = "api-gateway", .log = log_kafka};
    int32_t partitions = 0;
    err = count_partitions(&kafka, &partitions, fault);
    if (err != ERR_OK) {
        return err;
    }
    d->door.views = views_new(&d->redis, partitions);
    const struct reply_waiter_config waiter = {.kafka = &kafka,
                                               .redis = &d->redis,
                                               .instance = config->common.instance,
                                               .pending_max = PENDING_MAX};
    return reply_waiter_start(&waiter, fault, &d->door.waiter);
}

/* ---- what /metrics shows of the requests to owners ---- */

static double pending(void *arg)
{
    struct reply_waiter_stats stats;
    reply_waiter_stats(arg, &stats);
    return stats.pending;
}

static double answered(void *arg)
{
    struct reply_waiter_stats stats;
    reply_waiter_stats(arg, &stats);
    return (double)stats.answered;
}

static double unanswered(void *arg)
{
    struct reply_waiter_stats stats;
    reply_waiter_stats(arg, &stats);
    return (double)(stats.unanswered + stats.unknown + stats.not_sent);
}

static double found_stored(void *arg)
{
    struct reply_waiter_stats stats;
    reply_waiter_stats(arg, &stats);
    return (double)stats.found_stored;
}

static void add_metrics(struct metrics *metrics, struct reply_waiter *waiter)
{
    const struct {
        const char *name;
        const char *help;
        double (*read)(void *arg);
    } rows[] = {
        {"fleetseal_owner_requests_pending", "Requests to owners that are waited for.", pending},
        {"fleetseal_owner_requests_answered", "Requests to owners answered in time.", answered},
        {"fleetseal_owner_requests_unanswered",
         "Requests to owners that ended without an answer: late, unknown or not sent.", unanswered},
        {"fleetseal_owner_replies_found",
         "Replies found where the owner stored them, not by the subscription.", found_stored},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        metrics_gauge_read(metrics, rows[i].name, rows[i].help, METRIC_NO_LABELS, rows[i].read,
                           waiter);
    }
}

static err_t start_server(struct door_service *d, const struct config *config,
                          struct metrics *metrics, struct fault *fault)
{
    const char *listen[] = {config->listen};
    struct http_server_options options = http_server_options_default();
    options.name = "api";
    options.listen = listen;
    options.listen_count = 1;
    options.routes = d->routes;
    options.route_count = d->route_count;
    options.tls_cert_file = config->tls_cert_file;
    options.tls_key_file = config->tls_key_file;
    options.metrics = metrics;
    options.admit = admit;
    options.challenge = "Bearer realm=\"fleetseal\"";
    options.on_access = on_access;
    options.ctx = d;
    options.threads = (unsigned)config->threads;
    options.connections_max = (uint32_t)config->connections_max;
    options.connections_per_address_max = (uint32_t)config->connections_per_address;
    options.body_memory = BODY_MEMORY;
    return http_server_start(&options, &d->server, fault);
}

err_t door_service_start(const struct config *config, struct metrics *metrics,
                         struct door_service **ret, struct fault *fault)
{
    CLEANUP(door_service_free) struct door_service *d = xcalloc(1, sizeof *d);
    d->door.config = config;
    d->door.clock = &clock_system;
    d->rates = caller_rates_new(config->rate_requests, config->rate_burst);
    d->logins = caller_rates_new(config->login_rate, config->login_burst);
    if (config->webhook_kek_file[0] != '\0') {
        err_t err = seal_kek_read(config->webhook_kek_file, &d->kek, fault);
        if (err != ERR_OK) {
            return err;
        }
        d->door.kek = d->kek;
    }
    add_routes(d);
    err_t err = start_back_end(d, config, fault);
    if (err == ERR_OK) {
        add_metrics(metrics, d->door.waiter);
        err = start_server(d, config, metrics, fault);
    }
    if (err != ERR_OK) {
        return err;
    }
    *ret = TAKE(d);
    return ERR_OK;
}

void door_service_stop(struct door_service *d, uint32_t grace_ms)
{
    if (d->server != NULL) {
        http_server_stop(d->server, grace_ms);
    }
}

void door_service_free(struct door_service *d)
{
    if (d == NULL) {
        return;
    }
    door_service_stop(d, 0);
    /* The waiter's last answers go to tickets, which outlive the stop but not the server. */
    reply_waiter_stop(d->door.waiter, FLUSH_MS);
    http_server_free(d->server);
    views_free(d->door.views);
    caller_rates_free(d->rates);
    caller_rates_free(d->logins);
    seal_kek_free(d->kek);
    free(d);
}

bool door_service_ready(struct door_service *d, const char **ret_reason)
{
    struct reply_waiter_stats stats;
    reply_waiter_stats(d->door.waiter, &stats);
    *ret_reason = "the reply channel in Redis is down";
    return stats.subscribed;
}

uint16_t door_service_port(const struct door_service *d)
{
    return http_server_port(d->server, 0);
}
