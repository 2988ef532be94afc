#include "json_scan.h"

#include <math.h>
#include <stdio.h>

#include "common/text.h"

/* Longest number we read; a double needs 17 digits, a sign, a point and an exponent. */
#define NUMBER_MAX 64

struct scan {
    struct span text;
    size_t at;
    size_t depth;
    size_t values;
    const struct json_limits *limits;
    struct fault *fault;
};

static err_t scan_value(struct scan *s);

static err_t bad(const struct scan *s, const char *what)
{
    return fault_set(s->fault, ERR_INVALID, "json_invalid", "", "%s at byte %zu", what, s->at);
}

/* The next byte, or -1 at the end (a NUL in the text is a byte like any other). */
static int peek(const struct scan *s)
{
    return s->at < s->text.len ? s->text.ptr[s->at] : -1;
}

static void skip_space(struct scan *s)
{
    for (int c = peek(s); c == ' ' || c == '\t' || c == '\n' || c == '\r'; c = peek(s)) {
        s->at++;
    }
}

static bool take(struct scan *s, char c)
{
    if (peek(s) != c) {
        return false;
    }
    s->at++;
    return true;
}

static err_t scan_word(struct scan *s, const char *word)
{
    for (; *word != 0; word++) {
        if (!take(s, *word)) {
            return bad(s, "not a JSON value");
        }
    }
    return ERR_OK;
}

/* Four hex digits at `at`, or -1. */
static long hex4(const struct scan *s, size_t at)
{
    if (at + 4 > s->text.len) {
        return -1;
    }
    long value = 0;
    for (size_t i = at; i < at + 4; i++) {
        uint8_t c = s->text.ptr[i];
        uint8_t letter = c | 0x20;
        if (c >= '0' && c <= '9') {
            value = value * 16 + (c - '0');
        } else if (letter >= 'a' && letter <= 'f') {
            value = value * 16 + (letter - 'a' + 10);
        } else {
            return -1;
        }
    }
    return value;
}

static err_t scan_unicode_escape(struct scan *s)
{
    long unit = hex4(s, s->at);
    if (unit < 0) {
        return bad(s, "incomplete \\u escape");
    }
    if (unit == 0) { /* strings end at a NUL in C: a reader there would see another value */
        return bad(s, "NUL character in a string");
    }
    s->at += 4;
    if (unit < 0xd800 || unit > 0xdfff) {
        return ERR_OK;
    }
    bool paired = unit < 0xdc00 && s->at + 6 <= s->text.len && s->text.ptr[s->at] == '\\' &&
                  s->text.ptr[s->at + 1] == 'u';
    long low = paired ? hex4(s, s->at + 2) : -1;
    if (low < 0xdc00 || low > 0xdfff) {
        return bad(s, "lone surrogate in a string");
    }
    s->at += 6;
    return ERR_OK;
}

static err_t scan_escape(struct scan *s)
{
    int c = peek(s);
    if (c == 'u') {
        s->at++;
        return scan_unicode_escape(s);
    }
    if (c <= 0 || strchr("\"\\/bfnrt", c) == NULL) {
        return bad(s, "unknown escape in a string");
    }
    s->at++;
    return ERR_OK;
}

static err_t scan_string(struct scan *s)
{
    if (!take(s, '"')) {
        return bad(s, "a string is expected");
    }
    for (;;) {
        int c = peek(s);
        if (c < 0) {
            return bad(s, "string without end");
        }
        if (c < 0x20) {
            return bad(s, "control character in a string");
        }
        if (c < 0x80 && c != '"' && c != '\\') {
            s->at++;
            continue;
        }
        size_t n = utf8_sequence(span_of(s->text.ptr + s->at, s->text.len - s->at));
        if (n == 0) {
            return bad(s, "invalid UTF-8");
        }
        s->at += n;
        if (c == '"') {
            return ERR_OK;
        }
        if (c == '\\') {
            err_t e = scan_escape(s);
            if (e != ERR_OK) {
                return e;
            }
        }
    }
}

