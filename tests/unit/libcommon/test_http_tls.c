/*
 * TLS: who gets in, whose chain is believed and for how long, sessions that resume, and
 * certificates that change while the server runs.
 */
#include <signal.h>
#include <stdlib.h>

#include "http_rig.h"
#include "tls_rig.h"

#define HOST           "Host: test\r\n"
#define GET            "GET /v1/things/1 HTTP/1.1\r\n" HOST "\r\n"
#define TLS_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

struct tls_test {
    struct rig rig;
    struct tls_rig tls;
    _Atomic unsigned judged;
    _Atomic unsigned identities; /* made and not freed */
    _Atomic bool distrust;
};

/* The subject's common name, as a service would keep what it learned from the chain. */
struct identity {
    struct tls_test *test;
    char name[64];
};

static err_t judge(void *ctx, const struct span *chain, size_t count, void **ret_identity,
                   struct fault *fault)
{
    struct rig *rig = ctx;
    struct tls_test *test = (struct tls_test *)(void *)rig;
    (void)atomic_fetch_add(&test->judged, 1);
    const unsigned char *der = chain[0].ptr;
    X509 *leaf = d2i_X509(NULL, &der, (long)chain[0].len);
    EVP_PKEY *key = X509_get0_pubkey(test->tls.ca.cert);
    const bool good = leaf != NULL && count >= 1 && X509_verify(leaf, key) == 1;
    ERR_clear_error();
    if (!good || atomic_load(&test->distrust)) {
        X509_free(leaf);
        return fault_set(fault, ERR_UNAUTHORIZED, "untrusted_certificate", "",
                         "the certificate was not issued by a trusted CA");
    }
    struct identity *identity = xcalloc(1, sizeof *identity);
    identity->test = test;
    (void)X509_NAME_get_text_by_NID(X509_get_subject_name(leaf), NID_commonName, identity->name,
                                    sizeof identity->name);
    (void)atomic_fetch_add(&test->identities, 1);
    X509_free(leaf);
    *ret_identity = identity;
    return ERR_OK;
}

static void free_identity(void *p)
{
    struct identity *identity = p;
    (void)atomic_fetch_sub(&identity->test->identities, 1);
    free(identity);
}

static int setup(void **state)
{
    struct tls_test *test = xcalloc(1, sizeof *test);
    rig_init(&test->rig);
    tls_rig_init(&test->tls);
    test->rig.options.tls_cert_file = test->tls.cert_file;
    test->rig.options.tls_key_file = test->tls.key_file;
    test->rig.options.ticket_key_file = test->tls.ticket_file;
    test->rig.options.verify = judge;
    test->rig.options.free_identity = free_identity;
    *state = test;
    return 0;
}

static int teardown(void **state)
{
    struct tls_test *test = *state;
    rig_end(&test->rig);
    assert_int_equal(atomic_load(&test->identities), 0);
    tls_rig_end(&test->tls);
    free(test);
    return 0;
}

static int ask(struct wire *wire, struct wire_response *r)
{
    if (!wire_send(wire, GET)) {
        return 0;
    }
    wire_read(wire, r);
    return r->status;
}

static int handshakes(struct tls_test *test, const char *kind)
{
    char series[128];
    (void)snprintf(series, sizeof series, "http_tls_handshakes_total{server=\"test\",kind=\"%s\"}",
                   kind);
    return (int)rig_metric(&test->rig, series);
}

/* The certificate is demanded in the handshake: without one no request is ever read. */
static void a_client_without_certificate_stays_out(void **state)
{
    struct tls_test *test = *state;
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    struct wire_response r;
    test->rig.options.client_cert = HTTP_CLIENT_CERT_REQUIRE;
    rig_start(&test->rig);
    for (size_t i = 0; i < 2; i++) {
        SSL_CTX *ctx = tls_client(&test->tls, versions[i], NULL);
        struct wire wire;
        /* In TLS 1.3 the client learns it with the first answer that does not come. */
        if (tls_open(test->rig.port, ctx, NULL, &wire)) {
            assert_int_equal(versions[i], TLS1_3_VERSION);
            assert_int_equal(ask(&wire, &r), 0);
        }
        assert_int_equal(ERR_GET_REASON(ERR_peek_last_error()),
                         i == 0 ? SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE
                                : SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED);
        wire_close(&wire);
        SSL_CTX_free(ctx);
    }
    assert_int_equal(atomic_load(&test->judged), 0);
    assert_int_equal(test->rig.ended, 0);
    assert_int_equal(handshakes(test, "full"), 0);
}

