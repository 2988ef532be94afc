/*
 * What a round did not find in the views of others, and whether that may be believed: only when the
 * view had applied all that its topic held (common/view_fresh.h), and has stood while it was read.
 * A refusal that rests on a view just flushed would be committed for good. For one round; one
 * thread.
 */
#ifndef CA_SIGNER_ABSENCE_H
#define CA_SIGNER_ABSENCE_H

#include "common/err.h"
#include "common/redis.h"
#include "common/view_fresh.h"

enum absent_in { ABSENT_IN_REGISTRY, ABSENT_IN_CAS, ABSENT_VIEWS };

struct absences;
struct absences *absences_new(int32_t partitions);
void absences_free(struct absences *a);
CLEANUP_DEFINE(struct absences *, absences_free);

/* The views are read (again): nothing is known to be absent yet. */
void absences_next_pass(struct absences *a);
/* Something was looked up in this partition of a view and is not there. */
void absences_note(struct absences *a, enum absent_in view, int32_t partition);
/* ERR_OK: all of it is really not there. ERR_STALE: not known, check and read again. */
err_t absences_believe(const struct absences *a, struct redis *redis) MUST_USE;
/* Are those views up to date? Errors as of view_fresh_check. */
err_t absences_check(struct absences *a, struct view_fresh *fresh, struct redis *redis) MUST_USE;

#endif
