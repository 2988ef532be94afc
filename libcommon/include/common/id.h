/*
 * Identities and the text forms of bytes: random bytes, UUIDs of version 4 (random) and 5 (derived
 * from what caused them, so that every consumer can deduplicate for ever), hex, base64 and
 * base64url. Decoders are strict: one text for each value, no white space, no second spelling
 * except the letter case of hex and UUIDs. Any thread.
 */
#ifndef COMMON_ID_H
#define COMMON_ID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"

/* Fills `out` from the system's generator. Cannot fail: a machine without one is lost, and the
 * process aborts. */
void random_bytes(void *out, size_t len);

/* Compares without telling by its duration where the difference is; a different length is no
 * secret. For tokens, MACs and digests of secrets. */
bool constant_time_eq(struct span a, struct span b);

struct uuid {
    uint8_t bytes[16];
};
#define UUID_TEXT_SIZE 37 /* 8-4-4-4-12 and a NUL */

struct uuid uuid_v4(void);

/*
 * RFC 9562 version 5 in the product's own name space. Each part is hashed behind its length, so
 * ("ab","c") and ("a","bc") differ. The same parts give the same id in every version of every
 * service: what is derived here is a contract.
 */
struct uuid uuid_v5(const struct span *parts, size_t count);
#define UUID_V5(...)                                                                               \
    uuid_v5((const struct span[]){__VA_ARGS__},                                                    \
            sizeof((const struct span[]){__VA_ARGS__}) / sizeof(struct span))

/* RFC 9562 version 5 of any name space and name, as other systems compute it. */
struct uuid uuid_v5_of(const struct uuid *name_space, struct span name);

static inline bool uuid_eq(const struct uuid *a, const struct uuid *b)
{
    return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}
static inline struct span uuid_span(const struct uuid *u)
{
    return (struct span){u->bytes, sizeof u->bytes};
}
bool uuid_is_zero(const struct uuid *u);
/* Lower case. */
void uuid_format(const struct uuid *u, char out[UUID_TEXT_SIZE]);
/* Reads 8-4-4-4-12 in either case, any version; else ERR_INVALID and *ret is left alone. */
MUST_USE err_t uuid_parse(struct span text, struct uuid *ret);

/* Characters of `len` bytes in hex, and in base64 with padding; without the NUL. */
#define HEX_LEN(len)    ((len)*2)
#define BASE64_LEN(len) (((len) + 2) / 3 * 4)

/* Lower case and a NUL; `out` holds HEX_LEN(bytes.len) + 1. */
void hex_format(struct span bytes, char *out);
/* Appends lower-case hex; ERR_TOO_LARGE as buf_append. */
err_t hex_append(struct buf *to, struct span bytes);
/*
 * Decoders write at most `max` bytes to `out` and set *ret_len. ERR_INVALID: not the form;
 * ERR_TOO_LARGE: more than `max` bytes. `out` may be partly written on failure, *ret_len is not.
 */
MUST_USE err_t hex_decode(struct span text, uint8_t *out, size_t max, size_t *ret_len);

enum base64_form {
    BASE64_STANDARD, /* "+/", padded: JSON messages */
    BASE64_URL,      /* "-_", never padded: tokens, URLs */
};
err_t base64_append(struct buf *to, struct span bytes, enum base64_form form);
MUST_USE err_t base64_decode(struct span text, enum base64_form form, uint8_t *out, size_t max,
                             size_t *ret_len);

#endif
