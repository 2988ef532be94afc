#include "proto/device_protocol.h"

#include <openssl/sha.h>
#include <stdio.h>

#include "common/id.h"

static const struct {
    const char *name, *path;
} exchanges[DEVICE_EXCHANGE_COUNT] = {
    [DEVICE_BOOTSTRAP] = {"bootstrap", "/v1/device/bootstrap"},
    [DEVICE_HEARTBEAT] = {"heartbeat", "/v1/device/heartbeat"},
    [DEVICE_PICKUP] = {"pickup", "/v1/device/pickup"},
    [DEVICE_CONFIRM] = {"confirm", "/v1/device/confirm"},
};

const char *device_exchange_name(enum device_exchange exchange)
{
    return exchanges[exchange].name;
}

const char *device_exchange_path(enum device_exchange exchange)
{
    return exchanges[exchange].path;
}

bool device_exchange_find(struct span name, enum device_exchange *ret)
{
    for (unsigned i = 0; i < DEVICE_EXCHANGE_COUNT; i++) {
        if (span_eq(name, span_str(exchanges[i].name))) {
            *ret = (enum device_exchange)i;
            return true;
        }
    }
    return false;
}

void device_uid_of_key(struct span spki, uint8_t out[DEVICE_UID_BYTES])
{
    uint8_t digest[SHA256_DIGEST_LENGTH];
    (void)SHA256(spki.ptr, spki.len, digest); /* fails only for a missing output */
    memcpy(out, digest, DEVICE_UID_BYTES);
}

void device_uid_text(const uint8_t uid[DEVICE_UID_BYTES], char out[DEVICE_UID_SIZE])
{
    hex_format(span_of(uid, DEVICE_UID_BYTES), out);
}

static bool in_set(struct span text, size_t min, size_t max, const char *extra)
{
    if (text.len < min || text.len > max) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.ptr[i];
        bool alnum = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!alnum && (c == 0 || strchr(extra, c) == NULL)) {
            return false;
        }
    }
    return true;
}

static bool lower_case(struct span text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] >= 'A' && text.ptr[i] <= 'Z') {
            return false;
        }
    }
    return true;
}

err_t device_uid_parse(struct span text, uint8_t out[DEVICE_UID_BYTES])
{
    uint8_t uid[DEVICE_UID_BYTES];
    size_t len = 0;
    if (text.len != DEVICE_UID_SIZE - 1 || !lower_case(text) ||
        hex_decode(text, uid, sizeof uid, &len) != ERR_OK) {
        return ERR_INVALID;
    }
    memcpy(out, uid, sizeof uid);
    return ERR_OK;
}

bool device_profile_valid(struct span text)
{
    return in_set(text, DEVICE_PROFILE_LEN, DEVICE_PROFILE_LEN, "");
}

bool device_serial_valid(struct span text)
{
    return in_set(text, 1, DEVICE_SERIAL_MAX, "._-");
}

bool device_fact_valid(struct span text)
{
    if (text.len == 0 || text.len > DEVICE_FACT_MAX) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < 0x20 || text.ptr[i] > 0x7e) {
            return false;
        }
    }
    return true;
}

static bool operation_valid(const char *operation)
{
    struct uuid id;
    struct span text = span_str(operation);
    return lower_case(text) && uuid_parse(text, &id) == ERR_OK;
}

err_t device_signed_bytes(const struct device_message *message, char out[DEVICE_SIGNED_SIZE],
                          size_t *ret_len)
{
    uint8_t uid[DEVICE_UID_BYTES];
    bool has_operation = message->operation != NULL && message->operation[0] != 0;
    if (device_uid_parse(span_str(message->uid), uid) != ERR_OK ||
        (has_operation && !operation_valid(message->operation))) {
        return ERR_INVALID;
    }
    uint8_t digest[SHA256_DIGEST_LENGTH];
    char hash[HEX_LEN(sizeof digest) + 1];
    (void)SHA256(message->payload.ptr, message->payload.len, digest);
    hex_format(span_of(digest, sizeof digest), hash);
    int n = snprintf(out, DEVICE_SIGNED_SIZE, "fleetseal-device-v1|%s|%s|%s|%llu|%s",
                     device_exchange_name(message->exchange), message->uid,
                     has_operation ? message->operation : "-",
                     (unsigned long long)message->sequence, hash);
    if (n < 0 || n >= DEVICE_SIGNED_SIZE) {
        return ERR_INTERNAL;
    }
    *ret_len = (size_t)n;
    return ERR_OK;
}

err_t device_signature_format(uint64_t sequence, struct span signature,
                              char out[DEVICE_SIGNATURE_TEXT_SIZE])
{
    if (signature.len > DEVICE_SIGNATURE_MAX) {
        return ERR_TOO_LARGE;
    }
    CLEANUP_BUF struct buf text = BUF_INIT(DEVICE_SIGNATURE_TEXT_SIZE - 1);
    (void)buf_printf(&text, "v1 %llu ", (unsigned long long)sequence);
    (void)base64_append(&text, signature, BASE64_STANDARD);
    if (!buf_ok(&text)) {
        return ERR_TOO_LARGE;
    }
    memcpy(out, buf_cstr(&text), text.len + 1);
    return ERR_OK;
}

err_t device_sequence_parse(struct span text, uint64_t *ret)
{
    uint64_t value = 0;
    if (text.len == 0 || text.ptr[0] == '0') {
        return ERR_INVALID;
    }
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9') {
            return ERR_INVALID;
        }
        uint64_t digit = (uint64_t)(text.ptr[i] - '0');
        if (value > (UINT64_MAX - digit) / 10) {
            return ERR_INVALID;
        }
        value = value * 10 + digit;
    }
    *ret = value;
    return ERR_OK;
}

/* The part of `text` in front of the first blank; `text` goes on behind it. */
static struct span next_word(struct span *text)
{
    const uint8_t *blank = text->len > 0 ? memchr(text->ptr, ' ', text->len) : NULL;
    size_t len = blank != NULL ? (size_t)(blank - text->ptr) : text->len;
    struct span word = span_of(text->ptr, len);
    size_t used = blank != NULL ? len + 1 : len;
    *text = span_of(text->ptr != NULL ? text->ptr + used : NULL, text->len - used);
    return word;
}

err_t device_signature_parse(struct span text, uint64_t *ret_sequence,
                             uint8_t signature[DEVICE_SIGNATURE_MAX], size_t *ret_len)
{
    if (!span_eq(next_word(&text), span_str("v1"))) {
        return ERR_UNSUPPORTED;
    }
    uint64_t sequence = 0;
    if (device_sequence_parse(next_word(&text), &sequence) != ERR_OK || text.len == 0) {
        return ERR_INVALID;
    }
    size_t len = 0;
    err_t err = base64_decode(text, BASE64_STANDARD, signature, DEVICE_SIGNATURE_MAX, &len);
    if (err != ERR_OK) {
        return err;
    }
    *ret_sequence = sequence;
    *ret_len = len;
    return ERR_OK;
}
