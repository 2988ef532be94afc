/* What server.c and conn.c share. */
#ifndef DEVICE_SERVER_H
#define DEVICE_SERVER_H

#include <sys/socket.h>

#include "device/conn.h"

#define DEVICE_ADDRESSES_MAX 8 /* of one name; more are not looked at */

struct device_address {
    struct sockaddr_storage address;
    socklen_t len;
};

/* In the order of the look-up; a connection begins with `first` and goes round. */
struct device_addresses {
    struct device_address list[DEVICE_ADDRESSES_MAX];
    size_t count; /* 0: look up again */
    size_t first;
};

struct device_server {
    char host[280]; /* as in the URL */
    char name[256]; /* without brackets */
    char port[6];
    SSL_CTX *context;
    struct device_addresses addresses; /* of the last look-up */
};

/* Looks the name up when that was not done. May block. */
MUST_USE err_t device_server_resolve(struct device_server *s, struct fault *fault);
/* The addresses were no good. */
void device_server_forget(struct device_server *s);
/* The next connection begins with this address, after the last one with the first. */
void device_server_begin_with(struct device_server *s, size_t address);

/* OpenSSL's callback for a new session ticket. */
int device_conn_new_session(SSL *ssl, SSL_SESSION *session);
/* OpenSSL's callback when a server asks who calls, which it does not in a resumed session: that
 * needs neither certificate nor signature. */
int device_conn_client_certificate(SSL *ssl, X509 **ret_certificate, EVP_PKEY **ret_key);

#endif
