/*
 * A server with one route per behaviour, shared by the tests of http_server.h. Requests to /later
 * are suspended and their tickets queued for the test to resume.
 */
#ifndef HTTP_RIG_H
#define HTTP_RIG_H

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "common/http_server.h"
#include "common/metrics.h"
#include "http_wire.h"

#define RIG_TICKETS 256

struct rig {
    struct http_server_options options;
    struct http_server *server;
    struct metrics *metrics;
    uint16_t port;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct http_ticket *tickets[RIG_TICKETS]; /* lock */
    size_t ticket_count;                      /* lock */
    unsigned ended;                           /* requests told to the access hook; lock */
    struct http_access last;                  /* lock; its strings are not valid */
    char last_route[64];                      /* lock */
    _Atomic uint32_t later_deadline_ms;
    _Atomic(http_wake_fn) on_wake;
    _Atomic unsigned users_alive;
    _Atomic unsigned wakes[2];
    _Atomic err_t admit_with;
};

static inline void rig_until(struct timespec *at, int64_t ms)
{
    (void)clock_gettime(CLOCK_REALTIME, at);
    at->tv_sec += ms / 1000;
}

/* Waits until `condition` holds; rig->lock is held around it. */
#define RIG_WAIT(rig, condition)                                                                   \
    do {                                                                                           \
        struct timespec until_;                                                                    \
        rig_until(&until_, WIRE_WAIT_MS);                                                          \
        (void)pthread_mutex_lock(&(rig)->lock);                                                    \
        while (!(condition) &&                                                                     \
               pthread_cond_timedwait(&(rig)->changed, &(rig)->lock, &until_) == 0) {              \
        }                                                                                          \
        const bool held_ = (condition);                                                            \
        (void)pthread_mutex_unlock(&(rig)->lock);                                                  \
        assert_true(held_);                                                                        \
    } while (0)

static inline void rig_user_free(void *user)
{
    struct rig *rig = user;
    (void)atomic_fetch_sub(&rig->users_alive, 1);
}

static inline void handle_echo(struct http_request *req, void *ctx)
{
    (void)ctx;
    struct buf body = BUF_INIT(65536);
    assert_ok(buf_append_span(&body, http_request_body(req)));
    http_reply_json(req, 200, &body);
}

static inline void handle_thing(struct http_request *req, void *ctx)
{
    (void)ctx;
    const char *colour = http_request_query(req, "colour");
    const char *trace = http_request_traceparent(req);
    struct buf body = BUF_INIT(65536);
    assert_ok(buf_printf(&body, "%s %s %s %s %s", http_method_name(http_request_method(req)),
                         http_request_param(req, "id"), colour != NULL ? colour : "-",
                         http_request_peer_address(req), trace != NULL ? trace : "-"));
    struct http_response *response = http_response_body(200, "text/plain", &body);
    http_response_set_header(response, "ETag", "\"1\"");
    http_reply(req, response);
}

static inline void handle_later(struct http_request *req, void *ctx)
{
    struct rig *rig = ctx;
    (void)atomic_fetch_add(&rig->users_alive, 1);
    http_request_set_user(req, rig, rig_user_free);
    struct http_ticket *ticket = http_suspend(req, rig->later_deadline_ms, rig->on_wake);
    (void)pthread_mutex_lock(&rig->lock);
    assert_true(rig->ticket_count < RIG_TICKETS);
    rig->tickets[rig->ticket_count++] = ticket;
    (void)pthread_cond_broadcast(&rig->changed);
    (void)pthread_mutex_unlock(&rig->lock);
}

static inline void handle_at_once(struct http_request *req, void *ctx)
{
    (void)ctx;
    assert_ok(http_resume(http_suspend(req, 60000, NULL), http_response_new(204)));
}

static inline void handle_nothing(struct http_request *req, void *ctx)
{
    (void)req;
    (void)ctx;
}

static inline void handle_fault(struct http_request *req, void *ctx)
{
    struct fault fault = {0};
    (void)ctx;
    http_reply_fault(
        req, fault_set(&fault, ERR_EXISTS, "duplicate", "Name", "\"%s\" is taken", "a\"b"), &fault);
}

#define RIG_BIG ((size_t)8 * 1024 * 1024)
static inline void handle_big(struct http_request *req, void *ctx)
{
    (void)ctx;
    struct buf body = BUF_INIT(RIG_BIG);
    memset(buf_reserve(&body, RIG_BIG - 1), 'x', RIG_BIG - 1);
    body.len = RIG_BIG - 1;
    http_reply(req, http_response_body(200, "text/plain", &body));
}

static inline void rig_access(void *ctx, const struct http_request *req,
                              const struct http_access *access)
{
    struct rig *rig = ctx;
    assert_string_equal(access->request_id, http_request_id(req));
    (void)pthread_mutex_lock(&rig->lock);
    rig->ended++;
    rig->last = *access;
    (void)snprintf(rig->last_route, sizeof rig->last_route, "%s", access->route);
    (void)pthread_cond_broadcast(&rig->changed);
    (void)pthread_mutex_unlock(&rig->lock);
}

