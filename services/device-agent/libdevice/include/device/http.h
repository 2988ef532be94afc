/*
 * HTTP/1.1 as a device needs it: one POST with a JSON body out, one answer in, nothing kept beyond
 * its limits. No I/O here: bytes go in as they come, in any portions. Any thread.
 */
#ifndef DEVICE_HTTP_H
#define DEVICE_HTTP_H

#include "common/buf.h"
#include "common/err.h"
#include "proto/device_protocol.h"

#define DEVICE_HTTP_HEAD_MAX ((size_t)8 * 1024) /* bytes of status line and header fields */
#define DEVICE_RETRY_MAX_S   (INT64_C(31) * 24 * 3600)

struct device_http_request {
    const char *host; /* with the port where it is not 443 */
    const char *path;
    const char *signature; /* value of the signature header; NULL or "": none */
    struct span body;
};
/* Appends the whole request. ERR_TOO_LARGE as buf_append. */
MUST_USE err_t device_http_write(const struct device_http_request *request, struct buf *to);

struct device_http_answer {
    int status;
    int64_t retry_after_s; /* -1: none was sent */
    bool keep_alive;       /* the connection may carry another request */
    struct buf body;
};
void device_http_answer_deinit(struct device_http_answer *a);
CLEANUP_DEFINE_EMBEDDED(struct device_http_answer, device_http_answer_deinit);

enum device_http_stage {
    DEVICE_HTTP_HEAD,       /* collecting lines up to the empty one */
    DEVICE_HTTP_BODY,       /* `left` bytes are missing */
    DEVICE_HTTP_UNTIL_END,  /* no length was given: the body ends with the connection */
    DEVICE_HTTP_CHUNK_SIZE, /* collecting a chunk's size line */
    DEVICE_HTTP_CHUNK,      /* `left` bytes of the chunk are missing, its line end included */
    DEVICE_HTTP_TRAILER,    /* lines up to an empty one */
    DEVICE_HTTP_DONE,
};

struct device_http_reader {
    enum device_http_stage stage;
    struct buf line; /* head, chunk size or trailer */
    uint64_t left;
    struct device_http_answer answer;
};
/* Ready for an answer; deinit releases what it holds. Embedded, zero-initialised is not enough. */
void device_http_reader_init(struct device_http_reader *r);
void device_http_reader_deinit(struct device_http_reader *r);

/*
 * Takes the next bytes. ERR_OK: look at r->stage; at DEVICE_HTTP_DONE the answer is complete and
 * *ret_used says how many bytes were its own. ERR_INVALID: not HTTP/1.1 as we take it (two lengths,
 * length and chunks, folded lines); ERR_TOO_LARGE. After an error the connection is of no use.
 */
MUST_USE err_t device_http_feed(struct device_http_reader *r, struct span bytes, size_t *ret_used);
/* The peer closed. ERR_OK when that ends the answer, else ERR_UNAVAILABLE. */
MUST_USE err_t device_http_end(struct device_http_reader *r);

/* Seconds to wait by a Retry-After value: a number, or a date measured against `now_s` (seconds
 * since 1970 by the server's own Date, -1: not known; the device's clock may be anything); at most
 * DEVICE_RETRY_MAX_S, never negative. -1: cannot be told. */
int64_t device_http_retry_after(struct span value, int64_t now_s);

#endif
