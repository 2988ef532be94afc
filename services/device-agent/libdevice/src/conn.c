#include "device/conn.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server.h"

enum stage {
    STAGE_CONNECT,   /* TCP; address by address */
    STAGE_HANDSHAKE, /* TLS */
    STAGE_REST,      /* no request under way */
    STAGE_WRITE,     /* the request goes out */
    STAGE_READ,      /* the answer comes in */
    STAGE_ANSWERED,
    STAGE_FAILED,
};

struct device_conn {
    struct device_server *server; /* borrowed */
    struct device *device;        /* borrowed */
    /* Its own copy: another connection may have the name looked up again meanwhile. */
    struct device_addresses addresses;
    size_t tried;           /* of the addresses, without success */
    int64_t connect_due_ms; /* monotonic: until then connection and handshake have time */
    int64_t due_ms; /* ... and the present step of all: an address, the handshake, the answer */
    int fd;
    SSL *ssl;
    SSL_SESSION *session; /* newest ticket */
    enum stage stage;
    unsigned answers; /* received on this connection */
    bool heard;       /* a byte of the present answer came */
    bool pending;     /* a request waits for the handshake */
    struct buf out;
    size_t out_at;
    struct device_http_reader reader;
    struct fault fault;
};

int device_conn_new_session(SSL *ssl, SSL_SESSION *session)
{
    struct device_conn *c = SSL_get_app_data(ssl);
    SSL_SESSION_free(c->session);
    c->session = session; /* the reference is ours from now on */
    return 1;
}

static void close_socket(struct device_conn *c)
{
    if (c->fd >= 0) {
        (void)close(c->fd);
        c->fd = -1;
    }
}

static enum device_io fail(struct device_conn *c, const char *what, const char *why)
{
    (void)fault_set(&c->fault, ERR_UNAVAILABLE, "connection", "", "%s:%s: %s%s%s", c->server->name,
                    c->server->port, what, why[0] != 0 ? ": " : "", why);
    c->stage = STAGE_FAILED;
    ERR_clear_error();
    return DEVICE_IO_FAILED;
}

static enum device_io fail_tls(struct device_conn *c, const char *what)
{
    long verify = c->ssl != NULL ? SSL_get_verify_result(c->ssl) : X509_V_OK;
    if (verify != X509_V_OK) {
        return fail(c, "the server's certificate is refused",
                    X509_verify_cert_error_string(verify));
    }
    const char *reason = ERR_reason_error_string(ERR_peek_error());
    return fail(c, what, reason != NULL ? reason : "");
}

static int64_t now_ms(const struct device_conn *c)
{
    return clock_mono_ms(c->device->options.clock);
}

/* The place of the present address in the server's list. */
static size_t present(const struct device_conn *c)
{
    return (c->addresses.first + c->tried) % c->addresses.count;
}

/* One address may not take the time of those after it; the last one may use it up. */
static void give_time(struct device_conn *c)
{
    bool last = c->tried + 1 == c->addresses.count;
    int64_t due_ms = now_ms(c) + DEVICE_ADDRESS_TIMEOUT_MS;
    c->due_ms = last || due_ms > c->connect_due_ms ? c->connect_due_ms : due_ms;
}

