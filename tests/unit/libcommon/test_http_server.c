/* The server over real sockets: what it serves, what it refuses and how, and what it cuts. */
#include <microhttpd.h>
#include <poll.h>

#include "http_rig.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define HOST     "Host: test\r\n"
/* ---- refusals ---- */

#define LIBRARY_1_0 (MHD_VERSION >= 0x01000000)
/* What libmicrohttpd refuses since 1.0 before we are asked. */
#define UNTIL_1_0(type) (LIBRARY_1_0 ? NULL : (type))

static void refuses_with_the_error_shape(void **state)
{
    struct rig *rig = *state;
    static const struct {
        const char *request;
        const char *type; /* NULL: libmicrohttpd answers by itself, and closes */
        int status;
        bool closes;
    } rows[] = {
        {"POST /v1/echo HTTP/1.1\r\n" HOST "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
         "bad_request", 400, true},
        {"POST /v1/echo HTTP/1.1\r\n" HOST "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
         "bad_request", 400, true},
        {"POST /v1/echo HTTP/1.1\r\n" HOST
         "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
         UNTIL_1_0("bad_request"), 400, true},
        {"POST /v1/echo HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
         UNTIL_1_0("bad_request"), 400, true},
        {"POST /v1/echo HTTP/1.1\r\n" HOST "Content-Length : 3\r\n\r\nabc",
         UNTIL_1_0("bad_request"), 400, true},
        {"POST /v1/echo HTTP/1.1\r\n" HOST "\r\n", "bad_request", 400, true},
        {"GET /v1/things/1 HTTP/1.1\r\n" HOST HOST "\r\n", "bad_request", 400, true},
        {"GET /v1/things/1 HTTP/1.1\r\n\r\n", UNTIL_1_0("bad_request"), 400, true},
        {"GET /v1/things/1 2 HTTP/1.1\r\n" HOST "\r\n", UNTIL_1_0("bad_request"), 400, false},
        {"GET /v1/things/1 HTTP/1.0\r\n\r\n", "bad_request", 400, true},
        {"GET /v1/things/1 HTTP/1.1\r\nno colon\r\n\r\n", NULL, 400, true},
        {"GET /v1/things/1 HTTP/1.1\r\n" HOST "Authorization: a\r\nAuthorization: b\r\n\r\n",
         "bad_request", 400, true},
        {"GET /v1/things HTTP/1.1\r\n" HOST "\r\n", "not_found", 404, false},
        {"GET /v1/Things/1 HTTP/1.1\r\n" HOST "\r\n", "not_found", 404, false},
        {"GET /v1/things/%zz HTTP/1.1\r\n" HOST "\r\n", "bad_request", 400, false},
        {"GET /v1/../things HTTP/1.1\r\n" HOST "\r\n", "bad_request", 400, false},
        {"GET http://test/v1/things/1 HTTP/1.1\r\n" HOST "\r\n", "bad_request", 400, false},
        {"GET /v1/things/1?a=1&a=2 HTTP/1.1\r\n" HOST "\r\n", "validation_error", 400, false},
        {"GET /v1/things/1?shade=1 HTTP/1.1\r\n" HOST "\r\n", "unknown_field", 400, false},
        {"GET /v1/things/1?colour=red&Colour=red HTTP/1.1\r\n" HOST "\r\n", "unknown_field", 400,
         false},
        {"GET /v1/big?colour HTTP/1.1\r\n" HOST "\r\n", "unknown_field", 400, false},
        {"GET /v1/things/1 HTTP/1.1\r\n" HOST "X-Seal: 1\r\nx-seal: 1\r\n\r\n", "bad_request", 400,
         true},
        {"DELETE /v1/things/1 HTTP/1.1\r\n" HOST "\r\n", "method_not_allowed", 405, false},
        {"BREW /v1/things/1 HTTP/1.1\r\n" HOST "\r\n", "method_not_allowed", 405, false},
        {"GET /v1/things/1 HTTP/1.1\r\n" HOST "Content-Length: 1\r\n\r\nx", "too_large", 413,
         false},
        {"POST /v1/echo HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc", "unsupported_media_type",
         415, false},
        {"POST /v1/echo HTTP/1.1\r\n" HOST
         "Content-Type: text/plain\r\nContent-Length: 3\r\n\r\nabc",
         "unsupported_media_type", 415, false},
        {"GET /v1/nothing HTTP/1.1\r\n" HOST "\r\n", "internal_error", 500, false},
    };
    struct wire_response r;
    char expected[64];
    rig_start(rig);
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct wire wire = wire_open(rig->port);
        assert_true(wire_send(&wire, rows[i].request));
        wire_read(&wire, &r);
        (void)snprintf(expected, sizeof expected,
                       "{\"object\":\"error\",\"code\":%d,\"type\":\"%s\"", rows[i].status,
                       rows[i].type != NULL ? rows[i].type : "");
        if (r.status != rows[i].status ||
            (rows[i].type != NULL && strncmp(r.body, expected, strlen(expected)) != 0)) {
            fail_msg("row %zu: %d %s", i, r.status, r.body);
        }
        if (rows[i].type == NULL || rows[i].closes) {
            if (!wire_ended(&wire)) {
                fail_msg("row %zu stays open: %s", i, r.head);
            }
        } else {
            /* Still in step: the next request on the connection is understood. */
            assert_true(wire_send(&wire, "GET /v1/things/1 HTTP/1.1\r\n" HOST "\r\n"));
            wire_read(&wire, &r);
            assert_int_equal(r.status, 200);
        }
        wire_close(&wire);
    }
}

