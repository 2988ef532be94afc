/*
 * fleetseal-mock-door: a device door for tests of the device library, the agent and the simulator
 * alone: TLS with a client certificate of any issuer, a thread per connection, life.h behind it.
 * Prints its port when it listens, and its numbers when it is told to stop.
 *
 *     fleetseal-mock-door CERT.pem KEY.pem [--renewals N] [--kind K] [--new-key] [--allocate-only]
 *                         [--busy-every N] [--flood S] [--interval S]
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <strings.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "life.h"

struct door {
    SSL_CTX *context;
    struct life *life;
    int listener;
};

struct visitor {
    struct door *door;
    int fd;
};

static int accept_any_chain(X509_STORE_CTX *store, void *arg)
{
    (void)store;
    (void)arg;
    return 1; /* the key is the identity; its certificate only carries it */
}

static SSL_CTX *make_context(const char *certificate, const char *key)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    if (context == NULL || SSL_CTX_use_certificate_chain_file(context, certificate) != 1 ||
        SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1) {
        ERR_print_errors_fp(stderr);
        return NULL;
    }
    static const unsigned char id[] = "mock";
    (void)SSL_CTX_set_session_id_context(context, id, sizeof id - 1);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    SSL_CTX_set_cert_verify_callback(context, accept_any_chain, NULL);
    return context;
}

/* The value of a header field in a head of whole lines; "" when absent. */
static void header(const char *head, const char *name, char *out, size_t size)
{
    size_t len = strlen(name);
    out[0] = 0;
    for (const char *line = strstr(head, "\r\n"); line != NULL; line = strstr(line, "\r\n")) {
        line += 2;
        if (strncasecmp(line, name, len) == 0 && line[len] == ':') {
            const char *value = line + len + 1 + strspn(line + len + 1, " ");
            (void)snprintf(out, size, "%.*s", (int)strcspn(value, "\r"), value);
            return;
        }
    }
}

static bool read_more(SSL *ssl, struct buf *in)
{
    uint8_t *at = buf_reserve(in, 4096);
    size_t n = 0;
    if (at == NULL || SSL_read_ex(ssl, at, 4096, &n) != 1) {
        return false;
    }
    in->len += n;
    return true;
}

/* One request and its answer. */
static bool serve_one(struct door *door, SSL *ssl, EVP_PKEY *rot)
{
    CLEANUP_BUF struct buf in = BUF_INIT((size_t)64 * 1024);
    CLEANUP_BUF struct buf body = BUF_INIT(DEVICE_ANSWER_MAX);
    CLEANUP_BUF struct buf out = BUF_INIT(DEVICE_ANSWER_MAX + 1024);
    const char *end = NULL;
    while ((end = strstr(buf_cstr(&in), "\r\n\r\n")) == NULL) {
        if (!read_more(ssl, &in)) {
            return false;
        }
    }
    size_t head_len = (size_t)(end - buf_cstr(&in)) + 4;
    char path[64] = "";
    char length[16];
    char signature[DEVICE_SIGNATURE_TEXT_SIZE];
    char *blank = strchr(buf_cstr(&in), ' ');
    if (blank != NULL) {
        (void)snprintf(path, sizeof path, "%.*s", (int)strcspn(blank + 1, " "), blank + 1);
    }
    header(buf_cstr(&in), "Content-Length", length, sizeof length);
    header(buf_cstr(&in), DEVICE_SIGNATURE_HEADER, signature, sizeof signature);
    size_t body_len = strtoul(length, NULL, 10);
    while (in.len < head_len + body_len) {
        if (!read_more(ssl, &in)) {
            return false;
        }
    }
    long retry = -1;
    int status = life_answer(door->life, rot, path, signature, span_of(in.ptr + head_len, body_len),
                             &body, &retry);
    (void)buf_printf(&out, "HTTP/1.1 %d X\r\nContent-Length: %zu\r\n", status, body.len);
    if (retry >= 0) {
        (void)buf_printf(&out, "Retry-After: %ld\r\n", retry);
    }
    (void)buf_append_str(&out, "\r\n");
    (void)buf_append_span(&out, buf_span(&body));
    size_t sent = 0;
    return SSL_write_ex(ssl, out.ptr, out.len, &sent) == 1;
}

