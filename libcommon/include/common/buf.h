/*
 * Bytes: `struct span` is a borrowed view, `struct buf` a growable buffer that owns its bytes and
 * has a mandatory maximum, so that nothing a remote party sends can grow without bound. C strings
 * exist only at library edges. Not thread-safe.
 */
#ifndef COMMON_BUF_H
#define COMMON_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/err.h"

/* A view of bytes that somebody else owns; valid as long as the owner says. ptr may be NULL when
 * len is 0. */
struct span {
    const uint8_t *ptr;
    size_t len;
};

static inline struct span span_of(const void *ptr, size_t len)
{
    return (struct span){ptr, len};
}
/* The bytes of a C string without its NUL; NULL gives the empty span. */
static inline struct span span_str(const char *s)
{
    return (struct span){(const uint8_t *)s, s ? strlen(s) : 0};
}
static inline bool span_eq(struct span a, struct span b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/*
 * BUF_INIT(max) is a valid empty buffer; nothing is allocated until the first append. After an
 * append fails with ERR_TOO_LARGE the content is unchanged, and `overflow` stays set so that a
 * chain of appends needs one check at the end (buf_ok).
 */
struct buf {
    uint8_t *ptr;
    size_t len;
    size_t capacity;
    size_t max; /* bytes, > 0 */
    bool overflow;
    bool secret; /* wipe when freed, grown or cleared */
};
#define BUF_INIT(max_bytes)        ((struct buf){.max = (max_bytes)})
#define BUF_INIT_SECRET(max_bytes) ((struct buf){.max = (max_bytes), .secret = true})

/* Frees (and wipes, if secret) the bytes; the buffer is empty and usable again. Accepts a zeroed
 * struct. */
void buf_deinit(struct buf *b);
CLEANUP_DEFINE_EMBEDDED(struct buf, buf_deinit);
#define CLEANUP_BUF CLEANUP(buf_deinit)

/* Keeps the capacity, drops the content. */
void buf_clear(struct buf *b);

/* Each appends or fails with ERR_TOO_LARGE. The caller may ignore single results and check buf_ok()
 * at the end. */
err_t buf_append(struct buf *b, const void *ptr, size_t len);
err_t buf_append_span(struct buf *b, struct span s);
err_t buf_append_str(struct buf *b, const char *s);
err_t buf_append_byte(struct buf *b, uint8_t byte);
err_t buf_printf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Makes room for `len` more bytes and returns where they go, NULL when over the maximum; commit
 * with b->len += n. */
uint8_t *buf_reserve(struct buf *b, size_t len);
/* False once any append overflowed. */
static inline bool buf_ok(const struct buf *b)
{
    return !b->overflow;
}
static inline struct span buf_span(const struct buf *b)
{
    return (struct span){b->ptr, b->len};
}
/* The content as a C string (a NUL is kept behind the bytes); valid until the next change. "" when
 * empty. */
const char *buf_cstr(struct buf *b);
/* Hands the bytes over (NUL-terminated, malloc'ed; never NULL), leaves the buffer empty. */
char *buf_take(struct buf *b, size_t *ret_len);

#endif