static size_t skip_digits(struct scan *s)
{
    size_t start = s->at;
    for (int c = peek(s); c >= '0' && c <= '9'; c = peek(s)) {
        s->at++;
    }
    return s->at - start;
}

/* The grammar of RFC 8259. */
static bool number_grammar(struct scan *s)
{
    (void)take(s, '-');
    bool zero = peek(s) == '0';
    size_t digits = skip_digits(s);
    if (digits == 0 || (zero && digits > 1)) {
        return false;
    }
    if (take(s, '.') && skip_digits(s) == 0) {
        return false;
    }
    if (take(s, 'e') || take(s, 'E')) {
        (void)(take(s, '+') || take(s, '-'));
        return skip_digits(s) > 0;
    }
    return true;
}

static err_t scan_number(struct scan *s)
{
    size_t start = s->at;
    if (!number_grammar(s)) {
        return bad(s, "not a JSON number");
    }
    size_t len = s->at - start;
    char text[NUMBER_MAX];
    if (len >= sizeof text) {
        return bad(s, "number with too many digits");
    }
    memcpy(text, s->text.ptr + start, len);
    text[len] = 0;
    double value = strtod(text, NULL);
    if (!(fabs(value) <= (double)JSON_INTEGER_MAX)) { /* also 2e16: a double rounds it */
        return bad(s, "number beyond 2^53 - 1 (larger ones travel as strings)");
    }
    return ERR_OK;
}

static err_t scan_members(struct scan *s)
{
    do {
        skip_space(s);
        err_t e = scan_string(s);
        if (e != ERR_OK) {
            return e;
        }
        skip_space(s);
        if (!take(s, ':')) {
            return bad(s, "':' is expected");
        }
        e = scan_value(s);
        if (e != ERR_OK) {
            return e;
        }
    } while (take(s, ','));
    return take(s, '}') ? ERR_OK : bad(s, "',' or '}' is expected");
}

static err_t scan_elements(struct scan *s)
{
    do {
        err_t e = scan_value(s);
        if (e != ERR_OK) {
            return e;
        }
    } while (take(s, ','));
    return take(s, ']') ? ERR_OK : bad(s, "',' or ']' is expected");
}

static err_t scan_nested(struct scan *s, bool object)
{
    s->at++;
    if (++s->depth > s->limits->max_depth) {
        return fault_set(s->fault, ERR_TOO_LARGE, "json_too_large", "",
                         "nested deeper than %zu levels at byte %zu", s->limits->max_depth, s->at);
    }
    skip_space(s);
    err_t e = ERR_OK;
    if (!take(s, object ? '}' : ']')) {
        e = object ? scan_members(s) : scan_elements(s);
    }
    s->depth--;
    return e;
}

/* One value and the white space on both sides of it. Recursion is bounded by max_depth. */
static err_t scan_value(struct scan *s)
{
    if (++s->values > s->limits->max_values) {
        return fault_set(s->fault, ERR_TOO_LARGE, "json_too_large", "", "more than %zu values",
                         s->limits->max_values);
    }
    skip_space(s);
    int c = peek(s);
    err_t e = ERR_OK;
    switch (c) {
    case '{':
    case '[':
        e = scan_nested(s, c == '{');
        break;
    case '"':
        e = scan_string(s);
        break;
    case 't':
        e = scan_word(s, "true");
        break;
    case 'f':
        e = scan_word(s, "false");
        break;
    case 'n':
        e = scan_word(s, "null");
        break;
    case -1:
        e = bad(s, "a value is expected");
        break;
    default:
        e = scan_number(s);
        break;
    }
    skip_space(s);
    return e;
}

err_t json_scan(struct span text, const struct json_limits *limits, struct fault *fault)
{
    if (text.len > limits->max_bytes) {
        return fault_set(fault, ERR_TOO_LARGE, "json_too_large", "",
                         "at most %zu bytes are accepted, got %zu", limits->max_bytes, text.len);
    }
    struct scan s = {.text = text, .limits = limits, .fault = fault};
    err_t e = scan_value(&s);
    if (e != ERR_OK) {
        return e;
    }
    return s.at == text.len ? ERR_OK : bad(&s, "more bytes after the document");
}
