/*
 * HTTP POSTs in parallel, over libcurl's multi interface: certificates are verified, redirects not
 * followed, no proxy, no cookies, no credentials from anywhere, and no connection to an address
 * that is not public unless the operator allows it. One thread; the process has called
 * curl_global_init.
 */
#ifndef WEBHOOK_NOTIFIER_TRANSFER_H
#define WEBHOOK_NOTIFIER_TRANSFER_H

#include <stdint.h>

#include "common/buf.h"
#include "proto/webhook.h"

struct transfers;

struct transfer_result {
    long status;                    /* of HTTP; 0: no answer */
    char error[WEBHOOK_ERROR_SIZE]; /* why there is no answer; "" where there is one */
    int64_t duration_ms;
    int64_t retry_after_ms;                  /* 0: nothing asked */
    char response[WEBHOOK_RESPONSE_MAX + 1]; /* beginning of the answer's body, made printable; ""
                                                from an address that is not public */
};

struct transfers_options {
    bool allow_private;  /* any address */
    bool allow_http;     /* plain text as well */
    const char *ca_file; /* PEM; NULL: the system's. Borrowed for good */
    long connect_timeout_ms;
    long timeout_ms;       /* whole */
    long connections_kept; /* idle ones, for the next POST */
    /* Inside transfers_run, and nowhere else: the POST of `token` has ended. */
    void (*done)(void *ctx, void *token, const struct transfer_result *result);
    void *ctx;
};

/* ERR_INTERNAL. */
err_t transfers_new(const struct transfers_options *options, struct transfers **ret) MUST_USE;
/* Drops what is under way without a word. */
void transfers_free(struct transfers *t);
CLEANUP_DEFINE(struct transfers *, transfers_free);

struct transfer_request {
    const char *url;
    const char *id;        /* webhook-id */
    int64_t timestamp_s;   /* webhook-timestamp */
    const char *signature; /* webhook-signature */
    struct buf *body;      /* taken over on success */
    void *token;
};
/* Begins one. ERR_INTERNAL: libcurl refuses; done is not called. */
err_t transfers_start(struct transfers *t, const struct transfer_request *request) MUST_USE;
/* Moves what can be moved, waiting up to timeout_ms for something to happen. */
void transfers_run(struct transfers *t, int timeout_ms);
size_t transfers_active(const struct transfers *t);

#endif
