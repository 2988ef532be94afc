#include "device/json.h"

#include "common/text.h"

struct reader {
    struct device_json *doc;
    const uint8_t *at, *end;
    unsigned depth;
};

static err_t read_value(struct reader *r, struct span name);

static void skip_blanks(struct reader *r)
{
    while (r->at < r->end &&
           (*r->at == ' ' || *r->at == '\t' || *r->at == '\n' || *r->at == '\r')) {
        r->at++;
    }
}

static bool take(struct reader *r, char c)
{
    if (r->at < r->end && *r->at == (uint8_t)c) {
        r->at++;
        return true;
    }
    return false;
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The four digits of \uXXXX at `at`; -1 when they are not. */
static int32_t code_unit(const uint8_t *at, const uint8_t *end)
{
    int32_t value = 0;
    if (end - at < 4) {
        return -1;
    }
    for (int i = 0; i < 4; i++) {
        int digit = hex_digit(at[i]);
        if (digit < 0) {
            return -1;
        }
        value = value << 4 | digit;
    }
    return value;
}

/* Length of the escape sequence at `at` (behind the backslash) and the character it means; 0 when
 * it is none. Lone halves of surrogate pairs are none. */
static size_t read_escape(const uint8_t *at, const uint8_t *end, uint32_t *ret)
{
    static const char names[] = "\"\\/bfnrt";
    static const char means[] = "\"\\/\b\f\n\r\t";
    if (at == end) {
        return 0;
    }
    if (*at != 'u') {
        const char *found = *at != 0 ? strchr(names, *at) : NULL;
        if (found == NULL) {
            return 0;
        }
        *ret = (uint8_t)means[found - names];
        return 1;
    }
    int32_t unit = code_unit(at + 1, end);
    if (unit < 0 || (unit >= 0xdc00 && unit <= 0xdfff)) {
        return 0;
    }
    if (unit < 0xd800 || unit > 0xdbff) {
        *ret = (uint32_t)unit;
        return 5;
    }
    if (end - at < 11 || at[5] != '\\' || at[6] != 'u') {
        return 0;
    }
    int32_t low = code_unit(at + 7, end);
    if (low < 0xdc00 || low > 0xdfff) {
        return 0;
    }
    *ret = 0x10000u + ((uint32_t)(unit - 0xd800) << 10) + (uint32_t)(low - 0xdc00);
    return 11;
}

/* Behind the opening quote; leaves `at` behind the closing one. */
static err_t read_string(struct reader *r, struct span *ret)
{
    const uint8_t *start = r->at;
    while (r->at < r->end && *r->at != '"') {
        size_t len = 0;
        uint32_t c = 0;
        if (*r->at == '\\') {
            len = read_escape(r->at + 1, r->end, &c);
            len += len > 0 ? 1 : 0;
        } else if (*r->at >= 0x20) {
            len = utf8_sequence(span_of(r->at, (size_t)(r->end - r->at)));
        }
        if (len == 0) {
            return ERR_INVALID;
        }
        r->at += len;
    }
    *ret = span_of(start, (size_t)(r->at - start));
    return take(r, '"') ? ERR_OK : ERR_INVALID;
}

static bool read_digits(struct reader *r)
{
    const uint8_t *start = r->at;
    while (r->at < r->end && *r->at >= '0' && *r->at <= '9') {
        r->at++;
    }
    return r->at > start;
}

static err_t read_number(struct reader *r, struct span *ret)
{
    const uint8_t *start = r->at;
    (void)take(r, '-');
    if (!take(r, '0') && !read_digits(r)) {
        return ERR_INVALID;
    }
    if (take(r, '.') && !read_digits(r)) {
        return ERR_INVALID;
    }
    if (take(r, 'e') || take(r, 'E')) {
        if (!take(r, '+')) {
            (void)take(r, '-');
        }
        if (!read_digits(r)) {
            return ERR_INVALID;
        }
    }
    *ret = span_of(start, (size_t)(r->at - start));
    return ERR_OK;
}

static err_t read_word(struct reader *r, struct device_json_value *v)
{
    static const struct {
        const char *word;
        enum device_json_type type;
    } words[] = {
        {"null", DEVICE_JSON_NULL}, {"true", DEVICE_JSON_TRUE}, {"false", DEVICE_JSON_FALSE}};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        size_t len = strlen(words[i].word);
        if ((size_t)(r->end - r->at) >= len && memcmp(r->at, words[i].word, len) == 0) {
            v->type = words[i].type;
            v->text = span_of(r->at, len);
            r->at += len;
            return ERR_OK;
        }
    }
    return ERR_INVALID;
}

static err_t read_name(struct reader *r, unsigned object, struct span *ret)
{
    skip_blanks(r);
    if (!take(r, '"')) {
        return ERR_INVALID;
    }
    err_t err = read_string(r, ret);
    if (err != ERR_OK) {
        return err;
    }
    skip_blanks(r);
    if (!take(r, ':')) {
        return ERR_INVALID;
    }
    for (unsigned i = object + 1; i < r->doc->count; i = r->doc->values[i].next) {
        if (span_eq(r->doc->values[i].name, *ret)) {
            return ERR_INVALID;
        }
    }
    return ERR_OK;
}

/* Members or elements up to the closing bracket; the opening one is behind. */
static err_t read_children(struct reader *r, unsigned parent, bool object)
{
    char closing = object ? '}' : ']';
    if (++r->depth > DEVICE_JSON_DEPTH) {
        return ERR_TOO_LARGE;
    }
    skip_blanks(r);
    if (!take(r, closing)) {
        do {
            struct span name = {NULL, 0};
            err_t err = object ? read_name(r, parent, &name) : ERR_OK;
            if (err == ERR_OK) {
                err = read_value(r, name);
            }
            if (err != ERR_OK) {
                return err;
            }
            r->doc->values[parent].children++;
            skip_blanks(r);
        } while (take(r, ','));
        if (!take(r, closing)) {
            return ERR_INVALID;
        }
    }
    r->depth--;
    return ERR_OK;
}