static void a_route_can_ask_for_a_certificate(void **state)
{
    struct tls_test *test = *state;
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    struct http_route *routes = NULL;
    struct wire_response r;
    test->rig.options.client_cert = HTTP_CLIENT_CERT_REQUEST;
    rig_start(&test->rig);
    routes = (struct http_route *)(uintptr_t)test->rig.options.routes;
    routes[0].flags = HTTP_ROUTE_CLIENT_CERT;
    for (size_t i = 0; i < 2; i++) {
        struct wire wire;
        SSL_CTX *without = tls_client(&test->tls, versions[i], NULL);
        assert_true(tls_open(test->rig.port, without, NULL, &wire));
        assert_true(wire_send(&wire, "GET /v1/fault HTTP/1.1\r\n" HOST "\r\n"));
        wire_read(&wire, &r);
        assert_int_equal(r.status, 409);
        assert_int_equal(ask(&wire, &r), 401);
        assert_non_null(strstr(r.body, "\"type\":\"no_certificate\""));
        assert_true(wire_ended(&wire));
        wire_close(&wire);
        SSL_CTX_free(without);
        SSL_CTX *with = tls_client(&test->tls, versions[i], &test->tls.client);
        assert_true(tls_open(test->rig.port, with, NULL, &wire));
        assert_int_equal(ask(&wire, &r), 200);
        wire_close(&wire);
        SSL_CTX_free(with);
    }
}

static void a_foreign_chain_is_refused(void **state)
{
    struct tls_test *test = *state;
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    struct wire_response r;
    test->rig.options.client_cert = HTTP_CLIENT_CERT_REQUIRE;
    rig_start(&test->rig);
    for (size_t i = 0; i < 2; i++) {
        SSL_CTX *ctx = tls_client(&test->tls, versions[i], &test->tls.rogue);
        struct wire wire;
        assert_true(tls_open(test->rig.port, ctx, NULL, &wire));
        assert_int_equal(ask(&wire, &r), 401);
        assert_non_null(strstr(r.body, "\"type\":\"untrusted_certificate\""));
        assert_true(wire_ended(&wire));
        wire_close(&wire);
        SSL_CTX_free(ctx);
    }
}

/* It is not as if nobody had shown one. */
static void a_chain_too_long_is_told_so(void **state)
{
    struct tls_test *test = *state;
    struct wire_response r;
    struct wire wire;
    test->rig.options.client_cert = HTTP_CLIENT_CERT_REQUEST;
    rig_start(&test->rig);
    SSL_CTX *ctx = tls_client(&test->tls, TLS1_3_VERSION, &test->tls.client);
    for (unsigned above = 1; above <= HTTP_PEER_CERTS_MAX; above++) {
        assert_int_equal(SSL_CTX_add1_chain_cert(ctx, test->tls.ca.cert), 1);
        assert_true(tls_open(test->rig.port, ctx, NULL, &wire));
        assert_int_equal(ask(&wire, &r), above < HTTP_PEER_CERTS_MAX ? 200 : 401);
        wire_close(&wire);
    }
    assert_non_null(strstr(r.body, "\"type\":\"client_certificate_invalid\""));
    assert_non_null(strstr(r.body, "at most 8 certificates, 9 were sent"));
    SSL_CTX_free(ctx);
}

static void only_new_versions_are_spoken(void **state)
{
    struct tls_test *test = *state;
    struct wire_response r;
    struct wire wire;
    rig_start(&test->rig);
    SSL_CTX *ctx = tls_client(&test->tls, TLS1_1_VERSION, NULL);
    SSL_CTX_set_security_level(ctx, 0);
    (void)SSL_CTX_set_cipher_list(ctx, "ALL:@SECLEVEL=0");
    assert_false(tls_open(test->rig.port, ctx, NULL, &wire));
    wire_close(&wire);
    SSL_CTX_free(ctx);
    /* Nor plain HTTP on this port. */
    wire_ask(test->rig.port, GET, &r);
    assert_int_equal(r.status, 0);
    /* Ciphers without forward secrecy are no choice. */
    ctx = tls_client(&test->tls, TLS1_2_VERSION, NULL);
    assert_int_equal(SSL_CTX_set_cipher_list(ctx, "AES128-GCM-SHA256:AES128-SHA"), 1);
    assert_false(tls_open(test->rig.port, ctx, NULL, &wire));
    wire_close(&wire);
    SSL_CTX_free(ctx);
    while (handshakes(test, "failed") < 3) {
    }
    assert_int_equal(handshakes(test, "failed"), 3);
}