/* What the library itself cannot read: it may say so in its own words, but must close and live on.
 */
static void survives_broken_http(void **state)
{
    struct rig *rig = *state;
    static const char *const requests[] = {
        "\r\n\r\n\r\n",
        "GET\r\n\r\n",
        "GET /v1/things/1\r\n\r\n",
        "GET /v1/things/1 HTTP/9.9\r\n\r\n",
        "GET /v1/things/1 HTTP/1.1\r\n" HOST ": empty name\r\n\r\n",
        "POST /v1/echo HTTP/1.1\r\n" HOST "Content-Length: abc\r\n\r\nabc",
        "POST /v1/echo HTTP/1.1\r\n" HOST "Content-Length: -1\r\n\r\nabc",
        "POST /v1/echo HTTP/1.1\r\n" HOST "Content-Length: 99999999999999999999999\r\n\r\nabc",
        "POST /v1/echo HTTP/1.1\r\n" HOST "Content-Type: application/json\r\n"
        "Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        "POST /v1/echo HTTP/1.1\r\n" HOST "Content-Type: application/json\r\n"
        "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    };
    struct wire_response r;
    /* The library overlooks a half-close that came with the last bytes: the idle limit ends it. */
    rig->options.idle_timeout_ms = 300;
    rig->options.header_timeout_ms = 1000;
    rig_start(rig);
    for (size_t i = 0; i < COUNT(requests); i++) {
        struct wire wire = wire_open(rig->port);
        (void)wire_send(&wire, requests[i]);
        (void)shutdown(wire.fd, SHUT_WR);
        char scrap[4096];
        while (wire_receive(&wire, scrap, sizeof scrap) > 0) {
        }
        wire_close(&wire);
        wire_ask(rig->port, "GET /v1/things/1 HTTP/1.1\r\n" HOST "\r\n", &r);
        assert_int_equal(r.status, 200);
    }
}

static void errors_carry_the_request_id(void **state)
{
    struct rig *rig = *state;
    struct wire_response r;
    char id[64];
    char expected[256];
    rig_start(rig);
    wire_ask(rig->port, "GET /v1/fault HTTP/1.1\r\n" HOST "\r\n", &r);
    assert_int_equal(r.status, 409);
    (void)snprintf(
        expected, sizeof expected,
        "{\"object\":\"error\",\"code\":409,\"type\":\"duplicate\",\"message\":"
        "\"\\\"a\\\"b\\\" is taken\",\"request_id\":\"%s\",\"fields\":[{\"field\":\"Name\","
        "\"message\":\"\\\"a\\\"b\\\" is taken\"}]}",
        wire_header(&r, "X-Request-Id", id, sizeof id));
    assert_string_equal(r.body, expected);
}

static void refuses_a_long_target(void **state)
{
    struct rig *rig = *state;
    struct wire_response r;
    char request[HTTP_TARGET_MAX + 256];
    rig_start(rig);
    const int head = snprintf(request, sizeof request, "GET /v1/things/");
    memset(request + head, 'a', HTTP_TARGET_MAX);
    (void)snprintf(request + head + HTTP_TARGET_MAX,
                   sizeof request - (size_t)head - HTTP_TARGET_MAX, " HTTP/1.1\r\n" HOST "\r\n");
    wire_ask(rig->port, request, &r);
    assert_int_equal(r.status, 414);
    assert_non_null(strstr(r.body, "\"uri_too_long\""));
}

static void survives_a_flood_of_headers(void **state)
{
    struct rig *rig = *state;
    struct wire_response r;
    rig_start(rig);
    struct wire wire = wire_open(rig->port);
    (void)wire_send(&wire, "GET /v1/things/1 HTTP/1.1\r\n" HOST);
    for (int i = 0; i < 4000 && wire_send(&wire, "X-Filler: 0123456789012345678901234567890\r\n");
         i++) {
    }
    wire_close(&wire);
    wire_ask(rig->port, "GET /v1/things/1 HTTP/1.1\r\n" HOST "\r\n", &r);
    assert_int_equal(r.status, 200);
}

/* ---- bodies ---- */

/* Ten megabytes are refused on sight; the client, who sends them all, still reads why. */
static void refuses_a_large_body_early(void **state)
{
    struct rig *rig = *state;
    static char filler[1 << 20];
    struct wire_response r;
    rig_start(rig);
    for (int round = 0; round < 5; round++) {
        struct wire wire = wire_open(rig->port);
        assert_true(wire_send(&wire,
                              "POST /v1/echo HTTP/1.1\r\n" HOST "Content-Type: application/json\r\n"
                              "Content-Length: 10485760\r\n\r\n"));
        for (int i = 0; i < 10; i++) {
            assert_true(wire_send_bytes(&wire, filler, sizeof filler));
        }
        wire_read(&wire, &r);
        assert_int_equal(r.status, 413);
        assert_non_null(strstr(r.body, "at most 1024 bytes"));
        assert_true(wire_ended(&wire));
        wire_close(&wire);
        RIG_WAIT(rig, rig->ended == (unsigned)round + 1);
        assert_int_equal(rig->last.body_bytes_in, 0);
    }
}

static void answers_expect_before_the_body(void **state)
{
    struct rig *rig = *state;
    struct wire_response r;
    rig_start(rig);
    struct wire wire = wire_open(rig->port);
    assert_true(wire_send(&wire, "POST /v1/echo HTTP/1.1\r\n" HOST
                                 "Content-Type: application/json\r\nExpect: 100-continue\r\n"
                                 "Content-Length: 2000\r\n\r\n"));
    wire_read(&wire, &r);
    assert_int_equal(r.status, 413);
    wire_close(&wire);
    wire = wire_open(rig->port);
    assert_true(wire_send(&wire, "POST /v1/echo HTTP/1.1\r\n" HOST
                                 "Content-Type: application/json\r\nExpect: 100-continue\r\n"
                                 "Content-Length: 2\r\n\r\n"));
    wire_read(&wire, &r);
    assert_int_equal(r.status, 100);
    assert_true(wire_send(&wire, "{}"));
    wire_read(&wire, &r);
    assert_int_equal(r.status, 200);
    assert_string_equal(r.body, "{}");
    wire_close(&wire);
}

#define CHUNKED                                                                                    \
    "POST /v1/echo HTTP/1.1\r\n" HOST                                                              \
    "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"

static void counts_chunked_bodies(void **state)
{
    struct rig *rig = *state;
    static char chunk[2048];
    struct wire_response r;
    rig_start(rig);
    wire_ask(rig->port, CHUNKED "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", &r);
    assert_int_equal(r.status, 200);
    assert_string_equal(r.body, "abcde");
    RIG_WAIT(rig, rig->ended == 1); /* told on another loop's thread, perhaps after the next one */

    struct wire wire = wire_open(rig->port);
    memset(chunk, 'x', sizeof chunk);
    assert_true(wire_send(&wire, CHUNKED "800\r\n"));
    assert_true(wire_send_bytes(&wire, chunk, sizeof chunk));
    assert_true(wire_send(&wire, "\r\n0\r\n\r\n"));
    wire_read(&wire, &r);
    assert_int_equal(r.status, 413);
    wire_close(&wire);
    RIG_WAIT(rig, rig->ended == 2);
    assert_int_equal(rig->last.body_bytes_in, sizeof chunk);
}

/*
 * Chunk extensions are to be ignored. libmicrohttpd 1.0.1 leaves the line feed of their line unread
 * and then finds the chunk a byte too long: such a request is refused and its connection closed,
 * and what stands behind it, here in the trailers of one with an extension at its last chunk, is
 * not taken for a request.
 */
static void chunk_extensions_hide_nothing(void **state)
{
    struct rig *rig = *state;
    static const struct {
        const char *request;
        const char *body;
    } rows[] = {
        {CHUNKED "3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n", "abcde"},
        {CHUNKED "3\r\nabc\r\n0;x=y\r\n\r\n", "abc"},
        {CHUNKED "3\r\nabc\r\n0;x=y\r\nGET /v1/nothing HTTP/1.1: x\r\n" HOST "\r\n", "abc"},
    };
    struct wire_response r;
    rig_start(rig);
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct wire wire = wire_open(rig->port);
        assert_true(wire_send(&wire, rows[i].request));
        wire_read(&wire, &r);
        if (r.status == 200 || !LIBRARY_1_0) {
            assert_int_equal(r.status, 200);
            assert_string_equal(r.body, rows[i].body);
        } else {
            assert_int_equal(r.status, 400);
        }
        assert_true(wire_ended(&wire)); /* as after every chunked body */
        wire_close(&wire);
    }
}

