/*
 * The request target: percent decoding, the query, and the routing table. Pure and strict: what is
 * not well-formed is refused, never repaired, so that two readers of one target cannot disagree.
 * Any thread.
 */
#ifndef COMMON_HTTP_TARGET_H
#define COMMON_HTTP_TARGET_H

#include <stdbool.h>
#include <stddef.h>

#include "common/buf.h"
#include "common/err.h"
#include "common/http_request.h"
#include "common/http_server.h"

/*
 * Decodes %HH in place of `text` (its bytes may be overwritten), with `plus_is_space` also '+'; the
 * result is NUL-terminated and valid UTF-8. `text` has room for the NUL behind `len` bytes.
 * ERR_INVALID: a broken escape, a bare space, a control character, escaped or not, or not UTF-8.
 */
MUST_USE err_t http_decode(char *text, size_t len, bool plus_is_space, size_t *ret_len);

struct http_query {
    size_t count;
    struct {
        const char *name;
        const char *value;
    } pairs[HTTP_QUERY_PAIRS_MAX];
};
/*
 * Splits and decodes a query ("a=1&b=2", without '?'); the pairs point into `text`, which is
 * overwritten and lives as long as they. Empty parts are skipped, "a" is "a=". ERR_INVALID: broken
 * encoding, an empty or a repeated name; ERR_TOO_LARGE: more pairs or a longer value than allowed.
 * `fault` names the parameter.
 */
MUST_USE err_t http_query_parse(char *text, size_t len, struct http_query *ret_query,
                                struct fault *fault);
/* NULL when it is not there. */
const char *http_query_get(const struct http_query *query, const char *name);

/* A path split at '/' and decoded; the segments point into one caller-owned text. */
#define HTTP_SEGMENTS_MAX 16
struct http_path {
    size_t count;
    const char *segments[HTTP_SEGMENTS_MAX];
};
/* `text` starts with '/'; it is overwritten. ERR_INVALID: it does not, broken encoding, an empty,
 * "." or ".." segment (the path "/" alone has none); ERR_ABSENT: more segments than any route has.
 */
MUST_USE err_t http_path_parse(char *text, size_t len, struct http_path *ret_path);

/* Checks a table: patterns well-formed, no two rows for the same method and paths, handlers and
 * limits set. ERR_INVALID with `fault` naming the row. */
MUST_USE err_t http_routes_check(const struct http_route *routes, size_t count,
                                 struct fault *fault);

struct http_match {
    const struct http_route *route;
    struct span names[HTTP_PARAMS_MAX]; /* into the pattern */
    const char *values[HTTP_PARAMS_MAX];
    size_t params;
};
/*
 * Finds the row; a literal segment wins over a {param}, the leftmost difference decides. HEAD finds
 * the row of GET. ERR_ABSENT: no row has this path; ERR_UNSUPPORTED: rows have it, with other
 * methods (HTTP_METHOD_COUNT_ always ends here). *ret_match is set on success only.
 */
MUST_USE err_t http_routes_find(const struct http_route *routes, size_t count,
                                enum http_method method, const struct http_path *path,
                                struct http_match *ret_match);
/* "GET, HEAD, OPTIONS, POST": what may be asked of this path, for Allow. */
#define HTTP_ALLOW_SIZE 64
void http_routes_allow(const struct http_route *routes, size_t count, const struct http_path *path,
                       char out[HTTP_ALLOW_SIZE]);

/* True when the media type of `header` (parameters ignored, case too) is one of the comma-separated
 * `accepted`. NULL header: false. */
bool http_content_type_matches(const char *header, const char *accepted);

/* True for a traceparent of W3C Trace Context: lower-case hex, ids not zero, version not ff; of a
 * later version the first 55 characters count. */
bool http_traceparent_valid(struct span text);

#endif
