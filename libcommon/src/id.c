#include "common/id.h"

#include <assert.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <sys/random.h>

#include "digest_internal.h"

void random_bytes(void *out, size_t len)
{
    uint8_t *to = out;
    while (len > 0) {
        ssize_t n = getrandom(to, len, 0);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            (void)fputs("{\"level\":\"fatal\",\"event\":\"no_random_source\"}\n", stderr);
            abort();
        }
        to += n;
        len -= (size_t)n;
    }
}

bool constant_time_eq(struct span a, struct span b)
{
    return a.len == b.len && (a.len == 0 || CRYPTO_memcmp(a.ptr, b.ptr, a.len) == 0);
}

static struct uuid with_version(struct uuid u, uint8_t version)
{
    u.bytes[6] = (uint8_t)((u.bytes[6] & 0x0f) | version << 4);
    u.bytes[8] = (uint8_t)((u.bytes[8] & 0x3f) | 0x80);
    return u;
}

struct uuid uuid_v4(void)
{
    struct uuid u;
    random_bytes(u.bytes, sizeof u.bytes);
    return with_version(u, 4);
}

/* e1b9f9a4-52b0-4c63-9a37-7d7b62f6a0c5: chosen once; every derived id depends on it. */
static const struct uuid product = {{0xe1, 0xb9, 0xf9, 0xa4, 0x52, 0xb0, 0x4c, 0x63, 0x9a, 0x37,
                                     0x7d, 0x7b, 0x62, 0xf6, 0xa0, 0xc5}};

CLEANUP_DEFINE(EVP_MD_CTX *, EVP_MD_CTX_free);

static EVP_MD_CTX *sha1_start(const struct uuid *name_space)
{
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    int ok = hash != NULL && EVP_DigestInit_ex(hash, digest_md_sha1(), NULL) == 1 &&
             EVP_DigestUpdate(hash, name_space->bytes, sizeof name_space->bytes) == 1;
    assert(ok); /* SHA-1 for names is in every provider we run with */
    (void)ok;
    return hash;
}

static void sha1_add(EVP_MD_CTX *hash, const void *ptr, size_t len)
{
    int ok = EVP_DigestUpdate(hash, ptr, len);
    assert(ok == 1);
    (void)ok;
}

static struct uuid sha1_finish(EVP_MD_CTX *hash)
{
    uint8_t digest[EVP_MAX_MD_SIZE] = {0};
    int ok = EVP_DigestFinal_ex(hash, digest, NULL);
    assert(ok == 1);
    (void)ok;
    struct uuid u;
    memcpy(u.bytes, digest, sizeof u.bytes);
    return with_version(u, 5);
}

struct uuid uuid_v5(const struct span *parts, size_t count)
{
    CLEANUP(EVP_MD_CTX_free) EVP_MD_CTX *hash = sha1_start(&product);
    for (size_t i = 0; i < count; i++) {
        uint32_t len = (uint32_t)parts[i].len;
        uint8_t prefix[4] = {(uint8_t)(len >> 24), (uint8_t)(len >> 16), (uint8_t)(len >> 8),
                             (uint8_t)len};
        sha1_add(hash, prefix, sizeof prefix);
        sha1_add(hash, parts[i].ptr, parts[i].len);
    }
    return sha1_finish(hash);
}

struct uuid uuid_v5_of(const struct uuid *name_space, struct span name)
{
    CLEANUP(EVP_MD_CTX_free) EVP_MD_CTX *hash = sha1_start(name_space);
    sha1_add(hash, name.ptr, name.len);
    return sha1_finish(hash);
}

bool uuid_is_zero(const struct uuid *u)
{
    static const struct uuid zero;
    return uuid_eq(u, &zero);
}

static bool hyphen_before(size_t byte)
{
    return byte == 4 || byte == 6 || byte == 8 || byte == 10;
}

void uuid_format(const struct uuid *u, char out[UUID_TEXT_SIZE])
{
    for (size_t i = 0; i < sizeof u->bytes; i++) {
        if (hyphen_before(i)) {
            *out++ = '-';
        }
        hex_format((struct span){u->bytes + i, 1}, out);
        out += 2;
    }
}