/* One verdict serves a connection, until trust changes. */
static void the_verdict_is_kept_until_trust_changes(void **state)
{
    struct tls_test *test = *state;
    struct wire_response r;
    struct wire wire;
    test->rig.options.client_cert = HTTP_CLIENT_CERT_REQUIRE;
    rig_start(&test->rig);
    SSL_CTX *ctx = tls_client(&test->tls, TLS1_3_VERSION, &test->tls.client);
    assert_true(tls_open(test->rig.port, ctx, NULL, &wire));
    for (int i = 0; i < 5; i++) {
        assert_int_equal(ask(&wire, &r), 200);
    }
    assert_int_equal(atomic_load(&test->judged), 1);
    http_server_bump_trust(test->rig.server);
    assert_int_equal(ask(&wire, &r), 200);
    assert_int_equal(atomic_load(&test->judged), 2);
    assert_int_equal(atomic_load(&test->identities), 1);
    atomic_store(&test->distrust, true);
    assert_int_equal(ask(&wire, &r), 200);
    http_server_bump_trust(test->rig.server);
    assert_int_equal(ask(&wire, &r), 401);
    assert_true(wire_ended(&wire));
    wire_close(&wire);
    SSL_CTX_free(ctx);
}

/* ---- resumption ---- */

static SSL_SESSION *newest_session;

static int keep_session(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl;
    SSL_SESSION_free(newest_session);
    newest_session = session;
    return 1;
}

static SSL_CTX *resuming_client(struct tls_test *test, int version)
{
    SSL_CTX *ctx = tls_client(&test->tls, version, &test->tls.client);
    (void)SSL_CTX_set_session_cache_mode(ctx,
                                         SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL_STORE);
    SSL_CTX_sess_set_new_cb(ctx, keep_session);
    return ctx;
}

static void forget_session(void)
{
    SSL_SESSION_free(newest_session);
    newest_session = NULL;
}

/* Connects with the newest session; tells whether it was resumed. */
static bool connect_again(uint16_t port, SSL_CTX *ctx)
{
    struct wire_response r;
    struct wire wire;
    SSL_SESSION *offered = newest_session;
    newest_session = NULL;
    assert_true(tls_open(port, ctx, offered, &wire));
    assert_int_equal(ask(&wire, &r), 200);
    const bool reused = SSL_session_reused(wire.ssl) == 1;
    wire_close(&wire);
    if (newest_session == NULL) {
        newest_session = offered; /* TLS 1.2 keeps the ticket it resumed with */
    } else {
        SSL_SESSION_free(offered);
    }
    return reused;
}

static void sessions_resume_with_the_chain(void **state)
{
    struct tls_test *test = *state;
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    test->rig.options.client_cert = HTTP_CLIENT_CERT_REQUIRE;
    rig_start(&test->rig);
    for (size_t i = 0; i < 2; i++) {
        const unsigned before = atomic_load(&test->judged);
        SSL_CTX *ctx = resuming_client(test, versions[i]);
        assert_false(connect_again(test->rig.port, ctx));
        assert_non_null(newest_session);
        assert_int_equal(SSL_SESSION_get_ticket_lifetime_hint(newest_session), 7 * 24 * 3600);
        assert_true(connect_again(test->rig.port, ctx));
        /* Judged anew, with the same chain: the handshake did not. */
        assert_int_equal(atomic_load(&test->judged), before + 2);
        SSL_CTX_free(ctx);
        forget_session();
    }
    assert_int_equal(handshakes(test, "full"), 2);
    assert_int_equal(handshakes(test, "resumed"), 2);
    assert_int_equal(handshakes(test, "failed"), 0);
}

