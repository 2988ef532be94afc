/*
 * TLS by GnuTLS under libmicrohttpd. Credentials and ticket key are set on each session when its
 * connection starts, before the handshake: so they can be replaced while the server runs, client
 * certificates can be demanded, and sessions can be resumed, none of which libmicrohttpd does by
 * itself. Files are counted: a connection keeps those it started with.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "http_private.h"

#include "common/log.h"

#define TICKET_KEY_SIZE 64 /* what gnutls_session_ticket_enable_server asks for */
#define FILE_MAX        ((size_t)256 * 1024)

/* Two versions, forward secrecy, authenticated ciphers. */
#define PRIORITIES                                                                                 \
    "SECURE128:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:-RSA:-DHE-RSA:-CIPHER-ALL:+AES-128-GCM:"        \
    "+AES-256-GCM:+CHACHA20-POLY1305:%SERVER_PRECEDENCE"

struct http_tls_files {
    _Atomic unsigned references;
    gnutls_certificate_credentials_t credentials;
    bool has_ticket_key;
    uint8_t ticket_key[TICKET_KEY_SIZE];
};

/* Tells one version of a file from the next. */
struct stamp {
    ino_t inode;
    off_t size;
    struct timespec changed;
};
#define STAMPS 3 /* certificate, key, ticket key */

struct http_tls {
    pthread_mutex_t lock; /* covers files */
    struct http_tls_files *files;
    pthread_mutex_t refresh_lock; /* held while files are read; covers all below */
    struct stamp stamps[STAMPS];  /* of what was tried last */
    int64_t refresh_at_ms;
};

static void files_unref(struct http_tls_files *files)
{
    if (files != NULL && atomic_fetch_sub(&files->references, 1) == 1) {
        if (files->credentials != NULL) {
            gnutls_certificate_free_credentials(files->credentials);
        }
        explicit_bzero(files, sizeof *files);
        free(files);
    }
}
CLEANUP_DEFINE(struct http_tls_files *, files_unref);

/* ---- loading ---- */

static void fd_close(int fd)
{
    if (fd >= 0) {
        (void)close(fd);
    }
}
static inline void fd_close_cleanup_(const int *fd)
{
    fd_close(*fd);
}

static err_t read_file(const char *path, const char *option, struct buf *ret_bytes,
                       struct fault *fault)
{
    CLEANUP(fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return fault_set(fault, ERR_INVALID, "validation_error", option, "cannot open %s: %s", path,
                         strerror(errno));
    }
    for (;;) {
        uint8_t *room = buf_reserve(ret_bytes, 4096);
        const ssize_t got = room != NULL ? read(fd, room, 4096) : -1;
        if (got < 0) {
            return fault_set(fault, ERR_INVALID, "validation_error", option, "cannot read %s: %s",
                             path, room != NULL ? strerror(errno) : "too large");
        }
        if (got == 0) {
            return ERR_OK;
        }
        ret_bytes->len += (size_t)got;
    }
}

/* A key that asks for a passphrase is refused, not asked for at a terminal. */
static int no_passphrase(char *to, int size, int writing, void *arg)
{
    (void)writing, (void)arg;
    if (size > 0) {
        to[0] = '\0';
    }
    return -1;
}

/* GnuTLS 3.7 keeps memory of a pair that does not match; such a pair must not reach it. */
static bool pair_matches(const struct buf *cert_pem, const struct buf *key_pem)
{
    BIO *cert_bio = BIO_new_mem_buf(cert_pem->ptr, (int)cert_pem->len);
    BIO *key_bio = BIO_new_mem_buf(key_pem->ptr, (int)key_pem->len);
    X509 *cert = cert_bio != NULL ? PEM_read_bio_X509(cert_bio, NULL, NULL, NULL) : NULL;
    EVP_PKEY *key =
        key_bio != NULL ? PEM_read_bio_PrivateKey(key_bio, NULL, no_passphrase, NULL) : NULL;
    const bool matches = cert != NULL && key != NULL && X509_check_private_key(cert, key) == 1;
    ERR_clear_error();
    EVP_PKEY_free(key);
    X509_free(cert);
    BIO_free(key_bio);
    BIO_free(cert_bio);
    return matches;
}

static err_t bad_pair(const struct http_server_options *options, const char *why,
                      struct fault *fault)
{
    return fault_set(fault, ERR_INVALID, "validation_error", "tls_cert_file",
                     "%s and %s are not a certificate chain and its key in PEM: %s",
                     options->tls_cert_file, options->tls_key_file, why);
}

