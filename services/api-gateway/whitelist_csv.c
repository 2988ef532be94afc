#include "whitelist_csv.h"

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <strings.h>

#define UID_LEN (REGISTRY_UID_SIZE - 1)

void whitelist_entries_deinit(struct whitelist_entries *e)
{
    free(e->items);
    *e = (struct whitelist_entries){0};
}

static bool take_uid(struct span uid, char out[REGISTRY_UID_SIZE])
{
    if (uid.len != UID_LEN) {
        return false;
    }
    for (size_t i = 0; i < UID_LEN; i++) {
        uint8_t c = uid.ptr[i];
        out[i] = (char)(c >= 'A' && c <= 'F' ? c - 'A' + 'a' : c);
    }
    out[UID_LEN] = '\0';
    return registry_uid_valid(out);
}

/* What nearly all lists hold, told without OpenSSL: its decoder takes 50 us and more, which for
 * 100,000 lines would hold up an event loop for seconds. That the point lies on the curve shows
 * when the device calls. */
static bool is_p256(struct span der)
{
    static const uint8_t head[] = {0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48,
                                   0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
                                   0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04};
    return der.len == sizeof head + 64 && memcmp(der.ptr, head, sizeof head) == 0;
}

/* A public key is kept only in the one DER spelling that a device will be compared with. */
static bool take_key(struct span text, struct registry_whitelist_entry *entry)
{
    if (base64_decode(text, BASE64_STANDARD, entry->key, sizeof entry->key, &entry->key_len) !=
        ERR_OK) {
        return false;
    }
    if (is_p256(span_of(entry->key, entry->key_len))) {
        return true;
    }
    const uint8_t *at = entry->key;
    EVP_PKEY *key = d2i_PUBKEY(NULL, &at, (long)entry->key_len);
    bool whole = key != NULL && at == entry->key + entry->key_len;
    EVP_PKEY_free(key);
    return whole;
}

err_t whitelist_entries_add(struct whitelist_entries *e, struct span uid, struct span public_key,
                            const char *where, struct fault *fault)
{
    char field[FAULT_FIELD_MAX];
    struct registry_whitelist_entry entry = {0};
    if (e->count == WHITELIST_LINES_MAX) {
        return fault_set(fault, ERR_INVALID, "validation_error", where, "at most %d devices",
                         WHITELIST_LINES_MAX);
    }
    if (!take_uid(uid, entry.uid)) {
        (void)snprintf(field, sizeof field, "%s.RoTPublicUID", where);
        return fault_set(fault, ERR_INVALID, "validation_error", field,
                         "must be 16 hexadecimal digits");
    }
    if (public_key.len > 0 && !take_key(public_key, &entry)) {
        (void)snprintf(field, sizeof field, "%s.PublicKey", where);
        return fault_set(fault, ERR_INVALID, "validation_error", field,
                         "must be the base64 of a public key (SubjectPublicKeyInfo, DER)");
    }
    if (e->count == e->capacity) {
        e->capacity = e->capacity > 0 ? 2 * e->capacity : 64;
        e->items = xrealloc(e->items, e->capacity, sizeof *e->items);
    }
    e->items[e->count++] = entry;
    return ERR_OK;
}

static struct span trim(struct span s)
{
    while (s.len > 0 && (s.ptr[0] == ' ' || s.ptr[0] == '\t' || s.ptr[0] == '"')) {
        s = span_of(s.ptr + 1, s.len - 1);
    }
    while (s.len > 0 && strchr(" \t\r\"", s.ptr[s.len - 1]) != NULL && s.ptr[s.len - 1] != '\0') {
        s.len--;
    }
    return s;
}

static struct span cut(struct span *rest, char at)
{
    const uint8_t *end = rest->len > 0 ? memchr(rest->ptr, at, rest->len) : NULL;
    struct span part = *rest;
    if (end == NULL) {
        *rest = span_of(NULL, 0);
    } else {
        part.len = (size_t)(end - part.ptr);
        *rest = span_of(end + 1, rest->len - part.len - 1);
    }
    return part;
}

static bool is_header(struct span first)
{
    static const char name[] = "RoTPublicUID";
    return first.len == sizeof name - 1 &&
           strncasecmp((const char *)first.ptr, name, sizeof name - 1) == 0;
}

err_t whitelist_csv_read(struct span text, struct whitelist_entries *to, struct fault *fault)
{
    static const uint8_t bom[] = {0xef, 0xbb, 0xbf}; /* spreadsheets begin with it */
    struct span rest = text;
    if (rest.len >= sizeof bom && memcmp(rest.ptr, bom, sizeof bom) == 0) {
        rest = span_of(rest.ptr + sizeof bom, rest.len - sizeof bom);
    }
    for (unsigned line = 1; rest.len > 0; line++) {
        struct span row = cut(&rest, '\n');
        struct span uid = trim(cut(&row, ','));
        struct span key = trim(cut(&row, ','));
        bool blank = uid.len == 0 && key.len == 0 && row.len == 0;
        if (blank || (line == 1 && is_header(uid))) {
            continue;
        }
        char where[32];
        (void)snprintf(where, sizeof where, "line %u", line);
        if (row.len > 0) {
            return fault_set(fault, ERR_INVALID, "validation_error", where,
                             "must have one or two columns: RoTPublicUID,PublicKey");
        }
        err_t err = whitelist_entries_add(to, uid, key, where, fault);
        if (err != ERR_OK) {
            return err;
        }
    }
    if (to->count == 0) {
        return fault_set(fault, ERR_INVALID, "missing_field", "line 1",
                         "the list is empty; one RoTPublicUID per line is expected");
    }
    return ERR_OK;
}
