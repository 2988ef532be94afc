#include "common/http_target.h"

#include <string.h>
#include <strings.h>

#include "common/text.h"

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

err_t http_decode(char *text, size_t len, bool plus_is_space, size_t *ret_len)
{
    size_t out = 0;
    for (size_t in = 0; in < len; in++) {
        int c = (unsigned char)text[in];
        if (c == ' ') {
            return ERR_INVALID;
        }
        if (c == '%') {
            const int high = in + 2 < len ? hex_digit(text[in + 1]) : -1;
            const int low = in + 2 < len ? hex_digit(text[in + 2]) : -1;
            if (high < 0 || low < 0) {
                return ERR_INVALID;
            }
            c = high * 16 + low;
            in += 2;
        } else if (c == '+' && plus_is_space) {
            c = ' ';
        }
        if (c < 0x20 || c == 0x7f) {
            return ERR_INVALID;
        }
        text[out++] = (char)c;
    }
    if (!utf8_valid(span_of(text, out))) {
        return ERR_INVALID;
    }
    text[out] = '\0';
    *ret_len = out;
    return ERR_OK;
}

/* ---- query ---- */

static err_t query_add(struct http_query *query, char *part, size_t len, struct fault *fault)
{
    if (query->count == HTTP_QUERY_PAIRS_MAX) {
        return fault_set(fault, ERR_TOO_LARGE, "validation_error", "",
                         "at most %d query parameters are accepted", HTTP_QUERY_PAIRS_MAX);
    }
    char *equals = memchr(part, '=', len);
    const size_t name_part = equals != NULL ? (size_t)(equals - part) : len;
    /* Without '=', the value is the empty text at the name's NUL. */
    char *value = equals != NULL ? equals + 1 : part + len;
    const size_t value_part = equals != NULL ? len - name_part - 1 : 0;
    size_t name_len = 0;
    size_t value_len = 0;
    if (http_decode(value, value_part, true, &value_len) != ERR_OK ||
        http_decode(part, name_part, true, &name_len) != ERR_OK || name_len == 0) {
        return fault_set(fault, ERR_INVALID, "validation_error", "",
                         "a query parameter has no name, a broken %%-escape, a control character "
                         "or is not UTF-8");
    }
    if (value_len > HTTP_QUERY_VALUE_MAX) {
        return fault_set(fault, ERR_TOO_LARGE, "validation_error", part,
                         "must be at most %d bytes long", HTTP_QUERY_VALUE_MAX);
    }
    if (http_query_get(query, part) != NULL) {
        return fault_set(fault, ERR_INVALID, "validation_error", part, "must appear once");
    }
    query->pairs[query->count].name = part;
    query->pairs[query->count].value = value;
    query->count++;
    return ERR_OK;
}

err_t http_query_parse(char *text, size_t len, struct http_query *ret_query, struct fault *fault)
{
    struct http_query query = {0};
    char *part = text;
    char *const end = text + len;
    while (part < end) {
        char *amp = memchr(part, '&', (size_t)(end - part));
        char *const stop = amp != NULL ? amp : end;
        if (stop > part) {
            const err_t e = query_add(&query, part, (size_t)(stop - part), fault);
            if (e != ERR_OK) {
                return e;
            }
        }
        part = stop + 1;
    }
    *ret_query = query;
    return ERR_OK;
}

const char *http_query_get(const struct http_query *query, const char *name)
{
    for (size_t i = 0; i < query->count; i++) {
        if (strcmp(query->pairs[i].name, name) == 0) {
            return query->pairs[i].value;
        }
    }
    return NULL;
}

/* ---- path ---- */

err_t http_path_parse(char *text, size_t len, struct http_path *ret_path)
{
    struct http_path path = {0};
    if (len == 0 || text[0] != '/') {
        return ERR_INVALID;
    }
    char *segment = text + 1;
    char *const end = text + len;
    while (segment < end || (segment == end && len > 1)) {
        char *slash = memchr(segment, '/', (size_t)(end - segment));
        char *const stop = slash != NULL ? slash : end;
        size_t segment_len = 0;
        if (http_decode(segment, (size_t)(stop - segment), false, &segment_len) != ERR_OK ||
            segment_len == 0 || strcmp(segment, ".") == 0 || strcmp(segment, "..") == 0) {
            return ERR_INVALID;
        }
        if (path.count == HTTP_SEGMENTS_MAX) {
            return ERR_ABSENT;
        }
        path.segments[path.count++] = segment;
        segment = stop + 1;
    }
    *ret_path = path;
    return ERR_OK;
}

/* ---- header values ---- */

static struct span trim(struct span s)
{
    while (s.len > 0 && (s.ptr[0] == ' ' || s.ptr[0] == '\t')) {
        s = span_of(s.ptr + 1, s.len - 1);
    }
    while (s.len > 0 && (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\t')) {
        s.len--;
    }
    return s;
}

/* Cuts the part before `separator` off `rest`. */
static struct span next_part(struct span *rest, char separator)
{
    const uint8_t *at = rest->len > 0 ? memchr(rest->ptr, separator, rest->len) : NULL;
    const size_t len = at != NULL ? (size_t)(at - rest->ptr) : rest->len;
    const struct span part = {rest->ptr, len};
    *rest = at != NULL ? span_of(at + 1, rest->len - len - 1) : (struct span){0};
    return part;
}

bool http_content_type_matches(const char *header, const char *accepted)
{
    struct span value = span_str(header);
    const struct span type = trim(next_part(&value, ';'));
    struct span list = span_str(accepted);
    while (type.len > 0 && list.len > 0) {
        const struct span candidate = trim(next_part(&list, ','));
        if (candidate.len == type.len &&
            strncasecmp((const char *)candidate.ptr, (const char *)type.ptr, type.len) == 0) {
            return true;
        }
    }
    return false;
}

/* `len` lower-case hex digits, not all of them zero unless `zero_ok`. */
static bool is_hex(const uint8_t *p, size_t len, bool zero_ok)
{
    bool zero = true;
    for (size_t i = 0; i < len; i++) {
        if (!((p[i] >= '0' && p[i] <= '9') || (p[i] >= 'a' && p[i] <= 'f'))) {
            return false;
        }
        zero = zero && p[i] == '0';
    }
    return zero_ok || !zero;
}

bool http_traceparent_valid(struct span text)
{
    const uint8_t *p = text.ptr;
    if (text.len < 55 || p[2] != '-' || p[35] != '-' || p[52] != '-') {
        return false;
    }
    if (!is_hex(p, 2, true) || !is_hex(p + 3, 32, false) || !is_hex(p + 36, 16, false) ||
        !is_hex(p + 53, 2, true) || memcmp(p, "ff", 2) == 0) {
        return false;
    }
    return memcmp(p, "00", 2) == 0 ? text.len == 55 : text.len == 55 || p[55] == '-';
}
