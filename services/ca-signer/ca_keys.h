/*
 * The sealed keys of all CAs, followed from TOPIC_CA_KEYS by a thread of its own and opened when
 * they are first needed. A key that is not there may be on its way: ca_keys_get tells "not yet"
 * from "not there" by the end of the topic as it was after the first question. ca_keys_new, start
 * and stop on the main thread; ca_keys_get on any.
 */
#ifndef CA_SIGNER_CA_KEYS_H
#define CA_SIGNER_CA_KEYS_H

#include "common/err.h"
#include "common/id.h"
#include "keystore.h"

struct ca_keys;

/* `store` is borrowed until free; `brokers` and `instance` are copied. */
err_t ca_keys_new(const char *brokers, const char *instance, struct keystore *store,
                  struct ca_keys **ret) MUST_USE;
err_t ca_keys_start(struct ca_keys *keys) MUST_USE;
/* Ends the thread within a second. */
void ca_keys_stop(struct ca_keys *keys);
void ca_keys_free(struct ca_keys *keys);
CLEANUP_DEFINE(struct ca_keys *, ca_keys_free);

/* True once the whole topic has been read since the start. */
bool ca_keys_ready(const struct ca_keys *keys);

/*
 * The opened key of a CA; a reference of the caller's. ERR_UNAVAILABLE: not read yet, ask again
 * soon; only this is worth waiting for. ERR_ABSENT: the topic does not hold it. ERR_BUSY: the key
 * store is away, or does not have the key-encryption key that sealed it. ERR_CORRUPT,
 * ERR_UNSUPPORTED: it cannot be opened.
 */
err_t ca_keys_get(struct ca_keys *keys, const struct uuid *ca, struct ca_key **ret) MUST_USE;

#endif
