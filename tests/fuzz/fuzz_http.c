/*
 * Targets: http_path_parse, http_query_parse, http_routes_find, http_framing_*,
 * http_content_type_matches, http_traceparent_valid, with the head of a request: the target in the
 * first line, "name:value" in those that follow. Promises: what is accepted is clean text within
 * the limits; framing that is accepted has one meaning; the error about what is refused is one JSON
 * document.
 */
#include <string.h>

#include "common/cleanup.h"
#include "common/http_error.h"
#include "common/http_framing.h"
#include "common/http_target.h"
#include "common/text.h"
#include "fuzz.h"

static void handler(struct http_request *req, void *ctx)
{
    (void)req;
    (void)ctx;
}
static const struct http_route routes[] = {
    {.method = HTTP_GET, .pattern = "/a/{b}", .handler = handler},
    {.method = HTTP_GET, .pattern = "/a/b", .handler = handler},
    {.method = HTTP_POST, .pattern = "/{a}/b/{c}/d", .handler = handler},
};

static void must_be_clean(const char *text)
{
    FUZZ_MUST(utf8_valid(span_str(text)));
    for (; *text != '\0'; text++) {
        FUZZ_MUST((unsigned char)*text >= 0x20 && *text != 0x7f);
    }
}

static void check_fault(const struct fault *fault)
{
    CLEANUP_BUF struct buf body = BUF_INIT(8192);
    const struct http_error_field field = {fault->field, fault->text};
    size_t at = 0;
    FUZZ_MUST(fault->text[0] != '\0');
    FUZZ_MUST(http_error_append(&body, 400, fault->code, fault->text, &field, 1, &at) == ERR_OK);
    FUZZ_MUST(utf8_valid(buf_span(&body)));
    FUZZ_MUST(at < body.len);
}

static void check_query(char *text, size_t len)
{
    struct http_query query;
    struct fault fault = {0};
    if (http_query_parse(text, len, &query, &fault) != ERR_OK) {
        check_fault(&fault);
        return;
    }
    FUZZ_MUST(query.count <= HTTP_QUERY_PAIRS_MAX);
    for (size_t i = 0; i < query.count; i++) {
        must_be_clean(query.pairs[i].name);
        must_be_clean(query.pairs[i].value);
        FUZZ_MUST(strlen(query.pairs[i].value) <= HTTP_QUERY_VALUE_MAX);
        FUZZ_MUST(http_query_get(&query, query.pairs[i].name) == query.pairs[i].value);
    }
}

static void check_path(char *text, size_t len)
{
    struct http_path path;
    struct http_match match;
    char allow[HTTP_ALLOW_SIZE];
    if (http_path_parse(text, len, &path) != ERR_OK) {
        return;
    }
    FUZZ_MUST(path.count <= HTTP_SEGMENTS_MAX);
    for (size_t i = 0; i < path.count; i++) {
        must_be_clean(path.segments[i]);
        FUZZ_MUST(path.segments[i][0] != '\0' && strcmp(path.segments[i], "..") != 0);
    }
    if (http_routes_find(routes, 3, HTTP_GET, &path, &match) == ERR_OK) {
        FUZZ_MUST(path.count == 2 && strcmp(path.segments[0], "a") == 0);
        FUZZ_MUST((match.route == &routes[1]) == (strcmp(path.segments[1], "b") == 0));
    }
    http_routes_allow(routes, 3, &path, allow);
    FUZZ_MUST(strstr(allow, "OPTIONS") != NULL);
}

static void check_headers(const uint8_t *at, const uint8_t *end)
{
    struct http_framing framing = {0};
    struct fault fault = {0};
    while (at < end) {
        const uint8_t *line_end = memchr(at, '\n', (size_t)(end - at));
        line_end = line_end != NULL ? line_end : end;
        const uint8_t *colon = memchr(at, ':', (size_t)(line_end - at));
        colon = colon != NULL ? colon : line_end;
        const uint8_t *value = colon < line_end ? colon + 1 : colon;
        http_framing_add(&framing, span_of(at, (size_t)(colon - at)),
                         span_of(value, (size_t)(line_end - value)));
        (void)http_traceparent_valid(span_of(value, (size_t)(line_end - value)));
        at = line_end + 1;
    }
    if (http_framing_judge(&framing, HTTP_POST, &fault) != ERR_OK) {
        check_fault(&fault);
        return;
    }
    FUZZ_MUST(framing.hosts == 1 && framing.lengths + framing.encodings == 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *line_end = size > 0 ? memchr(data, '\n', size) : NULL;
    const size_t len = line_end != NULL ? (size_t)(line_end - data) : size;
    const uint8_t *question = len > 0 ? memchr(data, '?', len) : NULL;
    const size_t path_len = question != NULL ? (size_t)(question - data) : len;
    CLEANUP_FREE char *path = xstrndup((const char *)data, path_len);
    check_path(path, strlen(path));
    if (question != NULL) {
        CLEANUP_FREE char *query = xstrndup((const char *)question + 1, len - path_len - 1);
        check_query(query, strlen(query));
    }
    CLEANUP_FREE char *type = xstrndup((const char *)data, size);
    (void)http_content_type_matches(type, "application/json, text/csv");
    if (line_end != NULL) {
        check_headers(line_end + 1, data + size);
    }
    return 0;
}
