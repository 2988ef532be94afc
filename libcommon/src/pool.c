#include "common/pool.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>

struct pool {
    pthread_mutex_t turn; /* held by the caller whose jobs run */
    pthread_mutex_t lock; /* everything below */
    pthread_cond_t work;
    pthread_cond_t done;
    void (*job)(void *arg, size_t i);
    void *arg;
    size_t next;
    size_t count;
    size_t running;
    bool stopping;
    size_t thread_count;
    pthread_t threads[];
};

/* With the lock held, which is free while the job runs. */
static void run_one(struct pool *p)
{
    size_t i = p->next++;
    p->running++;
    (void)pthread_mutex_unlock(&p->lock);
    p->job(p->arg, i);
    (void)pthread_mutex_lock(&p->lock);
    p->running--;
}

static void *worker(void *arg)
{
    struct pool *p = arg;
    (void)pthread_mutex_lock(&p->lock);
    while (!p->stopping) {
        if (p->next == p->count) {
            (void)pthread_cond_wait(&p->work, &p->lock);
            continue;
        }
        run_one(p);
        if (p->next == p->count && p->running == 0) {
            (void)pthread_cond_signal(&p->done);
        }
    }
    (void)pthread_mutex_unlock(&p->lock);
    return NULL;
}

/* Workers take no signals: those belong to the thread that waits for them. */
static bool start_thread(struct pool *p, const char *name)
{
    sigset_t all;
    sigset_t before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_BLOCK, &all, &before);
    bool ok = pthread_create(&p->threads[p->thread_count], NULL, worker, p) == 0;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (ok) {
        char title[16];
        (void)snprintf(title, sizeof title, "%.12s-%zu", name, p->thread_count % 100);
        (void)pthread_setname_np(p->threads[p->thread_count], title);
        p->thread_count++;
    }
    return ok;
}

err_t pool_new(size_t threads, const char *name, struct pool **ret)
{
    CLEANUP(pool_free)
    struct pool *p = xcalloc(1, sizeof *p + threads * sizeof p->threads[0]);
    (void)pthread_mutex_init(&p->turn, NULL);
    (void)pthread_mutex_init(&p->lock, NULL);
    (void)pthread_cond_init(&p->work, NULL);
    (void)pthread_cond_init(&p->done, NULL);
    while (p->thread_count < threads) {
        if (!start_thread(p, name)) {
            return ERR_UNAVAILABLE;
        }
    }
    *ret = TAKE(p);
    return ERR_OK;
}

void pool_free(struct pool *pool)
{
    if (pool == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&pool->lock);
    pool->stopping = true;
    (void)pthread_cond_broadcast(&pool->work);
    (void)pthread_mutex_unlock(&pool->lock);
    for (size_t i = 0; i < pool->thread_count; i++) {
        (void)pthread_join(pool->threads[i], NULL);
    }
    (void)pthread_cond_destroy(&pool->work);
    (void)pthread_cond_destroy(&pool->done);
    (void)pthread_mutex_destroy(&pool->lock);
    (void)pthread_mutex_destroy(&pool->turn);
    free(pool);
}

void pool_run(struct pool *pool, size_t count, void (*job)(void *arg, size_t i), void *arg)
{
    if (count == 0) {
        return;
    }
    (void)pthread_mutex_lock(&pool->turn);
    (void)pthread_mutex_lock(&pool->lock);
    pool->job = job;
    pool->arg = arg;
    pool->next = 0;
    pool->count = count;
    if (count > 1) {
        (void)pthread_cond_broadcast(&pool->work);
    }
    while (pool->next < pool->count) {
        run_one(pool);
    }
    while (pool->running > 0) {
        (void)pthread_cond_wait(&pool->done, &pool->lock);
    }
    pool->next = pool->count = 0;
    (void)pthread_mutex_unlock(&pool->lock);
    (void)pthread_mutex_unlock(&pool->turn);
}
