/* A flood must be turned away, a neighbour must not be. */
#include "common/http_admission.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>

#include "test_support.h"

union any {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static union any address(const char *text)
{
    union any a = {0};
    if (inet_pton(AF_INET, text, &a.v4.sin_addr) == 1) {
        a.v4.sin_family = AF_INET;
    } else {
        assert_int_equal(inet_pton(AF_INET6, text, &a.v6.sin6_addr), 1);
        a.v6.sin6_family = AF_INET6;
    }
    return a;
}

static enum http_refusal enter(struct http_admission *a, const char *text, int64_t now_ms)
{
    const union any from = address(text);
    return http_admission_enter(a, &from.any, now_ms);
}

static void leave(struct http_admission *a, const char *text)
{
    const union any from = address(text);
    http_admission_leave(a, &from.any);
}

static void limits_connections(void **state)
{
    (void)state;
    const struct http_admission_limits limits = {.connections_max = 2};
    CLEANUP(http_admission_free) struct http_admission *a = http_admission_new(&limits);
    assert_int_equal(enter(a, "10.0.0.1", 0), HTTP_REFUSAL_NONE);
    assert_int_equal(enter(a, "10.0.0.1", 0), HTTP_REFUSAL_NONE);
    assert_int_equal(enter(a, "10.0.0.2", 0), HTTP_REFUSAL_CONNECTIONS);
    assert_int_equal(http_admission_open(a), 2);
    leave(a, "10.0.0.1");
    assert_int_equal(enter(a, "10.0.0.2", 0), HTTP_REFUSAL_NONE);
}

static void limits_addresses(void **state)
{
    (void)state;
    const struct http_admission_limits limits = {.connections_max = 100,
                                                 .connections_per_address_max = 2};
    CLEANUP(http_admission_free) struct http_admission *a = http_admission_new(&limits);
    for (int round = 0; round < 3; round++) {
        assert_int_equal(enter(a, "10.0.0.1", 0), HTTP_REFUSAL_NONE);
        assert_int_equal(enter(a, "10.0.0.1", 0), HTTP_REFUSAL_NONE);
        assert_int_equal(enter(a, "10.0.0.1", 0), HTTP_REFUSAL_ADDRESS);
        assert_int_equal(enter(a, "10.0.0.2", 0), HTTP_REFUSAL_NONE);
        /* One /64 is one site, the next is another. */
        assert_int_equal(enter(a, "2001:db8::1", 0), HTTP_REFUSAL_NONE);
        assert_int_equal(enter(a, "2001:db8::2:1", 0), HTTP_REFUSAL_NONE);
        assert_int_equal(enter(a, "2001:db8::3", 0), HTTP_REFUSAL_ADDRESS);
        assert_int_equal(enter(a, "2001:db8:0:1::3", 0), HTTP_REFUSAL_NONE);
        leave(a, "10.0.0.1");
        assert_int_equal(enter(a, "10.0.0.1", 0), HTTP_REFUSAL_NONE);
        leave(a, "10.0.0.1");
        leave(a, "10.0.0.1");
        leave(a, "10.0.0.2");
        leave(a, "2001:db8::2:1");
        leave(a, "2001:db8::1");
        leave(a, "2001:db8:0:1::3");
        assert_int_equal(http_admission_open(a), 0);
    }
}

static void many_addresses(void **state)
{
    (void)state;
    const struct http_admission_limits limits = {.connections_max = 5000,
                                                 .connections_per_address_max = 1};
    CLEANUP(http_admission_free) struct http_admission *a = http_admission_new(&limits);
    char text[32];
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < 5000; i++) {
            (void)snprintf(text, sizeof text, "10.1.%d.%d", i / 250, i % 250);
            assert_int_equal(enter(a, text, 0), HTTP_REFUSAL_NONE);
        }
        assert_int_equal(enter(a, "10.9.9.9", 0), HTTP_REFUSAL_CONNECTIONS);
        for (int i = 0; i < 5000; i++) {
            (void)snprintf(text, sizeof text, "10.1.%d.%d", i / 250, i % 250);
            leave(a, text);
        }
    }
}

static void meters_the_rate(void **state)
{
    (void)state;
    const struct http_admission_limits limits = {.connections_max = 1000, .rate = 10, .burst = 3};
    CLEANUP(http_admission_free) struct http_admission *a = http_admission_new(&limits);
    const int64_t start = 5000000;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(enter(a, "10.0.0.1", start), HTTP_REFUSAL_NONE);
    }
    assert_int_equal(enter(a, "10.0.0.1", start), HTTP_REFUSAL_RATE);
    assert_int_equal(enter(a, "10.0.0.1", start + 99), HTTP_REFUSAL_RATE);
    assert_int_equal(enter(a, "10.0.0.1", start + 100), HTTP_REFUSAL_NONE);
    assert_int_equal(enter(a, "10.0.0.1", start + 100), HTTP_REFUSAL_RATE);
    /* A clock that stands or steps back gives nothing away and breaks nothing. */
    assert_int_equal(enter(a, "10.0.0.1", start), HTTP_REFUSAL_RATE);
    assert_int_equal(enter(a, "10.0.0.1", start + 100), HTTP_REFUSAL_RATE);
    /* Rest fills up to the burst, not beyond. */
    for (int i = 0; i < 3; i++) {
        assert_int_equal(enter(a, "10.0.0.1", start + 86400000), HTTP_REFUSAL_NONE);
    }
    assert_int_equal(enter(a, "10.0.0.1", start + 86400000), HTTP_REFUSAL_RATE);
}

static void a_refused_one_takes_no_token(void **state)
{
    (void)state;
    const struct http_admission_limits limits = {
        .connections_max = 1000, .connections_per_address_max = 1, .rate = 1, .burst = 2};
    CLEANUP(http_admission_free) struct http_admission *a = http_admission_new(&limits);
    assert_int_equal(enter(a, "10.0.0.1", 1), HTTP_REFUSAL_NONE);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(enter(a, "10.0.0.1", 1), HTTP_REFUSAL_ADDRESS);
    }
    assert_int_equal(enter(a, "10.0.0.2", 1), HTTP_REFUSAL_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(limits_connections),
        cmocka_unit_test(limits_addresses),
        cmocka_unit_test(many_addresses),
        cmocka_unit_test(meters_the_rate),
        cmocka_unit_test(a_refused_one_takes_no_token),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
