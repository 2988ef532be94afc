#include "server.h"

#include <errno.h>
#include <limits.h>
#include <netdb.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>

CLEANUP_DEFINE(BIO *, BIO_free_all);
CLEANUP_DEFINE(struct addrinfo *, freeaddrinfo);

static err_t bad_url(const char *url, struct fault *fault)
{
    return fault_set(fault, ERR_INVALID, "validation_error", "server",
                     "\"%.100s\" is not https://name[:port]", url);
}

/* "name", "name:port", "1.2.3.4:port", "[::1]:port" */
static bool split_authority(struct device_server *s, const char *text)
{
    const char *end = text + strlen(text);
    const char *colon = strrchr(text, ':');
    const char *name = text;
    const char *name_end = colon != NULL ? colon : end;
    const char *port = colon != NULL ? colon + 1 : "443";
    if (text[0] == '[') {
        const char *bracket = strchr(text, ']');
        if (bracket == NULL || (bracket[1] != 0 && bracket[1] != ':')) {
            return false;
        }
        name = text + 1;
        name_end = bracket;
        port = bracket[1] == ':' ? bracket + 2 : "443";
    }
    size_t len = (size_t)(name_end - name);
    if (len == 0 || len >= sizeof s->name || port[0] == 0 || strlen(port) >= sizeof s->port ||
        strspn(port, "0123456789") != strlen(port) || memchr(name, ' ', len) != NULL) {
        return false;
    }
    memcpy(s->name, name, len);
    memcpy(s->port, port, strlen(port) + 1);
    return true;
}

static err_t read_url(struct device_server *s, const char *url, struct fault *fault)
{
    static const char scheme[] = "https://";
    if (strncmp(url, scheme, sizeof scheme - 1) != 0) {
        return bad_url(url, fault);
    }
    char authority[sizeof s->host];
    const char *start = url + sizeof scheme - 1;
    size_t len = strcspn(start, "/?#");
    bool root = start[len] == 0 || (start[len] == '/' && start[len + 1] == 0);
    if (len >= sizeof authority || !root || memchr(start, '@', len) != NULL) {
        return bad_url(url, fault);
    }
    memcpy(authority, start, len);
    authority[len] = 0;
    if (!split_authority(s, authority)) {
        return bad_url(url, fault);
    }
    memcpy(s->host, authority, len + 1);
    return ERR_OK;
}

/* Returns how many certificates were added; -1 when one cannot be read. */
static int add_anchors(X509_STORE *store, struct span pem)
{
    if (pem.len == 0 || pem.len > INT_MAX) {
        return 0;
    }
    CLEANUP(BIO_free_all) BIO *bio = BIO_new_mem_buf(pem.ptr, (int)pem.len);
    int count = 0;
    for (;;) {
        CLEANUP(X509_free) X509 *c = bio != NULL ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
        if (c == NULL) {
            bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
            ERR_clear_error();
            return at_end ? count : -1;
        }
        if (X509_STORE_add_cert(store, c) != 1) {
            ERR_clear_error();
            return -1;
        }
        count++;
    }
}

static err_t make_context(struct device_server *s, const struct device_server_options *o,
                          struct fault *fault)
{
    s->context = SSL_CTX_new(TLS_client_method());
    if (s->context == NULL || SSL_CTX_set_min_proto_version(s->context, TLS1_2_VERSION) != 1) {
        ERR_clear_error();
        return fault_set(fault, ERR_INTERNAL, "tls", "", "TLS cannot be set up");
    }
    X509_STORE *store = SSL_CTX_get_cert_store(s->context);
    int trusted = add_anchors(store, o->trusted);
    /* Damage in what a bootstrap brought must not take the anchors of the factory away: the way to
     * better ones leads through them. */
    int delivered = add_anchors(store, o->delivered);
    if (trusted < 0 || (trusted == 0 && delivered < 1)) {
        return fault_set(fault, ERR_INVALID, "validation_error", "server-ca",
                         "the server CA must be one or more PEM certificates");
    }
    SSL_CTX_set_verify(s->context, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_mode(s->context, SSL_MODE_ENABLE_PARTIAL_WRITE |
                                     SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                     SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(s->context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(s->context, device_conn_new_session);
    SSL_CTX_set_client_cert_cb(s->context, device_conn_client_certificate);
    return ERR_OK;
}

err_t device_server_new(const struct device_server_options *options, struct device_server **ret,
                        struct fault *fault)
{
    CLEANUP(device_server_free) struct device_server *s = xcalloc(1, sizeof *s);
    err_t err = read_url(s, options->url, fault);
    if (err == ERR_OK) {
        err = make_context(s, options, fault);
    }
    if (err == ERR_OK) {
        *ret = TAKE(s);
    }
    return err;
}

void device_server_forget(struct device_server *s)
{
    s->addresses.count = 0;
    s->addresses.first = 0;
}

void device_server_begin_with(struct device_server *s, size_t address)
{
    s->addresses.first = address < s->addresses.count ? address : 0;
}

void device_server_free(struct device_server *s)
{
    if (s != NULL) {
        SSL_CTX_free(s->context);
        free(s);
    }
}

const char *device_server_host(const struct device_server *s)
{
    return s->host;
}

err_t device_server_resolve(struct device_server *s, struct fault *fault)
{
    struct device_addresses *to = &s->addresses;
    if (to->count > 0) {
        return ERR_OK;
    }
    CLEANUP(freeaddrinfo) struct addrinfo *found = NULL;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    int code = getaddrinfo(s->name, s->port, &hints, &found);
    for (const struct addrinfo *a = found; a != NULL && to->count < DEVICE_ADDRESSES_MAX;
         a = a->ai_next) {
        if (a->ai_addrlen <= sizeof to->list[0].address) {
            memcpy(&to->list[to->count].address, a->ai_addr, a->ai_addrlen);
            to->list[to->count++].len = a->ai_addrlen;
        }
    }
    return to->count > 0 ? ERR_OK
                         : fault_set(fault, ERR_UNAVAILABLE, "connect", "", "%s: %s", s->name,
                                     code != 0 ? gai_strerror(code) : "no address");
}
