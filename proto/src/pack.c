#include "pack.h"

#include <assert.h>
#include <openssl/ec.h>
#include <openssl/obj_mac.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/digest.h"
#include "common/partition.h"

#define DAY_MS    INT64_C(86400000)
#define SECOND_MS INT64_C(1000)

void pack_u8(struct buf *to, uint8_t value)
{
    (void)buf_append_byte(to, value);
}

void pack_varint(struct buf *to, uint64_t value)
{
    while (value >= 0x80) {
        pack_u8(to, (uint8_t)(value | 0x80));
        value >>= 7;
    }
    pack_u8(to, (uint8_t)value);
}

void pack_signed(struct buf *to, int64_t value)
{
    pack_varint(to, ((uint64_t)value << 1) ^ (value < 0 ? UINT64_MAX : 0));
}

/* The lowest two bits name the unit: 0 milliseconds, 1 seconds, 2 days. */
void pack_duration(struct buf *to, int64_t ms)
{
    if (ms % DAY_MS == 0) {
        pack_signed(to, ms / DAY_MS * 4 + 2);
    } else if (ms % SECOND_MS == 0) {
        pack_signed(to, ms / SECOND_MS * 4 + 1);
    } else {
        pack_signed(to, ms * 4);
    }
}

void pack_bytes(struct buf *to, struct span bytes)
{
    pack_varint(to, bytes.len);
    (void)buf_append_span(to, bytes);
}

void pack_uuid(struct buf *to, const struct uuid *id)
{
    (void)buf_append(to, id->bytes, sizeof id->bytes);
}

uint8_t unpack_u8(struct unpacker *u)
{
    uint8_t value = 0;
    unpack_fixed(u, &value, 1);
    return value;
}

uint64_t unpack_varint(struct unpacker *u)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint8_t byte = unpack_u8(u);
        if (shift == 63 && byte > 1) {
            break;
        }
        value |= (uint64_t)(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0) {
            return u->bad ? 0 : value;
        }
    }
    u->bad = true;
    return 0;
}

int64_t unpack_signed(struct unpacker *u)
{
    uint64_t value = unpack_varint(u);
    return (int64_t)((value >> 1) ^ (0 - (value & 1)));
}

int64_t unpack_duration(struct unpacker *u)
{
    static const int64_t unit_ms[] = {1, SECOND_MS, DAY_MS, 0};
    int64_t coded = unpack_signed(u);
    unsigned unit = (unsigned)coded & 3;
    int64_t ms = 0;
    if (unit == 3 || __builtin_mul_overflow((coded - (int64_t)unit) / 4, unit_ms[unit], &ms)) {
        u->bad = true;
        return 0;
    }
    return ms;
}

int64_t unpack_time(struct unpacker *u, int64_t reference_ms)
{
    return (int64_t)((uint64_t)reference_ms + (uint64_t)unpack_duration(u));
}

void unpack_fixed(struct unpacker *u, void *out, size_t len)
{
    if (u->bad || u->rest.len < len) {
        u->bad = true;
        memset(out, 0, len);
        return;
    }
    memcpy(out, u->rest.ptr, len);
    u->rest.ptr += len;
    u->rest.len -= len;
}

size_t unpack_bytes(struct unpacker *u, uint8_t *out, size_t max)
{
    uint64_t len = unpack_varint(u);
    if (len > max) {
        u->bad = true;
        return 0;
    }
    unpack_fixed(u, out, (size_t)len);
    return u->bad ? 0 : (size_t)len;
}

void unpack_text(struct unpacker *u, char *out, size_t size)
{
    size_t len = unpack_bytes(u, (uint8_t *)out, size - 1);
    out[len] = 0;
    if (strlen(out) != len) {
        u->bad = true;
    }
}

void unpack_uuid(struct unpacker *u, struct uuid *out)
{
    unpack_fixed(u, out->bytes, sizeof out->bytes);
}

int unpack_enum(struct unpacker *u, int max)
{
    int value = unpack_u8(u);
    if (value < 1 || value > max) {
        u->bad = true;
        return 1;
    }
    return value;
}

size_t unpack_count(struct unpacker *u, size_t max)
{
    size_t count = unpack_u8(u);
    if (count > max) {
        u->bad = true;
        return 0;
    }
    return count;
}

/* A P-256 SPKI is a constant prefix and an uncompressed point; anything else is kept as it is. The
 * first byte of the packed form tells: 0 none, 1 DER as it is, 2 and 3 the point compressed. */
enum { KEY_NONE = 0, KEY_RAW = 1 };
#define P256_SPKI_LEN   91
#define P256_POINT_AT   26 /* of 0x04, X, Y */
#define P256_COORDINATE 32
static const uint8_t p256_prefix[P256_POINT_AT] = {
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01,
    0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
};

static EC_GROUP *p256;
static void p256_load(void)
{
    p256 = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
    assert(p256 != NULL); /* in every provider we run with */
}
static const EC_GROUP *p256_group(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, p256_load);
    return p256;
}

