/*
 * Which offsets of one partition are finished. Deliveries end in any order; what may be committed
 * is where the finished ones are contiguous. Pure, one thread.
 */
#ifndef WEBHOOK_NOTIFIER_OFFSETS_H
#define WEBHOOK_NOTIFIER_OFFSETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct offsets {
    struct offset_entry {
        int64_t offset;
        bool done;
    } * entries; /* a ring, ascending: taken and not committable yet */
    size_t first;
    size_t count;
    size_t capacity; /* a power of two, or 0 */
    int64_t next;    /* behind the last one taken */
};

/* Starts at `next`, the next offset to come (any number below it is as good where it is not known).
 */
void offsets_init(struct offsets *o, int64_t next);
void offsets_deinit(struct offsets *o);
/* A message is in hand; offsets come ascending, with gaps where the log has none. */
void offsets_take(struct offsets *o, int64_t offset);
/* It is finished. Unknown ones are ignored. */
void offsets_done(struct offsets *o, int64_t offset);
/* Forgets everything from `offset` on: it will be taken again. */
void offsets_rewind(struct offsets *o, int64_t offset);
/* The next offset to read after a restart: everything below is finished. */
int64_t offsets_commit_point(const struct offsets *o);

#endif