static inline err_t rig_admit(void *ctx, struct http_request *req, struct fault *fault,
                              uint32_t *retry_after_s)
{
    struct rig *rig = ctx;
    const char *token = http_request_header(req, "Authorization");
    if (rig->admit_with == ERR_OK || (token != NULL && strcmp(token, "Bearer good") == 0)) {
        return ERR_OK;
    }
    *retry_after_s = rig->admit_with == ERR_BUSY ? 17 : 0;
    return fault_set(fault, rig->admit_with, "no_token", "Authorization", "needs a token");
}

static inline void rig_init(struct rig *rig)
{
    static const char *const listen[] = {"127.0.0.1:0"};
    memset(rig, 0, sizeof *rig);
    (void)pthread_mutex_init(&rig->lock, NULL);
    (void)pthread_cond_init(&rig->changed, NULL);
    rig->metrics = metrics_new();
    rig->later_deadline_ms = 60000;
    rig->options = http_server_options_default();
    rig->options.name = "test";
    rig->options.single_header = "X-Seal";
    rig->options.listen = listen;
    rig->options.listen_count = 1;
    rig->options.metrics = rig->metrics;
    rig->options.on_access = rig_access;
    rig->options.admit = rig_admit;
    rig->options.ctx = rig;
    rig->options.connections_max = 512;
}

static inline void rig_start(struct rig *rig)
{
    struct http_route *routes = xcalloc(8, sizeof *routes);
    size_t n = 0;
    routes[n++] = (struct http_route){.method = HTTP_GET,
                                      .pattern = "/v1/things/{id}",
                                      .handler = handle_thing,
                                      .ctx = rig,
                                      .query = "colour"};
    routes[n++] = (struct http_route){.method = HTTP_POST,
                                      .pattern = "/v1/echo",
                                      .handler = handle_echo,
                                      .ctx = rig,
                                      .max_body = 1024,
                                      .content_type = "application/json",
                                      .query = HTTP_QUERY_ANY};
    routes[n++] = (struct http_route){.method = HTTP_POST,
                                      .pattern = "/v1/later",
                                      .handler = handle_later,
                                      .ctx = rig,
                                      .max_body = 1024};
    routes[n++] = (struct http_route){
        .method = HTTP_GET, .pattern = "/v1/at-once", .handler = handle_at_once, .ctx = rig};
    routes[n++] = (struct http_route){
        .method = HTTP_GET, .pattern = "/v1/nothing", .handler = handle_nothing, .ctx = rig};
    routes[n++] = (struct http_route){
        .method = HTTP_GET, .pattern = "/v1/fault", .handler = handle_fault, .ctx = rig};
    routes[n++] = (struct http_route){
        .method = HTTP_GET, .pattern = "/v1/big", .handler = handle_big, .ctx = rig};
    rig->options.routes = routes;
    rig->options.route_count = n;
    struct fault fault = {0};
    const err_t e = http_server_start(&rig->options, &rig->server, &fault);
    if (e != ERR_OK) {
        fail_msg("%s: %s", fault.field, fault.text);
    }
    rig->port = http_server_port(rig->server, 0);
}

static inline struct http_ticket *rig_ticket(struct rig *rig)
{
    RIG_WAIT(rig, rig->ticket_count > 0);
    (void)pthread_mutex_lock(&rig->lock);
    struct http_ticket *ticket = rig->tickets[--rig->ticket_count];
    (void)pthread_mutex_unlock(&rig->lock);
    return ticket;
}

/* Stops and frees everything; no user pointer of a request may be left. */
static inline void rig_end(struct rig *rig)
{
    http_server_free(rig->server);
    assert_int_equal(atomic_load(&rig->users_alive), 0);
    metrics_free(rig->metrics);
    free((void *)(uintptr_t)rig->options.routes);
    (void)pthread_cond_destroy(&rig->changed);
    (void)pthread_mutex_destroy(&rig->lock);
}

/* The value of one series, -1 when it is not there. */
static inline double rig_metric(struct rig *rig, const char *series)
{
    struct buf text = BUF_INIT(1 << 20);
    assert_ok(metrics_write(rig->metrics, &text));
    const char *at = strstr(buf_cstr(&text), series);
    const double value = at != NULL ? strtod(at + strlen(series), NULL) : -1;
    buf_deinit(&text);
    return value;
}

static inline int rig_setup(void **state)
{
    struct rig *rig = xcalloc(1, sizeof *rig);
    rig_init(rig);
    *state = rig;
    return 0;
}

static inline int rig_teardown(void **state)
{
    rig_end(*state);
    free(*state);
    return 0;
}

#define RIG_TEST(test) cmocka_unit_test_setup_teardown(test, rig_setup, rig_teardown)

#endif
