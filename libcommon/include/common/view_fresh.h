/*
 * Is another owner's view up to date? A reader of a view believes what it finds; that something is
 * NOT there it may only believe when the view has applied everything its topic holds now, and has
 * not been lost and brought back while it was read. Order of use: check, then read again, then ask
 * whether the view still stands; what was absent then was absent when the check began. One thread;
 * the Redis connection is the caller's.
 */
#ifndef COMMON_VIEW_FRESH_H
#define COMMON_VIEW_FRESH_H

#include "common/err.h"
#include "common/redis.h"
#include "common/view.h"

struct view_fresh;

/* Copies its arguments; does not connect. ERR_INVALID, ERR_INTERNAL. */
err_t view_fresh_new(const char *brokers, const char *client_id, struct view_fresh **ret) MUST_USE;
void view_fresh_free(struct view_fresh *f);
CLEANUP_DEFINE(struct view_fresh *, view_fresh_free);

/*
 * ERR_OK: every record that was in this partition of the state topic when the call began, open
 * transactions included, is in the view by now (or was aborted). ERR_STALE: the view is behind,
 * again later. ERR_TIMEOUT, ERR_UNAVAILABLE: not known, again later. Waits up to `timeout_ms` for
 * the log. Only with no reply owed on `redis`. `ret_mark`: where the view stood, for
 * view_fresh_stands.
 */
err_t view_fresh_check(struct view_fresh *f, struct redis *redis, char letter, const char *topic,
                       int32_t partition, int timeout_ms, struct view_mark *ret_mark) MUST_USE;
/* ERR_OK: between the check and now the view has only grown, so that what was read in between is
 * true, absence included. ERR_STALE: it was lost, or is caught up with anew; check again. */
err_t view_fresh_stands(struct redis *redis, char letter, int32_t partition,
                        const struct view_mark *checked) MUST_USE;

#endif
