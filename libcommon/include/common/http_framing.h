/*
 * Judges a request's headers before anything else is believed: framing that two parsers could read
 * differently is refused, because libmicrohttpd 0.9.75 accepts it. Feed every header, then ask.
 * Pure; any thread.
 */
#ifndef COMMON_HTTP_FRAMING_H
#define COMMON_HTTP_FRAMING_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"
#include "common/http_request.h"

/* Start from zeros, but for `own_single`. */
struct http_framing {
    const char *own_single; /* one more header that must not come twice; NULL: none */
    unsigned hosts;
    unsigned lengths;
    unsigned encodings;
    const char *repeated; /* a single header that came twice */
    bool bad_name;        /* a header name that is no token, such as "Host " */
    bool bad_value;       /* a control character in a value */
    bool bad_length;
    bool bad_encoding;
    bool bad_host;    /* empty, or with a character that no host has */
    unsigned singles; /* bits of the single headers seen */
    uint64_t content_length;
};

void http_framing_add(struct http_framing *framing, struct span name, struct span value);

/*
 * ERR_INVALID: the request cannot be trusted to end where it seems to, or misses what HTTP/1.1
 * demands; `fault` says which rule, and the connection must close. A body without Content-Length
 * and without chunked coding (POST, PUT, PATCH) is refused too.
 */
MUST_USE err_t http_framing_judge(const struct http_framing *framing, enum http_method method,
                                  struct fault *fault);

static inline bool http_framing_chunked(const struct http_framing *framing)
{
    return framing->encodings > 0;
}
/* A body is announced. */
static inline bool http_framing_has_body(const struct http_framing *framing)
{
    return framing->encodings > 0 || framing->content_length > 0;
}

#endif
