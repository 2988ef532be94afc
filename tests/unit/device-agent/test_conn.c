/*
 * Connections to a server whose name has several addresses, some of them dead. The look-up is the
 * test's own, the hosts are addresses of the loopback network, time is a test clock.
 */
#include "device/conn.h"

#include <arpa/inet.h>
#include <assert.h>
#include <netdb.h>
#include <poll.h>
#include <unistd.h>

#include "device_fixture.h"

#define HOSTS_MAX 12

/* What the name resolves to, and how often it was asked. */
static struct {
    size_t count;
    unsigned lookups;
} names;

/* The names are the linker's: --wrap, see tests/CMakeLists.txt. */
int __wrap_getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                       struct addrinfo **res);
void __wrap_freeaddrinfo(struct addrinfo *res);

/* 127.0.0.1, 127.0.0.2, ...; each in memory of its own, as the C library may do it. */
int __wrap_getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                       struct addrinfo **res)
{
    (void)node;
    (void)hints;
    names.lookups++;
    *res = NULL;
    for (size_t i = names.count; i > 0; i--) {
        struct addrinfo *a = xcalloc(1, sizeof *a);
        struct sockaddr_in *in = xcalloc(1, sizeof *in);
        *in = (struct sockaddr_in){.sin_family = AF_INET,
                                   .sin_port = htons((uint16_t)strtoul(service, NULL, 10)),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK - 1 + (uint32_t)i)};
        *a = (struct addrinfo){.ai_family = AF_INET,
                               .ai_socktype = SOCK_STREAM,
                               .ai_addrlen = sizeof *in,
                               .ai_addr = (struct sockaddr *)in,
                               .ai_next = *res};
        *res = a;
    }
    return 0;
}

void __wrap_freeaddrinfo(struct addrinfo *res)
{
    while (res != NULL) {
        struct addrinfo *next = res->ai_next;
        free(res->ai_addr);
        free(res);
        res = next;
    }
}

struct world {
    struct clock_test clock;
    struct device *device;
    struct fixture_ca ca;
    struct device_server *server;
    uint16_t port;
    int listeners[HOSTS_MAX]; /* -1: nobody there */
    int fillers[HOSTS_MAX];
};

/* Takes connections for a host of the name; port 0: any. */
static int listen_on(unsigned host, uint16_t *port, int backlog)
{
    struct sockaddr_in in = {.sin_family = AF_INET,
                             .sin_port = htons(*port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK + host)};
    socklen_t len = sizeof in;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&in, len), 0);
    assert_int_equal(listen(fd, backlog), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &len), 0);
    *port = ntohs(in.sin_port);
    return fd;
}

static int setup(void **state)
{
    struct world *w = xcalloc(1, sizeof *w);
    clock_test_init(&w->clock, INT64_C(1795239000000));
    const struct device_options options = {.clock = &w->clock.clock, .flood_override_s = -1};
    w->ca = fixture_ca_new("ca");
    assert_ok(device_open(storage_new_memory(), &options, &w->device, NULL));
    for (size_t i = 0; i < HOSTS_MAX; i++) {
        w->listeners[i] = w->fillers[i] = -1;
    }
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    for (size_t i = 0; i < HOSTS_MAX; i++) {
        (void)close(w->listeners[i]);
        (void)close(w->fillers[i]);
    }
    device_server_free(w->server);
    device_free(w->device);
    fixture_ca_free(&w->ca);
    free(w);
    return 0;
}

/* A server whose name has `count` addresses; nobody listens there but on the first. */
static void resolve_to(struct world *w, size_t count, int backlog)
{
    CLEANUP_BUF struct buf pem = BUF_INIT(DEVICE_SERVER_CA_MAX);
    char url[64];
    names.count = count;
    names.lookups = 0;
    w->listeners[0] = listen_on(0, &w->port, backlog);
    (void)snprintf(url, sizeof url, "https://door.example:%u", w->port);
    assert_ok(device_certificate_pem(buf_span(&w->ca.der), &pem));
    const struct device_server_options options = {.url = url, .trusted = buf_span(&pem)};
    assert_ok(device_server_new(&options, &w->server, NULL));
}

static struct device_conn *open_conn(struct world *w)
{
    struct device_conn *c = NULL;
    assert_ok(device_conn_open(w->server, w->device, NULL, &c, NULL));
    assert(c != NULL); /* for the analyzer, which cannot know */
    return c;
}

static enum device_io drive_to_the_end(struct device_conn *c)
{
    for (;;) {
        enum device_io io = device_conn_drive(c);
        if (io == DEVICE_IO_ANSWER || io == DEVICE_IO_FAILED) {
            return io;
        }
        struct pollfd p = {.fd = device_conn_fd(c),
                           .events = io == DEVICE_IO_READ ? POLLIN : POLLOUT};
        assert_int_equal(poll(&p, 1, 10000), 1);
    }
}

