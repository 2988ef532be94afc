/*
 * Secrets at rest. Each secret is encrypted with AES-256-GCM under a random data key of its own,
 * and the data key under the key-encryption key (KEK), so that the KEK never meets much data and a
 * new KEK means rewrapping 32 bytes. The caller's associated data (AAD) says whose secret it is: it
 * is not stored, and a sealed secret opens only for the AAD it was sealed with, so one cannot be
 * put in another's place. Keys and plain text are wiped from all memory used here. Any thread; a
 * seal_kek is immutable.
 *
 * Sealed form, bytes: version 1 | KEK id 8 | nonce 12 | data key 32 | tag 16 | nonce 12 |
 * cipher text | tag 16. The first nine are authenticated with both parts.
 */
#ifndef COMMON_SEAL_H
#define COMMON_SEAL_H

#include "common/buf.h"
#include "common/err.h"

#define SEAL_KEK_SIZE  32
#define SEAL_OVERHEAD  97    /* bytes a sealed secret is longer than the secret */
#define SEAL_PLAIN_MAX 65536 /* bytes */
#define SEAL_AAD_MAX   1024  /* bytes */

struct seal_kek;

/*
 * Reads a KEK: a regular file of exactly 32 raw bytes that nobody but its owner can read or write
 * (mode 0600 or less). ERR_INVALID with a fault that names the file and what is wrong with it.
 */
MUST_USE err_t seal_kek_read(const char *path, struct seal_kek **ret, struct fault *fault);
/* From bytes, for tests and for secrets that come another way; copied. */
struct seal_kek *seal_kek_new(const uint8_t bytes[SEAL_KEK_SIZE]);
/* Wipes it. */
void seal_kek_free(struct seal_kek *kek);
CLEANUP_DEFINE(struct seal_kek *, seal_kek_free);

/* Appends the sealed form of `plain`. ERR_TOO_LARGE: over SEAL_PLAIN_MAX, SEAL_AAD_MAX or the
 * maximum of `to`; ERR_INTERNAL: the cipher failed. `to` is as before on failure. */
MUST_USE err_t seal(const struct seal_kek *kek, struct span aad, struct span plain, struct buf *to);
/*
 * Appends the secret to `to`, which must be a secret buffer (BUF_INIT_SECRET).
 *   ERR_UNSUPPORTED  a later version of the form
 *   ERR_ABSENT       sealed under another KEK: an operator has to bring that one
 *   ERR_CORRUPT      damaged, or sealed with other AAD
 *   ERR_TOO_LARGE    over the maximum of `to`
 */
MUST_USE err_t unseal(const struct seal_kek *kek, struct span aad, struct span sealed,
                      struct buf *to);

#endif
