/*
 * Inside reply_waiter: the requests waited for, found by request id, by cookie and by deadline. A
 * fixed number of slots; no lock of its own, the waiter holds its lock around every call.
 */
#ifndef REPLY_TABLE_H
#define REPLY_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/id.h"
#include "common/reply_waiter.h"

struct reply_slot {
    char id[UUID_TEXT_SIZE];
    bool in_use;
    bool stored; /* Kafka has acknowledged the request */
    bool looked; /* its stored reply was asked for at or after the deadline, in vain so far */
    int64_t deadline_ms;
    uint64_t cookie; /* generation << 32 | slot number + 1; never 0 */
    reply_done_fn done;
    void *ctx;
    struct reply_slot *next; /* of its bucket, or of the free list */
};

struct reply_table {
    struct reply_slot *slots;
    struct reply_slot *free_list;
    struct reply_slot **buckets;
    size_t capacity;
    size_t used;
};

void reply_table_init(struct reply_table *t, size_t capacity);
void reply_table_deinit(struct reply_table *t);

/* NULL when full. done and ctx are the caller's to fill in. */
struct reply_slot *reply_table_add(struct reply_table *t, const char *id, int64_t deadline_ms);
void reply_table_remove(struct reply_table *t, struct reply_slot *slot);
/* The first that waits for this id; NULL for none. */
struct reply_slot *reply_table_find(struct reply_table *t, const char *id);
/* The slot of a cookie, NULL when it has ended. */
struct reply_slot *reply_table_at(struct reply_table *t, uint64_t cookie);
struct reply_slot *reply_table_any(struct reply_table *t);

bool reply_table_any_due(const struct reply_table *t, int64_t at_ms);
/* Up to `max` ids whose deadline is at or before `at_ms`, marked as looked up if it is (INT64_MAX
 * marks none: no deadline has come). *position starts at 0 and goes on where the last call ended.
 */
size_t reply_table_due(struct reply_table *t, int64_t at_ms, size_t *position,
                       char (*ids)[UUID_TEXT_SIZE], size_t max);
/* A slot past its deadline, looked up and stored in Kafka; NULL for none. */
struct reply_slot *reply_table_expired(struct reply_table *t, int64_t at_ms);

#endif
