/*
 * Fixed worker threads for pure work in bulk: verifying proofs, signing certificates. The caller
 * hands over an array of jobs, works along and comes back when all are done, so that its own loop
 * stays strictly serial. Callers from several threads take turns.
 */
#ifndef COMMON_POOL_H
#define COMMON_POOL_H

#include <stddef.h>

#include "common/cleanup.h"
#include "common/err.h"

struct pool;

/* `threads` workers beside the caller; 0 is allowed, everything then runs on the caller. `name` (up
 * to 12 characters) shows in tools. ERR_UNAVAILABLE: the system gives no more threads. */
MUST_USE err_t pool_new(size_t threads, const char *name, struct pool **ret);
/* Joins the workers. No pool_run may be under way. Accepts NULL. */
void pool_free(struct pool *pool);
CLEANUP_DEFINE(struct pool *, pool_free);

/* Calls job(arg, i) once for each i below `count`, in any order, on any of the threads, and returns
 * when the last has returned. What the jobs wrote is visible to the caller. Jobs must not call
 * pool_run of the same pool. */
void pool_run(struct pool *pool, size_t count, void (*job)(void *arg, size_t i), void *arg);

#endif