/* A body that never ends is cut, whatever it promises. */
static void cuts_endless_chunks(void **state)
{
    struct rig *rig = *state;
    static char chunk[1 << 20];
    rig_start(rig);
    struct wire wire = wire_open(rig->port);
    assert_true(wire_send(&wire, CHUNKED));
    int sent = 0;
    while (sent < 256 && wire_send(&wire, "100000\r\n") &&
           wire_send_bytes(&wire, chunk, sizeof chunk) && wire_send(&wire, "\r\n")) {
        sent++;
    }
    assert_in_range(sent, 16, 128);
    wire_close(&wire);
}

static void bounds_the_memory_of_bodies(void **state)
{
    struct rig *rig = *state;
    char body[1025];
    char request[2048];
    char value[16];
    struct wire_response r;
    rig->options.body_memory = 1000;
    rig_start(rig);
    memset(body, 'x', 1024);
    body[1024] = '\0';
    (void)snprintf(request, sizeof request,
                   "POST /v1/echo HTTP/1.1\r\n" HOST
                   "Content-Type: application/json\r\nContent-Length: 1024\r\n\r\n%s",
                   body);
    wire_ask(rig->port, request, &r);
    assert_int_equal(r.status, 503);
    assert_in_range(strtol(wire_header(&r, "Retry-After", value, sizeof value), NULL, 10), 1, 4);
    /* What was charged is given back. */
    for (int i = 0; i < 3; i++) {
        wire_ask(rig->port,
                 "POST /v1/echo HTTP/1.1\r\n" HOST
                 "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
                 &r);
        assert_int_equal(r.status, 200);
    }
    RIG_WAIT(rig, rig->ended == 4);
    assert_int_equal((int)rig_metric(rig, "http_body_memory_refused_total{server=\"test\"}"), 1);
}

