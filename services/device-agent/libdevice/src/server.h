/* What server.c and conn.c share. */
#ifndef DEVICE_SERVER_H
#define DEVICE_SERVER_H

#include <netdb.h>

#include "device/conn.h"

struct device_server {
    char host[280]; /* as in the URL */
    char name[256]; /* without brackets */
    char port[6];
    SSL_CTX *context;
    struct addrinfo *addresses; /* of the last look-up; NULL: look up again */
};

/* Looks the name up when that was not done. May block. */
MUST_USE err_t device_server_resolve(struct device_server *s, struct fault *fault);
/* The addresses were no good. */
void device_server_forget(struct device_server *s);

/* OpenSSL's callback for a new session ticket. */
int device_conn_new_session(SSL *ssl, SSL_SESSION *session);
/* OpenSSL's callback when a server asks who calls, which it does not in a resumed session: that
 * needs neither certificate nor signature. */
int device_conn_client_certificate(SSL *ssl, X509 **ret_certificate, EVP_PKEY **ret_key);

#endif