static err_t load_certificate(struct http_tls_files *files,
                              const struct http_server_options *options, struct fault *fault)
{
    CLEANUP_BUF struct buf cert = BUF_INIT(FILE_MAX);
    CLEANUP_BUF struct buf key = BUF_INIT_SECRET(FILE_MAX);
    err_t e = read_file(options->tls_cert_file, "tls_cert_file", &cert, fault);
    if (e == ERR_OK) {
        e = read_file(options->tls_key_file, "tls_key_file", &key, fault);
    }
    if (e != ERR_OK) {
        return e;
    }
    if (!pair_matches(&cert, &key)) {
        return bad_pair(options, "unreadable, or the key of another certificate", fault);
    }
    if (gnutls_certificate_allocate_credentials(&files->credentials) != GNUTLS_E_SUCCESS) {
        return ERR_INTERNAL;
    }
    const gnutls_datum_t cert_pem = {cert.ptr, (unsigned)cert.len};
    const gnutls_datum_t key_pem = {key.ptr, (unsigned)key.len};
    const int failed = gnutls_certificate_set_x509_key_mem2(files->credentials, &cert_pem, &key_pem,
                                                            GNUTLS_X509_FMT_PEM, NULL, 0);
    if (failed < 0) {
        return bad_pair(options, gnutls_strerror(failed), fault);
    }
    return ERR_OK;
}

static err_t load_ticket_key(struct http_tls_files *files,
                             const struct http_server_options *options, struct fault *fault)
{
    CLEANUP_BUF struct buf bytes = BUF_INIT_SECRET(FILE_MAX);
    if (options->ticket_key_file == NULL) {
        return ERR_OK;
    }
    const err_t e = read_file(options->ticket_key_file, "ticket_key_file", &bytes, fault);
    if (e != ERR_OK) {
        return e;
    }
    if (bytes.len != TICKET_KEY_SIZE) {
        return fault_set(fault, ERR_INVALID, "validation_error", "ticket_key_file",
                         "%s must hold exactly %d random bytes, holds %zu",
                         options->ticket_key_file, TICKET_KEY_SIZE, bytes.len);
    }
    memcpy(files->ticket_key, bytes.ptr, TICKET_KEY_SIZE);
    files->has_ticket_key = true;
    return ERR_OK;
}

/* A file that is not there has the stamp of zeros. */
static void take_stamps(const struct http_server_options *options, struct stamp stamps[STAMPS])
{
    const char *const paths[STAMPS] = {options->tls_cert_file, options->tls_key_file,
                                       options->ticket_key_file};
    for (size_t i = 0; i < STAMPS; i++) {
        struct stat st;
        stamps[i] = (struct stamp){0};
        if (paths[i] != NULL && stat(paths[i], &st) == 0) {
            stamps[i].inode = st.st_ino;
            stamps[i].size = st.st_size;
            stamps[i].changed = st.st_mtim;
        }
    }
}

static bool stamps_differ(const struct stamp *a, const struct stamp *b)
{
    for (size_t i = 0; i < STAMPS; i++) {
        if (a[i].inode != b[i].inode || a[i].size != b[i].size ||
            a[i].changed.tv_sec != b[i].changed.tv_sec ||
            a[i].changed.tv_nsec != b[i].changed.tv_nsec) {
            return true;
        }
    }
    return false;
}

/* With refresh_lock held. */
static err_t load(struct http_tls *tls, const struct http_server_options *options,
                  struct fault *fault)
{
    CLEANUP(files_unref) struct http_tls_files *files = xcalloc(1, sizeof *files);
    atomic_init(&files->references, 1);
    /* Stamped before it is read: what changes meanwhile is read again. */
    take_stamps(options, tls->stamps);
    err_t e = load_certificate(files, options, fault);
    if (e == ERR_OK) {
        e = load_ticket_key(files, options, fault);
    }
    if (e != ERR_OK) {
        return e;
    }
    (void)pthread_mutex_lock(&tls->lock);
    struct http_tls_files *old = tls->files;
    tls->files = TAKE(files);
    (void)pthread_mutex_unlock(&tls->lock);
    files_unref(old);
    return ERR_OK;
}

err_t http_tls_reload(struct http_tls *tls, const struct http_server_options *options,
                      struct fault *fault)
{
    (void)pthread_mutex_lock(&tls->refresh_lock);
    const err_t e = load(tls, options, fault);
    (void)pthread_mutex_unlock(&tls->refresh_lock);
    return e;
}

