#include "common/text.h"

static bool continues(struct span text, size_t at)
{
    return at < text.len && (text.ptr[at] & 0xc0) == 0x80;
}

size_t utf8_sequence(struct span text)
{
    if (text.len == 0) {
        return 0;
    }
    uint8_t first = text.ptr[0];
    if (first < 0x80) {
        return 1;
    }
    if (first < 0xc2 || first > 0xf4 || !continues(text, 1)) {
        return 0;
    }
    if (first < 0xe0) {
        return 2;
    }
    uint8_t second = text.ptr[1];
    if (!continues(text, 2)) {
        return 0;
    }
    if (first < 0xf0) {
        bool overlong = first == 0xe0 && second < 0xa0;
        bool surrogate = first == 0xed && second >= 0xa0;
        return overlong || surrogate ? 0 : 3;
    }
    bool overlong = first == 0xf0 && second < 0x90;
    bool beyond = first == 0xf4 && second >= 0x90;
    return overlong || beyond || !continues(text, 3) ? 0 : 4;
}

bool utf8_valid(struct span text)
{
    while (text.len > 0) {
        size_t n = utf8_sequence(text);
        if (n == 0) {
            return false;
        }
        text = (struct span){text.ptr + n, text.len - n};
    }
    return true;
}

/* What follows the backslash for characters with a short escape, else 0. */
static char short_escape(uint8_t c)
{
    switch (c) {
    case '"':
    case '\\':
        return (char)c;
    case '\n':
        return 'n';
    case '\r':
        return 'r';
    case '\t':
        return 't';
    default:
        return 0;
    }
}

static void append_escaped(struct buf *to, uint8_t c)
{
    char letter = short_escape(c);
    if (letter != 0) {
        const char pair[2] = {'\\', letter};
        (void)buf_append(to, pair, 2);
    } else {
        (void)buf_printf(to, "\\u%04x", c);
    }
}

static bool plain(uint8_t c)
{
    return c >= 0x20 && c != '"' && c != '\\' && c != 0x7f;
}

err_t text_append_json(struct buf *to, struct span bytes)
{
    (void)buf_append_byte(to, '"');
    for (size_t i = 0; i < bytes.len;) {
        size_t run = i;
        while (run < bytes.len && bytes.ptr[run] < 0x80 && plain(bytes.ptr[run])) {
            run++;
        }
        (void)buf_append(to, bytes.ptr + i, run - i);
        i = run;
        if (i == bytes.len) {
            break;
        }
        size_t n = utf8_sequence((struct span){bytes.ptr + i, bytes.len - i});
        if (n > 1) {
            (void)buf_append(to, bytes.ptr + i, n);
        } else if (n == 1) {
            append_escaped(to, bytes.ptr[i]);
        } else {
            (void)buf_printf(to, "\\\\x%02x", bytes.ptr[i]);
        }
        i += n > 0 ? n : 1;
    }
    (void)buf_append_byte(to, '"');
    return buf_ok(to) ? ERR_OK : ERR_TOO_LARGE;
}
