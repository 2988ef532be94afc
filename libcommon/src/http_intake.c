/*
 * libmicrohttpd's callbacks: a request from its first line to its end. Everything that can be
 * refused is refused before a byte of the body is kept. An answer can be queued at two moments
 * only: when the headers are there (what follows is then not read and the connection closes), or
 * when the whole body is there.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "http_private.h"

/* A refused body up to this size is read and dropped, so that the connection can go on. */
#define DROP_MAX ((uint64_t)64 * 1024)
/* A chunked body tells its size last; this much is dropped for the sake of answering 413, then the
 * connection is cut. */
#define DROP_CHUNKED_MAX ((uint64_t)32 * 1024 * 1024)

void *http_intake_target(void *cls, const char *target, struct MHD_Connection *mhd)
{
    (void)cls;
    struct http_conn *conn = http_conn_of(mhd);
    http_conn_phase(conn, HTTP_PHASE_HEADERS);
    return http_request_new(conn, mhd, target);
}

static enum http_method method_of(const char *name)
{
    for (unsigned m = 0; m < HTTP_METHOD_COUNT_; m++) {
        if (strcmp(name, http_method_name((enum http_method)m)) == 0) {
            return (enum http_method)m;
        }
    }
    return HTTP_METHOD_COUNT_;
}

static enum MHD_Result note_header(void *cls, enum MHD_ValueKind kind, const char *name,
                                   size_t name_len, const char *value, size_t value_len)
{
    struct http_request *req = cls;
    (void)kind;
    http_head_add(&req->head, span_of(name, name_len), span_of(value, value_len));
    http_framing_add(&req->framing, span_of(name, name_len), span_of(value, value_len));
    return MHD_YES;
}

static struct http_response *refuse_and_close(err_t e, const struct fault *fault)
{
    struct http_response *response = http_response_fault(e, fault);
    http_response_set_close(response);
    return response;
}

/* Each check returns the refusal, NULL to go on. */

static struct http_response *check_framing(struct http_request *req)
{
    struct fault fault = {0};
    (void)MHD_get_connection_values_n(req->mhd, MHD_HEADER_KIND, note_header, req);
    err_t e = http_framing_judge(&req->framing, req->method, &fault);
    if (e == ERR_OK && !http_head_plain(&req->head, req->mhd)) {
        e = fault_set(&fault, ERR_INVALID, "bad_request", "",
                      "each line must end in CRLF, have no NUL and not go on in the next, and each "
                      "header needs a name");
    }
    return e == ERR_OK ? NULL : refuse_and_close(e, &fault);
}

static struct http_response *check_peer(struct http_request *req)
{
    struct fault fault = {0};
    if (req->server->tls == NULL || req->server->options.client_cert == HTTP_CLIENT_CERT_NONE) {
        return NULL;
    }
    const err_t e = http_tls_judge(req->conn, req->mhd, &fault);
    return e == ERR_OK ? NULL : refuse_and_close(e, &fault);
}

static struct http_response *check_target(struct http_request *req)
{
    struct fault fault = {0};
    if (req->target_too_long) {
        (void)fault_set(&fault, ERR_TOO_LARGE, "uri_too_long", "",
                        "path and query must be at most %d bytes long", HTTP_TARGET_MAX);
        return http_response_error(414, fault.code, fault.text, NULL, 0);
    }
    char *question = strchr(req->target, '?');
    const size_t len = strlen(req->target);
    const size_t path_len = question != NULL ? (size_t)(question - req->target) : len;
    err_t e = ERR_OK;
    if (question != NULL) {
        e = http_query_parse(question + 1, len - path_len - 1, &req->query, &fault);
        if (e != ERR_OK) {
            /* ERR_TOO_LARGE would be 413, which is about bodies. */
            return http_response_fault(ERR_INVALID, &fault);
        }
    }
    e = http_path_parse(req->target, path_len, &req->path);
    if (e == ERR_INVALID) {
        (void)fault_set(&fault, e, "bad_request", "",
                        "the path has an empty, . or .. segment, a broken %%-escape, a control "
                        "character or is not UTF-8");
        return http_response_fault(e, &fault);
    }
    return e == ERR_OK ? NULL : http_response_fault(e, NULL);
}

static struct http_response *wrong_method(const struct http_request *req)
{
    const struct http_server_options *options = &req->server->options;
    char allow[HTTP_ALLOW_SIZE];
    char message[HTTP_ALLOW_SIZE + 32];
    http_routes_allow(options->routes, options->route_count, &req->path, allow);
    struct http_response *response = NULL;
    if (req->method == HTTP_OPTIONS) {
        response = http_response_new(204);
    } else {
        (void)snprintf(message, sizeof message, "this path accepts %s", allow);
        response = http_response_error(405, "method_not_allowed", message, NULL, 0);
    }
    http_response_set_header(response, "Allow", allow);
    return response;
}

