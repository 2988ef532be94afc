/* The server over real sockets: what it serves, what it refuses, how it answers later and stops. */
#include "http_rig.h"

static int setup(void **state)
{
    struct rig *rig = xcalloc(1, sizeof *rig);
    rig_init(rig);
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    rig_end(*state);
    free(*state);
    return 0;
}

#define HOST "Host: test\r\n"

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

static void resumes_from_another_thread(void **state)
{
    struct rig *rig = *state;
    struct wire_response r;
    rig_start(rig);
    struct wire wire = wire_open(rig->port);
    assert_true(wire_send(&wire, "POST /v1/later HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n"));
    assert_ok(http_resume(rig_ticket(rig), http_response_new(204)));
    wire_read(&wire, &r);
    assert_int_equal(r.status, 204);
    /* The connection goes on. */
    assert_true(wire_send(&wire, "GET /v1/at-once HTTP/1.1\r\n" HOST "\r\n"));
    wire_read(&wire, &r);
    assert_int_equal(r.status, 204);
    wire_close(&wire);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(serves_what_is_routed, setup, teardown),
        cmocka_unit_test_setup_teardown(resumes_from_another_thread, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
