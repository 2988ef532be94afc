#include "device/state.h"

#include <openssl/sha.h>
#include <stdio.h>

#include "common/id.h"

#define MAGIC     "fleetseal-device-state "
#define VERSION   "1"
#define STATE_MAX 8192

static const char *const standings[DEVICE_STANDING_COUNT] = {
    [DEVICE_STANDING_NEW] = "new",
    [DEVICE_STANDING_REGISTERED] = "registered",
    [DEVICE_STANDING_ALLOCATED] = "allocated",
    [DEVICE_STANDING_ACTIVE] = "active",
    [DEVICE_STANDING_SUSPENDED] = "suspended",
    [DEVICE_STANDING_DECOMMISSIONED] = "decommissioned",
};
static const char *const stages[DEVICE_STAGE_COUNT] = {"none", "key", "confirm"};
static const char *const slots[DEVICE_SLOT_COUNT] = {"none", "a", "b"};

enum type {
    TYPE_TEXT, /* char array of `size` */
    TYPE_I64,
    TYPE_U64,
    TYPE_WORD, /* enum of `size` words */
};

struct field {
    const char *name;
    enum type type;
    size_t offset, size;
    const char *const *words;
};

#define SIZE_OF(member) sizeof(((struct device_state *)0)->member)
#define TEXT(name, member)                                                                         \
    {                                                                                              \
        name, TYPE_TEXT, offsetof(struct device_state, member), SIZE_OF(member), NULL              \
    }
#define I64(name, member)                                                                          \
    {                                                                                              \
        name, TYPE_I64, offsetof(struct device_state, member), 0, NULL                             \
    }
#define U64(name, member)                                                                          \
    {                                                                                              \
        name, TYPE_U64, offsetof(struct device_state, member), 0, NULL                             \
    }
#define WORD(name, member, words, count)                                                           \
    {                                                                                              \
        name, TYPE_WORD, offsetof(struct device_state, member), count, words                       \
    }

static const struct field fields[] = {
    U64("sequence", sequence_reserved),
    TEXT("install-nonce", install_nonce),
    WORD("standing", standing, standings, DEVICE_STANDING_COUNT),
    TEXT("standing-reason", standing_reason),
    TEXT("domain", domain),
    TEXT("profile-reported", profile_reported),
    TEXT("last-error", last_error),
    I64("heartbeat-interval", heartbeat_interval_s),
    I64("flood-interval", flood_interval_s),
    I64("heartbeat-sent", heartbeat_sent_ms),
    I64("hold-from", hold_from_ms),
    I64("hold", hold_ms),
    I64("next-heartbeat", next_heartbeat_ms),
    TEXT("token", token),
    WORD("current", current, slots, DEVICE_SLOT_COUNT),
    TEXT("a.serial", pair[DEVICE_SLOT_A].serial),
    TEXT("a.key", pair[DEVICE_SLOT_A].key_hash),
    TEXT("a.certificate", pair[DEVICE_SLOT_A].certificate_hash),
    TEXT("b.serial", pair[DEVICE_SLOT_B].serial),
    TEXT("b.key", pair[DEVICE_SLOT_B].key_hash),
    TEXT("b.certificate", pair[DEVICE_SLOT_B].certificate_hash),
    WORD("stage", stage, stages, DEVICE_STAGE_COUNT),
    TEXT("operation", operation),
    TEXT("failed-operation", failed_operation),
    TEXT("failed-reason", failed_reason),
};
#define FIELD_COUNT (sizeof fields / sizeof fields[0])

_Static_assert(sizeof(enum device_standing) == sizeof(unsigned) &&
                   sizeof(enum device_stage) == sizeof(unsigned) &&
                   sizeof(enum device_slot) == sizeof(unsigned),
               "words are stored through unsigned");

const char *device_standing_name(enum device_standing standing)
{
    return standings[standing];
}

static bool find_word(struct span name, const char *const *words, size_t count, unsigned *ret)
{
    for (size_t i = 0; i < count; i++) {
        if (span_eq(name, span_str(words[i]))) {
            *ret = (unsigned)i;
            return true;
        }
    }
    return false;
}

bool device_standing_find(struct span name, enum device_standing *ret)
{
    unsigned found = 0;
    if (!find_word(name, standings, DEVICE_STANDING_COUNT, &found)) {
        return false;
    }
    *ret = (enum device_standing)found;
    return true;
}

/* A reason may come from a server: nothing of it can start a line of its own. */
static void append_text(struct buf *to, const char *text)
{
    size_t len = strlen(text);
    uint8_t *at = buf_reserve(to, len);
    if (at == NULL) {
        return; /* noted in the buffer */
    }
    for (size_t i = 0; i < len; i++) {
        at[i] = (uint8_t)text[i] < 0x20 ? ' ' : (uint8_t)text[i];
    }
    to->len += len;
}

/* By hand: the state is written twice a heartbeat, and printf was a third of its cost. */
static void append_number(struct buf *to, uint64_t value, bool negative)
{
    char digits[24];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    if (negative) {
        digits[--at] = '-';
    }
    (void)buf_append(to, digits + at, sizeof digits - at);
}

