#include "common/http_framing.h"

#include <string.h>
#include <strings.h>

/* Headers whose meaning would depend on which copy a reader takes. */
static const char *const single_headers[] = {"Authorization", "Content-Type", "Idempotency-Key",
                                             "Expect"};
#define SINGLE_HEADERS (sizeof single_headers / sizeof single_headers[0])

static bool named(struct span name, const char *expected)
{
    return name.len == strlen(expected) &&
           strncasecmp((const char *)name.ptr, expected, name.len) == 0;
}

/* Not empty, and all of it ASCII letters, digits and `others`. */
static bool consists_of(struct span s, const char *others)
{
    for (size_t i = 0; i < s.len; i++) {
        const char c = (char)s.ptr[i];
        const bool alnum =
            (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!alnum && (c == '\0' || strchr(others, c) == NULL)) {
            return false;
        }
    }
    return s.len > 0;
}

/* RFC 9110 token: what a header name may consist of. */
static bool is_token(struct span s)
{
    return consists_of(s, "!#$%&'*+-.^_`|~");
}

/* The characters of RFC 3986 host and port. */
static bool is_host(struct span s)
{
    return consists_of(s, "-._~%!$&'()*+,;=:[]");
}

static bool has_control(struct span s)
{
    for (size_t i = 0; i < s.len; i++) {
        if ((s.ptr[i] < 0x20 && s.ptr[i] != '\t') || s.ptr[i] == 0x7f) {
            return true;
        }
    }
    return false;
}

static struct span trimmed(struct span s)
{
    while (s.len > 0 && (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\t')) {
        s.len--;
    }
    return s;
}

/* Digits only: "+5", "5, 5" and "0x5" are read differently by different parsers. */
static bool parse_length(struct span s, uint64_t *ret_length)
{
    uint64_t length = 0;
    if (s.len == 0 || s.len > 18) {
        return false;
    }
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] < '0' || s.ptr[i] > '9') {
            return false;
        }
        length = length * 10 + (uint64_t)(s.ptr[i] - '0');
    }
    *ret_length = length;
    return true;
}

static void note_single(struct http_framing *framing, struct span name)
{
    for (unsigned i = 0; i <= SINGLE_HEADERS; i++) {
        const char *single = i < SINGLE_HEADERS ? single_headers[i] : framing->own_single;
        if (single != NULL && named(name, single)) {
            if ((framing->singles & (1U << i)) != 0) {
                framing->repeated = single;
            }
            framing->singles |= 1U << i;
        }
    }
}

void http_framing_add(struct http_framing *framing, struct span name, struct span value)
{
    value = trimmed(value);
    if (!is_token(name)) {
        framing->bad_name = true;
    } else if (has_control(value)) {
        framing->bad_value = true;
    } else if (named(name, "Host")) {
        framing->hosts++;
        framing->bad_host |= !is_host(value);
    } else if (named(name, "Content-Length")) {
        framing->lengths++;
        framing->bad_length |= !parse_length(value, &framing->content_length);
    } else if (named(name, "Transfer-Encoding")) {
        framing->encodings++;
        framing->bad_encoding |= !named(value, "chunked");
    } else {
        note_single(framing, name);
    }
}

static err_t refuse(struct fault *fault, const char *header, const char *rule)
{
    return fault_set(fault, ERR_INVALID, "bad_request", header, "%s", rule);
}

err_t http_framing_judge(const struct http_framing *framing, enum http_method method,
                         struct fault *fault)
{
    if (framing->bad_name) {
        return refuse(fault, "", "a header name contains a character that is not allowed");
    }
    if (framing->bad_value) {
        return refuse(fault, "", "a header value contains a control character");
    }
    if (framing->lengths > 1) {
        return refuse(fault, "Content-Length", "must appear once");
    }
    if (framing->bad_length) {
        return refuse(fault, "Content-Length", "must be a decimal number");
    }
    if (framing->encodings > 1) {
        return refuse(fault, "Transfer-Encoding", "must appear once");
    }
    if (framing->bad_encoding) {
        return refuse(fault, "Transfer-Encoding", "must be exactly chunked");
    }
    if (framing->lengths > 0 && framing->encodings > 0) {
        return refuse(fault, "Content-Length", "must not come together with Transfer-Encoding");
    }
    if (framing->hosts != 1) {
        return refuse(fault, "Host", "must appear once");
    }
    if (framing->bad_host) {
        return refuse(fault, "Host", "must be a host name or address, with a port or without");
    }
    if (framing->repeated != NULL) {
        return refuse(fault, framing->repeated, "must appear once");
    }
    if ((method == HTTP_POST || method == HTTP_PUT || method == HTTP_PATCH) &&
        framing->lengths == 0 && framing->encodings == 0) {
        return refuse(fault, "Content-Length",
                      "a body needs Content-Length or Transfer-Encoding: chunked");
    }
    return ERR_OK;
}
