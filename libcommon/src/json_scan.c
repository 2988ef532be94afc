#include "json_scan.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/text.h"

/* Longest number we read; a double needs 17 digits, a sign, a point and an exponent. */
#define NUMBER_MAX 64
#define WHOLE_MAX  15 /* bytes of a number that surely fit a double exactly */

struct scan {
    struct span text;
    size_t at;
    size_t depth;
    size_t values;
    const struct json_limits *limits;
    struct fault *fault;
    struct arena *arena; /* of the tree; NULL: the text is only checked, every node is NULL */
};

static err_t scan_value(struct scan *s, cJSON *to);

static cJSON *new_node(struct scan *s)
{
    return s->arena != NULL ? arena_alloc(s->arena, sizeof(cJSON)) : NULL;
}

/* As cJSON chains them: the first one's `prev` is the last. */
static void append_child(cJSON *parent, cJSON *child)
{
    if (parent == NULL) {
        return;
    }
    if (parent->child == NULL) {
        parent->child = child;
    } else {
        child->prev = parent->child->prev;
        child->prev->next = child;
    }
    parent->child->prev = child;
}

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
static long hex4(struct span text, size_t at)
{
    if (at + 4 > text.len) {
        return -1;
    }
    long value = 0;
    for (size_t i = at; i < at + 4; i++) {
        uint8_t c = text.ptr[i];
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
    long unit = hex4(s->text, s->at);
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
    long low = paired ? hex4(s->text, s->at + 2) : -1;
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

/* Bytes that stand for themselves. */
static bool is_plain(uint8_t c)
{
    return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

/* Eight of them at once: a byte below 0x80 gets its highest bit by the subtraction of what is more
 * than it is. */
static bool are_plain(const uint8_t bytes[8])
{
    static const uint64_t each = UINT64_C(0x0101010101010101);
    uint64_t x;
    memcpy(&x, bytes, sizeof x);
    uint64_t below_space = x - each * 0x20;
    uint64_t quote = (x ^ each * '"') - each;
    uint64_t backslash = (x ^ each * '\\') - each;
    return ((x | below_space | quote | backslash) & each * 0x80) == 0;
}

static void skip_plain(struct scan *s)
{
    while (s->text.len - s->at >= 8 && are_plain(s->text.ptr + s->at)) {
        s->at += 8;
    }
    while (s->at < s->text.len && is_plain(s->text.ptr[s->at])) {
        s->at++;
    }
}

/* From behind the opening quote to behind the closing one. */
static err_t scan_characters(struct scan *s, bool *ret_escaped)
{
    for (;;) {
        skip_plain(s);
        int c = peek(s);
        if (c < 0) {
            return bad(s, "string without end");
        }
        if (c < 0x20) {
            return bad(s, "control character in a string");
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
            *ret_escaped = true;
            err_t e = scan_escape(s);
            if (e != ERR_OK) {
                return e;
            }
        }
    }
}

static uint8_t *put_utf8(uint8_t *to, long c)
{
    if (c < 0x80) {
        *to++ = (uint8_t)c;
        return to;
    }
    int shift = c < 0x800 ? 6 : c < 0x10000 ? 12 : 18;
    static const uint8_t first[] = {[6] = 0xc0, [12] = 0xe0, [18] = 0xf0};
    *to++ = (uint8_t)(first[shift] | c >> shift);
    while (shift > 0) {
        shift -= 6;
        *to++ = (uint8_t)(0x80 | (c >> shift & 0x3f));
    }
    return to;
}

/* `escape` stands behind the backslash and has been checked. Returns where the text goes on. */
static const uint8_t *put_escape(const uint8_t *escape, uint8_t **to)
{
    static const char names[] = "\"\\/bfnrt";
    static const char values[] = "\"\\/\b\f\n\r\t";
    if (*escape != 'u') {
        *(*to)++ = (uint8_t)values[strchr(names, *escape) - names];
        return escape + 1;
    }
    long c = hex4(span_of(escape + 1, 4), 0);
    escape += 5;
    if (c >= 0xd800 && c <= 0xdfff) {
        c = 0x10000 + ((c - 0xd800) << 10) + (hex4(span_of(escape + 2, 4), 0) - 0xdc00);
        escape += 6;
    }
    *to = put_utf8(*to, c);
    return escape;
}

/* In place: no escape is shorter than what it stands for. */
static void unescape(char *text, size_t len)
{
    const uint8_t *from = (const uint8_t *)text;
    const uint8_t *end = from + len;
    uint8_t *to = (uint8_t *)text;
    while (from < end) {
        if (*from == '\\') {
            from = put_escape(from + 1, &to);
        } else {
            *to++ = *from++;
        }
    }
    *to = 0;
}

/* `ret` NULL: it is only checked; else there is an arena. */
static err_t scan_string(struct scan *s, char **ret)
{
    if (!take(s, '"')) {
        return bad(s, "a string is expected");
    }
    size_t start = s->at;
    bool escaped = false;
    err_t e = scan_characters(s, &escaped);
    if (e != ERR_OK || ret == NULL) {
        return e;
    }
    size_t len = s->at - 1 - start;
    *ret = (char *)(uintptr_t)arena_span(s->arena, span_of(s->text.ptr + start, len)).ptr;
    if (escaped) {
        unescape(*ret, len);
    }
    return ERR_OK;
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

/* Few digits and nothing else need no strtod. `len` bytes follow the grammar. */
static double number_value(const uint8_t *text, size_t len)
{
    size_t at = text[0] == '-';
    int64_t whole = 0;
    while (at < len && at < WHOLE_MAX && text[at] >= '0' && text[at] <= '9') {
        whole = whole * 10 + (text[at++] - '0');
    }
    if (at == len) {
        return text[0] == '-' ? -(double)whole : (double)whole;
    }
    char copy[NUMBER_MAX];
    memcpy(copy, text, len);
    copy[len] = 0;
    return strtod(copy, NULL);
}

static err_t scan_number(struct scan *s, cJSON *to)
{
    size_t start = s->at;
    if (!number_grammar(s)) {
        return bad(s, "not a JSON number");
    }
    size_t len = s->at - start;
    if (len >= NUMBER_MAX) {
        return bad(s, "number with too many digits");
    }
    double value = number_value(s->text.ptr + start, len);
    if (!(fabs(value) <= (double)JSON_INTEGER_MAX)) { /* also 2e16: a double rounds it */
        return bad(s, "number beyond 2^53 - 1 (larger ones travel as strings)");
    }
    if (to != NULL) {
        to->type = cJSON_Number;
        to->valuedouble = value;
        to->valueint = value >= INT_MAX ? INT_MAX : value <= INT_MIN ? INT_MIN : (int)value;
    }
    return ERR_OK;
}

static err_t scan_members(struct scan *s, cJSON *to)
{
    do {
        skip_space(s);
        cJSON *member = new_node(s);
        err_t e = scan_string(s, member != NULL ? &member->string : NULL);
        if (e != ERR_OK) {
            return e;
        }
        skip_space(s);
        if (!take(s, ':')) {
            return bad(s, "':' is expected");
        }
        e = scan_value(s, member);
        if (e != ERR_OK) {
            return e;
        }
        append_child(to, member);
    } while (take(s, ','));
    return take(s, '}') ? ERR_OK : bad(s, "',' or '}' is expected");
}

static err_t scan_elements(struct scan *s, cJSON *to)
{
    do {
        cJSON *element = new_node(s);
        err_t e = scan_value(s, element);
        if (e != ERR_OK) {
            return e;
        }
        append_child(to, element);
    } while (take(s, ','));
    return take(s, ']') ? ERR_OK : bad(s, "',' or ']' is expected");
}

static void set_type(cJSON *to, int type)
{
    if (to != NULL) {
        to->type = type;
    }
}

static err_t scan_nested(struct scan *s, bool object, cJSON *to)
{
    s->at++;
    if (++s->depth > s->limits->max_depth) {
        return fault_set(s->fault, ERR_TOO_LARGE, "json_too_large", "",
                         "nested deeper than %zu levels at byte %zu", s->limits->max_depth, s->at);
    }
    skip_space(s);
    err_t e = ERR_OK;
    if (!take(s, object ? '}' : ']')) {
        e = object ? scan_members(s, to) : scan_elements(s, to);
    }
    s->depth--;
    set_type(to, object ? cJSON_Object : cJSON_Array);
    return e;
}

static err_t scan_literal(struct scan *s, const char *word, int type, cJSON *to)
{
    set_type(to, type);
    if (to != NULL) {
        to->valueint = type == cJSON_True; /* as cJSON has it */
    }
    return scan_word(s, word);
}

static err_t scan_text(struct scan *s, cJSON *to)
{
    set_type(to, cJSON_String);
    return scan_string(s, to != NULL ? &to->valuestring : NULL);
}

static err_t scan_any(struct scan *s, cJSON *to)
{
    int c = peek(s);
    switch (c) {
    case '{':
    case '[':
        return scan_nested(s, c == '{', to);
    case '"':
        return scan_text(s, to);
    case 't':
        return scan_literal(s, "true", cJSON_True, to);
    case 'f':
        return scan_literal(s, "false", cJSON_False, to);
    case 'n':
        return scan_literal(s, "null", cJSON_NULL, to);
    default:
        return c == '-' || (c >= '0' && c <= '9') ? scan_number(s, to)
                                                  : bad(s, "a value is expected");
    }
}

/* One value and the white space on both sides of it. Recursion is bounded by max_depth. */
static err_t scan_value(struct scan *s, cJSON *to)
{
    if (++s->values > s->limits->max_values) {
        return fault_set(s->fault, ERR_TOO_LARGE, "json_too_large", "", "more than %zu values",
                         s->limits->max_values);
    }
    skip_space(s);
    err_t e = scan_any(s, to);
    skip_space(s);
    return e;
}

err_t json_scan(struct span text, const struct json_limits *limits, struct arena *arena,
                cJSON **ret, struct fault *fault)
{
    if (text.len > limits->max_bytes) {
        return fault_set(fault, ERR_TOO_LARGE, "json_too_large", "",
                         "at most %zu bytes are accepted, got %zu", limits->max_bytes, text.len);
    }
    struct scan s = {.text = text, .limits = limits, .fault = fault, .arena = arena};
    cJSON *root = new_node(&s);
    err_t e = scan_value(&s, root);
    if (e == ERR_OK && s.at != text.len) {
        e = bad(&s, "more bytes after the document");
    }
    if (e == ERR_OK && arena != NULL) {
        *ret = root;
    }
    return e;
}