static void append_field(struct buf *to, const struct field *f, const struct device_state *s)
{
    const char *at = (const char *)s + f->offset;
    (void)buf_append_str(to, f->name);
    (void)buf_append_byte(to, ' ');
    switch (f->type) {
    case TYPE_TEXT:
        append_text(to, at);
        break;
    case TYPE_I64: {
        int64_t value = *(const int64_t *)(const void *)at;
        append_number(to, value < 0 ? 0 - (uint64_t)value : (uint64_t)value, value < 0);
        break;
    }
    case TYPE_U64:
        append_number(to, *(const uint64_t *)(const void *)at, false);
        break;
    case TYPE_WORD:
        (void)buf_append_str(to, f->words[*(const unsigned *)(const void *)at]);
        break;
    }
    (void)buf_append_byte(to, '\n');
}

static void digest_text(struct span bytes, char out[DEVICE_HASH_TEXT_SIZE])
{
    uint8_t digest[SHA256_DIGEST_LENGTH];
    (void)SHA256(bytes.ptr, bytes.len, digest);
    hex_format(span_of(digest, sizeof digest), out);
}

err_t device_state_encode(const struct device_state *s, struct buf *to)
{
    size_t start = to->len;
    (void)buf_append_str(to, MAGIC VERSION "\n");
    for (size_t i = 0; i < FIELD_COUNT; i++) {
        append_field(to, &fields[i], s);
    }
    if (!buf_ok(to)) {
        return ERR_TOO_LARGE;
    }
    char digest[DEVICE_HASH_TEXT_SIZE];
    digest_text(span_of(to->ptr + start, to->len - start), digest);
    return buf_printf(to, "digest %s\n", digest);
}

static bool read_number(struct span text, bool is_signed, uint64_t *ret)
{
    bool negative = is_signed && text.len > 0 && text.ptr[0] == '-';
    uint64_t value = 0;
    size_t i = negative ? 1 : 0;
    if (i == text.len) {
        return false;
    }
    for (; i < text.len; i++) {
        unsigned digit = (unsigned)text.ptr[i] - '0';
        if (digit > 9 || value > (UINT64_MAX - digit) / 10) {
            return false;
        }
        value = value * 10 + digit;
    }
    if (is_signed && value > (uint64_t)INT64_MAX) {
        return false;
    }
    *ret = negative ? 0 - value : value;
    return true;
}

static bool read_field(const struct field *f, struct span value, struct device_state *s)
{
    char *at = (char *)s + f->offset;
    if (f->type == TYPE_TEXT) {
        if (value.len >= f->size) {
            return false;
        }
        memcpy(at, value.ptr, value.len);
        at[value.len] = 0;
        return true;
    }
    if (f->type == TYPE_WORD) {
        return find_word(value, f->words, f->size, (unsigned *)(void *)at);
    }
    return read_number(value, f->type == TYPE_I64, (uint64_t *)(void *)at);
}

/* The text up to the line end, which is skipped; false when there is none. */
static bool next_line(struct span *text, struct span *ret)
{
    const uint8_t *end = text->len > 0 ? memchr(text->ptr, '\n', text->len) : NULL;
    if (end == NULL) {
        return false;
    }
    *ret = span_of(text->ptr, (size_t)(end - text->ptr));
    *text = span_of(end + 1, text->len - ret->len - 1);
    return true;
}

/* Fields come in the table's order: the text is ours or it is damaged. */
static bool read_fields(struct span text, struct device_state *ret)
{
    for (size_t i = 0; i < FIELD_COUNT; i++) {
        struct span line;
        size_t name_len = strlen(fields[i].name);
        if (!next_line(&text, &line) || line.len < name_len + 1 ||
            memcmp(line.ptr, fields[i].name, name_len) != 0 || line.ptr[name_len] != ' ') {
            return false;
        }
        struct span value = span_of(line.ptr + name_len + 1, line.len - name_len - 1);
        if (!read_field(&fields[i], value, ret)) {
            return false;
        }
    }
    return text.len == 0;
}

err_t device_state_decode(struct span text, struct device_state *ret)
{
    struct span rest = text;
    struct span line;
    if (!next_line(&rest, &line) || line.len <= strlen(MAGIC) ||
        memcmp(line.ptr, MAGIC, strlen(MAGIC)) != 0) {
        return ERR_CORRUPT;
    }
    if (!span_eq(line, span_str(MAGIC VERSION))) {
        return ERR_UNSUPPORTED;
    }
    size_t tail = strlen("digest ") + DEVICE_HASH_TEXT_SIZE; /* its NUL's place is the line end */
    if (rest.len < tail) {
        return ERR_CORRUPT;
    }
    char digest[DEVICE_HASH_TEXT_SIZE];
    digest_text(span_of(text.ptr, text.len - tail), digest);
    char expected[96];
    (void)snprintf(expected, sizeof expected, "digest %s\n", digest);
    struct device_state s = {0};
    if (!span_eq(span_of(text.ptr + text.len - tail, tail), span_str(expected)) ||
        !read_fields(span_of(rest.ptr, rest.len - tail), &s)) {
        return ERR_CORRUPT;
    }
    *ret = s;
    return ERR_OK;
}

err_t device_state_save(struct storage *storage, const struct device_state *s)
{
    CLEANUP_BUF struct buf text = BUF_INIT(STATE_MAX);
    err_t err = device_state_encode(s, &text);
    return err != ERR_OK ? err : storage_replace(storage, DEVICE_STATE_FILE, buf_span(&text));
}

err_t device_state_load(struct storage *storage, struct device_state *ret)
{
    CLEANUP_BUF struct buf text = BUF_INIT(STATE_MAX);
    err_t err = storage_read(storage, DEVICE_STATE_FILE, &text);
    if (err != ERR_OK) {
        return err == ERR_TOO_LARGE ? ERR_CORRUPT : err;
    }
    return device_state_decode(buf_span(&text), ret);
}