/* ---- serving ---- */

static void serves_what_is_routed(void **state)
{
    struct rig *rig = *state;
    struct wire_response r;
    char value[128];
    rig_start(rig);
    wire_ask(rig->port,
             "GET /v1/things/a%20b?colour=deep+blue%21 HTTP/1.1\r\n" HOST
             "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\r\n",
             &r);
    assert_int_equal(r.status, 200);
    assert_string_equal(r.body, "GET a b deep blue! 127.0.0.1 "
                                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    assert_string_equal(wire_header(&r, "ETag", value, sizeof value), "\"1\"");
    assert_string_equal(wire_header(&r, "Content-Type", value, sizeof value), "text/plain");
    assert_string_equal(wire_header(&r, "Cache-Control", value, sizeof value), "no-store");
    assert_string_equal(wire_header(&r, "X-Content-Type-Options", value, sizeof value), "nosniff");
    assert_int_equal(strlen(wire_header(&r, "X-Request-Id", value, sizeof value)), 36);
    wire_ask(rig->port,
             "POST /v1/echo HTTP/1.1\r\n" HOST
             "Content-Type: Application/JSON; charset=utf-8\r\nContent-Length: 7\r\n\r\n{\"a\":1}",
             &r);
    assert_int_equal(r.status, 200);
    assert_string_equal(r.body, "{\"a\":1}");
}

static void serves_head_and_options(void **state)
{
    struct rig *rig = *state;
    struct wire_response r;
    char value[128];
    rig_start(rig);
    struct wire wire = wire_open(rig->port);
    /* The length of what GET would send, and nothing sent. */
    assert_true(wire_send(&wire, "HEAD /v1/things/1 HTTP/1.1\r\n" HOST "\r\n"
                                 "OPTIONS /v1/things/1 HTTP/1.1\r\n" HOST "\r\n"));
    r.head[0] = '\0';
    size_t len = 0;
    while (strstr(r.head, "\r\n\r\n") == NULL) {
        assert_int_equal(wire_receive(&wire, r.head + len, 1), 1);
        r.head[++len] = '\0';
    }
    assert_string_equal(wire_header(&r, "Content-Length", value, sizeof value), "20");
    wire_read(&wire, &r);
    assert_int_equal(r.status, 204);
    assert_string_equal(wire_header(&r, "Allow", value, sizeof value), "GET, HEAD, OPTIONS");
    wire_close(&wire);
}

static void serves_pipelined_requests_in_order(void **state)
{
    struct rig *rig = *state;
    struct wire_response r;
    rig_start(rig);
    struct wire wire = wire_open(rig->port);
    for (int i = 0; i < 20; i++) {
        char request[128];
        (void)snprintf(request, sizeof request, "GET /v1/things/%d HTTP/1.1\r\n" HOST "\r\n", i);
        assert_true(wire_send(&wire, request));
    }
    for (int i = 0; i < 20; i++) {
        char expected[64];
        wire_read(&wire, &r);
        (void)snprintf(expected, sizeof expected, "GET %d - 127.0.0.1 -", i);
        assert_string_equal(r.body, expected);
    }
    wire_close(&wire);
}

static void asks_admission_before_the_body(void **state)
{
    struct rig *rig = *state;
    struct wire_response r;
    char value[16];
    rig->admit_with = ERR_UNAUTHORIZED;
    rig->options.challenge = "Bearer";
    rig_start(rig);
    /* The body never comes: the answer does not wait for it. */
    wire_ask(rig->port,
             "POST /v1/echo HTTP/1.1\r\n" HOST "Expect: 100-continue\r\n"
             "Content-Type: application/json\r\nContent-Length: 5\r\n\r\n",
             &r);
    assert_int_equal(r.status, 401);
    assert_string_equal(wire_header(&r, "WWW-Authenticate", value, sizeof value), "Bearer");
    assert_non_null(strstr(r.body, "\"type\":\"no_token\""));
    assert_non_null(strstr(r.body, "{\"field\":\"Authorization\",\"message\":\"needs a token\"}"));
    wire_ask(rig->port,
             "POST /v1/echo HTTP/1.1\r\n" HOST "Authorization: Bearer good\r\n"
             "Content-Type: application/json\r\nContent-Length: 5\r\n\r\n[1,2]",
             &r);
    assert_int_equal(r.status, 200);
    assert_string_equal(r.body, "[1,2]");
    rig->admit_with = ERR_BUSY;
    wire_ask(rig->port, "GET /v1/fault HTTP/1.1\r\n" HOST "\r\n", &r);
    assert_int_equal(r.status, 429);
    assert_string_equal(wire_header(&r, "Retry-After", value, sizeof value), "17");
}

static void tells_what_ended(void **state)
{
    struct rig *rig = *state;
    struct wire_response r;
    rig_start(rig);
    wire_ask(rig->port,
             "POST /v1/echo HTTP/1.1\r\n" HOST
             "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
             &r);
    RIG_WAIT(rig, rig->ended == 1);
    assert_string_equal(rig->last_route, "/v1/echo");
    assert_int_equal(rig->last.method, HTTP_POST);
    assert_int_equal(rig->last.status, 200);
    assert_int_equal(rig->last.body_bytes_in, 2);
    assert_int_equal(rig->last.body_bytes_out, 2);
    assert_true(rig->last.sent);
    /* Never the raw path: it may hold what must not be logged. */
    wire_ask(rig->port, "GET /secret HTTP/1.1\r\n" HOST "\r\n", &r);
    RIG_WAIT(rig, rig->ended == 2);
    assert_string_equal(rig->last_route, "");
    assert_int_equal((int)rig_metric(rig, "http_requests_total{server=\"test\",method=\"POST\","
                                          "route=\"/v1/echo\",status=\"2xx\"}"),
                     1);
    assert_int_equal((int)rig_metric(rig, "http_requests_total{server=\"test\",method=\"\","
                                          "route=\"\",status=\"4xx\"}"),
                     1);
}

static void listens_on_both_families(void **state)
{
    struct rig *rig = *state;
    static const char *const listen[] = {"127.0.0.1:0", "*:0", "[::1]:0"};
    const struct in6_addr loopback = IN6ADDR_LOOPBACK_INIT;
    struct wire_response r;
    const int probe = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_addr = loopback};
    const bool has_v6 = probe >= 0 && bind(probe, (const struct sockaddr *)&any, sizeof any) == 0;
    (void)close(probe);
    rig->options.listen = listen;
    rig->options.listen_count = has_v6 ? 3 : 1;
    rig_start(rig);
    for (size_t i = 1; i < rig->options.listen_count; i++) {
        struct wire wire = {.fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0)};
        const struct sockaddr_in6 to = {.sin6_family = AF_INET6,
                                        .sin6_port = htons(http_server_port(rig->server, i)),
                                        .sin6_addr = loopback};
        assert_int_equal(connect(wire.fd, (const struct sockaddr *)&to, sizeof to), 0);
        assert_true(wire_send(&wire, "GET /v1/things/1 HTTP/1.1\r\n" HOST "\r\n"));
        wire_read(&wire, &r);
        assert_string_equal(r.body, "GET 1 - ::1 -");
        wire_close(&wire);
    }
    wire_ask(rig->port, "GET /v1/things/1 HTTP/1.1\r\n" HOST "\r\n", &r);
    assert_string_equal(r.body, "GET 1 - 127.0.0.1 -");
}

