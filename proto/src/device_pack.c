/*
 * The packed device: what the Redis view holds of a device. Everything that follows from other
 * fields (key hashes, the usual subject, the usual settings, ids that repeat) is a bit or a small
 * tag instead of bytes, times are differences. Layout: version, flags, then the fields in the order
 * of pack_device; see device_pack in proto/device.h.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "pack.h"

#define PACK_VERSION 1

enum flag {
    HAS_DOMAIN = 1 << 0,
    HAS_REASON = 1 << 1,
    HAS_PROFILE = 1 << 2,
    SEALED_IS_PROFILE = 1 << 3,
    HAS_SEALED = 1 << 4,
    HAS_SERIAL = 1 << 5,
    HAS_FACTS = 1 << 6,
    HAS_CERTIFICATE = 1 << 7,
    HAS_OPERATION = 1 << 8,
    HAS_UNCONFIRMED = 1 << 9,
    HAS_RECENT = 1 << 10,
    HAS_EXTRA = 1 << 11,
    HAS_ACTIVATED = 1 << 12,
    HAS_SETTINGS = 1 << 13, /* other than the defaults */
    HAS_FORK = 1 << 14,
    HAS_CHANGES = 1 << 15,
    FLAGS_END = 1 << 16,
};

static unsigned flags_of(const struct device *d)
{
    const struct device_settings *s = &d->settings;
    bool same = d->profile[0] != 0 && strcmp(d->profile, d->sealed_profile) == 0;
    bool usual = s->heartbeat_interval_s == DEVICE_HEARTBEAT_INTERVAL_DEFAULT_S &&
                 s->flood_interval_s == DEVICE_FLOOD_INTERVAL_DEFAULT_S;
    return (uuid_is_zero(&d->domain) ? 0U : HAS_DOMAIN) | (d->reason[0] != 0 ? HAS_REASON : 0U) |
           (d->profile[0] != 0 ? HAS_PROFILE : 0U) | (same ? SEALED_IS_PROFILE : 0U) |
           (!same && d->sealed_profile[0] != 0 ? HAS_SEALED : 0U) |
           (d->serial[0] != 0 ? HAS_SERIAL : 0U) |
           (d->model[0] != 0 || d->firmware[0] != 0 || d->agent[0] != 0 ? HAS_FACTS : 0U) |
           (device_has_certificate(d) ? HAS_CERTIFICATE : 0U) |
           (device_has_operation(d) ? HAS_OPERATION : 0U) |
           (d->unconfirmed_count > 0 ? HAS_UNCONFIRMED : 0U) |
           (d->recent_count > 0 ? HAS_RECENT : 0U) | (d->extra != NULL ? HAS_EXTRA : 0U) |
           (d->activated_at_ms != 0 ? HAS_ACTIVATED : 0U) | (usual ? 0U : HAS_SETTINGS) |
           (d->fork.at_ms != 0 ? HAS_FORK : 0U) | (d->changes_count > 0 ? HAS_CHANGES : 0U);
}

/* ---- texts with structure ---- */

static bool subject_is_usual(const struct device_subject *subject, const char *uid)
{
    struct device_subject usual;
    pack_uid_subject(uid, &usual);
    return span_eq(span_of(subject->der, subject->len), span_of(usual.der, usual.len));
}

static bool key_hash_is_usual(const uint8_t hash[32], const struct device_key *key)
{
    uint8_t usual[32];
    pack_sha256(span_of(key->der, key->len), usual);
    return memcmp(hash, usual, sizeof usual) == 0;
}

/* ---- operation ids: what can be told from other fields takes one byte ---- */

enum id_form { ID_RAW, ID_ISSUE, ID_CERTIFICATE };

/* `may_repeat`: the installed certificate comes first and its operation can be referred to. */
static enum id_form id_form_of(const struct device *d, const struct uuid *id, bool may_repeat)
{
    struct uuid issue = device_issue_id(d->uid, d->install_nonce);
    if (uuid_eq(id, &issue)) {
        return ID_ISSUE;
    }
    return may_repeat && uuid_eq(id, &d->certificate.operation) ? ID_CERTIFICATE : ID_RAW;
}

static void pack_id(struct buf *to, enum id_form form, const struct uuid *id)
{
    if (form == ID_RAW) {
        pack_uuid(to, id);
    }
}

