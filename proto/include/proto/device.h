/*
 * A device as its owner (ca-signer) keeps it: one record per device in TOPIC_DEVICE_STATE, the root
 * of trust, who owns it, which certificate it has proved to hold, which were signed and not proved
 * yet, and the one operation that is running. The record is JSON
 * ("device.v1"); the Redis view holds the same struct packed (device_pack), at most
 * DEVICE_PACKED_IDLE_MAX bytes while nothing is running. Doors and the scheduler read the view,
 * only the owner writes. Pure functions, any thread.
 */
#ifndef PROTO_DEVICE_H
#define PROTO_DEVICE_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/codec.h"
#include "common/err.h"
#include "common/id.h"
#include "proto/device_protocol.h"

#define DEVICE_TYPE "device.v1"
#define DEVICE_UID_LEN                                                                             \
    16 /* lower-case hex of the first 8 bytes of SHA-256 over the root-of-trust SPKI */
#define DEVICE_WORD_MAX        48 /* machine-readable reasons */
#define DEVICE_SUBJECT_MAX     256
#define DEVICE_DER_MAX         2048
#define DEVICE_UNCONFIRMED_MAX 4
#define DEVICE_RECENT_MAX      8
/* Finished operations are remembered as long as a request that repeats them can still arrive. */
#define DEVICE_RECENT_KEEP_MS  (INT64_C(8) * 86400 * 1000)
#define DEVICE_CHANGES_MAX     4
#define DEVICE_RECORD_MAX      65536 /* bytes of the JSON record */
#define DEVICE_PACKED_MAX      32768
#define DEVICE_PACKED_IDLE_MAX 256
#define CERTIFICATE_SERIAL     16 /* bytes */

#define DEVICE_HEARTBEAT_INTERVAL_DEFAULT_S 604800
#define DEVICE_FLOOD_INTERVAL_DEFAULT_S     300

/* Where a device stands. 0 is no state: an absent device. */
enum device_state {
    DEVICE_REGISTERED = 1, /* known, has no owner; a sealed profile or an assignment moves it on */
    DEVICE_ALLOCATED, /* has an owner, not allowed yet (see reason); the whitelist or a seat moves
                         it on */
    DEVICE_ACTIVE,    /* may have certificates */
    DEVICE_SUSPENDED, /* may heartbeat, gets nothing */
    DEVICE_DECOMMISSIONED, /* a stub that stays for ever */
};

enum operation_kind {
    OPERATION_ISSUE = 1, /* the first certificate; free */
    OPERATION_RENEW,     /* same key, same subject, new serial */
    OPERATION_UPDATE,    /* new key pair, made on the device */
    OPERATION_TRANSFER,  /* another CA */
    OPERATION_DELETE,    /* removed from the device; free */
};

enum operation_state {
    OPERATION_QUEUED = 1,   /* a wish; the device has not picked it up */
    OPERATION_AWAITING_KEY, /* the device asked without the CSR that is needed */
    OPERATION_ISSUED,       /* signed and handed out, not proved */
    OPERATION_INSTALLED,    /* proved */
    OPERATION_FAILED,
    OPERATION_SUPERSEDED, /* a newer wish took its place before it was picked up */
    OPERATION_CANCELLED,
};

extern const struct codec_name device_state_names[];
extern const struct codec_name operation_kind_names[];
extern const struct codec_name operation_state_names[];

/* A public key as SubjectPublicKeyInfo DER; len 0: none. */
struct device_key {
    uint8_t der[DEVICE_SPKI_MAX];
    size_t len;
};
struct device_subject {
    uint8_t der[DEVICE_SUBJECT_MAX]; /* Name, DER */
    size_t len;
};

/* The certificate the device has proved to hold. Absent while installed_at_ms is 0. */
struct device_certificate {
    uint8_t serial[CERTIFICATE_SERIAL];
    struct uuid ca;
    int64_t not_before_ms, not_after_ms;
    int64_t issued_at_ms, installed_at_ms;
    int64_t revoked_at_ms;   /* 0: not revoked */
    uint8_t key_hash[32];    /* SHA-256 of the SPKI */
    uint8_t fingerprint[32]; /* SHA-256 of the certificate */
    struct device_key spki;  /* needed to renew without a CSR */
    struct device_subject subject;
    struct uuid operation; /* that brought it */
};

/* A certificate that was signed for the device and not proved yet, oldest first. */
struct device_unconfirmed {
    uint8_t serial[CERTIFICATE_SERIAL];
    struct uuid ca;
    int64_t not_before_ms, not_after_ms, issued_at_ms;
    uint8_t key_hash[32];
    uint8_t fingerprint[32]; /* SHA-256 of der */
    struct device_key spki;
    struct device_subject subject;
    struct uuid operation;
    enum operation_kind kind;
    struct uuid order; /* zero: none */
    bool automatic;
    uint8_t der[DEVICE_DER_MAX];
    size_t der_len;
    int32_t deliveries; /* how often it was handed out */
};

/* The running operation. Absent while its id is zero. */
struct device_operation {
    struct uuid id; /* id of the request that ordered it */
    enum operation_kind kind;
    enum operation_state state;
    int64_t requested_at_ms, updated_at_ms;
    struct uuid order; /* zero: none */
    char actor[97];
    struct uuid ca;     /* that will sign; zero: that of the installed certificate */
    int64_t validity_s; /* 0: what the CA says */
    char reason[DEVICE_WORD_MAX + 1];
    int32_t attempts; /* the device reported a failure this often */
    bool automatic;
};

