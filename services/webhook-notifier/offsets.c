#include "offsets.h"

#include "common/cleanup.h"

#define CAPACITY_FIRST 64

void offsets_init(struct offsets *o, int64_t next)
{
    *o = (struct offsets){.next = next};
}

void offsets_deinit(struct offsets *o)
{
    free(o->entries);
    *o = (struct offsets){0};
}

static struct offset_entry *entry_at(const struct offsets *o, size_t i)
{
    return &o->entries[(o->first + i) & (o->capacity - 1)];
}

static void grow(struct offsets *o)
{
    size_t capacity = o->capacity > 0 ? o->capacity * 2 : CAPACITY_FIRST;
    struct offset_entry *entries = xcalloc(capacity, sizeof *entries);
    for (size_t i = 0; i < o->count; i++) {
        entries[i] = *entry_at(o, i);
    }
    free(o->entries);
    o->entries = entries;
    o->capacity = capacity;
    o->first = 0;
}

void offsets_take(struct offsets *o, int64_t offset)
{
    if (offset < o->next) {
        return; /* in hand, or finished before */
    }
    if (o->count == o->capacity) {
        grow(o);
    }
    *entry_at(o, o->count++) = (struct offset_entry){.offset = offset};
    o->next = offset + 1;
}

static void drop_finished(struct offsets *o)
{
    while (o->count > 0 && entry_at(o, 0)->done) {
        o->first = (o->first + 1) & (o->capacity - 1);
        o->count--;
    }
}

void offsets_done(struct offsets *o, int64_t offset)
{
    size_t from = 0;
    size_t until = o->count;
    while (from < until) {
        size_t middle = from + (until - from) / 2;
        if (entry_at(o, middle)->offset < offset) {
            from = middle + 1;
        } else {
            until = middle;
        }
    }
    if (from < o->count && entry_at(o, from)->offset == offset) {
        entry_at(o, from)->done = true;
        drop_finished(o);
    }
}

void offsets_rewind(struct offsets *o, int64_t offset)
{
    while (o->count > 0 && entry_at(o, o->count - 1)->offset >= offset) {
        o->count--;
    }
    if (o->next > offset) {
        o->next = offset;
    }
}

int64_t offsets_commit_point(const struct offsets *o)
{
    return o->count > 0 ? entry_at(o, 0)->offset : o->next;
}
