#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/id.h"
#include "keys.h"
#include "load.h"

#define DAY_S 86400

static int keep_session(SSL *ssl, SSL_SESSION *session)
{
    struct load_conn *c = SSL_get_app_data(ssl);
    SSL_SESSION_free(c->session);
    c->session = session;
    return 1;
}

SSL_CTX *load_tls_new(void)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    bench_demand(ctx != NULL && SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) == 1, "TLS");
    (void)SSL_CTX_set_session_cache_mode(ctx,
                                         SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL_STORE);
    SSL_CTX_sess_set_new_cb(ctx, keep_session);
    return ctx;
}

static void make_certificate(struct load_conn *c, uint32_t number)
{
    uint8_t spki[BENCH_SPKI_SIZE];
    CLEANUP(bench_keys_free) struct bench_keys *keys = bench_keys_new(number);
    bench_keys_public(keys, spki, c->uid);
    c->key = bench_keys_pair(keys);
    c->certificate = X509_new();
    X509_NAME *name = X509_get_subject_name(c->certificate);
    bench_demand(X509_set_version(c->certificate, X509_VERSION_3) == 1 &&
                     ASN1_INTEGER_set(X509_get_serialNumber(c->certificate), (long)number + 1) ==
                         1 &&
                     X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const uint8_t *)c->uid,
                                                -1, -1, 0) == 1 &&
                     X509_set_issuer_name(c->certificate, name) == 1 &&
                     X509_gmtime_adj(X509_getm_notBefore(c->certificate), -DAY_S) != NULL &&
                     X509_gmtime_adj(X509_getm_notAfter(c->certificate), 30L * DAY_S) != NULL &&
                     X509_set_pubkey(c->certificate, c->key) == 1 &&
                     X509_sign(c->certificate, c->key, EVP_sha256()) > 0,
                 "client certificate");
}

void load_conn_init(struct load_conn *c, const struct load_plan *plan, uint32_t number,
                    bool certificate)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_REALTIME, &t);
    memset(c, 0, sizeof *c);
    c->plan = plan;
    c->fd = -1;
    /* Higher than that of any run before. */
    c->sequence = (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
    if (certificate) {
        make_certificate(c, number);
    }
}

void load_conn_close(struct load_conn *c)
{
    if (c->ssl != NULL) {
        (void)SSL_shutdown(c->ssl);
        SSL_free(c->ssl);
        c->ssl = NULL;
    }
    if (c->fd >= 0) {
        (void)close(c->fd);
        c->fd = -1;
    }
    ERR_clear_error();
}

void load_conn_deinit(struct load_conn *c)
{
    load_conn_close(c);
    SSL_SESSION_free(c->session);
    X509_free(c->certificate);
    EVP_PKEY_free(c->key);
}

bool load_conn_open(struct load_conn *c)
{
    static const int on = 1;
    const struct load_plan *plan = c->plan;
    load_conn_close(c);
    c->connected = false;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0 ||
        (connect(c->fd, (const struct sockaddr *)&plan->address, sizeof plan->address) != 0 &&
         errno != EINPROGRESS)) {
        return false;
    }
    c->ssl = SSL_new(plan->tls);
    if (c->ssl == NULL || SSL_set_fd(c->ssl, c->fd) != 1) {
        return false;
    }
    (void)SSL_set_app_data(c->ssl, c);
    if (c->certificate != NULL && (SSL_use_certificate(c->ssl, c->certificate) != 1 ||
                                   SSL_use_PrivateKey(c->ssl, c->key) != 1)) {
        return false;
    }
    if (plan->resume && c->session != NULL) {
        (void)SSL_set_session(c->ssl, c->session);
    }
    SSL_set_connect_state(c->ssl);
    return true;
}

/* The template with each "@" replaced. */
static size_t fill_body(const char *template, char *to, size_t size)
{
    size_t len = 0;
    for (const char *at = template; *at != 0 && len + 17 < size; at++) {
        if (*at == '@') {
            uint8_t random[8];
            random_bytes(random, sizeof random);
            hex_format(span_of(random, sizeof random), to + len);
            len += 16;
        } else {
            to[len++] = *at;
        }
    }
    to[len] = 0;
    return len;
}