static void unpack_id(struct unpacker *u, const struct device *d, unsigned form, struct uuid *out)
{
    switch (form) {
    case ID_RAW:
        unpack_uuid(u, out);
        return;
    case ID_ISSUE:
        *out = device_issue_id(d->uid, d->install_nonce);
        return;
    case ID_CERTIFICATE:
        *out = d->certificate.operation;
        return;
    default:
        u->bad = true;
    }
}

/* ---- parts ---- */

/* One byte in front of a certificate: the lowest two bits are the form of its operation id. */
enum certificate_flag {
    CERT_ID_FORM = 3,
    CERT_REVOKED = 1 << 2,
    CERT_AUTOMATIC = 1 << 3,
    CERT_HAS_ORDER = 1 << 4,
    CERT_OWN_HASH = 1 << 5,    /* key_hash is not the hash of the key */
    CERT_OWN_SUBJECT = 1 << 6, /* another than CN=<uid> */
};

/* What an installed and an unconfirmed certificate have in common. */
struct common_part {
    uint8_t *serial, *key_hash;
    struct uuid *ca, *operation;
    int64_t *issued_at_ms, *not_before_ms, *not_after_ms;
    struct device_key *spki;
    struct device_subject *subject;
};
#define COMMON_PART(c)                                                                             \
    ((struct common_part){(c)->serial, (c)->key_hash, &(c)->ca, &(c)->operation,                   \
                          &(c)->issued_at_ms, &(c)->not_before_ms, &(c)->not_after_ms, &(c)->spki, \
                          &(c)->subject})

/* The issue is relative to the registration, the validity to the issue. */
static void pack_common(struct buf *to, const struct device *d, const struct common_part *c,
                        unsigned flags, bool may_repeat)
{
    enum id_form form = id_form_of(d, c->operation, may_repeat);
    flags |= (unsigned)form | (key_hash_is_usual(c->key_hash, c->spki) ? 0U : CERT_OWN_HASH) |
             (subject_is_usual(c->subject, d->uid) ? 0U : CERT_OWN_SUBJECT);
    pack_u8(to, (uint8_t)flags);
    (void)buf_append(to, c->serial, CERTIFICATE_SERIAL);
    pack_uuid(to, c->ca);
    pack_id(to, form, c->operation);
    pack_duration(to, *c->issued_at_ms - d->registered_at_ms);
    pack_duration(to, *c->not_before_ms - *c->issued_at_ms);
    pack_duration(to, *c->not_after_ms - *c->not_before_ms);
    pack_key(to, c->spki);
    if (flags & CERT_OWN_HASH) {
        (void)buf_append(to, c->key_hash, 32);
    }
    if (flags & CERT_OWN_SUBJECT) {
        pack_bytes(to, span_of(c->subject->der, c->subject->len));
    }
}

static unsigned unpack_common(struct unpacker *u, const struct device *d,
                              const struct common_part *c)
{
    unsigned flags = unpack_u8(u);
    unpack_fixed(u, c->serial, CERTIFICATE_SERIAL);
    unpack_uuid(u, c->ca);
    unpack_id(u, d, flags & CERT_ID_FORM, c->operation);
    *c->issued_at_ms = unpack_time(u, d->registered_at_ms);
    *c->not_before_ms = unpack_time(u, *c->issued_at_ms);
    *c->not_after_ms = unpack_time(u, *c->not_before_ms);
    unpack_key(u, c->spki);
    if (flags & CERT_OWN_HASH) {
        unpack_fixed(u, c->key_hash, 32);
    } else if (c->spki->len > 0) {
        pack_sha256(span_of(c->spki->der, c->spki->len), c->key_hash);
    }
    if (flags & CERT_OWN_SUBJECT) {
        c->subject->len = unpack_bytes(u, c->subject->der, sizeof c->subject->der);
    } else {
        pack_uid_subject(d->uid, c->subject);
    }
    return flags;
}

static void pack_certificate(struct buf *to, const struct device *d)
{
    struct device_certificate c = d->certificate;
    unsigned flags = c.revoked_at_ms != 0 ? CERT_REVOKED : 0;
    pack_common(to, d, &COMMON_PART(&c), flags, false);
    pack_duration(to, c.installed_at_ms - c.issued_at_ms);
    if (flags & CERT_REVOKED) {
        pack_duration(to, c.revoked_at_ms - c.issued_at_ms);
    }
    (void)buf_append(to, c.fingerprint, sizeof c.fingerprint);
}