static void a_resumed_session_is_judged_too(void **state)
{
    struct tls_test *test = *state;
    struct wire_response r;
    struct wire wire;
    test->rig.options.client_cert = HTTP_CLIENT_CERT_REQUIRE;
    rig_start(&test->rig);
    SSL_CTX *ctx = resuming_client(test, TLS1_3_VERSION);
    assert_false(connect_again(test->rig.port, ctx));
    atomic_store(&test->distrust, true);
    assert_true(tls_open(test->rig.port, ctx, newest_session, &wire));
    assert_int_equal(SSL_session_reused(wire.ssl), 1);
    assert_int_equal(ask(&wire, &r), 401);
    wire_close(&wire);
    SSL_CTX_free(ctx);
    forget_session();
}

/* A device that comes back after a week may meet another replica. */
static void replicas_share_the_ticket_key(void **state)
{
    struct tls_test *test = *state;
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    struct fault fault = {0};
    test->rig.options.client_cert = HTTP_CLIENT_CERT_REQUIRE;
    rig_start(&test->rig);
    struct http_server_options other_options = test->rig.options;
    struct http_server *other = NULL;
    other_options.name = "other";
    assert_ok(http_server_start(&other_options, &other, &fault));
    for (size_t i = 0; i < 2; i++) {
        SSL_CTX *ctx = resuming_client(test, versions[i]);
        assert_false(connect_again(test->rig.port, ctx));
        assert_true(connect_again(http_server_port(other, 0), ctx));
        assert_true(connect_again(test->rig.port, ctx));
        SSL_CTX_free(ctx);
        forget_session();
    }
    http_server_free(other);
}

/* ---- files ---- */

static void files_are_read_again(void **state)
{
    struct tls_test *test = *state;
    struct wire_response r;
    struct wire old;
    struct wire fresh;
    struct fault fault = {0};
    rig_start(&test->rig);
    SSL_CTX *ctx = resuming_client(test, TLS1_3_VERSION);
    assert_true(tls_open(test->rig.port, ctx, NULL, &old));
    assert_int_equal(ask(&old, &r), 200);

    struct tls_identity next = tls_identity_new("next", "serverAuth", &test->tls.ca);
    tls_rig_write_server(&test->tls, &next);
    assert_ok(http_server_reload_tls(test->rig.server, &fault));
    assert_true(tls_open(test->rig.port, ctx, NULL, &fresh));
    X509 *seen = SSL_get1_peer_certificate(fresh.ssl);
    assert_int_equal(X509_cmp(seen, next.cert), 0);
    X509_free(seen);
    assert_int_equal(ask(&old, &r), 200);
    assert_int_equal(ask(&fresh, &r), 200);
    wire_close(&fresh);

    /* Damaged files change nothing. */
    tls_rig_write_ticket_key(&test->tls, 63);
    assert_err(http_server_reload_tls(test->rig.server, &fault), ERR_INVALID);
    assert_string_equal(fault.field, "ticket_key_file");
    assert_non_null(strstr(fault.text, "64"));
    assert_int_equal(truncate(test->tls.cert_file, 100), 0);
    assert_err(http_server_reload_tls(test->rig.server, &fault), ERR_INVALID);
    assert_string_equal(fault.field, "tls_cert_file");
    assert_true(tls_open(test->rig.port, ctx, NULL, &fresh));
    assert_int_equal(ask(&fresh, &r), 200);
    wire_close(&fresh);
    wire_close(&old);

    /* Another ticket key: old tickets fall back to a full handshake. */
    tls_rig_write_server(&test->tls, &next);
    tls_rig_write_ticket_key(&test->tls, 64);
    assert_ok(http_server_reload_tls(test->rig.server, &fault));
    assert_false(connect_again(test->rig.port, ctx));
    assert_true(connect_again(test->rig.port, ctx));
    SSL_CTX_free(ctx);
    forget_session();
    tls_identity_free(&next);
}