static struct http_response *check_query(struct http_request *req)
{
    const char *taken = req->match.route->query;
    struct fault fault = {0};
    for (size_t i = 0; i < req->query.count; i++) {
        const char *name = req->query.pairs[i].name;
        if (taken == NULL) {
            (void)fault_set(&fault, ERR_INVALID, "unknown_field", name,
                            "this path takes no query parameter");
            return http_response_fault(ERR_INVALID, &fault);
        }
        if (strcmp(taken, HTTP_QUERY_ANY) != 0 && strcmp(taken, name) != 0) {
            (void)fault_set(&fault, ERR_INVALID, "unknown_field", name,
                            "the only query parameter here is %s", taken);
            return http_response_fault(ERR_INVALID, &fault);
        }
    }
    return NULL;
}

static struct http_response *check_route(struct http_request *req)
{
    const struct http_server_options *options = &req->server->options;
    struct fault fault = {0};
    const err_t e = http_routes_find(options->routes, options->route_count, req->method, &req->path,
                                     &req->match);
    if (e == ERR_UNSUPPORTED) {
        return wrong_method(req);
    }
    if (e != ERR_OK) {
        (void)fault_set(&fault, ERR_ABSENT, "not_found", "", "no such path");
        return http_response_fault(ERR_ABSENT, &fault);
    }
    struct span chain[HTTP_PEER_CERTS_MAX];
    if ((req->match.route->flags & HTTP_ROUTE_CLIENT_CERT) != 0 &&
        http_request_peer_chain(req, chain) == 0) {
        (void)fault_set(&fault, ERR_UNAUTHORIZED, "no_certificate", "",
                        "a client certificate is needed");
        return refuse_and_close(ERR_UNAUTHORIZED, &fault);
    }
    return NULL;
}

static struct http_response *too_large(const struct http_request *req)
{
    struct fault fault = {0};
    (void)fault_set(&fault, ERR_TOO_LARGE, "too_large", "",
                    req->match.route->max_body > 0 ? "the body must be at most %zu bytes long"
                                                   : "no body is accepted here (limit %zu)",
                    req->match.route->max_body);
    return http_response_fault(ERR_TOO_LARGE, &fault);
}

static struct http_response *check_body(struct http_request *req)
{
    const struct http_route *route = req->match.route;
    if (!http_framing_has_body(&req->framing)) {
        return NULL;
    }
    if (req->framing.content_length > route->max_body || route->max_body == 0) {
        return too_large(req);
    }
    if (route->content_type != NULL &&
        !http_content_type_matches(http_request_header(req, "Content-Type"), route->content_type)) {
        char message[128];
        (void)snprintf(message, sizeof message, "Content-Type must be %s", route->content_type);
        return http_response_error(415, "unsupported_media_type", message, NULL, 0);
    }
    return NULL;
}

static struct http_response *check_admission(struct http_request *req)
{
    const struct http_server_options *options = &req->server->options;
    struct fault fault = {0};
    uint32_t retry_after_s = 0;
    if (atomic_load(&req->server->stopping)) {
        return refuse_and_close(ERR_STOPPING, NULL);
    }
    if (options->admit == NULL) {
        return NULL;
    }
    const err_t e = options->admit(options->ctx, req, &fault, &retry_after_s);
    if (e == ERR_OK) {
        return NULL;
    }
    struct http_response *response = http_response_fault(e, &fault);
    http_response_set_retry_after(response, retry_after_s);
    return response;
}

static void note_traceparent(struct http_request *req)
{
    const char *value = http_request_header(req, "traceparent");
    if (value != NULL && http_traceparent_valid(span_str(value))) {
        memcpy(req->traceparent, value, sizeof req->traceparent - 1);
    }
}

static struct http_response *check_headers(struct http_request *req)
{
    static struct http_response *(*const checks[])(struct http_request *) = {
        check_framing, check_peer, check_target,    check_route,
        check_query,   check_body, check_admission,
    };
    note_traceparent(req);
    for (size_t i = 0; i < sizeof checks / sizeof checks[0]; i++) {
        struct http_response *refusal = checks[i](req);
        if (refusal != NULL) {
            return refusal;
        }
    }
    return NULL;
}

/* A refusal waits for the end of a small body, so that the connection stays in step; otherwise it
 * goes out at once and nothing more is read. */
static bool refuse_at_once(const struct http_request *req)
{
    if (req->response->close || http_framing_chunked(&req->framing)) {
        return true;
    }
    return req->framing.content_length > DROP_MAX ||
           (req->framing.content_length > 0 && http_request_header(req, "Expect") != NULL);
}

static enum MHD_Result headers_there(struct http_request *req, const char *method,
                                     const char *version)
{
    req->method = method_of(method);
    http_head_begin(&req->head, method, req->raw_target, version);
    req->stage = HTTP_STAGE_BODY;
    http_conn_phase(req->conn, HTTP_PHASE_BODY);
    req->response = check_headers(req);
    if (req->response == NULL) {
        /* Wiped at the end: bodies carry credentials. */
        req->body =
            BUF_INIT_SECRET(req->match.route->max_body > 0 ? req->match.route->max_body : 1);
        return MHD_YES;
    }
    if (!refuse_at_once(req)) {
        return MHD_YES;
    }
    req->conn->lingers = http_framing_has_body(&req->framing);
    return http_response_queue(req, TAKE(req->response));
}

