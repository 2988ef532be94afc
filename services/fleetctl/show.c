#include "show.h"

#include <stdio.h>
#include <string.h>

#include "common/json.h"
#include "common/text.h"

#define CELL_MAX  200 /* bytes of a cell in a table; more is cut */
#define VALUE_MAX 65536
#define NAME_MAX_ 96

/* One line of text, whatever the value is. */
static void append_value(struct buf *to, const cJSON *value)
{
    if (cJSON_IsString(value)) {
        (void)buf_append_str(to, value->valuestring);
    } else if (cJSON_IsArray(value)) {
        const cJSON *item = NULL;
        cJSON_ArrayForEach(item, value)
        {
            if (item != value->child) {
                (void)buf_append_str(to, ", ");
            }
            append_value(to, item);
        }
    } else if (cJSON_IsBool(value)) {
        (void)buf_append_str(to, cJSON_IsTrue(value) ? "yes" : "no");
    } else if (value != NULL && !cJSON_IsNull(value)) {
        (void)json_encode(value, to);
    }
}

/* What the server says must not drive the terminal. */
static void tame(struct buf *text, bool lines)
{
    for (size_t i = 0; i < text->len; i++) {
        uint8_t c = text->ptr[i];
        bool c1 = c == 0xc2 && i + 1 < text->len && text->ptr[i + 1] < 0xa0; /* U+0080..U+009F */
        if ((c < 0x20 && !(lines && c == '\n')) || c == 0x7f || c1) {
            text->ptr[i] = '?';
        }
        if (c1) {
            text->ptr[++i] = '?';
        }
    }
}

static void append_member(const char *name, const cJSON *value, struct buf *to)
{
    CLEANUP_BUF struct buf text = BUF_INIT(VALUE_MAX);
    append_value(&text, value);
    bool block = text.len > 0 && memchr(text.ptr, '\n', text.len) != NULL;
    tame(&text, true);
    (void)buf_printf(to, block ? "%s:\n%s" : "%-28s %s\n", name, buf_cstr(&text));
}

static void append_members(const char *prefix, const cJSON *object, const char *except,
                           struct buf *to)
{
    const cJSON *item = NULL;
    cJSON_ArrayForEach(item, object)
    {
        char name[NAME_MAX_];
        if (except != NULL && strcmp(item->string, except) == 0) {
            continue;
        }
        (void)snprintf(name, sizeof name, "%s%s%s", prefix, prefix[0] != '\0' ? "." : "",
                       item->string);
        if (cJSON_IsObject(item)) {
            append_members(name, item, NULL, to);
        } else {
            append_member(name, item, to);
        }
    }
}

void show_object(const cJSON *object, const char *except, struct buf *to)
{
    append_members("", object, except, to);
}

static void cell(const cJSON *row, const struct column *column, struct buf *to)
{
    buf_clear(to);
    append_value(to, json_find(row, column->member));
    if (to->len > CELL_MAX) {
        size_t len = CELL_MAX;
        while (len > 0 && (to->ptr[len] & 0xc0) == 0x80) { /* not within a character */
            len--;
        }
        to->len = len;
        (void)buf_append_str(to, "...");
    }
    tame(to, false);
}

/* Columns on a screen, not bytes: continuation bytes of UTF-8 take none. */
static size_t width(const struct buf *text)
{
    size_t n = 0;
    for (size_t i = 0; i < text->len; i++) {
        n += (text->ptr[i] & 0xc0) != 0x80;
    }
    return n;
}

static void append_padded(struct buf *to, const char *text, size_t used, size_t wanted, bool last)
{
    (void)buf_append_str(to, text);
    for (size_t i = used; i < wanted + 2 && !last; i++) {
        (void)buf_append_byte(to, ' ');
    }
}

void show_table(const struct column *columns, const cJSON *rows, struct buf *to)
{
    size_t widths[COMMAND_COLUMNS_MAX] = {0};
    size_t n = 0;
    const cJSON *row = NULL;
    CLEANUP_BUF struct buf text = BUF_INIT(VALUE_MAX);
    if (cJSON_GetArraySize(rows) == 0) {
        return;
    }
    for (; n < COMMAND_COLUMNS_MAX && columns[n].title != NULL; n++) {
        widths[n] = strlen(columns[n].title);
        cJSON_ArrayForEach(row, rows)
        {
            cell(row, &columns[n], &text);
            widths[n] = width(&text) > widths[n] ? width(&text) : widths[n];
        }
    }
    for (size_t i = 0; i < n; i++) {
        append_padded(to, columns[i].title, strlen(columns[i].title), widths[i], i + 1 == n);
    }
    (void)buf_append_byte(to, '\n');
    cJSON_ArrayForEach(row, rows)
    {
        for (size_t i = 0; i < n; i++) {
            cell(row, &columns[i], &text);
            append_padded(to, buf_cstr(&text), width(&text), widths[i], i + 1 == n);
        }
        (void)buf_append_byte(to, '\n');
    }
}

static const char *text_of(const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
    return cJSON_IsString(item) ? item->valuestring : "";
}

void show_error(const cJSON *error, struct buf *to)
{
    CLEANUP_BUF struct buf text = BUF_INIT(VALUE_MAX);
    const char *message = text_of(error, "message");
    (void)buf_printf(&text, "%s (%s)\n", message, text_of(error, "type"));
    const cJSON *field = NULL;
    cJSON_ArrayForEach(field, cJSON_GetObjectItemCaseSensitive(error, "fields"))
    {
        const char *about = text_of(field, "message");
        (void)buf_printf(&text, "  %s%s%s\n", text_of(field, "field"),
                         strcmp(about, message) != 0 ? ": " : "",
                         strcmp(about, message) != 0 ? about : "");
    }
    tame(&text, true);
    (void)buf_append_span(to, buf_span(&text));
}