/* A certificate manager replaces one file after the other and tells nobody. */
static void changed_files_are_noticed(void **state)
{
    struct tls_test *test = *state;
    static const char refused[] =
        "http_tls_files_changed_total{server=\"test\",result=\"refused\"}";
    struct wire wire;
    bool changed = false;
    test->rig.options.tls_refresh_ms = 1;
    rig_start(&test->rig);
    SSL_CTX *ctx = tls_client(&test->tls, TLS1_3_VERSION, NULL);
    struct tls_identity next = tls_identity_new("next", "serverAuth", &test->tls.ca);
    const struct tls_identity half = {test->tls.server.key, next.cert};
    tls_rig_write_server(&test->tls, &half);
    while (rig_metric(&test->rig, refused) < 1) {
    }
    tls_rig_write_server(&test->tls, &next);
    while (!changed) {
        assert_true(tls_open(test->rig.port, ctx, NULL, &wire));
        X509 *seen = SSL_get1_peer_certificate(wire.ssl);
        changed = X509_cmp(seen, next.cert) == 0;
        X509_free(seen);
        wire_close(&wire);
    }
    SSL_CTX_free(ctx);
    tls_identity_free(&next);
}

static void bad_files_are_named(void **state)
{
    struct tls_test *test = *state;
    struct fault fault = {0};
    const struct http_server_options good = test->rig.options;
    struct http_server_options o = good;
    o.tls_cert_file = "/nonexistent/cert.pem";
    assert_err(http_server_start(&o, &test->rig.server, &fault), ERR_INVALID);
    assert_string_equal(fault.field, "tls_cert_file");
    assert_non_null(strstr(fault.text, "/nonexistent/cert.pem"));
    o = good;
    o.tls_key_file = good.tls_cert_file;
    assert_err(http_server_start(&o, &test->rig.server, &fault), ERR_INVALID);
    o = good;
    o.ticket_lifetime_s = 604801;
    assert_err(http_server_start(&o, &test->rig.server, &fault), ERR_INVALID);
    assert_string_equal(fault.field, "ticket_lifetime_s");
    /* A key that belongs to another certificate. */
    tls_rig_write_server(&test->tls,
                         &(struct tls_identity){test->tls.ca.key, test->tls.server.cert});
    assert_err(http_server_start(&good, &test->rig.server, &fault), ERR_INVALID);
    assert_string_equal(fault.field, "tls_cert_file");
}

/* ---- behaviour under TLS that plain sockets cannot show ---- */

static void a_large_body_is_refused_early(void **state)
{
    struct tls_test *test = *state;
    static char filler[1 << 20];
    struct wire_response r;
    struct wire wire;
    rig_start(&test->rig);
    SSL_CTX *ctx = tls_client(&test->tls, TLS1_3_VERSION, NULL);
    for (int round = 0; round < 3; round++) {
        assert_true(tls_open(test->rig.port, ctx, NULL, &wire));
        assert_true(wire_send(&wire,
                              "POST /v1/echo HTTP/1.1\r\n" HOST "Content-Type: application/json\r\n"
                              "Content-Length: 10485760\r\n\r\n"));
        for (int i = 0; i < 10; i++) {
            assert_true(wire_send_bytes(&wire, filler, sizeof filler));
        }
        wire_read(&wire, &r);
        assert_int_equal(r.status, 413);
        wire_close(&wire);
    }
    SSL_CTX_free(ctx);
}

static void a_stalled_handshake_is_cut(void **state)
{
    struct tls_test *test = *state;
    test->rig.options.header_timeout_ms = 300;
    rig_start(&test->rig);
    struct wire wire = wire_open(test->rig.port);
    assert_true(wire_send_bytes(&wire, "\x16\x03\x01\x02\x00", 5));
    assert_true(wire_ended(&wire));
    wire_close(&wire);
    assert_int_equal((int)rig_metric(&test->rig, "http_connections_reaped_total{server=\"test\","
                                                 "phase=\"headers\"}"),
                     1);
}

static int64_t processor_ms(void)
{
    struct timespec t;
    assert_int_equal(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t), 0);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* A client that says hello and no more, and reads nothing either. */