/* Bodies of all requests together stay within body_memory. */
static bool charge(struct http_request *req, size_t len)
{
    struct http_server *server = req->server;
    const size_t before = atomic_fetch_add(&server->body_memory_used, len);
    metric_add(server->stats.body_bytes, (int64_t)len);
    req->body_charged += len;
    if (before + len <= server->options.body_memory) {
        return true;
    }
    metric_inc(server->stats.body_refused);
    return false;
}

static void drop_body(struct http_request *req, struct http_response *refusal)
{
    req->response = refusal;
    http_request_drop_body(req);
}

static enum MHD_Result body_part(struct http_request *req, const char *data, size_t *len)
{
    const size_t count = *len;
    *len = 0;
    req->body_received += count;
    if (req->response != NULL) {
        return req->body_received > DROP_CHUNKED_MAX ? MHD_NO : MHD_YES;
    }
    if (req->body_received > req->match.route->max_body) {
        drop_body(req, too_large(req));
    } else if (!charge(req, count)) {
        drop_body(req, http_response_fault(ERR_UNAVAILABLE, NULL));
    } else {
        (void)buf_append(&req->body, data, count); /* within max_body, checked above */
    }
    return MHD_YES;
}

static enum MHD_Result run_handler(struct http_request *req)
{
    struct http_server *server = req->server;
    req->stage = HTTP_STAGE_HANDLER;
    http_conn_phase(req->conn, HTTP_PHASE_HANDLING);
    /* Counted first, asked second: http_server_stop sets first and counts second, so that no
     * handler suspends behind its back. */
    (void)atomic_fetch_add(&server->handlers_running, 1);
    if (atomic_load(&server->stopping)) {
        req->response = refuse_and_close(ERR_STOPPING, NULL);
    } else {
        req->match.route->handler(req, req->match.route->ctx);
    }
    enum MHD_Result result = MHD_YES;
    if (req->ticket != NULL) {
        req->stage = HTTP_STAGE_SUSPENDED;
    } else {
        struct http_response *response = TAKE(req->response);
        result = http_response_queue(
            req, response != NULL ? response : http_response_fault(ERR_INTERNAL, NULL));
    }
    (void)atomic_fetch_sub(&server->handlers_running, 1);
    http_server_wake_waiters(server);
    return result;
}

static enum MHD_Result body_there(struct http_request *req)
{
    if (req->response != NULL) {
        return http_response_queue(req, TAKE(req->response));
    }
    return run_handler(req);
}

enum MHD_Result http_intake_access(void *cls, struct MHD_Connection *mhd, const char *url,
                                   const char *method, const char *version, const char *data,
                                   size_t *data_size, void **context)
{
    struct http_request *req = *context;
    (void)cls;
    (void)mhd;
    (void)url;
    switch (req->stage) {
    case HTTP_STAGE_HEADERS:
        return headers_there(req, method, version);
    case HTTP_STAGE_BODY:
        return *data_size > 0 ? body_part(req, data, data_size) : body_there(req);
    case HTTP_STAGE_SUSPENDED: {
        struct http_response *response = http_park_collect(req);
        return response != NULL ? http_response_queue(req, response) : MHD_YES;
    }
    case HTTP_STAGE_HANDLER:
    case HTTP_STAGE_ANSWERED:
        break;
    }
    *data_size = 0;
    return MHD_YES;
}

void http_intake_completed(void *cls, struct MHD_Connection *mhd, void **context,
                           enum MHD_RequestTerminationCode code)
{
    struct http_server *server = cls;
    struct http_request *req = *context;
    (void)mhd;
    if (req == NULL) {
        return;
    }
    *context = NULL;
    const uint32_t duration_us = (uint32_t)(http_now_us() - req->started_us);
    const struct http_route *route = req->match.route;
    http_stats_ended(&server->stats,
                     route != NULL ? (size_t)(route - server->options.routes)
                                   : server->options.route_count,
                     req->status, duration_us);
    if (server->options.on_access != NULL) {
        const struct http_access access = {
            .method = req->method,
            .route = http_request_route(req),
            .status = req->status,
            .duration_us = duration_us,
            .body_bytes_in = req->body_received,
            .body_bytes_out = req->body_sent,
            .request_id = req->id,
            .peer_address = req->conn->address_text,
            .sent = code == MHD_REQUEST_TERMINATED_COMPLETED_OK,
        };
        server->options.on_access(server->options.ctx, req, &access);
    }
    http_conn_phase(req->conn, HTTP_PHASE_IDLE);
    http_request_free(req);
}
