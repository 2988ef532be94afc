#include "common/spki.h"

#include "common/der.h"
#include "common/oid.h"

#define FIELD "public_key"

/* The AlgorithmIdentifiers that are accepted, byte for byte: RFC 5480, RFC 8410, RFC 3279. */
static const struct {
    const char *name;
    struct span algorithm;
    unsigned bits;
    size_t point_len; /* 0: not an elliptic curve key */
} kinds[KEY_KIND_COUNT] = {
    [KEY_KIND_EC_P256] = {"EC-P256",
                          OID_INIT("\x30\x13\x06\x07" OID_EC_PUBLIC_KEY "\x06\x08" OID_PRIME256V1),
                          256, 65},
    [KEY_KIND_EC_P384] = {"EC-P384",
                          OID_INIT("\x30\x10\x06\x07" OID_EC_PUBLIC_KEY "\x06\x05" OID_SECP384R1),
                          384, 97},
    [KEY_KIND_ED25519] = {"Ed25519", OID_INIT("\x30\x05\x06\x03" OID_ED25519), 255, 0},
    [KEY_KIND_RSA] = {"RSA", OID_INIT("\x30\x0d\x06\x09" OID_RSA_ENCRYPTION "\x05\x00"), 0, 0},
};

const char *key_kind_name(enum key_kind kind)
{
    return kinds[kind].name;
}

static err_t check_point(const struct spki *key, struct fault *fault)
{
    if (key->key.len != kinds[key->kind].point_len || key->key.ptr[0] != 0x04) {
        return fault_set(fault, ERR_UNSUPPORTED, "unsupported_key", FIELD,
                         "an %s key must be an uncompressed point of %zu bytes",
                         kinds[key->kind].name, kinds[key->kind].point_len);
    }
    return ERR_OK;
}

static err_t check_ed25519(const struct spki *key, struct fault *fault)
{
    if (key->key.len != 32) {
        return fault_set(fault, ERR_UNSUPPORTED, "unsupported_key", FIELD,
                         "an Ed25519 key has 32 bytes, not %zu", key->key.len);
    }
    return ERR_OK;
}

/* The value of a positive INTEGER without its sign octet; false when it is not one. */
static bool positive_integer(struct span *in, struct span *ret)
{
    struct der_item item;
    if (!der_read_tag(in, DER_INTEGER, &item) || !der_canonical(item.whole) ||
        item.value.ptr[0] >= 0x80) {
        return false;
    }
    *ret = item.value;
    if (ret->len > 1 && ret->ptr[0] == 0) {
        *ret = span_of(ret->ptr + 1, ret->len - 1);
    }
    return true;
}

static unsigned bit_length(struct span big_endian)
{
    unsigned bits = (unsigned)(big_endian.len - 1) * 8;
    for (uint8_t top = big_endian.ptr[0]; top > 0; top >>= 1) {
        bits++;
    }
    return bits;
}

static bool is_odd(struct span big_endian)
{
    return (big_endian.ptr[big_endian.len - 1] & 1) != 0;
}

/* 65537 <= e < 2^256 and odd, as NIST SP 800-89 section 5.3.3 asks. */
static bool good_exponent(struct span e)
{
    return is_odd(e) && e.len <= 32 && bit_length(e) >= 17;
}

static err_t check_rsa(struct spki *key, struct fault *fault)
{
    struct der_item sequence;
    struct span n;
    struct span e;
    if (!der_read_only(key->key, DER_SEQUENCE, &sequence) ||
        !positive_integer(&sequence.value, &n) || !positive_integer(&sequence.value, &e) ||
        sequence.value.len != 0) {
        return fault_set(fault, ERR_INVALID, "invalid_key", FIELD, "not an RSA public key");
    }
    key->bits = bit_length(n);
    if (key->bits < SPKI_RSA_BITS_MIN || key->bits > SPKI_RSA_BITS_MAX) {
        return fault_set(fault, ERR_UNSUPPORTED, "weak_key", FIELD,
                         "RSA keys must have %d to %d bits, this one has %u", SPKI_RSA_BITS_MIN,
                         SPKI_RSA_BITS_MAX, key->bits);
    }
    if (!is_odd(n) || !good_exponent(e)) {
        return fault_set(fault, ERR_UNSUPPORTED, "weak_key", FIELD,
                         "RSA keys must have an odd modulus and an odd exponent of at least 65537");
    }
    key->rsa_n = n;
    return ERR_OK;
}

static err_t identify(struct span algorithm, enum key_kind *ret, struct fault *fault)
{
    for (unsigned kind = 0; kind < KEY_KIND_COUNT; kind++) {
        if (span_eq(algorithm, kinds[kind].algorithm)) {
            *ret = kind;
            return ERR_OK;
        }
    }
    return fault_set(fault, ERR_UNSUPPORTED, "unsupported_key", FIELD,
                     "keys must be EC P-256, EC P-384 (named curves), Ed25519 or RSA");
}

err_t spki_parse(struct span der, struct spki *ret, struct fault *fault)
{
    struct der_item info;
    struct der_item algorithm;
    struct der_item bits;
    struct spki key = {.der = der};
    if (der.len > SPKI_MAX) {
        return fault_set(fault, ERR_UNSUPPORTED, "unsupported_key", FIELD,
                         "public keys may have %d bytes, this one has %zu", SPKI_MAX, der.len);
    }
    if (!der_read_only(der, DER_SEQUENCE, &info) ||
        !der_read_tag(&info.value, DER_SEQUENCE, &algorithm) ||
        !der_read_tag(&info.value, DER_BIT_STRING, &bits) || info.value.len != 0 ||
        bits.value.len < 2 || bits.value.ptr[0] != 0) {
        return fault_set(fault, ERR_INVALID, "invalid_key", FIELD,
                         "not a DER SubjectPublicKeyInfo");
    }
    err_t e = identify(algorithm.whole, &key.kind, fault);
    if (e != ERR_OK) {
        return e;
    }
    key.bits = kinds[key.kind].bits;
    key.key = span_of(bits.value.ptr + 1, bits.value.len - 1);
    switch (key.kind) {
    case KEY_KIND_ED25519:
        e = check_ed25519(&key, fault);
        break;
    case KEY_KIND_RSA:
        e = check_rsa(&key, fault);
        break;
    default:
        e = check_point(&key, fault);
        break;
    }
    if (e == ERR_OK) {
        *ret = key;
    }
    return e;
}

static unsigned remainder_of(struct span big_endian, unsigned divisor)
{
    unsigned rest = 0;
    for (size_t i = 0; i < big_endian.len; i++) {
        rest = (rest << 8 | big_endian.ptr[i]) % divisor;
    }
    return rest;
}

err_t spki_check_factors(const struct spki *key, struct fault *fault)
{
    if (key->kind != KEY_KIND_RSA) {
        return ERR_OK;
    }
    /* A composite divisor finds nothing its primes did not, so a sieve would only add code. */
    for (unsigned divisor = 3; divisor < 752; divisor += 2) {
        if (remainder_of(key->rsa_n, divisor) == 0) {
            return fault_set(fault, ERR_UNSUPPORTED, "weak_key", FIELD,
                             "the RSA modulus is divisible by %u", divisor);
        }
    }
    return ERR_OK;
}
