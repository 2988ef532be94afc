#include "heap.h"

#include "common/cleanup.h"

void heap_deinit(struct heap *h)
{
    free(h->items);
    *h = (struct heap){NULL, 0, 0};
}

static void put(struct heap *h, size_t i, struct heap_item *item)
{
    h->items[i] = item;
    item->place = i + 1;
}

static void rise(struct heap *h, size_t i)
{
    struct heap_item *item = h->items[i];
    while (i > 0 && h->items[(i - 1) / 2]->at_ms > item->at_ms) {
        put(h, i, h->items[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    put(h, i, item);
}

static void sink(struct heap *h, size_t i)
{
    struct heap_item *item = h->items[i];
    for (size_t child = 2 * i + 1; child < h->count; child = 2 * i + 1) {
        if (child + 1 < h->count && h->items[child + 1]->at_ms < h->items[child]->at_ms) {
            child++;
        }
        if (h->items[child]->at_ms >= item->at_ms) {
            break;
        }
        put(h, i, h->items[child]);
        i = child;
    }
    put(h, i, item);
}

void heap_set(struct heap *h, struct heap_item *item, int64_t at_ms)
{
    if (item->place == 0) {
        if (h->count == h->capacity) {
            h->capacity = h->capacity > 0 ? h->capacity * 2 : 64;
            h->items = xrealloc(h->items, h->capacity, sizeof(struct heap_item *));
        }
        put(h, h->count++, item);
    }
    item->at_ms = at_ms;
    rise(h, item->place - 1);
    sink(h, item->place - 1);
}

void heap_remove(struct heap *h, struct heap_item *item)
{
    if (item->place == 0) {
        return;
    }
    size_t i = item->place - 1;
    struct heap_item *last = h->items[--h->count];
    item->place = 0;
    if (last != item) {
        put(h, i, last);
        rise(h, i);
        sink(h, last->place - 1);
    }
}

struct heap_item *heap_first(const struct heap *h)
{
    return h->count > 0 ? h->items[0] : NULL;
}
