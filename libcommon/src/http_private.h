/*
 * The inside of the HTTP server, shared by its src/http_*.c files only. Which thread touches what:
 * a connection and its requests belong to the event loop that serves them; members that other
 * threads touch say by which lock.
 */
#ifndef HTTP_PRIVATE_H
#define HTTP_PRIVATE_H

#include <gnutls/gnutls.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include "common/http_admission.h"
#include "common/http_error.h"
#include "common/http_framing.h"
#include "common/http_request.h"
#include "common/http_server.h"
#include "common/http_target.h"

/* What a connection is doing, hence which deadline applies. */
enum http_phase {
    HTTP_PHASE_HEADERS,  /* handshake, or headers of a request */
    HTTP_PHASE_BODY,     /* headers are there, body is not */
    HTTP_PHASE_HANDLING, /* ours to answer: no deadline but the ticket's */
    HTTP_PHASE_SENDING,  /* answered, the client has to take it */
    HTTP_PHASE_IDLE,     /* between requests, or trickling a request line */
    HTTP_PHASE_COUNT_,
};

union http_address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

/* One TCP connection: from MHD's STARTED to its CLOSED notification. */
struct http_conn {
    struct http_server *server;
    struct http_conn *prev; /* conns_lock */
    struct http_conn *next; /* conns_lock */
    int fd;                 /* open as long as this is in the list */
    bool reaped;            /* conns_lock */
    _Atomic int64_t deadline_ms;
    _Atomic int phase;

    union http_address address;
    char address_text[INET6_ADDRSTRLEN];
    bool lingers; /* a body is still coming that nobody will read */

    /* TLS */
    struct MHD_Connection *mhd;
    struct http_tls_files *files; /* reference: used by the handshake */
    bool handshaken;
    struct http_conn *wait_prev; /* this and the next three: lock of the handshakes */
    struct http_conn *wait_next;
    bool waits;   /* suspended until its socket can be read */
    bool watched; /* its socket is known to the handshakes' epoll */
    bool judged;
    uint64_t judged_epoch;
    err_t verdict;
    struct fault verdict_fault;
    void *identity;
};

enum http_stage {
    HTTP_STAGE_HEADERS,   /* request line seen */
    HTTP_STAGE_BODY,      /* accepted, or to be refused at its end */
    HTTP_STAGE_HANDLER,   /* the handler runs */
    HTTP_STAGE_SUSPENDED, /* the handler has returned without an answer */
    HTTP_STAGE_ANSWERED,  /* queued */
};

/* Walks over the head as it lies in libmicrohttpd's buffer, header by header. */
struct http_head {
    const char *start;
    const char *at; /* behind the last text */
    bool plain;     /* until here nothing else lies between the texts */
};

struct http_request {
    struct http_server *server;
    struct http_conn *conn;
    struct MHD_Connection *mhd;
    enum http_stage stage;
    enum http_method method;
    struct span raw_target; /* where the library had it; it has been cut there since */
    char *target;           /* path and query, overwritten by decoding */
    bool target_too_long;
    struct http_path path;
    struct http_query query;
    struct http_match match;
    struct http_head head;
    struct http_framing framing;
    struct buf body;
    uint64_t body_received;
    size_t body_charged;            /* of the server's body_memory */
    struct http_response *response; /* the park's lock while a ticket is open */
    struct http_ticket *ticket;     /* reference; NULL unless suspended */
    char id[HTTP_REQUEST_ID_SIZE];
    char traceparent[56]; /* "" when none */
    int64_t started_us;
    unsigned status;
    uint64_t body_sent;
    void *user;
    void (*free_user)(void *);
};

struct http_response {
    unsigned status;
    const char *content_type;
    struct buf body;
    struct {
        const char *name;
        char *value;
    } headers[HTTP_RESPONSE_HEADERS];
    size_t header_count;
    uint32_t retry_after_s;
    size_t id_offset; /* of the request id in the body; 0: none */
    bool close;
    bool own_cache_control;
};

enum http_handshake {
    HTTP_HANDSHAKE_FULL,
    HTTP_HANDSHAKE_RESUMED,
    HTTP_HANDSHAKE_FAILED,
    HTTP_HANDSHAKE_COUNT_,
};

#define HTTP_STATUS_CLASSES 6 /* [0]: no answer, [n]: nxx */
struct http_stats {
    struct metrics *registry;
    struct metrics *owned; /* the registry, when the service brought none */
    struct {
        struct metric *ended[HTTP_STATUS_CLASSES];
        struct metric_histogram *duration;
    } * routes; /* route_count + 1: the last stands for requests without a route */
    struct metric *in_flight;
    struct metric *suspended;
    struct metric *body_bytes;
    struct metric *body_refused;
    struct metric *open;
    struct metric *accepted;
    struct metric *refused[HTTP_REFUSAL_COUNT_]; /* [NONE]: descriptors ran out */
    struct metric *reaped[HTTP_PHASE_COUNT_];
    struct metric *handshakes[HTTP_HANDSHAKE_COUNT_];
    struct metric *tls_loads[2]; /* of changed files: used, refused */
};

struct http_listener {
    int fd;
    uint16_t port;
    size_t option; /* index in options.listen */
};
#define HTTP_LISTENERS_MAX 16

struct http_server {
    struct http_server_options options; /* strings owned */
    struct http_stats stats;
    struct http_admission *admission;
    _Atomic uint64_t trust_epoch;
    _Atomic size_t body_memory_used;

    struct http_tls *tls;               /* NULL: plain HTTP */
    struct http_handshakes *handshakes; /* NULL: plain HTTP */

    struct MHD_Daemon **loops; /* options.threads */
    unsigned loop_count;