void http_tls_refresh(struct http_server *server, int64_t now_ms)
{
    struct http_tls *tls = server->tls;
    struct stamp stamps[STAMPS];
    struct fault fault = {0};
    (void)pthread_mutex_lock(&tls->refresh_lock);
    if (now_ms >= tls->refresh_at_ms) {
        tls->refresh_at_ms = now_ms + server->options.tls_refresh_ms;
        take_stamps(&server->options, stamps);
        if (stamps_differ(stamps, tls->stamps)) {
            const err_t e = load(tls, &server->options, &fault);
            metric_inc(server->stats.tls_loads[e != ERR_OK]);
            log_debug("http", NULL, "tls_files_read", LOG_STR("server", server->options.name),
                      LOG_ERR("result", e), LOG_STR("text", fault.text));
        }
    }
    (void)pthread_mutex_unlock(&tls->refresh_lock);
}

void http_tls_free(struct http_tls *tls)
{
    if (tls != NULL) {
        files_unref(tls->files);
        (void)pthread_mutex_destroy(&tls->refresh_lock);
        (void)pthread_mutex_destroy(&tls->lock);
        free(tls);
    }
}

err_t http_tls_new(const struct http_server_options *options, struct http_tls **ret_tls,
                   struct fault *fault)
{
    struct http_tls *tls = xcalloc(1, sizeof *tls);
    (void)pthread_mutex_init(&tls->lock, NULL);
    (void)pthread_mutex_init(&tls->refresh_lock, NULL);
    const err_t e = http_tls_reload(tls, options, fault);
    if (e != ERR_OK) {
        http_tls_free(tls);
        return e;
    }
    *ret_tls = tls;
    return ERR_OK;
}

/* ---- sessions ---- */

/* libmicrohttpd wants a certificate when it starts; sessions have their own credentials, so this
 * one is never asked. */
static int no_certificate(gnutls_session_t session, const struct gnutls_cert_retr_st *info,
                          gnutls_pcert_st **certs, unsigned *cert_count, gnutls_ocsp_data_st **ocsp,
                          unsigned *ocsp_count, gnutls_privkey_t *key, unsigned *flags)
{
    (void)session, (void)info;
    *certs = NULL;
    *cert_count = 0;
    *ocsp = NULL;
    *ocsp_count = 0;
    *key = NULL;
    *flags = 0;
    return -1;
}

const struct MHD_OptionItem *http_tls_daemon_options(void)
{
    static const char priorities[] = PRIORITIES;
    static struct MHD_OptionItem items[] = {
        {MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)(uintptr_t)priorities},
        {MHD_OPTION_HTTPS_CERT_CALLBACK2, 0, (void *)(uintptr_t)no_certificate},
        {MHD_OPTION_END, 0, NULL},
    };
    return items;
}

static gnutls_session_t session_of(struct MHD_Connection *mhd)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_GNUTLS_SESSION);
    return info != NULL ? info->tls_session : NULL;
}

/* The client's Finished ends the handshake: it has proved that it is there. */
static void note_finished(struct http_conn *conn, gnutls_session_t session)
{
    if (!conn->handshaken) {
        conn->handshaken = true;
        metric_inc(conn->server->stats
                       .handshakes[gnutls_session_is_resumed(session) != 0 ? HTTP_HANDSHAKE_RESUMED
                                                                           : HTTP_HANDSHAKE_FULL]);
    }
}

/*
 * GnuTLS is about to end a handshake in which the client sent no certificate, and libmicrohttpd
 * would close without a word. The client is told, and given the time to hear it.
 */
static void note_certificate(struct http_conn *conn, gnutls_session_t session,
                             const gnutls_datum_t *message)
{
    const bool tls13 = gnutls_protocol_get_version(session) == GNUTLS_TLS1_3;
    const unsigned empty = tls13 ? 4 : 3; /* the lengths of context (1.3) and list, all zero */
    if (conn->server->options.client_cert == HTTP_CLIENT_CERT_REQUIRE && message->size <= empty) {
        (void)gnutls_alert_send(session, GNUTLS_AL_FATAL,
                                tls13 ? GNUTLS_A_CERTIFICATE_REQUIRED : GNUTLS_A_HANDSHAKE_FAILURE);
        conn->lingers = true;
    }
}

