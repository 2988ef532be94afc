#include "http_private.h"

#define WITH_SERVER(...) METRIC_LABELS({"server", server}, __VA_ARGS__)

static void add_requests(struct http_stats *stats, const struct http_server_options *options)
{
    static const char *const classes[HTTP_STATUS_CLASSES] = {"none", "1xx", "2xx",
                                                             "3xx",  "4xx", "5xx"};
    const char *server = options->name;
    stats->routes = xcalloc(options->route_count + 1, sizeof *stats->routes);
    for (size_t i = 0; i <= options->route_count; i++) {
        const bool routed = i < options->route_count;
        const char *route = routed ? options->routes[i].pattern : "";
        const char *method = routed ? http_method_name(options->routes[i].method) : "";
        for (size_t c = 0; c < HTTP_STATUS_CLASSES; c++) {
            stats->routes[i].ended[c] = metrics_counter(
                stats->registry, "http_requests_total",
                "Requests ended, by route and status class.",
                WITH_SERVER({"method", method}, {"route", route}, {"status", classes[c]}));
        }
        stats->routes[i].duration =
            metrics_histogram(stats->registry, "http_request_duration_seconds",
                              "From the request line to the end of the answer.",
                              WITH_SERVER({"method", method}, {"route", route}), METRIC_SECONDS);
    }
    stats->in_flight = metrics_gauge(stats->registry, "http_requests_in_flight",
                                     "Requests begun and not ended.", WITH_SERVER({NULL, NULL}));
    stats->suspended =
        metrics_gauge(stats->registry, "http_requests_suspended",
                      "Requests waiting for their answer.", WITH_SERVER({NULL, NULL}));
    stats->body_bytes = metrics_gauge(stats->registry, "http_body_memory_bytes",
                                      "Memory held by request bodies.", WITH_SERVER({NULL, NULL}));
    stats->body_refused = metrics_counter(
        stats->registry, "http_body_memory_refused_total",
        "Requests answered 503 because bodies took too much memory.", WITH_SERVER({NULL, NULL}));
}

static void add_connections(struct http_stats *stats, const struct http_server_options *options)
{
    static const char *const phases[HTTP_PHASE_COUNT_] = {"headers", "body", "handling", "sending",
                                                          "idle"};
    static const char refused[] = "http_connections_refused_total";
    static const char refused_help[] = "Connections turned away before TLS.";
    const char *server = options->name;
    stats->open = metrics_gauge(stats->registry, "http_connections_open", "Connections open.",
                                WITH_SERVER({NULL, NULL}));
    stats->accepted = metrics_counter(stats->registry, "http_connections_accepted_total",
                                      "Connections admitted.", WITH_SERVER({NULL, NULL}));
    for (unsigned r = 0; r < HTTP_REFUSAL_COUNT_; r++) {
        stats->refused[r] =
            metrics_counter(stats->registry, refused, refused_help,
                            WITH_SERVER({"reason", http_refusal_name((enum http_refusal)r)}));
    }
    for (unsigned p = 0; p < HTTP_PHASE_COUNT_; p++) {
        stats->reaped[p] =
            metrics_counter(stats->registry, "http_connections_reaped_total",
                            "Connections cut at a deadline.", WITH_SERVER({"phase", phases[p]}));
    }
}

static void add_handshakes(struct http_stats *stats, const struct http_server_options *options)
{
    static const char *const kinds[HTTP_HANDSHAKE_COUNT_] = {"full", "resumed", "failed"};
    const char *server = options->name;
    for (unsigned k = 0; k < HTTP_HANDSHAKE_COUNT_; k++) {
        stats->handshakes[k] = metrics_counter(stats->registry, "http_tls_handshakes_total",
                                               "TLS handshakes.", WITH_SERVER({"kind", kinds[k]}));
    }
    for (unsigned refused = 0; refused < 2; refused++) {
        stats->tls_loads[refused] =
            metrics_counter(stats->registry, "http_tls_files_changed_total",
                            "Changed certificate, key and ticket files that were read.",
                            WITH_SERVER({"result", refused != 0 ? "refused" : "used"}));
    }
}

void http_stats_init(struct http_stats *stats, const struct http_server_options *options)
{
    stats->owned = options->metrics == NULL ? metrics_new() : NULL;
    stats->registry = stats->owned != NULL ? stats->owned : options->metrics;
    add_requests(stats, options);
    add_connections(stats, options);
    add_handshakes(stats, options);
}

void http_stats_deinit(struct http_stats *stats)
{
    free(stats->routes);
    metrics_free(stats->owned);
}

void http_stats_ended(struct http_stats *stats, size_t route, unsigned status, uint32_t duration_us)
{
    const unsigned class = status / 100;
    metric_inc(stats->routes[route].ended[class < HTTP_STATUS_CLASSES ? class : 0]);
    metric_observe(stats->routes[route].duration, duration_us / 1e6);
}
