/*
 * DER, as far as certificates need it. The reader is strict (definite minimal lengths, one-byte
 * tags) and borrows from its input. The writer fills a caller-owned buffer from its end towards its
 * beginning, so that the length of everything is known when its header is written: contents are put
 * last part first, then wrapped. No allocation. Any thread.
 */
#ifndef COMMON_DER_H
#define COMMON_DER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"

enum {
    DER_BOOLEAN = 0x01,
    DER_INTEGER = 0x02,
    DER_BIT_STRING = 0x03,
    DER_OCTET_STRING = 0x04,
    DER_NULL = 0x05,
    DER_OID = 0x06,
    DER_UTF8_STRING = 0x0c,
    DER_PRINTABLE_STRING = 0x13,
    DER_IA5_STRING = 0x16,
    DER_UTC_TIME = 0x17,
    DER_GENERALIZED_TIME = 0x18,
    DER_SEQUENCE = 0x30,
    DER_SET = 0x31,
    DER_CONTEXT = 0x80,             /* | number: primitive */
    DER_CONTEXT_CONSTRUCTED = 0xa0, /* | number */
};

/* The deepest nesting a certificate of ours or a request has any use for. */
#define DER_DEPTH_MAX 16

struct der_item {
    uint8_t tag;
    struct span value; /* contents octets */
    struct span whole; /* with tag and length */
};

/* Takes the next item off the front of `in`. False, with `in` unchanged: nothing left, cut off, or
 * not DER. */
MUST_USE bool der_read(struct span *in, struct der_item *ret);
/* The same, and the tag must be `tag`. */
MUST_USE bool der_read_tag(struct span *in, uint8_t tag, struct der_item *ret);
/* True when all of `in` is one item with that tag. */
MUST_USE bool der_read_only(struct span in, uint8_t tag, struct der_item *ret);
/*
 * True when `in` is a row of items in the one form DER allows, all the way down: minimal lengths
 * and INTEGERs, BOOLEAN FF or 00, zero padding bits, sorted SETs, well-formed OIDs. OCTET and BIT
 * STRINGs are not looked into.
 */
MUST_USE bool der_canonical(struct span in);

struct der_out {
    uint8_t *base;
    size_t pos; /* what is written begins here */
    size_t end;
    bool overflow; /* something did not fit; from then on nothing is written */
};

static inline struct der_out der_out_of(uint8_t *buffer, size_t size)
{
    return (struct der_out){.base = buffer, .pos = size, .end = size};
}

/* Puts bytes in front of what is written. */
void der_put(struct der_out *out, struct span bytes);
void der_put_byte(struct der_out *out, uint8_t byte);
/* Where the content ends that der_wrap is going to enclose; taken before its parts are put. */
static inline size_t der_mark(const struct der_out *out)
{
    return out->pos;
}
/* Puts tag and length in front of everything written since `mark`. */
void der_wrap(struct der_out *out, uint8_t tag, size_t mark);
/* tag, length and these contents. */
void der_put_item(struct der_out *out, uint8_t tag, struct span value);
/* A non-negative INTEGER from its big-endian bytes: leading zeros dropped, sign octet added. */
void der_put_unsigned(struct der_out *out, struct span big_endian);
/* A BIT STRING without unused bits. */
void der_put_bit_string(struct der_out *out, struct span bytes);
/* What was written since `mark`; valid until the buffer goes. */
static inline struct span der_since(const struct der_out *out, size_t mark)
{
    return (struct span){out->base + out->pos, mark - out->pos};
}
static inline struct span der_written(const struct der_out *out)
{
    return der_since(out, out->end);
}

#endif