err_t uuid_parse(struct span text, struct uuid *ret)
{
    if (text.len != UUID_TEXT_SIZE - 1) {
        return ERR_INVALID;
    }
    struct uuid u;
    const uint8_t *at = text.ptr;
    for (size_t i = 0; i < sizeof u.bytes; i++) {
        if (hyphen_before(i) && *at++ != '-') {
            return ERR_INVALID;
        }
        size_t len = 0;
        if (hex_decode((struct span){at, 2}, u.bytes + i, 1, &len) != ERR_OK) {
            return ERR_INVALID;
        }
        at += 2;
    }
    *ret = u;
    return ERR_OK;
}

void hex_format(struct span bytes, char *out)
{
    static const char digit[] = "0123456789abcdef";
    for (size_t i = 0; i < bytes.len; i++) {
        *out++ = digit[bytes.ptr[i] >> 4];
        *out++ = digit[bytes.ptr[i] & 15];
    }
    *out = 0;
}

err_t hex_append(struct buf *to, struct span bytes)
{
    uint8_t *out = buf_reserve(to, HEX_LEN(bytes.len));
    if (out == NULL) {
        return ERR_TOO_LARGE;
    }
    hex_format(bytes, (char *)out);
    to->len += HEX_LEN(bytes.len);
    return ERR_OK;
}

