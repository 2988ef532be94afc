#include "common/cleanup.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static void out_of_memory(void) __attribute__((noreturn));
static void out_of_memory(void)
{
    (void)fputs("{\"level\":\"fatal\",\"event\":\"out_of_memory\"}\n", stderr);
    abort();
}

void *xcalloc(size_t count, size_t size)
{
    void *p = calloc(count ? count : 1, size ? size : 1);
    if (p == NULL) {
        out_of_memory();
    }
    return p;
}

void *xrealloc(void *p, size_t count, size_t size)
{
    void *q = reallocarray(p, count ? count : 1, size ? size : 1);
    if (q == NULL) {
        out_of_memory();
    }
    return q;
}

char *xstrdup(const char *s)
{
    return xstrndup(s, strlen(s));
}

char *xstrndup(const char *s, size_t len)
{
    char *copy = xcalloc(len + 1, 1);
    memcpy(copy, s, len);
    return copy;
}

char *xasprintf(const char *format, ...)
{
    char *s = NULL;
    va_list args;
    va_start(args, format);
    int n = vasprintf(&s, format, args);
    va_end(args);
    if (n < 0 || s == NULL) {
        out_of_memory();
    }
    return s;
}