static void unpack_certificate(struct unpacker *u, struct device *d)
{
    struct device_certificate *c = &d->certificate;
    unsigned flags = unpack_common(u, d, &COMMON_PART(c));
    c->installed_at_ms = unpack_time(u, c->issued_at_ms);
    c->revoked_at_ms = flags & CERT_REVOKED ? unpack_time(u, c->issued_at_ms) : 0;
    unpack_fixed(u, c->fingerprint, sizeof c->fingerprint);
}

static void pack_unconfirmed(struct buf *to, const struct device *d, size_t index)
{
    struct device_unconfirmed c = d->unconfirmed[index];
    bool has_order = !uuid_is_zero(&c.order);
    unsigned flags = (c.automatic ? CERT_AUTOMATIC : 0U) | (has_order ? CERT_HAS_ORDER : 0U);
    pack_common(to, d, &COMMON_PART(&c), flags, true);
    (void)buf_append(to, c.fingerprint, sizeof c.fingerprint);
    pack_u8(to, (uint8_t)c.kind);
    if (has_order) {
        pack_uuid(to, &c.order);
    }
    pack_bytes(to, span_of(c.der, c.der_len));
    pack_varint(to, (uint64_t)c.deliveries);
}

static void unpack_unconfirmed(struct unpacker *u, const struct device *d,
                               struct device_unconfirmed *c)
{
    unsigned flags = unpack_common(u, d, &COMMON_PART(c));
    unpack_fixed(u, c->fingerprint, sizeof c->fingerprint);
    c->automatic = (flags & CERT_AUTOMATIC) != 0;
    c->kind = (enum operation_kind)unpack_enum(u, OPERATION_DELETE);
    if (flags & CERT_HAS_ORDER) {
        unpack_uuid(u, &c->order);
    }
    c->der_len = unpack_bytes(u, c->der, sizeof c->der);
    c->deliveries = (int32_t)unpack_varint(u);
}

/* Form of an operation id (2 bits), kind (3) and state (3) in one byte. */
static void pack_operation_head(struct buf *to, const struct device *d, const struct uuid *id,
                                enum operation_kind kind, enum operation_state state)
{
    enum id_form form = id_form_of(d, id, true);
    pack_u8(to, (uint8_t)((unsigned)form << 6 | (unsigned)kind << 3 | (unsigned)state));
    pack_id(to, form, id);
}

static void unpack_operation_head(struct unpacker *u, const struct device *d, struct uuid *id,
                                  enum operation_kind *kind, enum operation_state *state)
{
    unsigned head = unpack_u8(u);
    unpack_id(u, d, head >> 6, id);
    *kind = (enum operation_kind)(head >> 3 & 7);
    *state = (enum operation_state)(head & 7);
    if (*kind < OPERATION_ISSUE || *kind > OPERATION_DELETE || *state < OPERATION_QUEUED) {
        u->bad = true;
    }
}

static void pack_operation(struct buf *to, const struct device *d)
{
    const struct device_operation *o = &d->operation;
    pack_operation_head(to, d, &o->id, o->kind, o->state);
    pack_duration(to, o->requested_at_ms - d->registered_at_ms);
    pack_duration(to, o->updated_at_ms - o->requested_at_ms);
    pack_uuid(to, &o->order);
    pack_bytes(to, span_str(o->actor));
    pack_uuid(to, &o->ca);
    pack_signed(to, o->validity_s);
    pack_bytes(to, span_str(o->reason));
    pack_varint(to, (uint64_t)o->attempts);
    pack_u8(to, o->automatic);
}

static void unpack_operation(struct unpacker *u, struct device *d)
{
    struct device_operation *o = &d->operation;
    unpack_operation_head(u, d, &o->id, &o->kind, &o->state);
    o->requested_at_ms = unpack_time(u, d->registered_at_ms);
    o->updated_at_ms = unpack_time(u, o->requested_at_ms);
    unpack_uuid(u, &o->order);
    unpack_text(u, o->actor, sizeof o->actor);
    unpack_uuid(u, &o->ca);
    o->validity_s = unpack_signed(u);
    unpack_text(u, o->reason, sizeof o->reason);
    o->attempts = (int32_t)unpack_varint(u);
    o->automatic = unpack_u8(u) != 0;
}