static int on_handshake(gnutls_session_t session, unsigned type, unsigned when, unsigned incoming,
                        const gnutls_datum_t *message)
{
    struct http_conn *conn = http_conn_of(gnutls_session_get_ptr(session));
    if (incoming != 0 && type == GNUTLS_HANDSHAKE_FINISHED && when == GNUTLS_HOOK_POST) {
        note_finished(conn, session);
    } else if (incoming != 0 && type == GNUTLS_HANDSHAKE_CERTIFICATE_PKT &&
               when == GNUTLS_HOOK_PRE) {
        note_certificate(conn, session, message);
    }
    return 0;
}

void http_tls_conn_started(struct http_conn *conn, struct MHD_Connection *mhd)
{
    const struct http_server_options *options = &conn->server->options;
    struct http_tls *tls = conn->server->tls;
    gnutls_session_t session = session_of(mhd);
    assert(session != NULL);

    (void)pthread_mutex_lock(&tls->lock);
    conn->files = tls->files;
    (void)atomic_fetch_add(&conn->files->references, 1);
    (void)pthread_mutex_unlock(&tls->lock);

    (void)gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, conn->files->credentials);
    gnutls_certificate_server_set_request(
        session, options->client_cert == HTTP_CLIENT_CERT_REQUIRE   ? GNUTLS_CERT_REQUIRE
                 : options->client_cert == HTTP_CLIENT_CERT_REQUEST ? GNUTLS_CERT_REQUEST
                                                                    : GNUTLS_CERT_IGNORE);
    if (conn->files->has_ticket_key) {
        const gnutls_datum_t key = {conn->files->ticket_key, TICKET_KEY_SIZE};
        (void)gnutls_session_ticket_enable_server(session, &key);
        gnutls_db_set_cache_expiration(session, (int)options->ticket_lifetime_s);
    }
    gnutls_handshake_set_hook_function(session, GNUTLS_HANDSHAKE_ANY, GNUTLS_HOOK_BOTH,
                                       on_handshake);
    conn->mhd = mhd;
    http_handshakes_watch(conn, session);
}

static void forget_identity(struct http_conn *conn)
{
    if (conn->identity != NULL && conn->server->options.free_identity != NULL) {
        conn->server->options.free_identity(conn->identity);
    }
    conn->identity = NULL;
}

/* The session is gone by now: libmicrohttpd frees it before it says CLOSED. */
void http_tls_conn_closed(struct http_conn *conn)
{
    if (!conn->handshaken) {
        metric_inc(conn->server->stats.handshakes[HTTP_HANDSHAKE_FAILED]);
    }
    forget_identity(conn);
    files_unref(conn->files);
}

size_t http_tls_chain(struct MHD_Connection *mhd, struct span ret_chain[HTTP_PEER_CERTS_MAX])
{
    unsigned count = 0;
    const gnutls_datum_t *certs = gnutls_certificate_get_peers(session_of(mhd), &count);
    if (certs == NULL || count > HTTP_PEER_CERTS_MAX) {
        return 0;
    }
    for (unsigned i = 0; i < count; i++) {
        ret_chain[i] = span_of(certs[i].data, certs[i].size);
    }
    return count;
}

static err_t judge_chain(struct http_conn *conn, struct MHD_Connection *mhd)
{
    const struct http_server_options *options = &conn->server->options;
    struct span chain[HTTP_PEER_CERTS_MAX];
    unsigned sent = 0;
    (void)gnutls_certificate_get_peers(session_of(mhd), &sent);
    if (sent > HTTP_PEER_CERTS_MAX) {
        return fault_set(&conn->verdict_fault, ERR_UNAUTHORIZED, "client_certificate_invalid", "",
                         "a client may send at most %d certificates, %u were sent",
                         HTTP_PEER_CERTS_MAX, sent);
    }
    const size_t count = http_tls_chain(mhd, chain);
    return count > 0
               ? options->verify(options->ctx, chain, count, &conn->identity, &conn->verdict_fault)
               : ERR_OK;
}

err_t http_tls_judge(struct http_conn *conn, struct MHD_Connection *mhd, struct fault *fault)
{
    const uint64_t epoch = atomic_load(&conn->server->trust_epoch);
    if (!conn->judged || conn->judged_epoch != epoch) {
        forget_identity(conn);
        conn->verdict_fault = (struct fault){0};
        conn->verdict = judge_chain(conn, mhd);
        conn->judged = true;
        conn->judged_epoch = epoch;
    }
    *fault = conn->verdict_fault;
    return conn->verdict;
}
