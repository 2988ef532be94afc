/*
 * Connections and their deadlines. libmicrohttpd only knows inactivity, which one byte now and then
 * keeps away for ever; here each phase has an end, and what is past it is shut down. The descriptor
 * is valid while the connection is in the list: CLOSED takes it out before libmicrohttpd closes it,
 * under the lock the reaper holds.
 */
#include <arpa/inet.h>
#include <string.h>

#include "http_private.h"

struct http_conn *http_conn_of(struct MHD_Connection *mhd)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info != NULL ? info->socket_context : NULL;
}

static int64_t allowed_ms(const struct http_server_options *options, enum http_phase phase)
{
    switch (phase) {
    case HTTP_PHASE_HEADERS:
        return options->header_timeout_ms;
    case HTTP_PHASE_BODY:
        return options->body_timeout_ms;
    case HTTP_PHASE_SENDING:
        return options->send_timeout_ms;
    case HTTP_PHASE_IDLE:
        /* The next request line may begin at the last moment and takes its time as headers do. */
        return (int64_t)options->idle_timeout_ms + options->header_timeout_ms;
    case HTTP_PHASE_HANDLING:
    case HTTP_PHASE_COUNT_:
        break;
    }
    return -1;
}

void http_conn_phase(struct http_conn *conn, enum http_phase phase)
{
    const int64_t allowed = allowed_ms(&conn->server->options, phase);
    atomic_store_explicit(&conn->phase, (int)phase, memory_order_relaxed);
    atomic_store_explicit(&conn->deadline_ms,
                          allowed < 0 ? INT64_MAX : http_now_ms(conn->server) + allowed,
                          memory_order_relaxed);
}

static void set_address(struct http_conn *conn, const struct sockaddr *address)
{
    if (address->sa_family == AF_INET) {
        memcpy(&conn->address.v4, address, sizeof conn->address.v4);
        (void)inet_ntop(AF_INET, &conn->address.v4.sin_addr, conn->address_text,
                        sizeof conn->address_text);
    } else if (address->sa_family == AF_INET6) {
        memcpy(&conn->address.v6, address, sizeof conn->address.v6);
        (void)inet_ntop(AF_INET6, &conn->address.v6.sin6_addr, conn->address_text,
                        sizeof conn->address_text);
    }
}

static void started(struct http_server *server, struct MHD_Connection *mhd, void **context)
{
    struct http_conn *conn = xcalloc(1, sizeof *conn);
    conn->server = server;
    conn->fd = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    set_address(conn,
                MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS)->client_addr);
    http_conn_phase(conn, HTTP_PHASE_HEADERS);
    *context = conn;
    metric_inc(server->stats.open);
    if (server->tls != NULL) {
        http_tls_conn_started(conn, mhd);
    }
    (void)pthread_mutex_lock(&server->conns_lock);
    conn->next = server->conns;
    if (conn->next != NULL) {
        conn->next->prev = conn;
    }
    server->conns = conn;
    (void)pthread_mutex_unlock(&server->conns_lock);
}

static void closed(struct http_server *server, struct http_conn *conn)
{
    (void)pthread_mutex_lock(&server->conns_lock);
    if (conn->prev != NULL) {
        conn->prev->next = conn->next;
    } else {
        server->conns = conn->next;
    }
    if (conn->next != NULL) {
        conn->next->prev = conn->prev;
    }
    const bool reaped = conn->reaped;
    (void)pthread_mutex_unlock(&server->conns_lock);
    if (conn->lingers && !reaped) {
        http_linger_add(server->linger, conn->fd);
    }
    if (server->tls != NULL) {
        http_tls_conn_closed(conn);
    }
    metric_add(server->stats.open, -1);
    http_admission_leave(server->admission, &conn->address.any);
    free(conn);
}

void http_conn_notify(void *cls, struct MHD_Connection *mhd, void **context,
                      enum MHD_ConnectionNotificationCode code)
{
    struct http_server *server = cls;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        started(server, mhd, context);
    } else if (*context != NULL) {
        closed(server, *context);
        *context = NULL;
    }
}

void http_conn_reap(struct http_server *server, int64_t now_ms)
{
    (void)pthread_mutex_lock(&server->conns_lock);
    for (struct http_conn *conn = server->conns; conn != NULL; conn = conn->next) {
        if (!conn->reaped &&
            atomic_load_explicit(&conn->deadline_ms, memory_order_relaxed) <= now_ms) {
            conn->reaped = true;
            metric_inc(server->stats.reaped[atomic_load(&conn->phase)]);
            (void)shutdown(conn->fd, SHUT_RDWR);
        }
    }
    (void)pthread_mutex_unlock(&server->conns_lock);
}
