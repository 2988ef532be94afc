/*
 * An arena: many small allocations with one common end. Memory is kept over arena_clear, so a loop
 * that works in rounds allocates almost nothing once it is warm. Out of memory aborts, as
 * everywhere; whoever fills an arena with remote bytes bounds them before. One thread.
 */
#ifndef COMMON_ARENA_H
#define COMMON_ARENA_H

#include "common/buf.h"

struct arena_chunk;
struct arena {
    struct arena_chunk *chunks; /* the one in use first */
    struct arena_chunk *spare;  /* emptied by arena_clear */
};

/* Zeroed bytes, aligned for any type. Never NULL. */
void *arena_alloc(struct arena *a, size_t size) __attribute__((returns_nonnull));
/* A copy of the bytes with a NUL behind it; the empty span stays NULL only if its ptr is NULL. */
struct span arena_span(struct arena *a, struct span s);
char *arena_str(struct arena *a, const char *s) __attribute__((returns_nonnull));
/* Ends everything allocated so far; keeps up to 1 MiB for the next round. */
void arena_clear(struct arena *a);
void arena_deinit(struct arena *a);
CLEANUP_DEFINE_EMBEDDED(struct arena, arena_deinit);

#endif