static void pack_recent(struct buf *to, const struct device *d, const struct device_recent *r)
{
    pack_operation_head(to, d, &r->id, r->kind, r->state);
    pack_duration(to, r->at_ms - d->updated_at_ms);
    pack_bytes(to, span_str(r->reason));
}

static void unpack_recent(struct unpacker *u, const struct device *d, struct device_recent *r)
{
    unpack_operation_head(u, d, &r->id, &r->kind, &r->state);
    r->at_ms = unpack_time(u, d->updated_at_ms);
    unpack_text(u, r->reason, sizeof r->reason);
}

/* ---- the whole ---- */

static void pack_identity(struct buf *to, const struct device *d, unsigned flags)
{
    pack_u8(to, (uint8_t)d->state);
    pack_key(to, &d->rot_key);
    (void)buf_append(to, d->install_nonce, sizeof d->install_nonce);
    pack_signed(to, d->registered_at_ms);
    pack_varint(to, (uint64_t)d->sequence);
    pack_varint(to, (uint64_t)d->key_generation);
    if (flags & HAS_DOMAIN) {
        pack_uuid(to, &d->domain);
    }
    if (flags & HAS_REASON) {
        pack_bytes(to, span_str(d->reason));
    }
    if (flags & HAS_PROFILE) {
        pack_profile(to, d->profile, &d->domain);
    }
    if (flags & HAS_SEALED) {
        pack_profile(to, d->sealed_profile, &d->domain);
    }
    if (flags & HAS_SERIAL) {
        pack_bytes(to, span_str(d->serial));
    }
    if (flags & HAS_FACTS) {
        pack_bytes(to, span_str(d->model));
        pack_bytes(to, span_str(d->firmware));
        pack_bytes(to, span_str(d->agent));
    }
    if (flags & HAS_ACTIVATED) {
        pack_duration(to, d->activated_at_ms - d->registered_at_ms);
    }
    if (flags & HAS_SETTINGS) {
        pack_signed(to, d->settings.heartbeat_interval_s);
        pack_signed(to, d->settings.flood_interval_s);
    }
    if (flags & HAS_FORK) {
        pack_duration(to, d->fork.at_ms - d->registered_at_ms);
        pack_varint(to, (uint64_t)d->fork.sequence);
    }
}

static void unpack_identity(struct unpacker *u, struct device *d, unsigned flags)
{
    d->state = (enum device_state)unpack_enum(u, DEVICE_DECOMMISSIONED);
    unpack_key(u, &d->rot_key);
    unpack_fixed(u, d->install_nonce, sizeof d->install_nonce);
    d->registered_at_ms = unpack_signed(u);
    d->sequence = (int64_t)unpack_varint(u);
    d->key_generation = (int32_t)unpack_varint(u);
    if (flags & HAS_DOMAIN) {
        unpack_uuid(u, &d->domain);
    }
    if (flags & HAS_REASON) {
        unpack_text(u, d->reason, sizeof d->reason);
    }
    if (flags & HAS_PROFILE) {
        unpack_profile(u, &d->domain, d->profile);
    }
    if (flags & SEALED_IS_PROFILE) {
        memcpy(d->sealed_profile, d->profile, sizeof d->profile);
    }
    if (flags & HAS_SEALED) {
        unpack_profile(u, &d->domain, d->sealed_profile);
    }
    if (flags & HAS_SERIAL) {
        unpack_text(u, d->serial, sizeof d->serial);
    }
    if (flags & HAS_FACTS) {
        unpack_text(u, d->model, sizeof d->model);
        unpack_text(u, d->firmware, sizeof d->firmware);
        unpack_text(u, d->agent, sizeof d->agent);
    }
    if (flags & HAS_ACTIVATED) {
        d->activated_at_ms = unpack_time(u, d->registered_at_ms);
    }
    d->settings.heartbeat_interval_s =
        flags & HAS_SETTINGS ? unpack_signed(u) : DEVICE_HEARTBEAT_INTERVAL_DEFAULT_S;
    d->settings.flood_interval_s =
        flags & HAS_SETTINGS ? unpack_signed(u) : DEVICE_FLOOD_INTERVAL_DEFAULT_S;
    if (flags & HAS_FORK) {
        d->fork.at_ms = unpack_time(u, d->registered_at_ms);
        d->fork.sequence = (int64_t)unpack_varint(u);
    }
}

