/*
 * What a handler sees of HTTP: the request, the response, and how to answer later.
 *
 * A handler runs on a server thread once the whole body is there, must not block, and before it
 * returns does exactly one of two things: it replies (http_reply...), or it suspends the request
 * (http_suspend) and hands the ticket to whoever will know the answer; that thread calls
 * http_resume. A handler that does neither is answered 500.
 *
 * Requests belong to the server and are valid from the call of the handler to its return, and for a
 * suspended request until http_resume is called on its ticket. Everything an accessor returns lives
 * as long as the request. Between suspension and resumption one thread at a time may use it.
 */
#ifndef COMMON_HTTP_REQUEST_H
#define COMMON_HTTP_REQUEST_H

#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/cleanup.h"
#include "common/err.h"

struct http_request;
struct http_response;
struct http_ticket;

enum http_method {
    HTTP_GET,
    HTTP_HEAD,
    HTTP_POST,
    HTTP_PUT,
    HTTP_PATCH,
    HTTP_DELETE,
    HTTP_OPTIONS,
    HTTP_METHOD_COUNT_, /* also stands for every method we do not speak */
};
/* "GET"; "OTHER" for HTTP_METHOD_COUNT_. */
const char *http_method_name(enum http_method method);

/* Limits on what a client sizes; over them the answer is 400 and says which. */
#define HTTP_TARGET_MAX       4096 /* bytes of path and query together */
#define HTTP_PARAMS_MAX       6    /* {params} of one route */
#define HTTP_QUERY_PAIRS_MAX  32
#define HTTP_QUERY_VALUE_MAX  1024
#define HTTP_PEER_CERTS_MAX   8
#define HTTP_RESPONSE_HEADERS 8
#define HTTP_REQUEST_ID_SIZE  37

/* ---- the request ---- */

/* HEAD reaches the handler of GET as HTTP_HEAD; the server drops the body it answers. */
enum http_method http_request_method(const struct http_request *req);
/* The decoded value of {name} in the route's pattern: non-empty, valid UTF-8, no NUL. The name must
 * be in the pattern. */
const char *http_request_param(const struct http_request *req, const char *name);
/* The decoded value of a query parameter, NULL when it is not there. Names never repeat: a request
 * that repeats one was refused. */
const char *http_request_query(const struct http_request *req, const char *name);
/* All query parameters, to refuse the unknown ones; false past the last. */
bool http_request_query_at(const struct http_request *req, size_t index, const char **ret_name,
                           const char **ret_value);
/* The first header of that name, NULL when there is none. Names compare without case.
 * Authorization, Content-Type and Idempotency-Key are single: a request that repeats one was
 * refused. */
const char *http_request_header(const struct http_request *req, const char *name);
/* The whole body; empty when there was none. */
struct span http_request_body(const struct http_request *req);
/* Lower-case UUID made by the server; the client sees it as X-Request-Id and in every error. */
const char *http_request_id(const struct http_request *req);
/* The caller's W3C traceparent (55 characters) when it sent a valid one, else NULL. */
const char *http_request_traceparent(const struct http_request *req);
/* The pattern of the matched route, for logs and metrics; "" when none matched. */
const char *http_request_route(const struct http_request *req);
/* Numeric address of the client, without port. */
const char *http_request_peer_address(const struct http_request *req);
/* The client's certificates as DER, leaf first; 0 without TLS or without a certificate. They have
 * passed the server's verify callback. */
size_t http_request_peer_chain(const struct http_request *req,
                               struct span ret_chain[HTTP_PEER_CERTS_MAX]);
/* What the verify callback made of the chain on this connection; NULL without one. */
void *http_request_identity(const struct http_request *req);
/* The body moves to the caller: for work that outlives the request. The request's is empty then. */
void http_request_take_body(struct http_request *req, struct buf *ret_body);

/* One pointer of the service's own per request; `free_fn` (may be NULL) runs on a server thread
 * when the request ends, or at once on the old pointer when another is set. */