static void *serve(void *arg)
{
    struct visitor v = *(struct visitor *)arg;
    free(arg);
    SSL *ssl = SSL_new(v.door->context);
    if (ssl != NULL && SSL_set_fd(ssl, v.fd) == 1 && SSL_accept(ssl) == 1) {
        X509 *peer = SSL_get1_peer_certificate(ssl);
        EVP_PKEY *rot = peer != NULL ? X509_get_pubkey(peer) : NULL;
        while (serve_one(v.door, ssl, rot)) {
        }
        EVP_PKEY_free(rot);
        X509_free(peer);
    }
    ERR_clear_error();
    SSL_free(ssl);
    (void)close(v.fd);
    return NULL;
}

static void admit(struct door *door)
{
    struct visitor *v = xcalloc(1, sizeof *v);
    pthread_t thread;
    int on = 1;
    v->door = door;
    v->fd = accept4(door->listener, NULL, NULL, SOCK_CLOEXEC);
    if (v->fd < 0) {
        free(v);
        return;
    }
    (void)setsockopt(v->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (pthread_create(&thread, NULL, serve, v) == 0) {
        (void)pthread_detach(thread);
    } else {
        (void)close(v->fd);
        free(v);
    }
}

static int listen_anywhere(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, len) != 0 || listen(fd, 4096) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &len) != 0) {
        perror("listen");
        return -1;
    }
    (void)printf("%d\n", ntohs(address.sin_port));
    (void)fflush(stdout);
    return fd;
}

static void read_options(int argc, char **argv, struct life_options *o)
{
    for (int i = 3; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "0";
        o->new_key = o->new_key || strcmp(argv[i], "--new-key") == 0;
        o->allocate_only = o->allocate_only || strcmp(argv[i], "--allocate-only") == 0;
        if (strcmp(argv[i], "--renewals") == 0) {
            o->renewals = strtol(value, NULL, 10);
        } else if (strcmp(argv[i], "--kind") == 0) {
            o->kind = value;
        } else if (strcmp(argv[i], "--busy-every") == 0) {
            o->busy_every = strtol(value, NULL, 10);
        } else if (strcmp(argv[i], "--flood") == 0) {
            o->flood_interval_s = strtol(value, NULL, 10);
        } else if (strcmp(argv[i], "--interval") == 0) {
            o->heartbeat_interval_s = strtol(value, NULL, 10);
        }
    }
}

static int stop_descriptor(void)
{
    sigset_t set;
    (void)signal(SIGPIPE, SIG_IGN);
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
    return signalfd(-1, &set, SFD_CLOEXEC);
}

int main(int argc, char **argv)
{
    struct life_options o = {.kind = "renew", .heartbeat_interval_s = 604800};
    if (argc < 3) {
        (void)fputs("usage: fleetseal-mock-door CERT.pem KEY.pem [options]\n", stderr);
        return 64;
    }
    read_options(argc, argv, &o);
    int stop = stop_descriptor();
    struct door door = {.context = make_context(argv[1], argv[2]), .life = life_new(&o)};
    door.listener = door.context != NULL ? listen_anywhere() : -1;
    if (door.listener < 0) {
        return 70;
    }
    struct pollfd fds[2] = {{.fd = door.listener, .events = POLLIN},
                            {.fd = stop, .events = POLLIN}};
    while (poll(fds, 2, -1) > 0 && fds[1].revents == 0) {
        admit(&door);
    }
    CLEANUP_BUF struct buf report = BUF_INIT(4096);
    life_report(door.life, &report);
    (void)fputs(buf_cstr(&report), stdout);
    (void)fflush(stdout);
    _exit(0); /* connections may still be served: nothing of theirs is freed */
}