/* A finished operation: repeated orders are recognised by it. */
struct device_recent {
    struct uuid id;
    enum operation_kind kind;
    enum operation_state state;
    int64_t at_ms;
    char reason[DEVICE_WORD_MAX + 1];
};

/* Two devices show one identity: the last heartbeat that proved it. */
struct device_fork {
    int64_t at_ms; /* 0: never */
    int64_t sequence;
};

/* A wish about the settings that was met: a repeated one is recognised by it. */
struct device_change {
    struct uuid id; /* of the wish and what it said */
    int64_t at_ms;
};

struct device_settings {
    int64_t heartbeat_interval_s;
    int64_t flood_interval_s;
};

struct device {
    char type[16];
    char uid[DEVICE_UID_LEN + 1];
    struct device_key rot_key;
    struct uuid domain; /* zero: no owner */
    enum device_state state;
    char reason[DEVICE_WORD_MAX + 1]; /* why it is not further: "not_whitelisted", "stuck", ... */
    char profile[DEVICE_PROFILE_LEN + 1];        /* assigned */
    char sealed_profile[DEVICE_PROFILE_LEN + 1]; /* what the device said first; never changes */
    char serial[DEVICE_SERIAL_MAX + 1];
    uint8_t install_nonce[DEVICE_NONCE_BYTES];
    int64_t registered_at_ms, activated_at_ms; /* activated 0: never */
    char model[DEVICE_FACT_MAX + 1], firmware[DEVICE_FACT_MAX + 1], agent[DEVICE_FACT_MAX + 1];
    struct device_settings settings;
    int64_t sequence; /* highest signed sequence accepted */
    int32_t key_generation;
    struct device_certificate certificate;
    struct device_unconfirmed unconfirmed[DEVICE_UNCONFIRMED_MAX];
    size_t unconfirmed_count;
    struct device_operation operation;
    struct device_recent recent[DEVICE_RECENT_MAX]; /* newest last */
    size_t recent_count;
    struct device_fork fork;
    struct device_change changes[DEVICE_CHANGES_MAX]; /* newest last */
    size_t changes_count;
    int64_t updated_at_ms;
    cJSON *extra; /* fields of a newer version, kept; owned */
};

static inline bool device_has_certificate(const struct device *d)
{
    return d->certificate.installed_at_ms != 0;
}
static inline bool device_has_operation(const struct device *d)
{
    return !uuid_is_zero(&d->operation.id);
}

/* For codec_decode (CODEC_KEEP) and codec_encode. */
extern const struct codec_table device_table;

/* NULL is fine. */
void device_free(struct device *d);
CLEANUP_DEFINE(struct device *, device_free);
/* A deep copy, owned by the caller. */
struct device *device_copy(const struct device *d);

/*
 * Reads a state record. ERR_UNSUPPORTED: another type or major version, the reader must stop;
 * ERR_INVALID, ERR_TOO_LARGE: not a device record. *ret is owned by the caller.
 */
err_t device_decode(struct span json, struct device **ret, struct fault *fault) MUST_USE;
/* Writes the state record; ERR_TOO_LARGE as buf_append. */
err_t device_encode(const struct device *d, struct buf *to) MUST_USE;

/*
 * The payload of the Redis view: the same struct in a few bytes, lossless. P-256 keys are
 * compressed points, what follows from other fields is not stored. The UID is the view key and not
 * part of it. ERR_TOO_LARGE over the buffer, ERR_INTERNAL for a struct that no record can hold.
 */
err_t device_pack(const struct device *d, struct buf *to) MUST_USE;
/* The inverse; `uid` is 16 hex digits. ERR_CORRUPT: not one of ours. */
err_t device_unpack(struct span uid, struct span packed, struct device **ret) MUST_USE;
/*
 * The same for readers that need no keys, at a fraction of the cost: a P-256 key, which would have
 * to be computed from its compressed point, and its hash stay empty. Such a struct must not be
 * packed or encoded again.
 */
err_t device_unpack_bare(struct span uid, struct span packed, struct device **ret) MUST_USE;

/* View key of a device: the 8 bytes that its UID spells. ERR_INVALID when it is not a UID. */
err_t device_view_key(struct span uid, uint8_t out[DEVICE_UID_LEN / 2]) MUST_USE;
/* True for 16 lower-case hex digits. */
bool device_uid_valid(struct span uid);

/* The id of a device's first-certificate operation: the same for every repeat with one install
 * nonce. */
struct uuid device_issue_id(const char *uid, const uint8_t install_nonce[DEVICE_NONCE_BYTES]);

/* Up to when the certificate should be left alone, before renew-ahead: notAfter less a share of up
 * to 5 % of its life that depends on the UID alone, so that a fleet made in one hour is not renewed
 * in one hour. UTC milliseconds. */
int64_t device_due_ms(const char *uid, int64_t not_before_ms, int64_t not_after_ms);
/* The newest certificate handed out for this operation; NULL when there is none. */
const struct device_unconfirmed *device_unconfirmed_of(const struct device *d,
                                                       const struct uuid *operation);

#endif