static size_t heartbeat_body(struct load_conn *c, char *to, size_t size)
{
    c->sequence++;
    int len = snprintf(to, size, "{\"sequence\":\"%" PRIu64 "\"%s%s%s}", c->sequence,
                       c->token[0] ? ",\"token\":\"" : "", c->token, c->token[0] ? "\"" : "");
    return len > 0 ? (size_t)len : 0;
}

void load_conn_ask(struct load_conn *c)
{
    char body[LOAD_REQUEST_MAX / 2];
    char key[UUID_TEXT_SIZE];
    const struct load_plan *plan = c->plan;
    struct uuid id = uuid_v4();
    uuid_format(&id, key);
    size_t body_len = plan->body != NULL ? fill_body(plan->body, body, sizeof body)
                                         : heartbeat_body(c, body, sizeof body);
    int len =
        snprintf(c->out, sizeof c->out,
                 "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                 "Content-Length: %zu\r\n%s%s%s%s%s\r\n%s",
                 plan->path, body_len, plan->bearer ? "Authorization: Bearer " : "",
                 plan->bearer ? plan->bearer : "", plan->bearer ? "\r\nIdempotency-Key: " : "",
                 plan->bearer ? key : "", plan->bearer ? "\r\n" : "", body);
    bench_demand(len > 0 && (size_t)len < sizeof c->out, "request");
    c->out_len = (size_t)len;
    c->out_done = 0;
    c->in_len = 0;
    c->status = 0;
}

static enum load_io blocked(struct load_conn *c, int result)
{
    switch (SSL_get_error(c->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        return LOAD_READ;
    case SSL_ERROR_WANT_WRITE:
        return LOAD_WRITE;
    default:
        ERR_clear_error();
        return LOAD_FAILED;
    }
}

static void keep_token(struct load_conn *c, const char *body)
{
    static const char name[] = "\"token\":\"";
    const char *at = c->plan->body == NULL ? strstr(body, name) : NULL;
    const char *end = at != NULL ? strchr(at + sizeof name - 1, '"') : NULL;
    if (end != NULL && (size_t)(end - at) - (sizeof name - 1) < sizeof c->token) {
        size_t len = (size_t)(end - at) - (sizeof name - 1);
        memcpy(c->token, at + sizeof name - 1, len);
        c->token[len] = 0;
    }
}

static bool complete(struct load_conn *c)
{
    c->in[c->in_len] = 0;
    const char *body = strstr(c->in, "\r\n\r\n");
    const char *length = strcasestr(c->in, "\r\nContent-Length:");
    if (body == NULL || length == NULL) {
        return false;
    }
    size_t head = (size_t)(body - c->in) + 4;
    if (c->in_len < head + strtoul(length + sizeof "\r\nContent-Length:" - 1, NULL, 10)) {
        return false;
    }
    c->status = (int)strtol(c->in + sizeof "HTTP/1.1 " - 1, NULL, 10);
    keep_token(c, body);
    return true;
}

static enum load_io receive(struct load_conn *c)
{
    for (;;) {
        int n = SSL_read(c->ssl, c->in + c->in_len, (int)(sizeof c->in - 1 - c->in_len));
        if (n <= 0) {
            return blocked(c, n);
        }
        c->in_len += (size_t)n;
        if (complete(c)) {
            return LOAD_ANSWER;
        }
        if (c->in_len == sizeof c->in - 1) {
            return LOAD_FAILED;
        }
    }
}

enum load_io load_conn_drive(struct load_conn *c)
{
    if (!c->connected) {
        int n = SSL_do_handshake(c->ssl);
        if (n != 1) {
            return blocked(c, n);
        }
        c->connected = true;
        c->resumed = SSL_session_reused(c->ssl) == 1;
    }
    while (c->out_done < c->out_len) {
        int n = SSL_write(c->ssl, c->out + c->out_done, (int)(c->out_len - c->out_done));
        if (n <= 0) {
            return blocked(c, n);
        }
        c->out_done += (size_t)n;
    }
    return receive(c);
}
