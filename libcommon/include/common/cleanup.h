/*
 * Scope-exit ownership. A local declared with one of these macros is released when its scope ends,
 * however it ends; handing it over is an explicit TAKE. The attribute is a GNU extension that gcc
 * and clang both accept under -std=c11 -Wpedantic.
 *
 *     CLEANUP_DEFINE(EVP_PKEY *, EVP_PKEY_free)          in the header that wraps the library
 *     CLEANUP(EVP_PKEY_free) EVP_PKEY *key = NULL;       a local that owns a key
 *     *ret_key = TAKE(key);                              hand over: key is NULL afterwards
 */
#ifndef COMMON_CLEANUP_H
#define COMMON_CLEANUP_H

#include <stdlib.h>

#define CLEANUP(func) __attribute__((cleanup(func##_cleanup_)))

/* Defines what CLEANUP(func) runs for a variable of pointer type `type`; `func` must accept
 * non-NULL only or any. */
#define CLEANUP_DEFINE(type, func)                                                                 \
    static inline void func##_cleanup_(type *p)                                                    \
    {                                                                                              \
        if (*p) {                                                                                  \
            func(*p);                                                                              \
        }                                                                                          \
    }                                                                                              \
    struct func##_cleanup_needs_semicolon_

/* The same for embedded structs: `func` takes their address (x_deinit). */
#define CLEANUP_DEFINE_EMBEDDED(type, func)                                                        \
    static inline void func##_cleanup_(type *p)                                                    \
    {                                                                                              \
        func(p);                                                                                   \
    }                                                                                              \
    struct func##_cleanup_needs_semicolon_

static inline void free_cleanup_(void *p)
{
    free(*(void **)p);
}
/* A local that owns malloc'ed memory. */
#define CLEANUP_FREE __attribute__((cleanup(free_cleanup_)))

/* Moves a pointer out of its owner, leaving NULL. */
#define TAKE(p)                                                                                    \
    __extension__({                                                                                \
        __typeof__(p) taken_ = (p);                                                                \
        (p) = NULL;                                                                                \
        taken_;                                                                                    \
    })

/* Small allocations abort when memory is out: every remote-sized buffer is bounded before, so this
 * means the machine is lost, the process restarts and the log knows where it was. Never returns
 * NULL. Any thread. */
void *xcalloc(size_t count, size_t size) __attribute__((returns_nonnull, malloc));
void *xrealloc(void *p, size_t count, size_t size) __attribute__((returns_nonnull));
char *xstrdup(const char *s) __attribute__((returns_nonnull, malloc));
char *xstrndup(const char *s, size_t len) __attribute__((returns_nonnull, malloc));
/* printf into a fresh string, owned by the caller. */
char *xasprintf(const char *format, ...) __attribute__((returns_nonnull, format(printf, 1, 2)));

#endif
