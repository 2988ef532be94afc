/*
 * Bounded queue of pointers between threads: work crosses by handing over a whole object. Many
 * producers, many consumers, first in first out. All functions: any thread.
 */
#ifndef COMMON_QUEUE_H
#define COMMON_QUEUE_H

#include <stddef.h>
#include <stdint.h>

#include "common/cleanup.h"
#include "common/err.h"

struct queue;

/* At most `capacity` > 0 items wait. */
struct queue *queue_new(size_t capacity);
/* Nobody may use it any more. Items still in it are passed to `drop`, which may be NULL when there
 * are none. Accepts NULL. */
void queue_free(struct queue *queue, void (*drop)(void *item));

/* Hands `item` (not NULL) over on ERR_OK only. ERR_BUSY: full, shed or wait; ERR_STOPPING: closed.
 */
MUST_USE err_t queue_push(struct queue *queue, void *item);
/* The same, waiting up to `timeout_ms` for room: ERR_TIMEOUT when there was none. */
MUST_USE err_t queue_push_wait(struct queue *queue, void *item, int64_t timeout_ms);

/* The oldest item, owned by the caller. ERR_TIMEOUT: none within `timeout_ms` (0: only look);
 * ERR_STOPPING: closed and empty, none will come. */
MUST_USE err_t queue_pop(struct queue *queue, int64_t timeout_ms, void **ret_item);
/* Up to `max` items at once, waiting as queue_pop for the first only. */
MUST_USE err_t queue_pop_many(struct queue *queue, int64_t timeout_ms, void **items, size_t max,
                              size_t *ret_count);

/* No more pushes; what is inside can still be popped. Wakes everyone who waits. */
void queue_close(struct queue *queue);
/* Items waiting; already past when it returns, for metrics. */
size_t queue_length(struct queue *queue);

#endif
