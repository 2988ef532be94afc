/*
 * CAs as the device processor sees them: the record from the CA view, and the issuer template made
 * of it and its key. Kept between rounds; a record that changed replaces its CA. Processor thread
 * only.
 */
#ifndef CA_SIGNER_CA_CACHE_H
#define CA_SIGNER_CA_CACHE_H

#include "ca_keys.h"
#include "kernel.h"
#include "proto/ca.h"

struct ca_cache;

/* `keys` is borrowed until free. */
struct ca_cache *ca_cache_new(struct ca_keys *keys) __attribute__((returns_nonnull));
void ca_cache_free(struct ca_cache *cache);

struct ca_cache_entry {
    struct uuid id;
    struct ca *ca;                    /* owned; NULL: absent */
    struct issuer_template *template; /* owned; NULL: its key is not at hand */
    struct buf payload;               /* what `ca` was read from */
    struct ca_cache_entry *next;
};
/* Takes what the view holds of a CA now (ptr NULL: nothing). ERR_CORRUPT: it cannot be read;
 * ERR_UNAVAILABLE: its key is on its way. The entry is borrowed until the next update of the same
 * CA. */
err_t ca_cache_update(struct ca_cache *cache, const struct uuid *id, struct span payload,
                      const struct ca_cache_entry **ret) MUST_USE;

#endif
