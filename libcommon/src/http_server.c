#include "common/http_server.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "http_private.h"

#include "common/log.h"

#define TICKET_LIFETIME_MAX_S (7U * 24 * 3600) /* RFC 8446 */
/* After the last answer was given: time for it to reach a slow client. */
#define FLUSH_MS 2000
/* Descriptors beside connections: listeners, loops, logs, and the service's own clients. */
#define SPARE_DESCRIPTORS 256

struct http_server_options http_server_options_default(void)
{
    return (struct http_server_options){
        .name = "http",
        .backlog = 1024,
        .ticket_lifetime_s = TICKET_LIFETIME_MAX_S,
        .tls_refresh_ms = 10000,
        .client_cert = HTTP_CLIENT_CERT_NONE,
        .threads = 2,
        .connections_max = 4096,
        .connection_memory = (size_t)16 * 1024,
        .body_memory = (size_t)64 * 1024 * 1024,
        .header_timeout_ms = 10000,
        .body_timeout_ms = 10000,
        .send_timeout_ms = 30000,
        .idle_timeout_ms = 60000,
        .clock = &clock_system,
    };
}

/* ---- checking ---- */

static err_t bad(struct fault *fault, const char *field, const char *rule)
{
    return fault_set(fault, ERR_INVALID, "validation_error", field, "%s", rule);
}

static err_t check_tls(const struct http_server_options *o, struct fault *fault)
{
    if ((o->tls_cert_file != NULL) != (o->tls_key_file != NULL)) {
        return bad(fault, "tls_key_file", "certificate and key come together");
    }
    if (o->client_cert != HTTP_CLIENT_CERT_NONE &&
        (o->tls_cert_file == NULL || o->verify == NULL)) {
        return bad(fault, "client_cert", "client certificates need TLS and a verify callback");
    }
    if (o->ticket_key_file != NULL &&
        (o->ticket_lifetime_s == 0 || o->ticket_lifetime_s > TICKET_LIFETIME_MAX_S)) {
        return bad(fault, "ticket_lifetime_s", "must be 1..604800 s (7 days)");
    }
    return ERR_OK;
}

static err_t check_options(const struct http_server_options *o, struct fault *fault)
{
    if (o->listen_count == 0) {
        return bad(fault, "listen", "at least one address is needed");
    }
    if (o->threads < 1 || o->threads > 64) {
        return bad(fault, "threads", "must be 1..64");
    }
    if (o->connections_max < 1 || o->connections_max > 1000000) {
        return bad(fault, "connections_max", "must be 1..1000000");
    }
    if (o->connection_memory < 4096 || o->connection_memory > (size_t)1024 * 1024) {
        return bad(fault, "connection_memory", "must be 4096..1048576 bytes");
    }
    if (o->header_timeout_ms == 0 || o->body_timeout_ms == 0 || o->send_timeout_ms == 0 ||
        o->idle_timeout_ms == 0) {
        return bad(fault, "header_timeout_ms", "every timeout must be at least 1 ms");
    }
    const err_t e = check_tls(o, fault);
    return e != ERR_OK ? e : http_routes_check(o->routes, o->route_count, fault);
}

/* A connection that was admitted must have its descriptor. */
static err_t ensure_descriptors(const struct http_server_options *o, struct fault *fault)
{
    const rlim_t needed = (rlim_t)o->connections_max + SPARE_DESCRIPTORS;
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= needed) {
        return ERR_OK;
    }
    const rlim_t hard = limit.rlim_max;
    limit.rlim_cur = needed;
    if (hard < needed || setrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return fault_set(fault, ERR_UNAVAILABLE, "unavailable", "connections_max",
                         "%" PRIu32 " connections need %ju descriptors, the system allows %ju",
                         o->connections_max, (uintmax_t)needed, (uintmax_t)hard);
    }
    return ERR_OK;
}

/* ---- starting ---- */

static char *own(const char *s)
{
    return s != NULL ? xstrdup(s) : NULL;
}

/* The options outlive the caller's strings. */
static void own_strings(struct http_server_options *o)
{
    char **listen = xcalloc(o->listen_count, sizeof *listen);
    for (size_t i = 0; i < o->listen_count; i++) {
        listen[i] = xstrdup(o->listen[i]);
    }
    o->listen = (const char *const *)listen;
    o->name = xstrdup(o->name);
    o->tls_cert_file = own(o->tls_cert_file);
    o->tls_key_file = own(o->tls_key_file);
    o->ticket_key_file = own(o->ticket_key_file);
}