static struct wire stall(struct tls_test *test, int version)
{
    unsigned char hello[4096];
    SSL_CTX *ctx = tls_client(&test->tls, version, NULL);
    SSL *ssl = SSL_new(ctx);
    SSL_set_bio(ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    assert_int_equal(SSL_connect(ssl), -1);
    const int len = BIO_read(SSL_get_wbio(ssl), hello, sizeof hello);
    struct wire wire = wire_open(test->rig.port);
    assert_true(len > 0 && wire_send_bytes(&wire, hello, (size_t)len));
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    return wire;
}

/* Waiting for a client in the middle of its handshake must not cost an event loop. */
static void a_stalled_handshake_costs_nothing(void **state)
{
    struct tls_test *test = *state;
    struct wire wires[8];
    struct wire_response r;
    struct wire good;
    char sink[8192];
    test->rig.options.header_timeout_ms = 1500;
    rig_start(&test->rig);
    for (size_t i = 0; i < 8; i++) {
        wires[i] = stall(test, i % 2 == 0 ? TLS1_2_VERSION : TLS1_3_VERSION);
    }
    SSL_CTX *ctx = tls_client(&test->tls, TLS1_3_VERSION, NULL);
    assert_true(tls_open(test->rig.port, ctx, NULL, &good));
    assert_int_equal(ask(&good, &r), 200);
    wire_close(&good);
    SSL_CTX_free(ctx);
    const int64_t start_ms = clock_mono_ms(&clock_system);
    const int64_t before_ms = processor_ms();
    for (size_t i = 0; i < 8; i++) {
        while (wire_receive(&wires[i], sink, sizeof sink) > 0) {
        }
        wire_close(&wires[i]);
    }
    const int64_t took_ms = clock_mono_ms(&clock_system) - start_ms;
    assert_true(took_ms > 500);
    assert_true(processor_ms() - before_ms < took_ms / 10);
    assert_int_equal((int)rig_metric(&test->rig, "http_connections_reaped_total{server=\"test\","
                                                 "phase=\"headers\"}"),
                     8);
}

/* Stopping must neither wait for such a client nor trip over it. */
static void stopping_ends_stalled_handshakes(void **state)
{
    struct tls_test *test = *state;
    struct wire wires[4];
    rig_start(&test->rig);
    for (size_t i = 0; i < 4; i++) {
        char first;
        wires[i] = stall(test, i % 2 == 0 ? TLS1_2_VERSION : TLS1_3_VERSION);
        assert_int_equal(wire_receive(&wires[i], &first, 1), 1); /* the server's hello */
    }
    http_server_stop(test->rig.server, 100);
    for (size_t i = 0; i < 4; i++) {
        char sink[8192];
        while (wire_receive(&wires[i], sink, sizeof sink) > 0) {
        }
        wire_close(&wires[i]);
    }
}

static void answers_come_later_too(void **state)
{
    struct tls_test *test = *state;
    struct wire_response r;
    struct wire wire;
    test->rig.options.client_cert = HTTP_CLIENT_CERT_REQUIRE;
    rig_start(&test->rig);
    SSL_CTX *ctx = tls_client(&test->tls, TLS1_3_VERSION, &test->tls.client);
    assert_true(tls_open(test->rig.port, ctx, NULL, &wire));
    for (int i = 0; i < 50; i++) {
        assert_true(
            wire_send(&wire, "POST /v1/later HTTP/1.1\r\n" HOST "Content-Length: 2\r\n\r\nhi"));
        assert_ok(http_resume(rig_ticket(&test->rig), http_response_new(204)));
        wire_read(&wire, &r);
        assert_int_equal(r.status, 204);
    }
    wire_close(&wire);
    SSL_CTX_free(ctx);
}

int main(void)
{
    (void)signal(SIGPIPE, SIG_IGN); /* OpenSSL writes to sockets that the server has closed */
    const struct CMUnitTest tests[] = {
        TLS_TEST(a_client_without_certificate_stays_out),
        TLS_TEST(a_route_can_ask_for_a_certificate),
        TLS_TEST(a_foreign_chain_is_refused),
        TLS_TEST(a_chain_too_long_is_told_so),
        TLS_TEST(only_new_versions_are_spoken),
        TLS_TEST(the_verdict_is_kept_until_trust_changes),
        TLS_TEST(sessions_resume_with_the_chain),
        TLS_TEST(a_resumed_session_is_judged_too),
        TLS_TEST(replicas_share_the_ticket_key),
        TLS_TEST(files_are_read_again),
        TLS_TEST(changed_files_are_noticed),
        TLS_TEST(bad_files_are_named),
        TLS_TEST(a_large_body_is_refused_early),
        TLS_TEST(a_stalled_handshake_is_cut),
        TLS_TEST(a_stalled_handshake_costs_nothing),
        TLS_TEST(stopping_ends_stalled_handshakes),
        TLS_TEST(answers_come_later_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
