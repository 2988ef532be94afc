#include <assert.h>
#include <string.h>
#include <time.h>

#include "http_private.h"

#include "common/id.h"

int64_t http_now_us(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

struct http_request *http_request_new(struct http_conn *conn, struct MHD_Connection *mhd,
                                      const char *target)
{
    struct http_request *req = xcalloc(1, sizeof *req);
    req->server = conn->server;
    req->conn = conn;
    req->mhd = mhd;
    req->method = HTTP_METHOD_COUNT_;
    req->framing.own_single = conn->server->options.single_header;
    req->started_us = http_now_us();
    req->raw_target = span_str(target != NULL ? target : "");
    const size_t len = req->raw_target.len;
    req->target_too_long = len > HTTP_TARGET_MAX;
    req->target = xstrndup(target != NULL ? target : "", req->target_too_long ? 0 : len);
    const struct uuid id = uuid_v4();
    uuid_format(&id, req->id);
    (void)atomic_fetch_add(&req->server->in_flight, 1);
    metric_inc(req->server->stats.in_flight);
    return req;
}

void http_request_drop_body(struct http_request *req)
{
    struct http_server *server = req->server;
    buf_deinit(&req->body);
    (void)atomic_fetch_sub(&server->body_memory_used, req->body_charged);
    metric_add(server->stats.body_bytes, -(int64_t)req->body_charged);
    req->body_charged = 0;
}

void http_request_free(struct http_request *req)
{
    http_request_set_user(req, NULL, NULL);
    http_response_free(req->response);
    http_ticket_free(req->ticket);
    http_request_drop_body(req);
    free(req->target);
    struct http_server *server = req->server;
    free(req);
    metric_add(server->stats.in_flight, -1);
    (void)atomic_fetch_sub(&server->in_flight, 1);
    http_server_wake_waiters(server);
}

enum http_method http_request_method(const struct http_request *req)
{
    return req->method;
}

const char *http_request_param(const struct http_request *req, const char *name)
{
    for (size_t i = 0; i < req->match.params; i++) {
        if (span_eq(req->match.names[i], span_str(name))) {
            return req->match.values[i];
        }
    }
    assert(!"the route has no such parameter");
    return "";
}

const char *http_request_query(const struct http_request *req, const char *name)
{
    return http_query_get(&req->query, name);
}

bool http_request_query_at(const struct http_request *req, size_t index, const char **ret_name,
                           const char **ret_value)
{
    if (index >= req->query.count) {
        return false;
    }
    *ret_name = req->query.pairs[index].name;
    *ret_value = req->query.pairs[index].value;
    return true;
}

const char *http_request_header(const struct http_request *req, const char *name)
{
    return MHD_lookup_connection_value(req->mhd, MHD_HEADER_KIND, name);
}

struct span http_request_body(const struct http_request *req)
{
    return buf_span(&req->body);
}

const char *http_request_id(const struct http_request *req)
{
    return req->id;
}

const char *http_request_traceparent(const struct http_request *req)
{
    return req->traceparent[0] != '\0' ? req->traceparent : NULL;
}

const char *http_request_route(const struct http_request *req)
{
    return req->match.route != NULL ? req->match.route->pattern : "";
}

const char *http_request_peer_address(const struct http_request *req)
{
    return req->conn->address_text;
}

size_t http_request_peer_chain(const struct http_request *req,
                               struct span ret_chain[HTTP_PEER_CERTS_MAX])
{
    return req->server->tls != NULL ? http_tls_chain(req->mhd, ret_chain) : 0;
}

void *http_request_identity(const struct http_request *req)
{
    return req->conn->identity;
}

void http_request_take_body(struct http_request *req, struct buf *ret_body)
{
    *ret_body = req->body;
    req->body = BUF_INIT(1);
}

void http_request_set_user(struct http_request *req, void *user, void (*free_fn)(void *))
{
    if (req->user != NULL && req->free_user != NULL) {
        req->free_user(req->user);
    }
    req->user = user;
    req->free_user = free_fn;
}

void *http_request_user(const struct http_request *req)
{
    return req->user;
}