static void free_strings(struct http_server_options *o)
{
    for (size_t i = 0; i < o->listen_count; i++) {
        free((void *)(uintptr_t)o->listen[i]);
    }
    free((void *)(uintptr_t)o->listen);
    free((void *)(uintptr_t)o->name);
    free((void *)(uintptr_t)o->tls_cert_file);
    free((void *)(uintptr_t)o->tls_key_file);
    free((void *)(uintptr_t)o->ticket_key_file);
}

static struct http_server *server_new(const struct http_server_options *options)
{
    struct http_server *server = xcalloc(1, sizeof *server);
    server->options = *options;
    own_strings(&server->options);
    server->accept_wakeup = -1;
    (void)pthread_mutex_init(&server->conns_lock, NULL);
    (void)pthread_mutex_init(&server->idle_lock, NULL);
    pthread_condattr_t monotonic;
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&server->idle_changed, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    const struct http_admission_limits limits = {
        .connections_max = options->connections_max,
        .connections_per_address_max = options->connections_per_address_max,
        .rate = options->accept_rate,
        .burst = options->accept_burst,
    };
    server->admission = http_admission_new(&limits);
    return server;
}

__attribute__((format(printf, 2, 0))) static void mhd_log(void *cls, const char *format,
                                                          va_list args)
{
    const struct http_server *server = cls;
    char text[256];
    if (!log_topic_enabled("http")) {
        return;
    }
    (void)vsnprintf(text, sizeof text, format, args);
    text[strcspn(text, "\n")] = '\0';
    log_debug("http", NULL, "libmicrohttpd", LOG_STR("server", server->options.name),
              LOG_STR("text", text));
}

/* Characters are decoded by http_target.h, strictly and once. */
static size_t keep_escapes(void *cls, struct MHD_Connection *mhd, char *text)
{
    (void)cls;
    (void)mhd;
    return strlen(text);
}

/*
 * Strictness is ours (http_framing.h, http_target.h) with libmicrohttpd 0.9.75, which sends its own
 * refusal of a missing Host twice. 1.0 judges much of it before we are asked, in its own words, and
 * is made strict: its lenient parser redirects a target with a blank (301), and takes a bare line
 * feed for the end of a line. The latter matters since 1.0.1 leaves the line feed behind a chunk
 * extension unread: a last chunk "0;x" would end the request before its trailers.
 */
#define STRICT_LIBRARY (MHD_VERSION >= 0x01000000 ? 1 : 0)

static struct MHD_Daemon *start_loop(struct http_server *server)
{
    static const struct MHD_OptionItem no_options[] = {{MHD_OPTION_END, 0, NULL}};
    const struct http_server_options *o = &server->options;
    const struct MHD_OptionItem *tls = server->tls != NULL ? http_tls_daemon_options() : no_options;
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_NO_LISTEN_SOCKET | MHD_USE_ITC |
                     MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;
    flags |= server->tls != NULL ? MHD_USE_TLS : 0;
    /* Admission counts exactly. The library's count falls a little later, when a connection is
     * already counted out; a limit it could reach would make the two differ. */
    return MHD_start_daemon(
        flags, 0, NULL, NULL, http_intake_access, server, MHD_OPTION_EXTERNAL_LOGGER, mhd_log,
        server, MHD_OPTION_NOTIFY_CONNECTION, http_conn_notify, server, MHD_OPTION_NOTIFY_COMPLETED,
        http_intake_completed, server, MHD_OPTION_URI_LOG_CALLBACK, http_intake_target, server,
        MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, NULL, MHD_OPTION_STRICT_FOR_CLIENT,
        STRICT_LIBRARY, MHD_OPTION_CONNECTION_LIMIT, (unsigned)o->connections_max * 2 + 64,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, o->connection_memory, MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)((o->idle_timeout_ms + 999) / 1000), MHD_OPTION_ARRAY, tls, MHD_OPTION_END);
}

static err_t start_loops(struct http_server *server, struct fault *fault)
{
    server->loops = xcalloc(server->options.threads, sizeof(struct MHD_Daemon *));
    for (unsigned i = 0; i < server->options.threads; i++) {
        struct MHD_Daemon *loop = start_loop(server);
        if (loop == NULL) {
            return fault_set(fault, ERR_UNAVAILABLE, "unavailable", "",
                             "cannot start an event loop: %s", strerror(errno));
        }
        server->loops[server->loop_count++] = loop;
    }
    return ERR_OK;
}

