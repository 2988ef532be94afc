#include "proto/registry.h"

#include <stdio.h>

#include "common/partition.h"

static const char *const kind_words[REGISTRY_KIND_COUNT] = {
    [REGISTRY_DOMAIN] = "domain",   [REGISTRY_ACCESS_KEY] = "access-key",
    [REGISTRY_PROFILE] = "profile", [REGISTRY_WHITELIST] = "whitelist",
    [REGISTRY_WEBHOOK] = "webhook", [REGISTRY_CA] = "ca",
    [REGISTRY_RESULT] = "request",
};

const char *registry_kind_word(enum registry_kind kind)
{
    return kind_words[kind];
}

void registry_key(const char *domain, enum registry_kind kind, const char *id,
                  char out[REGISTRY_KEY_SIZE])
{
    (void)snprintf(out, REGISTRY_KEY_SIZE, "%s/%s/%s", domain, kind_words[kind], id);
}

err_t registry_key_parse(struct span key, struct span *ret_domain, enum registry_kind *ret_kind,
                         struct span *ret_id)
{
    const uint8_t *first = key.len > 0 ? memchr(key.ptr, '/', key.len) : NULL;
    if (first == NULL || key.len >= REGISTRY_KEY_SIZE) {
        return ERR_INVALID;
    }
    struct span domain = span_of(key.ptr, (size_t)(first - key.ptr));
    struct span rest = span_of(first + 1, key.len - domain.len - 1);
    const uint8_t *second = rest.len > 0 ? memchr(rest.ptr, '/', rest.len) : NULL;
    if (second == NULL || domain.len != UUID_TEXT_SIZE - 1) {
        return ERR_INVALID;
    }
    struct span word = span_of(rest.ptr, (size_t)(second - rest.ptr));
    struct span id = span_of(second + 1, rest.len - word.len - 1);
    for (int kind = 0; kind < REGISTRY_KIND_COUNT; kind++) {
        if (span_eq(word, span_str(kind_words[kind])) && id.len > 0) {
            *ret_domain = domain;
            *ret_kind = (enum registry_kind)kind;
            *ret_id = id;
            return ERR_OK;
        }
    }
    return ERR_INVALID;
}

static const char base62[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
#define PROFILE_HINT_LEN 6 /* 62^6 > 2^32 */

void registry_profile_uid(const char *domain, const uint8_t random[REGISTRY_PROFILE_RANDOM],
                          char out[REGISTRY_PROFILE_SIZE])
{
    uint32_t hash = stable_hash(span_str(domain));
    for (int i = PROFILE_HINT_LEN - 1; i >= 0; i--) {
        out[i] = base62[hash % 62];
        hash /= 62;
    }
    /* Each half of the random bytes is a 64-bit number that gives 8 digits: 62^8 < 2^48. */
    for (int half = 0; half < 2; half++) {
        uint64_t number = 0;
        for (int i = 0; i < 8; i++) {
            number = number << 8 | random[half * 8 + i];
        }
        for (int i = 0; i < 8; i++) {
            out[PROFILE_HINT_LEN + half * 8 + i] = base62[number % 62];
            number /= 62;
        }
    }
    out[REGISTRY_PROFILE_SIZE - 1] = '\0';
}

static int base62_value(char c)
{
    const char *at = c != '\0' ? strchr(base62, c) : NULL;
    return at != NULL ? (int)(at - base62) : -1;
}

bool registry_profile_uid_valid(const char *uid)
{
    size_t len = 0;
    while (len < REGISTRY_PROFILE_SIZE && base62_value(uid[len]) >= 0) {
        len++;
    }
    return len == REGISTRY_PROFILE_SIZE - 1 && uid[len] == '\0';
}

err_t registry_profile_hint(const char *uid, uint32_t *ret_hash)
{
    if (!registry_profile_uid_valid(uid)) {
        return ERR_INVALID;
    }
    uint64_t hash = 0;
    for (int i = 0; i < PROFILE_HINT_LEN; i++) {
        hash = hash * 62 + (uint64_t)base62_value(uid[i]);
    }
    if (hash > UINT32_MAX) {
        return ERR_INVALID;
    }
    *ret_hash = (uint32_t)hash;
    return ERR_OK;
}

void registry_api_key(const char *domain, const struct uuid *base, char out[UUID_TEXT_SIZE])
{
    struct uuid key = *base;
    uint32_t hash = stable_hash(span_str(domain));
    for (int i = 0; i < 4; i++) {
        key.bytes[i] = (uint8_t)(hash >> (24 - 8 * i));
    }
    uuid_format(&key, out);
}

err_t registry_api_key_hint(const char *api_key, uint32_t *ret_hash)
{
    struct uuid key;
    if (uuid_parse(span_str(api_key), &key) != ERR_OK) {
        return ERR_INVALID;
    }
    *ret_hash = (uint32_t)key.bytes[0] << 24 | (uint32_t)key.bytes[1] << 16 |
                (uint32_t)key.bytes[2] << 8 | (uint32_t)key.bytes[3];
    return ERR_OK;
}

void registry_alias_profile(const char *uid, char out[REGISTRY_ALIAS_SIZE])
{
    (void)snprintf(out, REGISTRY_ALIAS_SIZE, "profile:%s\n", uid);
}

void registry_alias_key(const char *api_key, char out[REGISTRY_ALIAS_SIZE])
{
    (void)snprintf(out, REGISTRY_ALIAS_SIZE, "key:%s\n", api_key);
}

static bool all_lower_hex(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        bool digit = text[i] >= '0' && text[i] <= '9';
        if (!digit && !(text[i] >= 'a' && text[i] <= 'f')) {
            return false;
        }
    }
    return true;
}

bool registry_uid_valid(const void *text)
{
    const char *uid = text;
    return strnlen(uid, REGISTRY_UID_SIZE) == REGISTRY_UID_SIZE - 1 &&
           all_lower_hex(uid, REGISTRY_UID_SIZE - 1);
}

bool registry_uuid_valid(const void *text)
{
    struct uuid parsed;
    char canonical[UUID_TEXT_SIZE];
    if (uuid_parse(span_str(text), &parsed) != ERR_OK) {
        return false;
    }
    uuid_format(&parsed, canonical);
    return strcmp(canonical, text) == 0;
}

bool registry_webhook_wants(const struct registry_webhook *w, const char *event_type)
{
    for (size_t i = 0; i < w->events_count; i++) {
        const char *pattern = w->events[i];
        size_t len = strlen(pattern);
        bool open = len > 0 && pattern[len - 1] == '*';
        if (open ? strncmp(pattern, event_type, len - 1) == 0 : strcmp(pattern, event_type) == 0) {
            return true;
        }
    }
    return false;
}
