/*
 * One connection of the load client: its TLS session, the request under way and what the answer
 * said. Non-blocking; belongs to one thread.
 */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include <netinet/in.h>
#include <openssl/ssl.h>
#include <stdint.h>

#include "common/cleanup.h"
#include "proto/device_protocol.h"

#define LOAD_REQUEST_MAX 4096
#define LOAD_ANSWER_MAX  16384
#define LOAD_TOKEN_MAX   128

/* What every connection sends. */
struct load_plan {
    struct sockaddr_in address;
    const char *path;
    const char *bearer; /* NULL: none */
    const char *body;   /* each "@" becomes 16 random hex digits; NULL: a device's heartbeats */
    SSL_CTX *tls;
    bool resume; /* new connections continue the last TLS session */
};

enum load_io {
    LOAD_READ,   /* wait until it can be read */
    LOAD_WRITE,  /* wait until it can be written */
    LOAD_ANSWER, /* the answer is complete */
    LOAD_FAILED, /* the connection is of no more use */
};

struct load_conn {
    const struct load_plan *plan;
    int fd;
    SSL *ssl;
    SSL_SESSION *session;
    X509 *certificate;
    EVP_PKEY *key;
    char uid[DEVICE_UID_SIZE];
    uint64_t sequence;
    char token[LOAD_TOKEN_MAX]; /* of the last answer; "": none */
    char out[LOAD_REQUEST_MAX];
    size_t out_len, out_done;
    char in[LOAD_ANSWER_MAX];
    size_t in_len;
    bool connected;
    int status; /* of the last answer */
    bool resumed;
    double due_us; /* when the request should have been sent */
};

SSL_CTX *load_tls_new(void);
/* The client certificate of device `number`, self-signed as devices do it; NULL key: none. */
void load_conn_init(struct load_conn *c, const struct load_plan *plan, uint32_t number,
                    bool certificate);
void load_conn_deinit(struct load_conn *c);
bool load_conn_open(struct load_conn *c);
void load_conn_close(struct load_conn *c);
/* Composes the next request. */
void load_conn_ask(struct load_conn *c);
/* Goes on with it as far as it gets. */
enum load_io load_conn_drive(struct load_conn *c);

#endif