static err_t start_all(struct http_server *server, struct fault *fault)
{
    err_t e = ensure_descriptors(&server->options, fault);
    if (e == ERR_OK && server->options.tls_cert_file != NULL) {
        e = http_tls_new(&server->options, &server->tls, fault);
    }
    if (e == ERR_OK) {
        e = http_accept_open(server, fault);
    }
    if (e == ERR_OK) {
        /* After what may fail and be tried again: series register once. */
        http_stats_init(&server->stats, &server->options);
        e = http_linger_start(&server->linger, fault);
    }
    if (e == ERR_OK) {
        e = http_park_start(server, fault);
    }
    if (e == ERR_OK && server->tls != NULL) {
        e = http_handshakes_start(&server->handshakes, fault);
    }
    if (e == ERR_OK) {
        e = start_loops(server, fault);
    }
    return e == ERR_OK ? http_accept_start(server, fault) : e;
}

err_t http_server_start(const struct http_server_options *options, struct http_server **ret_server,
                        struct fault *fault)
{
    err_t e = check_options(options, fault);
    if (e != ERR_OK) {
        return e;
    }
    struct http_server *server = server_new(options);
    e = start_all(server, fault);
    if (e != ERR_OK) {
        http_server_free(server);
        return e;
    }
    *ret_server = server;
    return ERR_OK;
}

err_t http_server_reload_tls(struct http_server *server, struct fault *fault)
{
    return server->tls != NULL ? http_tls_reload(server->tls, &server->options, fault) : ERR_OK;
}

void http_server_bump_trust(struct http_server *server)
{
    (void)atomic_fetch_add(&server->trust_epoch, 1);
}

/* ---- stopping ---- */

void http_server_quiesce(struct http_server *server)
{
    atomic_store(&server->closing, true);
    http_accept_stop(server);
}

void http_server_wake_waiters(struct http_server *server)
{
    if (atomic_load(&server->closing)) {
        (void)pthread_mutex_lock(&server->idle_lock);
        (void)pthread_cond_broadcast(&server->idle_changed);
        (void)pthread_mutex_unlock(&server->idle_lock);
    }
}

/* Waits until no request is in hand, at most `wait_ms`. */
static void wait_idle(struct http_server *server, uint32_t wait_ms)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += wait_ms / 1000;
    until.tv_nsec += (long)(wait_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    int waited = 0;
    (void)pthread_mutex_lock(&server->idle_lock);
    while (waited == 0 && atomic_load(&server->in_flight) > 0) {
        waited = pthread_cond_timedwait(&server->idle_changed, &server->idle_lock, &until);
    }
    (void)pthread_mutex_unlock(&server->idle_lock);
}

/* After this no handler runs, and since `stopping` is set none will. Handlers do not block. */
static void wait_handlers(struct http_server *server)
{
    (void)pthread_mutex_lock(&server->idle_lock);
    while (atomic_load(&server->handlers_running) > 0) {
        (void)pthread_cond_wait(&server->idle_changed, &server->idle_lock);
    }
    (void)pthread_mutex_unlock(&server->idle_lock);
}

/* libmicrohttpd aborts the process when it is stopped with a suspended connection: there must be
 * none, and none may come. */
static void stop_loops(struct http_server *server, uint32_t grace_ms)
{
    wait_idle(server, grace_ms);
    wait_handlers(server);
    http_park_close(server->park);
    wait_idle(server, FLUSH_MS);
    http_handshakes_close(server->handshakes);
    for (unsigned i = 0; i < server->loop_count; i++) {
        MHD_stop_daemon(server->loops[i]);
    }
}

void http_server_stop(struct http_server *server, uint32_t grace_ms)
{
    if (server->stopped) {
        return;
    }
    server->stopped = true;
    http_server_quiesce(server);
    atomic_store(&server->stopping, true);
    if (server->park != NULL) {
        stop_loops(server, grace_ms);
        http_park_stop(server->park);
    }
    http_linger_stop(TAKE(server->linger));
}

void http_server_free(struct http_server *server)
{
    if (server == NULL) {
        return;
    }
    http_server_stop(server, 0);
    assert(server->conns == NULL);
    http_park_free(server->park);
    http_handshakes_free(server->handshakes);
    http_tls_free(server->tls);
    http_admission_free(server->admission);
    free(server->loops);
    http_stats_deinit(&server->stats);
    (void)pthread_cond_destroy(&server->idle_changed);
    (void)pthread_mutex_destroy(&server->idle_lock);
    (void)pthread_mutex_destroy(&server->conns_lock);
    free_strings(&server->options);
    free(server);
}
