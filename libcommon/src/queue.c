#include "common/queue.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <time.h>

struct queue {
    pthread_mutex_t lock;
    pthread_cond_t filled;
    pthread_cond_t drained;
    size_t capacity;
    size_t first;
    size_t count;
    bool closed;
    void *items[];
};

struct queue *queue_new(size_t capacity)
{
    assert(capacity > 0);
    struct queue *q = xcalloc(1, sizeof *q + capacity * sizeof q->items[0]);
    q->capacity = capacity;
    pthread_condattr_t monotonic;
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&q->lock, NULL);
    (void)pthread_cond_init(&q->filled, &monotonic);
    (void)pthread_cond_init(&q->drained, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    return q;
}

void queue_free(struct queue *queue, void (*drop)(void *item))
{
    if (queue == NULL) {
        return;
    }
    assert(queue->count == 0 || drop != NULL);
    for (; queue->count > 0; queue->count--) {
        drop(queue->items[queue->first]);
        queue->first = (queue->first + 1) % queue->capacity;
    }
    (void)pthread_cond_destroy(&queue->filled);
    (void)pthread_cond_destroy(&queue->drained);
    (void)pthread_mutex_destroy(&queue->lock);
    free(queue);
}

static struct timespec deadline_after(int64_t ms)
{
    struct timespec at;
    (void)clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec += (time_t)(ms / 1000);
    at.tv_nsec += (long)(ms % 1000) * 1000000;
    if (at.tv_nsec >= 1000000000) {
        at.tv_sec++;
        at.tv_nsec -= 1000000000;
    }
    return at;
}

/* With the lock held: waits until the number of items is not `stuck_at`, or closed, or time is
 * up. */
static void wait_while(struct queue *q, pthread_cond_t *changed, size_t stuck_at, int64_t timeout)
{
    if (timeout <= 0 || q->count != stuck_at || q->closed) {
        return;
    }
    struct timespec at = deadline_after(timeout);
    while (q->count == stuck_at && !q->closed) {
        if (pthread_cond_timedwait(changed, &q->lock, &at) == ETIMEDOUT) {
            return;
        }
    }
}

static err_t push(struct queue *q, void *item, int64_t timeout_ms, err_t full)
{
    assert(item != NULL);
    err_t e = ERR_OK;
    (void)pthread_mutex_lock(&q->lock);
    wait_while(q, &q->drained, q->capacity, timeout_ms);
    if (q->closed) {
        e = ERR_STOPPING;
    } else if (q->count == q->capacity) {
        e = full;
    } else {
        q->items[(q->first + q->count) % q->capacity] = item;
        q->count++;
        (void)pthread_cond_signal(&q->filled);
    }
    (void)pthread_mutex_unlock(&q->lock);
    return e;
}

err_t queue_push(struct queue *queue, void *item)
{
    return push(queue, item, 0, ERR_BUSY);
}

err_t queue_push_wait(struct queue *queue, void *item, int64_t timeout_ms)
{
    return push(queue, item, timeout_ms, ERR_TIMEOUT);
}

err_t queue_pop_many(struct queue *queue, int64_t timeout_ms, void **items, size_t max,
                     size_t *ret_count)
{
    err_t e = ERR_OK;
    (void)pthread_mutex_lock(&queue->lock);
    wait_while(queue, &queue->filled, 0, timeout_ms);
    if (queue->count == 0) {
        e = queue->closed ? ERR_STOPPING : ERR_TIMEOUT;
    } else {
        size_t n = 0;
        for (; n < max && queue->count > 0; n++, queue->count--) {
            items[n] = queue->items[queue->first];
            queue->first = (queue->first + 1) % queue->capacity;
        }
        *ret_count = n;
        (void)pthread_cond_broadcast(&queue->drained);
    }
    (void)pthread_mutex_unlock(&queue->lock);
    return e;
}

err_t queue_pop(struct queue *queue, int64_t timeout_ms, void **ret_item)
{
    size_t count = 0;
    return queue_pop_many(queue, timeout_ms, ret_item, 1, &count);
}

void queue_close(struct queue *queue)
{
    (void)pthread_mutex_lock(&queue->lock);
    queue->closed = true;
    (void)pthread_cond_broadcast(&queue->filled);
    (void)pthread_cond_broadcast(&queue->drained);
    (void)pthread_mutex_unlock(&queue->lock);
}

size_t queue_length(struct queue *queue)
{
    (void)pthread_mutex_lock(&queue->lock);
    size_t count = queue->count;
    (void)pthread_mutex_unlock(&queue->lock);
    return count;
}