/* ---- admission ---- */

static void holds_the_limit_of_connections(void **state)
{
    struct rig *rig = *state;
    struct wire_response r;
    rig->options.connections_max = 2;
    rig_start(rig);
    for (int round = 0; round < 3; round++) {
        struct wire first = wire_open(rig->port);
        struct wire second = wire_open(rig->port);
        assert_true(wire_send(&first, "GET /v1/things/1 HTTP/1.1\r\n" HOST "\r\n"));
        wire_read(&first, &r);
        assert_true(wire_send(&second, "GET /v1/things/1 HTTP/1.1\r\n" HOST "\r\n"));
        wire_read(&second, &r);
        struct wire third = wire_open(rig->port);
        assert_true(wire_ended(&third));
        wire_close(&third);
        wire_close(&first);
        wire_close(&second);
        /* The places are free again as soon as the server has noticed. */
        while (rig_metric(rig, "http_connections_open{server=\"test\"}") > 0) {
            (void)poll(NULL, 0, 1);
        }
    }
    assert_int_equal(
        (int)rig_metric(rig,
                        "http_connections_refused_total{server=\"test\",reason=\"connections\"}"),
        3);
}

static void meters_new_connections(void **state)
{
    struct rig *rig = *state;
    struct wire_response r;
    rig->options.accept_rate = 1;
    rig->options.accept_burst = 2;
    rig_start(rig);
    int refused = 0;
    for (int i = 0; i < 5; i++) {
        struct wire wire = wire_open(rig->port);
        (void)wire_send(&wire, "GET /v1/things/1 HTTP/1.1\r\n" HOST "\r\n");
        wire_read(&wire, &r);
        refused += r.status == 0;
        wire_close(&wire);
    }
    assert_in_range(refused, 1, 3);
}

