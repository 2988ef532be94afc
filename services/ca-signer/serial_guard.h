/*
 * Which device of a domain came first with a sealed serial number: a guard in Redis that all
 * replicas share. Nothing is decided on it; what is lost with Redis is a report. It holds 8 bytes
 * of a hash and the UID for each serial, in small hashes (`g:sn:<domain><bucket>`, packed by Redis
 * as one string each) whose number grows with the domain: linear hashing, one bucket is split at a
 * time. Thread of the connection.
 */
#ifndef CA_SIGNER_SERIAL_GUARD_H
#define CA_SIGNER_SERIAL_GUARD_H

#include "common/redis.h"
#include "device_snapshot.h"

/* A question: `domain` and `serial` are borrowed; `holder` is the answer. */
struct serial_claim {
    struct uuid domain;
    const char *serial;
    char uid[DEVICE_UID_LEN + 1];    /* who has it now */
    char holder[DEVICE_UID_LEN + 1]; /* who had it first: `uid` itself, or another */
};

/* Once per connection object, before the first claims. */
void serial_guard_register(struct redis *r);
/* Fills in the holders, in the order of the claims; a serial that nobody holds is the claimer's
 * from now on. ERR_UNAVAILABLE and other retry class errors: ask again, later. */
err_t serial_guard_claim(struct redis *r, struct serial_claim *claims, unsigned n) MUST_USE;

/* Claims for those bootstraps of a round that get an owner now, and fills in
 * snapshots.serial_holder; profiles are filled in already. */
err_t serial_guard_ask(struct redis *r, const struct snapshot_want *wants, unsigned n) MUST_USE;

#endif