void http_request_set_user(struct http_request *req, void *user, void (*free_fn)(void *));
void *http_request_user(const struct http_request *req);

/* ---- responses ---- */

/*
 * A response is built by one thread, then handed over: to http_reply on the handler's thread, or to
 * http_resume. Every response also gets X-Request-Id, Cache-Control: no-store (unless it has its
 * own Cache-Control) and X-Content-Type-Options: nosniff.
 */
struct http_response *http_response_new(unsigned status);
/* Takes the bytes of `body`, which is empty afterwards. `content_type` must be static. */
struct http_response *http_response_body(unsigned status, const char *content_type,
                                         struct buf *body);
/* The same with application/json. */
struct http_response *http_response_json(unsigned status, struct buf *body);

struct http_error_field {
    const char *field;
    const char *message;
};
/*
 * The one error shape:
 * {"object":"error","code":<status>,"type","message","request_id","fields":[]}. Strings are copied.
 * 429 and 503 carry Retry-After (a few seconds, spread) unless set otherwise.
 */
struct http_response *http_response_error(unsigned status, const char *type, const char *message,
                                          const struct http_error_field *fields, size_t count);
/*
 * The error shape for an error code, status and default type from one table (http_error.h).
 * `fault` (may be NULL) gives type, message and the field at fault.
 */
struct http_response *http_response_fault(err_t e, const struct fault *fault);

void http_response_free(struct http_response *response);
CLEANUP_DEFINE(struct http_response *, http_response_free);

/* `name` must be static, `value` is copied; at most HTTP_RESPONSE_HEADERS, control characters in
 * the value are an error of the caller (asserted). */
void http_response_set_header(struct http_response *response, const char *name, const char *value);
void http_response_set_retry_after(struct http_response *response, uint32_t seconds);
/* The connection closes after this response. */
void http_response_set_close(struct http_response *response);

/* Answers now; takes the response. Only in the handler, once. */
void http_reply(struct http_request *req, struct http_response *response);
void http_reply_json(struct http_request *req, unsigned status, struct buf *body);
void http_reply_fault(struct http_request *req, err_t e, const struct fault *fault);

/* ---- answering later ---- */

enum http_wake {
    HTTP_WAKE_DEADLINE, /* nobody resumed in time */
    HTTP_WAKE_STOPPING, /* the server is going down and waits no longer */
};
/*
 * Makes the answer when nobody resumed: what is not known is reported as not known (202). Runs on
 * the server's timer thread and must not block; `ctx` is the route's. Never NULL. The ticket is
 * spent by then: an http_resume that comes later changes nothing.
 */
typedef struct http_response *(*http_wake_fn)(struct http_request *req, void *ctx,
                                              enum http_wake why);

/*
 * Suspends the request: the handler may return without a reply. Call it before anything is sent
 * that may bring the answer, so that the answer finds the ticket. Only in the handler, once. After
 * `deadline_ms` (> 0) `on_wake` answers; NULL answers 504, or 503 when stopping. The ticket belongs
 * to the caller, who passes it to http_resume or http_ticket_free.
 */
struct http_ticket *http_suspend(struct http_request *req, uint32_t deadline_ms,
                                 http_wake_fn on_wake) __attribute__((returns_nonnull));
/*
 * Answers a suspended request, from any thread, also from the handler itself. Takes ticket and
 * response in every case. ERR_OK: this is the answer. ERR_STALE: deadline or stop had answered
 * before; the response is dropped, nothing is left to do. A client that went away meanwhile is not
 * an error. The request must not be touched after the call.
 */
err_t http_resume(struct http_ticket *ticket, struct http_response *response);
/* Gives the ticket up without an answer: the deadline will answer. Any thread. */
void http_ticket_free(struct http_ticket *ticket);
CLEANUP_DEFINE(struct http_ticket *, http_ticket_free);

#endif
