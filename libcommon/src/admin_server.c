#include "common/admin_server.h"

#include "common/http_server.h"
#include "common/text.h"

#define METRICS_MAX ((size_t)16 * 1024 * 1024)
#define REASONS_MAX 16384

struct admin_server {
    struct admin_server_options options;
    struct http_route routes[3];
    struct http_server *http;
};

struct admin_reasons {
    struct buf json; /* the elements of the array */
};

void admin_not_ready(struct admin_reasons *reasons, const char *part, const char *reason)
{
    (void)buf_append_str(&reasons->json, reasons->json.len > 0 ? ",{\"part\":" : "{\"part\":");
    (void)text_append_json(&reasons->json, span_str(part));
    (void)buf_append_str(&reasons->json, ",\"reason\":");
    (void)text_append_json(&reasons->json, span_str(reason));
    (void)buf_append_byte(&reasons->json, '}');
}

static void healthz(struct http_request *req, void *ctx)
{
    (void)ctx;
    CLEANUP_BUF struct buf body = BUF_INIT(64);
    (void)buf_append_str(&body, "{\"status\":\"ok\"}");
    http_reply_json(req, 200, &body);
}

static void readyz(struct http_request *req, void *ctx)
{
    const struct admin_server *server = ctx;
    struct admin_reasons reasons = {.json = BUF_INIT(REASONS_MAX)};
    CLEANUP_BUF struct buf body = BUF_INIT(REASONS_MAX + 64);
    if (server->options.ready != NULL) {
        server->options.ready(server->options.ctx, &reasons);
    }
    const bool ready = reasons.json.len == 0;
    /* Reasons beyond the limit would leave the document cut: then it only says no. */
    (void)buf_printf(&body, "{\"ready\":%s,\"reasons\":[", ready ? "true" : "false");
    if (buf_ok(&reasons.json)) {
        (void)buf_append_span(&body, buf_span(&reasons.json));
    }
    (void)buf_append_str(&body, "]}");
    buf_deinit(&reasons.json);
    http_reply_json(req, ready ? 200 : 503, &body);
}

static void show_metrics(struct http_request *req, void *ctx)
{
    const struct admin_server *server = ctx;
    CLEANUP_BUF struct buf body = BUF_INIT(METRICS_MAX);
    const err_t e = metrics_write(server->options.metrics, &body);
    if (e != ERR_OK) {
        http_reply_fault(req, ERR_INTERNAL, NULL);
        return;
    }
    http_reply(req, http_response_body(200, METRICS_CONTENT_TYPE, &body));
}

err_t admin_server_start(const struct admin_server_options *options,
                         struct admin_server **ret_server, struct fault *fault)
{
    struct admin_server *server = xcalloc(1, sizeof *server);
    server->options = *options;
    server->routes[0] = (struct http_route){.method = HTTP_GET,
                                            .pattern = "/healthz",
                                            .handler = healthz,
                                            .ctx = server,
                                            .query = HTTP_QUERY_ANY};
    server->routes[1] = (struct http_route){.method = HTTP_GET,
                                            .pattern = "/readyz",
                                            .handler = readyz,
                                            .ctx = server,
                                            .query = HTTP_QUERY_ANY};
    server->routes[2] = (struct http_route){.method = HTTP_GET,
                                            .pattern = "/metrics",
                                            .handler = show_metrics,
                                            .ctx = server,
                                            .query = HTTP_QUERY_ANY};
    struct http_server_options http = http_server_options_default();
    http.name = "admin";
    http.listen = &options->listen;
    http.listen_count = 1;
    http.routes = server->routes;
    http.route_count = 3;
    http.threads = 1;
    http.connections_max = 64;
    http.metrics = options->metrics;
    const err_t e = http_server_start(&http, &server->http, fault);
    if (e != ERR_OK) {
        free(server);
        return e;
    }
    *ret_server = server;
    return ERR_OK;
}

uint16_t admin_server_port(const struct admin_server *server)
{
    return http_server_port(server->http, 0);
}

void admin_server_free(struct admin_server *server)
{
    if (server != NULL) {
        http_server_free(server->http);
        free(server);
    }
}