/* Starts a connection to the next address that takes one. */
static bool connect_next(struct device_conn *c)
{
    for (; c->tried < c->addresses.count; c->tried++) {
        const struct device_address *a = &c->addresses.list[present(c)];
        close_socket(c);
        c->fd = socket(a->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (c->fd < 0) {
            continue;
        }
        int on = 1;
        (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        if (connect(c->fd, (const struct sockaddr *)&a->address, a->len) == 0 ||
            errno == EINPROGRESS) {
            give_time(c);
            return true;
        }
    }
    return false;
}

/* The name that the server's certificate must carry: a host name, or an address as such. */
static bool expect_name(struct device_conn *c)
{
    struct in6_addr scratch;
    const char *name = c->server->name;
    bool is_address =
        inet_pton(AF_INET, name, &scratch) == 1 || inet_pton(AF_INET6, name, &scratch) == 1;
    if (is_address) {
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(c->ssl), name) == 1;
    }
    return SSL_set1_host(c->ssl, name) == 1 && SSL_set_tlsext_host_name(c->ssl, name) == 1;
}

int device_conn_client_certificate(SSL *ssl, X509 **ret_certificate, EVP_PKEY **ret_key)
{
    const struct device_conn *c = SSL_get_app_data(ssl);
    X509 *certificate = NULL;
    if (device_tls_certificate(c->device, &certificate) != ERR_OK) {
        return 0; /* none: the server says what it misses */
    }
    (void)X509_up_ref(certificate);
    (void)EVP_PKEY_up_ref(c->device->rot);
    *ret_certificate = certificate;
    *ret_key = c->device->rot;
    return 1;
}

static err_t make_ssl(struct device_conn *c, SSL_SESSION *resume)
{
    c->ssl = SSL_new(c->server->context);
    if (c->ssl == NULL || !expect_name(c) ||
        (resume != NULL && SSL_set_session(c->ssl, resume) != 1)) {
        ERR_clear_error();
        return ERR_INTERNAL;
    }
    (void)SSL_set_app_data(c->ssl, c);
    SSL_set_connect_state(c->ssl);
    return ERR_OK;
}

err_t device_conn_open(struct device_server *s, struct device *d, SSL_SESSION *resume,
                       struct device_conn **ret, struct fault *fault)
{
    err_t err = device_server_resolve(s, fault);
    if (err != ERR_OK) {
        return err;
    }
    CLEANUP(device_conn_free) struct device_conn *c = xcalloc(1, sizeof *c);
    c->server = s;
    c->device = d;
    c->fd = -1;
    c->addresses = s->addresses;
    c->connect_due_ms = now_ms(c) + DEVICE_CONNECT_TIMEOUT_MS;
    c->out = BUF_INIT(DEVICE_REQUEST_MAX + 4096);
    device_http_reader_init(&c->reader);
    err = make_ssl(c, resume);
    if (err != ERR_OK) {
        return fault_set(fault, err, "tls", "", "TLS cannot be set up");
    }
    if (!connect_next(c)) {
        int number = errno;
        device_server_forget(s);
        return fault_set(fault, ERR_UNAVAILABLE, "connect", "", "%s:%s: %s", s->name, s->port,
                         strerror(number));
    }
    *ret = TAKE(c);
    return ERR_OK;
}

void device_conn_free(struct device_conn *c)
{
    if (c == NULL) {
        return;
    }
    if (c->ssl != NULL && (c->stage == STAGE_REST || c->stage == STAGE_ANSWERED)) {
        (void)SSL_shutdown(c->ssl); /* a goodbye; nobody waits for the answer */
        ERR_clear_error();
    }
    SSL_free(c->ssl);
    SSL_SESSION_free(c->session);
    close_socket(c);
    device_http_reader_deinit(&c->reader);
    buf_deinit(&c->out);
    free(c);
}

static void begin_request(struct device_conn *c)
{
    c->stage = STAGE_WRITE;
    c->due_ms = now_ms(c) + DEVICE_ANSWER_TIMEOUT_MS;
}

err_t device_conn_send(struct device_conn *c, const struct device_http_request *request)
{
    struct device_http_request whole = *request;
    whole.host = c->server->host;
    buf_clear(&c->out);
    c->out_at = 0;
    c->heard = false;
    device_http_reader_deinit(&c->reader);
    device_http_reader_init(&c->reader);
    err_t err = device_http_write(&whole, &c->out);
    if (err != ERR_OK) {
        return err;
    }
    if (c->stage == STAGE_REST || c->stage == STAGE_ANSWERED) {
        begin_request(c);
    } else {
        c->pending = true;
    }
    return ERR_OK;
}

/* What OpenSSL waits for; false when it is not waiting but broken. */
static bool wants(struct device_conn *c, int result, enum device_io *ret)
{
    int code = SSL_get_error(c->ssl, result);
    if (code != SSL_ERROR_WANT_READ && code != SSL_ERROR_WANT_WRITE) {
        return false;
    }
    *ret = code == SSL_ERROR_WANT_READ ? DEVICE_IO_READ : DEVICE_IO_WRITE;
    return true;
}

/* 0: connected; EINPROGRESS; or why not. */
static int connect_error(const struct device_conn *c)
{
    int error = 0;
    socklen_t len = sizeof error;
    struct sockaddr_storage peer;
    socklen_t peer_len = sizeof peer;
    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0) {
        error = errno;
    }
    if (error == 0 && getpeername(c->fd, (struct sockaddr *)&peer, &peer_len) != 0) {
        error = errno == ENOTCONN ? EINPROGRESS : errno;
    }
    return error;
}

/* True: the present address may still answer, and no other is to have a turn before. */
static bool may_still_connect(const struct device_conn *c)
{
    bool last = c->tried + 1 == c->addresses.count;
    return last || now_ms(c) < c->due_ms || now_ms(c) >= c->connect_due_ms;
}

/* The present address is no good. */
static enum device_io connect_elsewhere(struct device_conn *c, int error)
{
    c->tried++;
    if (connect_next(c)) {
        return DEVICE_IO_WRITE;
    }
    device_server_forget(c->server);
    return fail(c, "no connection", strerror(error == EINPROGRESS ? ETIMEDOUT : error));
}

/* True: gone on to the next stage. */
static bool drive_connect(struct device_conn *c, enum device_io *ret)
{
    int error = connect_error(c);
    if (error == EINPROGRESS && may_still_connect(c)) {
        *ret = DEVICE_IO_WRITE;
        return false;
    }
    if (error != 0) {
        *ret = connect_elsewhere(c, error);
        return false;
    }
    if (SSL_set_fd(c->ssl, c->fd) != 1) {
        *ret = fail_tls(c, "TLS");
        return false;
    }
    c->stage = STAGE_HANDSHAKE;
    c->due_ms = c->connect_due_ms;
    return true;
}

