/*
 * SHA-256 and HMAC-SHA-256 in one call. Neither can fail with the providers we run with; if the
 * library does, the process aborts. Any thread.
 */
#ifndef COMMON_DIGEST_H
#define COMMON_DIGEST_H

#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"

#define DIGEST_LEN 32
struct digest {
    uint8_t bytes[DIGEST_LEN];
};

static inline struct span digest_span(const struct digest *d)
{
    return (struct span){d->bytes, DIGEST_LEN};
}

struct digest digest_sha256(struct span data);
/* Over the parts one after the other, nothing between them: `sha256(a | b | c)`. */
struct digest digest_sha256_parts(const struct span *parts, size_t count);
struct digest digest_hmac_sha256(struct span key, struct span data);

#endif
