#include "common/admin_server.h"

#include <stdatomic.h>

#include "http_wire.h"

struct part {
    _Atomic int missing;
};

static void ready(void *ctx, struct admin_reasons *reasons)
{
    const struct part *part = ctx;
    for (int i = 0; i < atomic_load(&part->missing); i++) {
        admin_not_ready(reasons, i == 0 ? "kafka" : "redis", "no \"answer\"");
    }
}

static void tells_health_readiness_and_metrics(void **state)
{
    (void)state;
    CLEANUP(metrics_free) struct metrics *metrics = metrics_new();
    metric_add(metrics_counter(metrics, "things_total", "Things.", METRIC_NO_LABELS), 7);
    struct part part = {0};
    const struct admin_server_options options = {
        .listen = "127.0.0.1:0", .metrics = metrics, .ready = ready, .ctx = &part};
    struct admin_server *server = NULL;
    struct fault fault = {0};
    struct wire_response r;
    char value[128];
    assert_ok(admin_server_start(&options, &server, &fault));
    const uint16_t port = admin_server_port(server);
    assert_int_not_equal(port, 0);

    wire_ask(port, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", &r);
    assert_int_equal(r.status, 200);
    wire_ask(port, "GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n", &r);
    assert_int_equal(r.status, 200);
    assert_string_equal(r.body, "{\"ready\":true,\"reasons\":[]}");
    atomic_store(&part.missing, 2);
    wire_ask(port, "GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n", &r);
    assert_int_equal(r.status, 503);
    assert_string_equal(r.body, "{\"ready\":false,\"reasons\":["
                                "{\"part\":\"kafka\",\"reason\":\"no \\\"answer\\\"\"},"
                                "{\"part\":\"redis\",\"reason\":\"no \\\"answer\\\"\"}]}");
    wire_ask(port, "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", &r);
    assert_int_equal(r.status, 200);
    assert_string_equal(wire_header(&r, "Content-Type", value, sizeof value), METRICS_CONTENT_TYPE);
    assert_non_null(strstr(r.body, "\nthings_total 7\n"));
    wire_ask(port, "POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", &r);
    assert_int_equal(r.status, 405);
    admin_server_free(server);
}

/* More reasons than fit still give a whole document that says no. */
static void stays_well_formed_with_many_reasons(void **state)
{
    (void)state;
    CLEANUP(metrics_free) struct metrics *metrics = metrics_new();
    struct part part = {.missing = 5000};
    const struct admin_server_options options = {
        .listen = "127.0.0.1:0", .metrics = metrics, .ready = ready, .ctx = &part};
    struct admin_server *server = NULL;
    struct wire_response r;
    assert_ok(admin_server_start(&options, &server, NULL));
    wire_ask(admin_server_port(server), "GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n", &r);
    assert_int_equal(r.status, 503);
    assert_string_equal(r.body, "{\"ready\":false,\"reasons\":[]}");
    admin_server_free(server);
}

static void refuses_a_bad_address(void **state)
{
    (void)state;
    static const struct {
        const char *listen;
        err_t expected;
    } rows[] = {
        {"", ERR_INVALID},
        {"127.0.0.1", ERR_INVALID},
        {":80", ERR_INVALID},
        {"127.0.0.1:", ERR_INVALID},
        {"127.0.0.1:x", ERR_INVALID},
        {"::1:80", ERR_INVALID},
        {"[::1:80", ERR_INVALID},
        {"127.0.0.1:65536", ERR_INVALID},
        {"192.0.2.1:0", ERR_UNAVAILABLE},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct admin_server_options options = {.listen = rows[i].listen, .metrics = NULL};
        struct admin_server *server = NULL;
        struct fault fault = {0};
        assert_err(admin_server_start(&options, &server, &fault), rows[i].expected);
        assert_null(server);
        assert_string_equal(fault.field, "listen");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_health_readiness_and_metrics),
        cmocka_unit_test(stays_well_formed_with_many_reasons),
        cmocka_unit_test(refuses_a_bad_address),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