static bool drive_handshake(struct device_conn *c, enum device_io *ret)
{
    int n = SSL_do_handshake(c->ssl);
    if (n != 1) {
        if (!wants(c, n, ret)) {
            *ret = fail_tls(c, "no TLS connection");
        }
        return false;
    }
    device_server_begin_with(c->server, present(c));
    if (c->pending) {
        begin_request(c);
    } else {
        c->stage = STAGE_REST;
        c->due_ms = INT64_MAX;
    }
    c->pending = false;
    return true;
}

static bool drive_write(struct device_conn *c, enum device_io *ret)
{
    while (c->out_at < c->out.len) {
        size_t sent = 0;
        int n = SSL_write_ex(c->ssl, c->out.ptr + c->out_at, c->out.len - c->out_at, &sent);
        if (n != 1) {
            if (!wants(c, n, ret)) {
                *ret = fail_tls(c, "the connection broke while sending");
            }
            return false;
        }
        c->out_at += sent;
    }
    c->stage = STAGE_READ;
    return true;
}

static enum device_io answered(struct device_conn *c)
{
    c->answers++;
    c->stage = STAGE_ANSWERED;
    return DEVICE_IO_ANSWER;
}

/* The peer closed, or broke the connection. */
static enum device_io read_ended(struct device_conn *c)
{
    if (device_http_end(&c->reader) == ERR_OK) {
        return answered(c);
    }
    return fail_tls(c, c->heard ? "the connection broke within the answer"
                                : "the connection was closed without an answer");
}

static enum device_io drive_read(struct device_conn *c)
{
    enum device_io io = DEVICE_IO_READ;
    for (;;) {
        uint8_t chunk[4096];
        size_t len = 0;
        size_t used = 0;
        int n = SSL_read_ex(c->ssl, chunk, sizeof chunk, &len);
        if (n != 1) {
            return wants(c, n, &io) ? io : read_ended(c);
        }
        c->heard = true;
        err_t err = device_http_feed(&c->reader, span_of(chunk, len), &used);
        if (err != ERR_OK) {
            return fail(c, "the answer is not HTTP as a device takes it", err_name(err));
        }
        if (c->reader.stage == DEVICE_HTTP_DONE) {
            c->reader.answer.keep_alive = c->reader.answer.keep_alive && used == len;
            return answered(c);
        }
    }
}

static enum device_io go_on(struct device_conn *c)
{
    enum device_io io = DEVICE_IO_FAILED;
    if (c->stage == STAGE_CONNECT && !drive_connect(c, &io)) {
        return io;
    }
    if (c->stage == STAGE_HANDSHAKE && !drive_handshake(c, &io)) {
        return io;
    }
    if (c->stage == STAGE_WRITE && !drive_write(c, &io)) {
        return io;
    }
    switch (c->stage) {
    case STAGE_READ:
        return drive_read(c);
    case STAGE_REST:
        return DEVICE_IO_READ;
    case STAGE_ANSWERED:
        return DEVICE_IO_ANSWER;
    default:
        return DEVICE_IO_FAILED;
    }
}

/* A host that is silent now would cost every attempt its time: the next one begins behind it. */
static enum device_io ran_out_of_time(struct device_conn *c)
{
    const char *what = c->stage == STAGE_CONNECT     ? "no connection in time"
                       : c->stage == STAGE_HANDSHAKE ? "no TLS connection in time"
                                                     : "no answer in time";
    device_server_begin_with(c->server, present(c) + 1);
    return fail(c, what, "");
}

enum device_io device_conn_drive(struct device_conn *c)
{
    ERR_clear_error();
    enum device_io io = go_on(c);
    bool waits = io == DEVICE_IO_READ || io == DEVICE_IO_WRITE;
    return waits && device_conn_wait_ms(c) == 0 ? ran_out_of_time(c) : io;
}

int64_t device_conn_wait_ms(const struct device_conn *c)
{
    int64_t left = c->due_ms - now_ms(c);
    return left > 0 ? left : 0;
}

int device_conn_fd(const struct device_conn *c)
{
    return c->fd;
}

const struct device_http_answer *device_conn_answer(const struct device_conn *c)
{
    return &c->reader.answer;
}

const struct fault *device_conn_fault(const struct device_conn *c)
{
    return &c->fault;
}

bool device_conn_reusable(const struct device_conn *c)
{
    return c->stage == STAGE_ANSWERED && c->reader.answer.keep_alive;
}

bool device_conn_was_stale(const struct device_conn *c)
{
    return c->answers > 0 && !c->heard;
}

bool device_conn_resumed(const struct device_conn *c)
{
    return SSL_session_reused(c->ssl) == 1;
}

SSL_SESSION *device_conn_session(const struct device_conn *c)
{
    if (c->session != NULL) {
        (void)SSL_SESSION_up_ref(c->session);
    }
    return c->session;
}