/*
 * What a thread keeps. Points seen lately, since a device that picks up confirms next and computing
 * Y costs 20 us: direct-mapped by the low bits of X, which are as good as random; a place is empty
 * while its first byte is 0. And what OpenSSL calculates with: to make it anew costs as much as the
 * calculation.
 */
#define POINTS 16384
struct point {
    uint8_t bytes[1 + 2 * P256_COORDINATE]; /* 0x04, X, Y */
};
struct curve {
    BN_CTX *numbers;
    EC_POINT *at;
    struct point seen[POINTS];
};

static void curve_free(void *self)
{
    struct curve *curve = self;
    EC_POINT_free(curve->at);
    BN_CTX_free(curve->numbers);
    free(curve);
}

static pthread_key_t curve_slot;
static void curve_make_slot(void)
{
    if (pthread_key_create(&curve_slot, curve_free) != 0) {
        abort(); /* the process has a handful of them */
    }
}

static struct curve *curve_of_thread(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, curve_make_slot);
    struct curve *curve = pthread_getspecific(curve_slot);
    if (curve == NULL) {
        curve = xcalloc(1, sizeof *curve);
        curve->numbers = BN_CTX_new();
        curve->at = EC_POINT_new(p256_group());
        if (curve->numbers == NULL || curve->at == NULL ||
            pthread_setspecific(curve_slot, curve) != 0) {
            abort(); /* out of memory */
        }
    }
    return curve;
}

/* The place for the point with this X. */
static struct point *point_place(struct curve *curve, const uint8_t x[P256_COORDINATE])
{
    return &curve->seen[((unsigned)x[P256_COORDINATE - 1] << 8 | x[P256_COORDINATE - 2]) % POINTS];
}

static bool point_is(const struct point *p, const uint8_t compressed[1 + P256_COORDINATE])
{
    return p->bytes[0] == 0x04 && (p->bytes[sizeof p->bytes - 1] & 1) == (compressed[0] & 1) &&
           memcmp(p->bytes + 1, compressed + 1, P256_COORDINATE) == 0;
}

/* Fills the uncompressed point (0x04, X, Y) from the compressed one. False when it is not on the
 * curve. */
static bool p256_decompress(const uint8_t compressed[1 + P256_COORDINATE],
                            uint8_t point[1 + 2 * P256_COORDINATE])
{
    struct curve *curve = curve_of_thread();
    struct point *known = point_place(curve, compressed + 1);
    if (!point_is(known, compressed)) {
        struct point found;
        if (EC_POINT_oct2point(p256_group(), curve->at, compressed, 1 + P256_COORDINATE,
                               curve->numbers) != 1 ||
            EC_POINT_point2oct(p256_group(), curve->at, POINT_CONVERSION_UNCOMPRESSED, found.bytes,
                               sizeof found.bytes, curve->numbers) != sizeof found.bytes) {
            return false;
        }
        *known = found;
    }
    memcpy(point, known->bytes, sizeof known->bytes);
    return true;
}

/* Only what decompresses to the same bytes may be compressed: a point off the curve is kept raw.
 * Curve membership needs no square root: it is checked by setting the affine coordinates. */
static bool p256_compressible(const struct device_key *key)
{
    if (key->len != P256_SPKI_LEN || memcmp(key->der, p256_prefix, P256_POINT_AT) != 0 ||
        key->der[P256_POINT_AT] != 0x04) {
        return false;
    }
    const uint8_t *point = key->der + P256_POINT_AT;
    struct curve *curve = curve_of_thread();
    struct point *known = point_place(curve, point + 1);
    if (memcmp(known->bytes, point, sizeof known->bytes) == 0) {
        return true;
    }
    if (EC_POINT_oct2point(p256_group(), curve->at, point, sizeof known->bytes, curve->numbers) !=
        1) {
        return false;
    }
    memcpy(known->bytes, point, sizeof known->bytes);
    return true;
}

void pack_key(struct buf *to, const struct device_key *key)
{
    if (key->len == 0) {
        pack_u8(to, KEY_NONE);
        return;
    }
    if (!p256_compressible(key)) {
        pack_u8(to, KEY_RAW);
        pack_bytes(to, span_of(key->der, key->len));
        return;
    }
    pack_u8(to, (uint8_t)(2 | (key->der[P256_SPKI_LEN - 1] & 1)));
    (void)buf_append(to, key->der + P256_POINT_AT + 1, P256_COORDINATE);
}

void unpack_key(struct unpacker *u, struct device_key *out)
{
    uint8_t compressed[1 + P256_COORDINATE] = {unpack_u8(u)};
    out->len = 0;
    switch (compressed[0]) {
    case KEY_NONE:
        return;
    case KEY_RAW:
        out->len = unpack_bytes(u, out->der, sizeof out->der);
        return;
    case 2:
    case 3:
        unpack_fixed(u, compressed + 1, P256_COORDINATE);
        if (u->bare) {
            return;
        }
        if (!u->bad && p256_decompress(compressed, out->der + P256_POINT_AT)) {
            memcpy(out->der, p256_prefix, P256_POINT_AT);
            out->len = P256_SPKI_LEN;
            return;
        }
    }
    u->bad = true;
}

