#include "common/buf.h"

#include <stdarg.h>
#include <stdio.h>

/* One byte is always kept for the NUL of buf_cstr. */
#define BUF_FIRST 64

static void wipe(const struct buf *b)
{
    if (b->secret && b->ptr != NULL) {
        explicit_bzero(b->ptr, b->capacity);
    }
}

void buf_deinit(struct buf *b)
{
    wipe(b);
    free(b->ptr);
    b->ptr = NULL;
    b->len = b->capacity = 0;
    b->overflow = false;
}

void buf_clear(struct buf *b)
{
    wipe(b);
    b->len = 0;
    b->overflow = false;
}

static void grow(struct buf *b, size_t need)
{
    size_t capacity = b->capacity ? b->capacity : BUF_FIRST;
    while (capacity < need) {
        capacity *= 2;
    }
    if (!b->secret) {
        b->ptr = xrealloc(b->ptr, capacity, 1);
    } else { /* realloc would leave a copy behind */
        uint8_t *fresh = xcalloc(capacity, 1);
        if (b->len > 0) {
            memcpy(fresh, b->ptr, b->len);
        }
        wipe(b);
        free(b->ptr);
        b->ptr = fresh;
    }
    b->capacity = capacity;
}

uint8_t *buf_reserve(struct buf *b, size_t len)
{
    if (len > b->max || b->len > b->max - len) {
        b->overflow = true;
        return NULL;
    }
    if (b->len + len + 1 > b->capacity) {
        grow(b, b->len + len + 1);
    }
    return b->ptr + b->len;
}

err_t buf_append(struct buf *b, const void *ptr, size_t len)
{
    uint8_t *to = buf_reserve(b, len);
    if (to == NULL) {
        return ERR_TOO_LARGE;
    }
    if (len > 0) {
        memcpy(to, ptr, len);
        b->len += len;
    }
    return ERR_OK;
}

err_t buf_append_span(struct buf *b, struct span s)
{
    return buf_append(b, s.ptr, s.len);
}

err_t buf_append_str(struct buf *b, const char *s)
{
    return buf_append(b, s, strlen(s));
}

err_t buf_append_byte(struct buf *b, uint8_t byte)
{
    return buf_append(b, &byte, 1);
}

err_t buf_printf(struct buf *b, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n < 0) {
        b->overflow = true;
        return ERR_INTERNAL;
    }
    uint8_t *to = buf_reserve(b, (size_t)n);
    if (to == NULL) {
        return ERR_TOO_LARGE;
    }
    va_start(args, format);
    (void)vsnprintf((char *)to, (size_t)n + 1, format, args);
    va_end(args);
    b->len += (size_t)n;
    return ERR_OK;
}

const char *buf_cstr(struct buf *b)
{
    if (b->ptr == NULL) {
        return "";
    }
    b->ptr[b->len] = 0;
    return (const char *)b->ptr;
}

char *buf_take(struct buf *b, size_t *ret_len)
{
    if (b->ptr == NULL) {
        grow(b, 1);
    }
    b->ptr[b->len] = 0;
    if (ret_len != NULL) {
        *ret_len = b->len;
    }
    char *bytes = (char *)b->ptr;
    b->ptr = NULL;
    b->len = b->capacity = 0;
    b->overflow = false;
    return bytes;
}