/* One finds all addresses dead and has them looked up again while the other still goes through
 * them. */
static void test_two_connections_of_one_server(void **state)
{
    struct world *w = *state;
    resolve_to(w, 3, 1);
    (void)close(w->listeners[0]);
    w->listeners[0] = -1;
    CLEANUP(device_conn_free) struct device_conn *one = open_conn(w);
    CLEANUP(device_conn_free) struct device_conn *other = open_conn(w);
    assert_int_equal(drive_to_the_end(one), DEVICE_IO_FAILED);
    assert_int_equal(drive_to_the_end(other), DEVICE_IO_FAILED);
    assert_int_equal(names.lookups, 1);
    CLEANUP(device_conn_free) struct device_conn *next = open_conn(w);
    assert_int_equal(names.lookups, 2);
    assert_int_equal(drive_to_the_end(next), DEVICE_IO_FAILED);
}

/* A host that takes no connection: what would is full. */
static void make_silent(struct world *w, unsigned host)
{
    struct sockaddr_in in = {.sin_family = AF_INET,
                             .sin_port = htons(w->port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK + host)};
    w->fillers[host] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(w->fillers[host], (struct sockaddr *)&in, sizeof in), 0);
}

static void assert_host(const struct device_conn *c, unsigned host)
{
    struct sockaddr_in in = {0};
    socklen_t len = sizeof in;
    assert_int_equal(getpeername(device_conn_fd(c), (struct sockaddr *)&in, &len), 0);
    assert_int_equal(ntohl(in.sin_addr.s_addr), INADDR_LOOPBACK + host);
}

/* Goes on until the descriptor has nothing more to say; the clock stands still. */
static enum device_io drive_on(struct device_conn *c)
{
    for (;;) {
        enum device_io io = device_conn_drive(c);
        struct pollfd p = {.fd = device_conn_fd(c),
                           .events = io == DEVICE_IO_READ ? POLLIN : POLLOUT};
        if (io == DEVICE_IO_FAILED || io == DEVICE_IO_ANSWER || poll(&p, 1, 100) == 0) {
            return io;
        }
    }
}

static void test_silent_address_is_left_in_time(void **state)
{
    struct world *w = *state;
    resolve_to(w, 2, 0);
    make_silent(w, 0);
    w->listeners[1] = listen_on(1, &w->port, 5);
    CLEANUP(device_conn_free) struct device_conn *c = open_conn(w);
    assert_int_equal(drive_on(c), DEVICE_IO_WRITE);
    assert_int_equal(device_conn_wait_ms(c), DEVICE_ADDRESS_TIMEOUT_MS);
    clock_test_advance(&w->clock, DEVICE_ADDRESS_TIMEOUT_MS - 1);
    assert_int_equal(drive_on(c), DEVICE_IO_WRITE);
    clock_test_advance(&w->clock, 1);
    assert_int_equal(drive_on(c), DEVICE_IO_READ); /* the other one's turn in the handshake */
    assert_host(c, 1);
    assert_int_equal(device_conn_wait_ms(c), DEVICE_CONNECT_TIMEOUT_MS - DEVICE_ADDRESS_TIMEOUT_MS);
}

/* With one address there is nothing to save time for. */
static void test_only_address_has_all_the_time(void **state)
{
    struct world *w = *state;
    resolve_to(w, 1, 0);
    make_silent(w, 0);
    for (int i = 0; i < 2; i++) {
        CLEANUP(device_conn_free) struct device_conn *c = open_conn(w);
        assert_int_equal(device_conn_wait_ms(c), DEVICE_CONNECT_TIMEOUT_MS);
        clock_test_advance(&w->clock, DEVICE_CONNECT_TIMEOUT_MS);
        assert_int_equal(device_conn_drive(c), DEVICE_IO_FAILED);
        assert_non_null(strstr(device_conn_fault(c)->text, "no connection in time"));
    }
    assert_int_equal(names.lookups, 1);
}

/* Hosts that take a connection and say nothing: each attempt begins behind the last one's, and goes
 * round. */
static void test_next_attempt_begins_behind_a_silent_host(void **state)
{
    struct world *w = *state;
    resolve_to(w, 3, 5);
    w->listeners[1] = listen_on(1, &w->port, 5);
    w->listeners[2] = listen_on(2, &w->port, 5);
    for (unsigned attempt = 0; attempt < 5; attempt++) {
        CLEANUP(device_conn_free) struct device_conn *c = open_conn(w);
        assert_int_equal(drive_on(c), DEVICE_IO_READ);
        assert_host(c, attempt % 3);
        clock_test_advance(&w->clock, DEVICE_CONNECT_TIMEOUT_MS);
        assert_int_equal(device_conn_drive(c), DEVICE_IO_FAILED);
        assert_non_null(strstr(device_conn_fault(c)->text, "no TLS connection in time"));
    }
    assert_int_equal(names.lookups, 1);
}