/* ---- deadlines ---- */

/* Sends one byte now and then until the server closes; the pace is well below any inactivity limit.
 */
static void trickle(struct wire *wire, const char *head)
{
    assert_true(wire_send(wire, head));
    for (int i = 0; i < WIRE_WAIT_MS / 20; i++) {
        struct pollfd pfd = {.fd = wire->fd, .events = POLLIN};
        if (poll(&pfd, 1, 20) > 0 || !wire_send(wire, "a")) {
            assert_true(wire_ended(wire));
            return;
        }
    }
    fail_msg("never cut");
}

static void cuts_tricklers(void **state)
{
    struct rig *rig = *state;
    static const struct {
        const char *head;
        const char *metric;
    } rows[] = {
        {"GET /v1/things/1 HTTP/1.1\r\n" HOST "X-Slow: ",
         "http_connections_reaped_total{server=\"test\",phase=\"headers\"}"},
        {"GET /v1/things/", "http_connections_reaped_total{server=\"test\",phase=\"headers\"}"},
        {"POST /v1/echo HTTP/1.1\r\n" HOST
         "Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n",
         "http_connections_reaped_total{server=\"test\",phase=\"body\"}"},
    };
    rig->options.header_timeout_ms = 300;
    rig->options.body_timeout_ms = 300;
    rig_start(rig);
    for (size_t i = 0; i < COUNT(rows); i++) {
        const double before = rig_metric(rig, rows[i].metric);
        struct wire wire = wire_open(rig->port);
        trickle(&wire, rows[i].head);
        wire_close(&wire);
        assert_true(rig_metric(rig, rows[i].metric) == before + 1);
    }
}

