/*
 * bench-bare-https: libmicrohttpd with nothing behind it, as a reference for the doors. Same TLS
 * (versions, ciphers, a client certificate asked for, tickets), two event loops, every POST gets
 * the same answer, as long as that to a heartbeat.
 *
 *   bench-bare-https CERTIFICATE KEY [TICKET_KEY]
 *
 * Prints its port, serves until its standard input ends.
 */
#include <gnutls/gnutls.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "keys.h"

#define FILE_SIZE   65536
#define TICKET_SIZE 64
#define PRIORITIES                                                                                 \
    "SECURE128:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:-RSA:-DHE-RSA:-CIPHER-ALL:+AES-128-GCM:"        \
    "+AES-256-GCM:+CHACHA20-POLY1305:%SERVER_PRECEDENCE"

static const char answer[] =
    "{\"work\":null,\"next_heartbeat_s\":604800,\"token\":"
    "\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    "AAAAAAAAAAAAAAAAAAAA\",\"settings\":{\"heartbeat_interval_s\":604800,\"flood_interval_s\":0}}";

static gnutls_datum_t ticket_key;

static enum MHD_Result serve(void *ctx, struct MHD_Connection *connection, const char *url,
                             const char *method, const char *version, const char *body,
                             size_t *body_len, void **state)
{
    static int seen;
    (void)ctx, (void)url, (void)method, (void)version, (void)body;
    if (*state == NULL) {
        *state = &seen;
        return MHD_YES;
    }
    if (*body_len > 0) {
        *body_len = 0;
        return MHD_YES;
    }
    struct MHD_Response *response = MHD_create_response_from_buffer(
        sizeof answer - 1, (void *)(uintptr_t)answer, MHD_RESPMEM_PERSISTENT);
    enum MHD_Result result = MHD_queue_response(connection, MHD_HTTP_OK, response);
    MHD_destroy_response(response);
    return result;
}

static void on_connection(void *ctx, struct MHD_Connection *connection, void **socket_context,
                          enum MHD_ConnectionNotificationCode code)
{
    (void)ctx, (void)socket_context;
    if (code != MHD_CONNECTION_NOTIFY_STARTED) {
        return;
    }
    gnutls_session_t session =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_GNUTLS_SESSION)->tls_session;
    gnutls_certificate_server_set_request(session, GNUTLS_CERT_REQUIRE);
    if (ticket_key.size > 0) {
        (void)gnutls_session_ticket_enable_server(session, &ticket_key);
    }
}

static size_t read_file(const char *path, char *to)
{
    FILE *file = fopen(path, "re");
    bench_demand(file != NULL, path);
    size_t len = fread(to, 1, FILE_SIZE - 1, file);
    (void)fclose(file);
    to[len] = 0;
    return len;
}

int main(int argc, char **argv)
{
    static char certificate[FILE_SIZE];
    static char key[FILE_SIZE];
    static char ticket[FILE_SIZE];
    if (argc != 3 && argc != 4) {
        (void)fputs("usage: bench-bare-https CERTIFICATE KEY [TICKET_KEY]\n", stderr);
        return 64;
    }
    (void)read_file(argv[1], certificate);
    (void)read_file(argv[2], key);
    if (argc == 4) {
        bench_demand(read_file(argv[3], ticket) == TICKET_SIZE, "ticket key");
        ticket_key = (gnutls_datum_t){(unsigned char *)ticket, TICKET_SIZE};
    }
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct MHD_Daemon *daemon = MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_TLS | MHD_USE_ITC, 0, NULL, NULL, serve, NULL,
        MHD_OPTION_SOCK_ADDR, &address, MHD_OPTION_THREAD_POOL_SIZE, 2U,
        MHD_OPTION_CONNECTION_LIMIT, 4096U, MHD_OPTION_HTTPS_MEM_CERT, certificate,
        MHD_OPTION_HTTPS_MEM_KEY, key, MHD_OPTION_HTTPS_PRIORITIES, PRIORITIES,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, NULL, MHD_OPTION_END);
    bench_demand(daemon != NULL, "daemon");
    (void)printf("%u\n", MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT)->port);
    (void)fflush(stdout);
    char byte;
    while (read(STDIN_FILENO, &byte, 1) > 0) {
    }
    MHD_stop_daemon(daemon);
    return 0;
}
