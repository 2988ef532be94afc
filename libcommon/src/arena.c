#include "common/arena.h"

#include <stddef.h>

#define FIRST_BYTES ((size_t)8 * 1024) /* many arenas hold one small document */
#define CHUNK_BYTES ((size_t)64 * 1024)
#define KEEP_BYTES  ((size_t)1024 * 1024)
#define ALIGNMENT   _Alignof(max_align_t)

struct arena_chunk {
    struct arena_chunk *next;
    size_t used, size;
    _Alignas(max_align_t) uint8_t bytes[];
};

static void add_chunk(struct arena *a, size_t need)
{
    struct arena_chunk **at = &a->spare;
    while (*at != NULL && (*at)->size < need) {
        at = &(*at)->next;
    }
    struct arena_chunk *c = *at;
    if (c != NULL) {
        *at = c->next;
    } else {
        size_t size = a->chunks == NULL && a->spare == NULL ? FIRST_BYTES : CHUNK_BYTES;
        size = need > size ? need : size;
        c = xrealloc(NULL, 1, sizeof *c + size); /* zeroed piece by piece as it is handed out */
        c->size = size;
    }
    c->used = 0;
    c->next = a->chunks;
    a->chunks = c;
}

void *arena_alloc(struct arena *a, size_t size)
{
    size_t need = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (a->chunks == NULL || a->chunks->size - a->chunks->used < need) {
        add_chunk(a, need);
    }
    uint8_t *p = a->chunks->bytes + a->chunks->used;
    a->chunks->used += need;
    memset(p, 0, size);
    return p;
}

struct span arena_span(struct arena *a, struct span s)
{
    if (s.ptr == NULL) {
        return s;
    }
    uint8_t *copy = arena_alloc(a, s.len + 1);
    memcpy(copy, s.ptr, s.len);
    return span_of(copy, s.len);
}

char *arena_str(struct arena *a, const char *s)
{
    size_t size = strlen(s) + 1;
    char *copy = arena_alloc(a, size);
    memcpy(copy, s, size);
    return copy;
}

static void free_chunks(struct arena_chunk *c)
{
    while (c != NULL) {
        struct arena_chunk *next = c->next;
        free(c);
        c = next;
    }
}

void arena_clear(struct arena *a)
{
    size_t kept = 0;
    for (const struct arena_chunk *c = a->spare; c != NULL; c = c->next) {
        kept += c->size;
    }
    while (a->chunks != NULL) {
        struct arena_chunk *c = a->chunks;
        a->chunks = c->next;
        if (c->size <= CHUNK_BYTES && kept < KEEP_BYTES) {
            kept += c->size;
            c->next = a->spare;
            a->spare = c;
        } else {
            free(c);
        }
    }
}

void arena_deinit(struct arena *a)
{
    free_chunks(a->chunks);
    free_chunks(a->spare);
    *a = (struct arena){0};
}