void pack_sha256(struct span bytes, uint8_t out[32])
{
    memcpy(out, digest_sha256(bytes).bytes, DIGEST_LEN);
}

/* A profile UID is 6 base62 digits of the domain's hash and 16 random ones: 5 and 12 bytes as
 * numbers, and the former follow from the domain unless the profile is another domain's. */
enum { PROFILE_TEXT, PROFILE_NUMBERS, PROFILE_OF_DOMAIN };
#define PROFILE_HINT_DIGITS 6
__extension__ typedef unsigned __int128 u128;

static const char base62[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

static bool base62_read(const char *text, size_t digits, u128 *ret)
{
    u128 value = 0;
    for (size_t i = 0; i < digits; i++) {
        const char *at = text[i] != 0 ? strchr(base62, text[i]) : NULL;
        if (at == NULL) {
            return false;
        }
        value = value * 62 + (unsigned)(at - base62);
    }
    *ret = value;
    return true;
}

static void base62_write(u128 value, char *out, size_t digits)
{
    for (size_t i = digits; i > 0; i--) {
        out[i - 1] = base62[(unsigned)(value % 62)];
        value /= 62;
    }
}

static uint64_t profile_hint(const struct uuid *domain)
{
    char text[UUID_TEXT_SIZE];
    uuid_format(domain, text);
    return stable_hash(span_str(text));
}

static void pack_number(struct buf *to, u128 value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        pack_u8(to, (uint8_t)(value >> (8 * i)));
    }
}

static u128 unpack_number(struct unpacker *u, size_t bytes)
{
    u128 value = 0;
    for (size_t i = 0; i < bytes; i++) {
        value |= (u128)unpack_u8(u) << (8 * i);
    }
    return value;
}

void pack_profile(struct buf *to, const char *text, const struct uuid *domain)
{
    u128 hint = 0;
    u128 rest = 0;
    if (strlen(text) != DEVICE_PROFILE_LEN || !base62_read(text, PROFILE_HINT_DIGITS, &hint) ||
        !base62_read(text + PROFILE_HINT_DIGITS, DEVICE_PROFILE_LEN - PROFILE_HINT_DIGITS, &rest)) {
        pack_u8(to, PROFILE_TEXT);
        pack_bytes(to, span_str(text));
        return;
    }
    bool of_domain = hint == profile_hint(domain);
    pack_u8(to, of_domain ? PROFILE_OF_DOMAIN : PROFILE_NUMBERS);
    if (!of_domain) {
        pack_number(to, hint, 5);
    }
    pack_number(to, rest, 12);
}

void unpack_profile(struct unpacker *u, const struct uuid *domain, char *out)
{
    uint8_t form = unpack_u8(u);
    if (form == PROFILE_TEXT) {
        unpack_text(u, out, DEVICE_PROFILE_LEN + 1);
        return;
    }
    if (form > PROFILE_OF_DOMAIN) {
        u->bad = true;
        return;
    }
    u128 hint = form == PROFILE_OF_DOMAIN ? profile_hint(domain) : unpack_number(u, 5);
    base62_write(hint, out, PROFILE_HINT_DIGITS);
    base62_write(unpack_number(u, 12), out + PROFILE_HINT_DIGITS,
                 DEVICE_PROFILE_LEN - PROFILE_HINT_DIGITS);
}

/* CN=<uid> as a UTF8String: the subject ca-signer gives a first certificate. */
#define UID_SUBJECT_PREFIX 13
static const uint8_t uid_subject_prefix[UID_SUBJECT_PREFIX] = {
    0x30, 0x1b, 0x31, 0x19, 0x30, 0x17, 0x06, 0x03, 0x55, 0x04, 0x03, 0x0c, 0x10};

void pack_uid_subject(const char *uid, struct device_subject *out)
{
    memcpy(out->der, uid_subject_prefix, UID_SUBJECT_PREFIX);
    memcpy(out->der + UID_SUBJECT_PREFIX, uid, DEVICE_UID_LEN);
    out->len = UID_SUBJECT_PREFIX + DEVICE_UID_LEN;
}

void pack_changes(struct buf *to, const struct device *d)
{
    pack_u8(to, (uint8_t)d->changes_count);
    for (size_t i = 0; i < d->changes_count; i++) {
        pack_uuid(to, &d->changes[i].id);
        pack_duration(to, d->changes[i].at_ms - d->updated_at_ms);
    }
}

void unpack_changes(struct unpacker *u, struct device *d)
{
    size_t count = unpack_u8(u);
    if (count > DEVICE_CHANGES_MAX) {
        u->bad = true;
        return;
    }
    d->changes_count = count;
    for (size_t i = 0; i < count; i++) {
        unpack_uuid(u, &d->changes[i].id);
        d->changes[i].at_ms = unpack_time(u, d->updated_at_ms);
    }
}