/* NOLINTNEXTLINE(misc-no-recursion): bounded by DEVICE_JSON_DEPTH */
static err_t read_value(struct reader *r, struct span name)
{
    if (r->doc->count == DEVICE_JSON_VALUES) {
        return ERR_TOO_LARGE;
    }
    unsigned index = r->doc->count++;
    struct device_json_value *v = &r->doc->values[index];
    *v = (struct device_json_value){.name = name};
    skip_blanks(r);
    const uint8_t *start = r->at;
    err_t err = ERR_OK;
    if (take(r, '"')) {
        v->type = DEVICE_JSON_STRING;
        err = read_string(r, &v->text);
    } else if (take(r, '{') || take(r, '[')) {
        v->type = *start == '{' ? DEVICE_JSON_OBJECT : DEVICE_JSON_ARRAY;
        err = read_children(r, index, *start == '{');
        v->text = span_of(start, (size_t)(r->at - start));
    } else if (r->at < r->end && (*r->at == '-' || (*r->at >= '0' && *r->at <= '9'))) {
        v->type = DEVICE_JSON_NUMBER;
        err = read_number(r, &v->text);
    } else {
        err = read_word(r, v);
    }
    v->next = r->doc->count;
    return err;
}

err_t device_json_parse(struct device_json *doc, struct span text)
{
    struct reader r = {.doc = doc, .at = text.ptr, .end = text.ptr + text.len};
    if (text.len == 0) {
        return ERR_INVALID;
    }
    doc->count = 0;
    err_t err = read_value(&r, (struct span){NULL, 0});
    if (err != ERR_OK) {
        return err;
    }
    skip_blanks(&r);
    return r.at == r.end ? ERR_OK : ERR_INVALID;
}

const struct device_json_value *device_json_member(const struct device_json *doc,
                                                   const struct device_json_value *object,
                                                   const char *name)
{
    if (object == NULL || object->type != DEVICE_JSON_OBJECT) {
        return NULL;
    }
    unsigned first = (unsigned)(object - doc->values) + 1;
    for (unsigned i = first; i < object->next; i = doc->values[i].next) {
        if (span_eq(doc->values[i].name, span_str(name))) {
            return doc->values[i].type != DEVICE_JSON_NULL ? &doc->values[i] : NULL;
        }
    }
    return NULL;
}

const struct device_json_value *device_json_element(const struct device_json *doc,
                                                    const struct device_json_value *array,
                                                    unsigned i)
{
    if (array == NULL || array->type != DEVICE_JSON_ARRAY || i >= array->children) {
        return NULL;
    }
    unsigned at = (unsigned)(array - doc->values) + 1;
    while (i-- > 0) {
        at = doc->values[at].next;
    }
    return &doc->values[at];
}

static void append_character(struct buf *to, uint32_t c)
{
    uint8_t bytes[4];
    size_t len = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const uint8_t marks[5] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = len; i-- > 1; c >>= 6) {
        bytes[i] = (uint8_t)(0x80 | (c & 0x3f));
    }
    bytes[0] = (uint8_t)(marks[len] | c);
    (void)buf_append(to, bytes, len);
}

err_t device_json_string(const struct device_json_value *value, struct buf *to)
{
    if (value == NULL || value->type != DEVICE_JSON_STRING) {
        return ERR_INVALID;
    }
    const uint8_t *at = value->text.ptr;
    const uint8_t *end = at + value->text.len;
    while (at < end) {
        const uint8_t *escape = memchr(at, '\\', (size_t)(end - at));
        const uint8_t *plain = escape != NULL ? escape : end;
        (void)buf_append(to, at, (size_t)(plain - at));
        at = plain;
        if (escape != NULL) {
            uint32_t c = 0;
            at += 1 + read_escape(at + 1, end, &c);
            append_character(to, c);
        }
    }
    return buf_ok(to) ? ERR_OK : ERR_TOO_LARGE;
}

err_t device_json_text(const struct device_json_value *value, char *out, size_t size)
{
    CLEANUP_BUF struct buf b = BUF_INIT(size - 1);
    err_t err = device_json_string(value, &b);
    if (err != ERR_OK) {
        return err;
    }
    const char *text = buf_cstr(&b);
    if (strlen(text) != b.len) {
        return ERR_INVALID;
    }
    memcpy(out, text, b.len + 1);
    return ERR_OK;
}

err_t device_json_integer(const struct device_json_value *value, int64_t min, int64_t max,
                          int64_t *ret)
{
    if (value == NULL || value->type != DEVICE_JSON_NUMBER || value->text.len > 19) {
        return ERR_INVALID;
    }
    bool negative = value->text.ptr[0] == '-';
    uint64_t n = 0;
    for (size_t i = negative ? 1 : 0; i < value->text.len; i++) {
        unsigned digit = (unsigned)value->text.ptr[i] - '0';
        if (digit > 9) {
            return ERR_INVALID;
        }
        n = n * 10 + digit;
    }
    if (n > (uint64_t)INT64_MAX) {
        return ERR_INVALID;
    }
    int64_t result = negative ? -(int64_t)n : (int64_t)n;
    if (result < min || result > max) {
        return ERR_INVALID;
    }
    *ret = result;
    return ERR_OK;
}