/* More addresses than one attempt has time for: the next ones get to the good one. */
static void test_many_silent_addresses(void **state)
{
    struct world *w = *state;
    resolve_to(w, 5, 0);
    for (unsigned host = 0; host < 4; host++) {
        w->listeners[host] = host > 0 ? listen_on(host, &w->port, 0) : w->listeners[0];
        make_silent(w, host);
    }
    w->listeners[4] = listen_on(4, &w->port, 5);
    enum device_io io = DEVICE_IO_FAILED;
    for (int attempt = 0; attempt < 2; attempt++) {
        CLEANUP(device_conn_free) struct device_conn *c = open_conn(w);
        io = drive_on(c);
        while (io == DEVICE_IO_WRITE) {
            clock_test_advance(&w->clock, device_conn_wait_ms(c));
            io = drive_on(c);
        }
    }
    assert_int_equal(io, DEVICE_IO_READ);
}

/* ---- a server that answers ---- */

static SSL *accept_tls(struct world *w, int listener, struct device_conn *c)
{
    CLEANUP(EVP_PKEY_free) EVP_PKEY *key = NULL;
    assert_ok(device_key_generate(&key));
    X509 *certificate =
        fixture_certificate("door.example", 7, key, w->ca.certificate, w->ca.key, false);
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    assert_int_equal(SSL_CTX_use_certificate(context, certificate), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(context, key), 1);
    X509_free(certificate);
    SSL *ssl = SSL_new(context);
    SSL_CTX_free(context);
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(SSL_set_fd(ssl, fd), 1);
    while (SSL_accept(ssl) != 1) {
        assert_int_equal(drive_on(c), DEVICE_IO_READ);
    }
    return ssl;
}

static void end_tls(SSL *ssl)
{
    (void)close(SSL_get_fd(ssl));
    SSL_free(ssl);
}

/* The address that answers is the one to begin with, until it is silent in its turn. */
static void test_address_that_answers_is_kept(void **state)
{
    struct world *w = *state;
    resolve_to(w, 3, 0);
    make_silent(w, 0);
    w->listeners[1] = listen_on(1, &w->port, 5);
    w->listeners[2] = listen_on(2, &w->port, 5);
    CLEANUP(device_conn_free) struct device_conn *first = open_conn(w);
    assert_int_equal(drive_on(first), DEVICE_IO_WRITE);
    clock_test_advance(&w->clock, DEVICE_ADDRESS_TIMEOUT_MS);
    assert_int_equal(drive_on(first), DEVICE_IO_READ);
    end_tls(accept_tls(w, w->listeners[1], first));

    CLEANUP(device_conn_free) struct device_conn *second = open_conn(w);
    const struct device_http_request request = {.path = "/v1/device/heartbeat", .signature = ""};
    assert_ok(device_conn_send(second, &request));
    assert_int_equal(drive_on(second), DEVICE_IO_READ);
    assert_host(second, 1);
    SSL *ssl = accept_tls(w, w->listeners[1], second);
    assert_int_equal(drive_on(second), DEVICE_IO_READ);
    assert_int_equal(device_conn_wait_ms(second), DEVICE_ANSWER_TIMEOUT_MS);
    clock_test_advance(&w->clock, DEVICE_ANSWER_TIMEOUT_MS);
    assert_int_equal(device_conn_drive(second), DEVICE_IO_FAILED);
    assert_non_null(strstr(device_conn_fault(second)->text, "no answer in time"));
    end_tls(ssl);

    CLEANUP(device_conn_free) struct device_conn *third = open_conn(w);
    assert_int_equal(drive_on(third), DEVICE_IO_READ);
    assert_host(third, 2);
}

/* More addresses than are looked at are no harm. */
static void test_more_addresses_than_are_kept(void **state)
{
    struct world *w = *state;
    resolve_to(w, HOSTS_MAX, 1);
    (void)close(w->listeners[0]);
    w->listeners[0] = -1;
    CLEANUP(device_conn_free) struct device_conn *c = open_conn(w);
    assert_int_equal(drive_to_the_end(c), DEVICE_IO_FAILED);
    assert_non_null(strstr(device_conn_fault(c)->text, "refused"));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_two_connections_of_one_server), T(test_silent_address_is_left_in_time),
        T(test_only_address_has_all_the_time), T(test_next_attempt_begins_behind_a_silent_host),
        T(test_many_silent_addresses),         T(test_address_that_answers_is_kept),
        T(test_more_addresses_than_are_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