/* Value + 1; 0: not a hex digit. */
static const uint8_t hex_values[256] = {
    ['0'] = 1,  ['1'] = 2,  ['2'] = 3,  ['3'] = 4,  ['4'] = 5,  ['5'] = 6,  ['6'] = 7,  ['7'] = 8,
    ['8'] = 9,  ['9'] = 10, ['a'] = 11, ['b'] = 12, ['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16,
    ['A'] = 11, ['B'] = 12, ['C'] = 13, ['D'] = 14, ['E'] = 15, ['F'] = 16,
};

err_t hex_decode(struct span text, uint8_t *out, size_t max, size_t *ret_len)
{
    if (text.len % 2 != 0) {
        return ERR_INVALID;
    }
    if (text.len / 2 > max) {
        return ERR_TOO_LARGE;
    }
    for (size_t i = 0; i < text.len / 2; i++) {
        int high = hex_values[text.ptr[2 * i]] - 1;
        int low = hex_values[text.ptr[2 * i + 1]] - 1;
        if (high < 0 || low < 0) {
            return ERR_INVALID;
        }
        out[i] = (uint8_t)(high << 4 | low);
    }
    *ret_len = text.len / 2;
    return ERR_OK;
}

static const char base64_letters[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

static char base64_digit(unsigned value, enum base64_form form)
{
    if (value < 62) {
        return base64_letters[value];
    }
    if (form == BASE64_URL) {
        return value == 62 ? '-' : '_';
    }
    return value == 62 ? '+' : '/';
}

/* Value + 1 of the letters and digits both forms share; 0: none of them. */
static const uint8_t base64_shared[256] = {
    ['A'] = 1,  ['B'] = 2,  ['C'] = 3,  ['D'] = 4,  ['E'] = 5,  ['F'] = 6,  ['G'] = 7,  ['H'] = 8,
    ['I'] = 9,  ['J'] = 10, ['K'] = 11, ['L'] = 12, ['M'] = 13, ['N'] = 14, ['O'] = 15, ['P'] = 16,
    ['Q'] = 17, ['R'] = 18, ['S'] = 19, ['T'] = 20, ['U'] = 21, ['V'] = 22, ['W'] = 23, ['X'] = 24,
    ['Y'] = 25, ['Z'] = 26, ['a'] = 27, ['b'] = 28, ['c'] = 29, ['d'] = 30, ['e'] = 31, ['f'] = 32,
    ['g'] = 33, ['h'] = 34, ['i'] = 35, ['j'] = 36, ['k'] = 37, ['l'] = 38, ['m'] = 39, ['n'] = 40,
    ['o'] = 41, ['p'] = 42, ['q'] = 43, ['r'] = 44, ['s'] = 45, ['t'] = 46, ['u'] = 47, ['v'] = 48,
    ['w'] = 49, ['x'] = 50, ['y'] = 51, ['z'] = 52, ['0'] = 53, ['1'] = 54, ['2'] = 55, ['3'] = 56,
    ['4'] = 57, ['5'] = 58, ['6'] = 59, ['7'] = 60, ['8'] = 61, ['9'] = 62,
};

static int base64_value(uint8_t c, enum base64_form form)
{
    if (base64_shared[c] != 0) {
        return base64_shared[c] - 1;
    }
    if (c == (form == BASE64_URL ? '-' : '+')) {
        return 62;
    }
    return c == (form == BASE64_URL ? '_' : '/') ? 63 : -1;
}

err_t base64_append(struct buf *to, struct span bytes, enum base64_form form)
{
    uint8_t *out = buf_reserve(to, BASE64_LEN(bytes.len));
    if (out == NULL) {
        return ERR_TOO_LARGE;
    }
    const uint8_t *start = out;
    for (size_t i = 0; i < bytes.len; i += 3) {
        size_t have = bytes.len - i < 3 ? bytes.len - i : 3;
        unsigned group = (unsigned)bytes.ptr[i] << 16;
        group |= have > 1 ? (unsigned)bytes.ptr[i + 1] << 8 : 0;
        group |= have > 2 ? bytes.ptr[i + 2] : 0;
        for (size_t k = 0; k <= have; k++) {
            *out++ = (uint8_t)base64_digit(group >> (18 - 6 * k) & 63, form);
        }
        for (size_t k = have; k < 3 && form == BASE64_STANDARD; k++) {
            *out++ = '=';
        }
    }
    to->len += (size_t)(out - start);
    return ERR_OK;
}

/* The length without padding, or ERR_INVALID where the padding is not what the form asks for. */
static err_t base64_strip(struct span *text, enum base64_form form)
{
    if (form == BASE64_STANDARD) {
        if (text->len % 4 != 0) {
            return ERR_INVALID;
        }
        for (int i = 0; i < 2 && text->len > 0 && text->ptr[text->len - 1] == '='; i++) {
            text->len--;
        }
    }
    return text->len % 4 == 1 ? ERR_INVALID : ERR_OK;
}

err_t base64_decode(struct span text, enum base64_form form, uint8_t *out, size_t max,
                    size_t *ret_len)
{
    if (base64_strip(&text, form) != ERR_OK) {
        return ERR_INVALID;
    }
    size_t len = text.len / 4 * 3 + (text.len % 4 != 0 ? text.len % 4 - 1 : 0);
    if (len > max) {
        return ERR_TOO_LARGE;
    }
    size_t i = 0;
    for (; i + 4 <= text.len; i += 4) {
        int a = base64_value(text.ptr[i], form);
        int b = base64_value(text.ptr[i + 1], form);
        int c = base64_value(text.ptr[i + 2], form);
        int d = base64_value(text.ptr[i + 3], form);
        if ((a | b | c | d) < 0) {
            return ERR_INVALID;
        }
        unsigned group = (unsigned)a << 18 | (unsigned)b << 12 | (unsigned)c << 6 | (unsigned)d;
        *out++ = (uint8_t)(group >> 16);
        *out++ = (uint8_t)(group >> 8);
        *out++ = (uint8_t)group;
    }
    unsigned bits = 0; /* the lowest `pending` bits wait for the next character */
    unsigned pending = 0;
    for (; i < text.len; i++) {
        int value = base64_value(text.ptr[i], form);
        if (value < 0) {
            return ERR_INVALID;
        }
        bits = bits << 6 | (unsigned)value;
        pending += 6;
        if (pending >= 8) {
            pending -= 8;
            *out++ = (uint8_t)(bits >> pending);
        }
    }
    if ((bits & ((1U << pending) - 1)) != 0) { /* a second spelling of the same bytes */
        return ERR_INVALID;
    }
    *ret_len = len;
    return ERR_OK;
}
