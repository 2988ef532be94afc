/*
 * Primitives of packed view payloads: variable-length integers, durations in the coarsest unit that
 * is exact, short byte strings, public keys with P-256 points compressed. Writers append to a
 * bounded buffer, which remembers an overflow (buf_ok), so single results are not looked at. A
 * reader that meets damage sets `bad` and gives zeros from there on. Any thread.
 */
#ifndef PROTO_PACK_H
#define PROTO_PACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/id.h"
#include "proto/device.h"

void pack_u8(struct buf *to, uint8_t value);
void pack_varint(struct buf *to, uint64_t value);
void pack_signed(struct buf *to, int64_t value);
/* A difference of times in ms: whole days and whole seconds take fewer bytes. */
void pack_duration(struct buf *to, int64_t ms);
/* Length and bytes. */
void pack_bytes(struct buf *to, struct span bytes);
void pack_uuid(struct buf *to, const struct uuid *id);
void pack_key(struct buf *to, const struct device_key *key);

struct unpacker {
    struct span rest;
    bool bad;
    bool bare; /* unpack_key passes over P-256 points */
};
uint8_t unpack_u8(struct unpacker *u);
uint64_t unpack_varint(struct unpacker *u);
int64_t unpack_signed(struct unpacker *u);
int64_t unpack_duration(struct unpacker *u);
/* A time behind its reference; damaged bytes may spell any difference, so the sum wraps. */
int64_t unpack_time(struct unpacker *u, int64_t reference_ms);
/* Exactly `len` bytes; zeros when there are not as many. */
void unpack_fixed(struct unpacker *u, void *out, size_t len);
/* Length and bytes, at most `max`. */
size_t unpack_bytes(struct unpacker *u, uint8_t *out, size_t max);
/* The same as a C string in `out[size]`; NUL bytes inside are damage. */
void unpack_text(struct unpacker *u, char *out, size_t size);
void unpack_uuid(struct unpacker *u, struct uuid *out);
/* A value of 1..max, for enums. */
int unpack_enum(struct unpacker *u, int max);
/* How many elements follow, at most `max`. */
size_t unpack_count(struct unpacker *u, size_t max);
void unpack_key(struct unpacker *u, struct device_key *out);

/* A DeviceProfileUID, or any text of at most DEVICE_PROFILE_LEN bytes; `domain` is whose it usually
 * is. */
void pack_profile(struct buf *to, const char *text, const struct uuid *domain);
void unpack_profile(struct unpacker *u, const struct uuid *domain, char *out);

/* The changes of a device whose updated_at_ms is known. */
void pack_changes(struct buf *to, const struct device *d);
void unpack_changes(struct unpacker *u, struct device *d);

/* CN=<uid> as a UTF8String: the subject ca-signer gives a first certificate. */
void pack_uid_subject(const char *uid, struct device_subject *out);

/* SHA-256; cannot fail. */
void pack_sha256(struct span bytes, uint8_t out[32]);

#endif