/* An idle device was last changed when it proved its certificate. */
static int64_t updated_reference(const struct device *d)
{
    return device_has_certificate(d) ? d->certificate.installed_at_ms : d->registered_at_ms;
}

static err_t pack_extra(struct buf *to, const cJSON *extra)
{
    CLEANUP_BUF struct buf json = BUF_INIT(DEVICE_RECORD_MAX);
    err_t e = json_encode(extra, &json);
    if (e == ERR_OK) {
        pack_bytes(to, buf_span(&json));
    }
    return e;
}

err_t device_pack(const struct device *d, struct buf *to)
{
    unsigned flags = flags_of(d);
    pack_u8(to, PACK_VERSION);
    pack_varint(to, flags);
    pack_identity(to, d, flags);
    if (flags & HAS_CERTIFICATE) {
        pack_certificate(to, d);
    }
    pack_duration(to, d->updated_at_ms - updated_reference(d));
    if (flags & HAS_UNCONFIRMED) {
        pack_u8(to, (uint8_t)d->unconfirmed_count);
        for (size_t i = 0; i < d->unconfirmed_count; i++) {
            pack_unconfirmed(to, d, i);
        }
    }
    if (flags & HAS_OPERATION) {
        pack_operation(to, d);
    }
    if (flags & HAS_RECENT) {
        pack_u8(to, (uint8_t)d->recent_count);
        for (size_t i = 0; i < d->recent_count; i++) {
            pack_recent(to, d, &d->recent[i]);
        }
    }
    if (flags & HAS_CHANGES) {
        pack_changes(to, d);
    }
    err_t e = flags & HAS_EXTRA ? pack_extra(to, d->extra) : ERR_OK;
    return e != ERR_OK ? e : buf_ok(to) ? ERR_OK : ERR_TOO_LARGE;
}

static void unpack_extra(struct unpacker *u, struct device *d)
{
    uint64_t len = unpack_varint(u);
    struct json_limits limits = JSON_LIMITS_DEFAULT;
    if (len > u->rest.len ||
        json_decode(span_of(u->rest.ptr, (size_t)len), &limits, &d->extra, NULL) != ERR_OK) {
        u->bad = true;
        return;
    }
    u->rest.ptr += len;
    u->rest.len -= (size_t)len;
}

static err_t unpack_device(struct span uid, struct span packed, bool bare, struct device **ret)
{
    struct unpacker u = {.rest = packed, .bare = bare};
    if (!device_uid_valid(uid) || unpack_u8(&u) != PACK_VERSION) {
        return ERR_CORRUPT;
    }
    unsigned flags = (unsigned)unpack_varint(&u);
    if (u.bad || flags >= FLAGS_END) {
        return ERR_CORRUPT;
    }
    CLEANUP(device_free) struct device *d = xcalloc(1, sizeof *d);
    memcpy(d->type, DEVICE_TYPE, sizeof DEVICE_TYPE);
    memcpy(d->uid, uid.ptr, uid.len);
    unpack_identity(&u, d, flags);
    if (flags & HAS_CERTIFICATE) {
        unpack_certificate(&u, d);
    }
    d->updated_at_ms = unpack_time(&u, updated_reference(d));
    d->unconfirmed_count = flags & HAS_UNCONFIRMED ? unpack_count(&u, DEVICE_UNCONFIRMED_MAX) : 0;
    for (size_t i = 0; i < d->unconfirmed_count; i++) {
        unpack_unconfirmed(&u, d, &d->unconfirmed[i]);
    }
    if (flags & HAS_OPERATION) {
        unpack_operation(&u, d);
    }
    d->recent_count = flags & HAS_RECENT ? unpack_count(&u, DEVICE_RECENT_MAX) : 0;
    for (size_t i = 0; i < d->recent_count; i++) {
        unpack_recent(&u, d, &d->recent[i]);
    }
    if (flags & HAS_CHANGES) {
        unpack_changes(&u, d);
    }
    if (flags & HAS_EXTRA) {
        unpack_extra(&u, d);
    }
    if (u.bad || u.rest.len > 0) {
        return ERR_CORRUPT;
    }
    *ret = TAKE(d);
    return ERR_OK;
}

err_t device_unpack(struct span uid, struct span packed, struct device **ret)
{
    return unpack_device(uid, packed, false, ret);
}

err_t device_unpack_bare(struct span uid, struct span packed, struct device **ret)
{
    return unpack_device(uid, packed, true, ret);
}