    struct http_listener listeners[HTTP_LISTENERS_MAX];
    size_t listener_count;
    int accept_wakeup; /* eventfd */
    pthread_t acceptor;
    bool acceptor_running;

    pthread_mutex_t conns_lock;
    struct http_conn *conns;

    struct http_park *park; /* suspended requests and the timer thread */
    struct http_linger *linger;

    _Atomic bool closing;  /* answers say Connection: close */
    _Atomic bool stopping; /* requests are answered 503 */
    _Atomic unsigned handlers_running;
    _Atomic unsigned in_flight;
    pthread_mutex_t idle_lock; /* for waiting until one of the two is 0 */
    pthread_cond_t idle_changed;
    bool stopped;
};

/* http_server.c: to be called after in_flight or handlers_running went down. */
void http_server_wake_waiters(struct http_server *server);

/* http_accept.c: listeners and the acceptor thread. */
err_t http_accept_open(struct http_server *server, struct fault *fault);
err_t http_accept_start(struct http_server *server, struct fault *fault);
/* Ends the thread and closes the listeners; idempotent. */
void http_accept_stop(struct http_server *server);

/* http_conn.c: connections and their deadlines. */
void http_conn_notify(void *cls, struct MHD_Connection *mhd, void **context,
                      enum MHD_ConnectionNotificationCode code);
struct http_conn *http_conn_of(struct MHD_Connection *mhd);
void http_conn_phase(struct http_conn *conn, enum http_phase phase);
/* Shuts down what is past its deadline. */
void http_conn_reap(struct http_server *server, int64_t now_ms);

/* http_handshake.c: handshakes that wait for their client. */
err_t http_handshakes_start(struct http_handshakes **ret, struct fault *fault);
/* For a new connection's session: it will wait without keeping the event loop busy. */
void http_handshakes_watch(struct http_conn *conn, gnutls_session_t session);
/* Resumes all that wait; none will wait any more. Before the event loops are stopped. */
void http_handshakes_close(struct http_handshakes *handshakes);
/* After they were. Accepts NULL. */
void http_handshakes_free(struct http_handshakes *handshakes);

/* http_head.c: the texts of a head, in their order and where the library has them. */
void http_head_begin(struct http_head *head, const char *method, struct span target,
                     const char *version);
void http_head_add(struct http_head *head, struct span name, struct span value);
/* After all headers: false when the head has something that the library read over. */
bool http_head_plain(struct http_head *head, struct MHD_Connection *mhd);

/* http_intake.c: MHD's callbacks per request. */
void *http_intake_target(void *cls, const char *target, struct MHD_Connection *mhd);
enum MHD_Result http_intake_access(void *cls, struct MHD_Connection *mhd, const char *url,
                                   const char *method, const char *version, const char *data,
                                   size_t *data_size, void **context);
void http_intake_completed(void *cls, struct MHD_Connection *mhd, void **context,
                           enum MHD_RequestTerminationCode code);

/* http_request.c */
struct http_request *http_request_new(struct http_conn *conn, struct MHD_Connection *mhd,
                                      const char *target);
void http_request_free(struct http_request *req);
/* Frees the body and gives back what it was charged. */
void http_request_drop_body(struct http_request *req);
int64_t http_now_us(void);

/* http_response.c: queues on the event loop's thread and frees `response`. */
enum MHD_Result http_response_queue(struct http_request *req, struct http_response *response);

/* http_park.c: suspended requests; its thread answers overdue ones and reaps connections. */
err_t http_park_start(struct http_server *server, struct fault *fault);
/* From now on everything suspended is woken at once; returns when nothing is suspended. */
void http_park_close(struct http_park *park);
/* Ends the thread. */
void http_park_stop(struct http_park *park);
/* Tickets that are still held keep what they need. Accepts NULL. */
void http_park_free(struct http_park *park);
/* The answer to a request that has come back, NULL while it has not; event loop's thread. */
struct http_response *http_park_collect(struct http_request *req);

/* http_tls.c */
err_t http_tls_new(const struct http_server_options *options, struct http_tls **ret_tls,
                   struct fault *fault);
void http_tls_free(struct http_tls *tls);
err_t http_tls_reload(struct http_tls *tls, const struct http_server_options *options,
                      struct fault *fault);
/* Reads the files again when they have changed and tls_refresh_ms is over; timer thread. */
void http_tls_refresh(struct http_server *server, int64_t now_ms);
/* Options for MHD_start_daemon; the array ends with MHD_OPTION_END. */
const struct MHD_OptionItem *http_tls_daemon_options(void);
void http_tls_conn_started(struct http_conn *conn, struct MHD_Connection *mhd);
void http_tls_conn_closed(struct http_conn *conn);
size_t http_tls_chain(struct MHD_Connection *mhd, struct span ret_chain[HTTP_PEER_CERTS_MAX]);
/* The verdict on the client's chain, judged anew when trust has changed. */
err_t http_tls_judge(struct http_conn *conn, struct MHD_Connection *mhd, struct fault *fault);

/* http_linger.c: reads what refused clients still send, so that they see the answer and not a
 * reset. */
err_t http_linger_start(struct http_linger **ret_linger, struct fault *fault);
void http_linger_stop(struct http_linger *linger);
/* Takes over a duplicate of `fd`, which is about to be closed. */
void http_linger_add(struct http_linger *linger, int fd);

/* http_stats.c: the server's metrics. */
void http_stats_init(struct http_stats *stats, const struct http_server_options *options);
void http_stats_deinit(struct http_stats *stats);
void http_stats_ended(struct http_stats *stats, size_t route, unsigned status,
                      uint32_t duration_us);

static inline int64_t http_now_ms(const struct http_server *server)
{
    return clock_mono_ms(server->options.clock);
}
#endif