static void cuts_a_trickled_second_request(void **state)
{
    struct rig *rig = *state;
    struct wire_response r;
    rig->options.header_timeout_ms = 300;
    rig->options.idle_timeout_ms = 300;
    rig_start(rig);
    struct wire wire = wire_open(rig->port);
    assert_true(wire_send(&wire, "GET /v1/things/1 HTTP/1.1\r\n" HOST "\r\n"));
    wire_read(&wire, &r);
    assert_int_equal(r.status, 200);
    trickle(&wire, "GET /v1/things/");
    wire_close(&wire);
    assert_int_equal(
        (int)rig_metric(rig, "http_connections_reaped_total{server=\"test\",phase=\"idle\"}"), 1);
}

static void cuts_who_does_not_read(void **state)
{
    struct rig *rig = *state;
    const int small = 4096;
    rig->options.send_timeout_ms = 300;
    rig_start(rig);
    struct wire wire = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    const struct sockaddr_in to = {.sin_family = AF_INET,
                                   .sin_port = htons(rig->port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    (void)setsockopt(wire.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    assert_int_equal(connect(wire.fd, (const struct sockaddr *)&to, sizeof to), 0);
    assert_true(wire_send(&wire, "GET /v1/big HTTP/1.1\r\n" HOST "\r\n"));
    RIG_WAIT(rig, rig->ended == 1);
    assert_false(rig->last.sent);
    assert_int_equal(
        (int)rig_metric(rig, "http_connections_reaped_total{server=\"test\",phase=\"sending\"}"),
        1);
    wire_close(&wire);
}

/* ---- starting ---- */

static void refuses_bad_options(void **state)
{
    struct rig *rig = *state;
    const struct http_server_options good = rig->options;
    struct fault fault = {0};
    for (int i = 0; i < 8; i++) {
        struct http_server_options o = good;
        o.threads = i == 0 ? 0 : o.threads;
        o.connections_max = i == 1 ? 0 : o.connections_max;
        o.connection_memory = i == 2 ? 100 : o.connection_memory;
        o.header_timeout_ms = i == 3 ? 0 : o.header_timeout_ms;
        o.listen_count = i == 4 ? 0 : o.listen_count;
        o.client_cert = i == 5 ? HTTP_CLIENT_CERT_REQUIRE : o.client_cert;
        o.tls_key_file = i == 6 ? "/nonexistent" : NULL;
        const struct http_route bad = {.method = HTTP_GET, .pattern = "no"};
        o.routes = i == 7 ? &bad : NULL;
        o.route_count = i == 7 ? 1 : 0;
        fault = (struct fault){0};
        assert_err(http_server_start(&o, &rig->server, &fault), ERR_INVALID);
        assert_null(rig->server);
        assert_string_not_equal(fault.text, "");
    }
}

static void can_be_started_again_after_a_failure(void **state)
{
    struct rig *rig = *state;
    char taken[32];
    const char *addresses[] = {taken};
    struct fault fault = {0};
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    assert_int_equal(bind(fd, (const struct sockaddr *)&at, len), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    (void)snprintf(taken, sizeof taken, "127.0.0.1:%u", ntohs(at.sin_port));
    struct http_server_options options = rig->options;
    options.listen = addresses;
    assert_err(http_server_start(&options, &rig->server, &fault), ERR_UNAVAILABLE);
    assert_non_null(strstr(fault.text, taken));
    (void)close(fd);
    rig_start(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(refuses_with_the_error_shape),
        RIG_TEST(survives_broken_http),
        RIG_TEST(errors_carry_the_request_id),
        RIG_TEST(refuses_a_long_target),
        RIG_TEST(survives_a_flood_of_headers),
        RIG_TEST(refuses_a_large_body_early),
        RIG_TEST(answers_expect_before_the_body),
        RIG_TEST(counts_chunked_bodies),
        RIG_TEST(chunk_extensions_hide_nothing),
        RIG_TEST(cuts_endless_chunks),
        RIG_TEST(bounds_the_memory_of_bodies),
        RIG_TEST(serves_what_is_routed),
        RIG_TEST(serves_head_and_options),
        RIG_TEST(serves_pipelined_requests_in_order),
        RIG_TEST(asks_admission_before_the_body),
        RIG_TEST(tells_what_ended),
        RIG_TEST(listens_on_both_families),
        RIG_TEST(holds_the_limit_of_connections),
        RIG_TEST(meters_new_connections),
        RIG_TEST(cuts_tricklers),
        RIG_TEST(cuts_a_trickled_second_request),
        RIG_TEST(cuts_who_does_not_read),
        RIG_TEST(refuses_bad_options),
        RIG_TEST(can_be_started_again_after_a_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
