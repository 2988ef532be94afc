#include <stdio.h>
#include <string.h>

#include "common/http_target.h"

const char *http_method_name(enum http_method method)
{
    static const char *const names[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"};
    return (unsigned)method < HTTP_METHOD_COUNT_ ? names[method] : "OTHER";
}

/* Cuts the next segment off a pattern; false at its end. */
static bool pattern_next(const char **pattern, struct span *ret_segment)
{
    if ((*pattern)[0] != '/' || (*pattern)[1] == '\0') {
        return false;
    }
    const char *start = *pattern + 1;
    const size_t len = strcspn(start, "/");
    *ret_segment = span_of(start, len);
    *pattern = start + len;
    return true;
}

static bool is_param(struct span segment)
{
    return segment.len > 2 && segment.ptr[0] == '{' && segment.ptr[segment.len - 1] == '}';
}

static const char *check_pattern(const char *pattern)
{
    size_t params = 0;
    size_t segments = 0;
    struct span segment;
    if (pattern == NULL || pattern[0] != '/') {
        return "must start with /";
    }
    if (pattern[1] != '\0' && pattern[strlen(pattern) - 1] == '/') {
        return "must not end with /";
    }
    while (pattern_next(&pattern, &segment)) {
        if (segment.len == 0) {
            return "must not have empty segments";
        }
        if (!is_param(segment) && memchr(segment.ptr, '{', segment.len) != NULL) {
            return "a {param} must be a whole segment";
        }
        params += is_param(segment);
        segments++;
    }
    if (params > HTTP_PARAMS_MAX || segments > HTTP_SEGMENTS_MAX) {
        return "has too many segments";
    }
    return NULL;
}

/* The same paths, whatever the parameters are called. */
static bool same_paths(const char *a, const char *b)
{
    struct span in_a = {0};
    struct span in_b = {0};
    for (;;) {
        const bool more_a = pattern_next(&a, &in_a);
        const bool more_b = pattern_next(&b, &in_b);
        if (!more_a || !more_b) {
            return more_a == more_b;
        }
        if (is_param(in_a) != is_param(in_b) || (!is_param(in_a) && !span_eq(in_a, in_b))) {
            return false;
        }
    }
}

static const char *check_row(const struct http_route *routes, size_t index)
{
    const struct http_route *row = &routes[index];
    const char *problem = check_pattern(row->pattern);
    if (problem != NULL) {
        return problem;
    }
    if ((unsigned)row->method >= HTTP_METHOD_COUNT_ || row->method == HTTP_HEAD ||
        row->method == HTTP_OPTIONS) {
        return "HEAD and OPTIONS are served by the server";
    }
    if (row->handler == NULL) {
        return "has no handler";
    }
    for (size_t i = 0; i < index; i++) {
        if (routes[i].method == row->method && same_paths(routes[i].pattern, row->pattern)) {
            return "appears twice";
        }
    }
    return NULL;
}

err_t http_routes_check(const struct http_route *routes, size_t count, struct fault *fault)
{
    for (size_t i = 0; i < count; i++) {
        const char *problem = check_row(routes, i);
        if (problem != NULL) {
            return fault_set(fault, ERR_INVALID, "validation_error",
                             routes[i].pattern != NULL ? routes[i].pattern : "", "route %s",
                             problem);
        }
    }
    return ERR_OK;
}

/*
 * Matches one pattern. *ret_rank orders matches of one path: one bit per segment, leftmost highest,
 * set where the pattern has a literal.
 */
static bool match(const struct http_route *row, const struct http_path *path,
                  struct http_match *ret_match, uint32_t *ret_rank)
{
    struct http_match found = {.route = row};
    const char *pattern = row->pattern;
    struct span segment;
    uint32_t rank = 0;
    size_t at = 0;
    while (pattern_next(&pattern, &segment)) {
        if (at == path->count) {
            return false;
        }
        if (is_param(segment)) {
            found.names[found.params] = span_of(segment.ptr + 1, segment.len - 2);
            found.values[found.params++] = path->segments[at];
        } else if (span_eq(segment, span_str(path->segments[at]))) {
            rank |= UINT32_C(1) << (HTTP_SEGMENTS_MAX - at);
        } else {
            return false;
        }
        at++;
    }
    if (at != path->count) {
        return false;
    }
    *ret_match = found;
    *ret_rank = rank;
    return true;
}

err_t http_routes_find(const struct http_route *routes, size_t count, enum http_method method,
                       const struct http_path *path, struct http_match *ret_match)
{
    const enum http_method wanted = method == HTTP_HEAD ? HTTP_GET : method;
    struct http_match best = {0};
    uint32_t best_rank = 0;
    bool path_known = false;
    for (size_t i = 0; i < count; i++) {
        struct http_match candidate;
        uint32_t rank = 0;
        if (!match(&routes[i], path, &candidate, &rank)) {
            continue;
        }
        path_known = true;
        if (routes[i].method == wanted && (best.route == NULL || rank > best_rank)) {
            best = candidate;
            best_rank = rank;
        }
    }
    if (best.route == NULL) {
        return path_known ? ERR_UNSUPPORTED : ERR_ABSENT;
    }
    *ret_match = best;
    return ERR_OK;
}

void http_routes_allow(const struct http_route *routes, size_t count, const struct http_path *path,
                       char out[HTTP_ALLOW_SIZE])
{
    unsigned methods = 1U << HTTP_OPTIONS;
    for (size_t i = 0; i < count; i++) {
        struct http_match found;
        uint32_t rank = 0;
        if (match(&routes[i], path, &found, &rank)) {
            methods |= 1U << routes[i].method;
            methods |= routes[i].method == HTTP_GET ? 1U << HTTP_HEAD : 0;
        }
    }
    size_t len = 0;
    out[0] = '\0';
    for (unsigned m = 0; m < HTTP_METHOD_COUNT_; m++) {
        if ((methods & (1U << m)) != 0) {
            len += (size_t)snprintf(out + len, HTTP_ALLOW_SIZE - len, "%s%s", len > 0 ? ", " : "",
                                    http_method_name((enum http_method)m));
        }
    }
}
