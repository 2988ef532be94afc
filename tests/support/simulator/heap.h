/*
 * Who is to be looked at when: a binary heap of items by time, each in it at most once and movable.
 * One thread.
 */
#ifndef SIMULATOR_HEAP_H
#define SIMULATOR_HEAP_H

#include <stddef.h>
#include <stdint.h>

/* Embedded in what is scheduled; `place` is the heap's. */
struct heap_item {
    int64_t at_ms;
    size_t place; /* index + 1; 0: not in the heap */
};

struct heap {
    struct heap_item **items;
    size_t count, capacity;
};

void heap_deinit(struct heap *h);
/* Puts the item in, or moves it when it is in already. */
void heap_set(struct heap *h, struct heap_item *item, int64_t at_ms);
void heap_remove(struct heap *h, struct heap_item *item);
/* The earliest, or NULL. */
struct heap_item *heap_first(const struct heap *h);

#endif
