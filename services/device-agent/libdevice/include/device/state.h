/*
 * Everything a device must remember over a power cut apart from keys and certificates, in one small
 * file that is replaced as a whole: one replacement is one step of the device's life, so no two
 * facts can ever disagree. Text lines "name value" under a version line, closed by a digest. One
 * thread at a time.
 */
#ifndef DEVICE_STATE_H
#define DEVICE_STATE_H

#include "device/storage.h"
#include "proto/device_protocol.h"

#define DEVICE_STATE_FILE     "state"
#define DEVICE_WORD_MAX       32
#define DEVICE_TOKEN_TEXT_MAX 88 /* base64 of DEVICE_TOKEN_MAX bytes */
#define DEVICE_HASH_TEXT_SIZE 65

/* How the server knows the device. */
enum device_standing {
    DEVICE_STANDING_NEW,        /* no bootstrap was carried out: only a bootstrap makes sense */
    DEVICE_STANDING_REGISTERED, /* known, without an owner; a profile sealed later bootstraps again
                                 */
    DEVICE_STANDING_ALLOCATED,  /* has an owner, is not allowed yet */
    DEVICE_STANDING_ACTIVE,
    DEVICE_STANDING_SUSPENDED,
    DEVICE_STANDING_DECOMMISSIONED,
    DEVICE_STANDING_COUNT,
};
/* "new", "registered", ...: the server's words, and "new". Never NULL. */
const char *device_standing_name(enum device_standing standing);
/* False for an unknown word. */
bool device_standing_find(struct span name, enum device_standing *ret);

/* What stands in the slot that is not in use. */
enum device_stage {
    DEVICE_STAGE_NONE,    /* nothing; the other slot is free */
    DEVICE_STAGE_KEY,     /* a new key pair, durable, whose certificate is asked for */
    DEVICE_STAGE_CONFIRM, /* the switch was made, the previous pair is kept in the other slot; a
                             signed confirmation is owed until the server's verdict */
    DEVICE_STAGE_COUNT,
};

enum device_slot {
    DEVICE_SLOT_NONE,
    DEVICE_SLOT_A,
    DEVICE_SLOT_B,
    DEVICE_SLOT_COUNT,
};

/* A key and the certificate for it. The digests are what makes a mixed pair impossible: a file that
 * is not the one meant here is not used. Empty digests: no such file. */
struct device_pair {
    char serial[DEVICE_CERT_SERIAL_MAX + 1];
    char key_hash[DEVICE_HASH_TEXT_SIZE];
    char certificate_hash[DEVICE_HASH_TEXT_SIZE];
};

struct device_state {
    uint64_t sequence_reserved; /* numbers below it may have been used */
    char install_nonce[2 * DEVICE_NONCE_BYTES + 1];

    enum device_standing standing;
    char standing_reason[DEVICE_WORD_MAX];
    char domain[DEVICE_OPERATION_SIZE];
    char profile_reported[DEVICE_PROFILE_SIZE]; /* sealed profile of the last answered bootstrap */
    char last_error[DEVICE_REASON_MAX + 1];     /* of the last visit; "" when it went well */

    int64_t heartbeat_interval_s;
    int64_t flood_interval_s;
    int64_t heartbeat_sent_ms; /* wall clock of the last heartbeat sent; 0: never */
    int64_t hold_from_ms;      /* no opening heartbeat in hold_ms from here */
    int64_t hold_ms;
    int64_t next_heartbeat_ms;
    char token[DEVICE_TOKEN_TEXT_MAX + 1]; /* as received: base64 */

    enum device_slot current;
    struct device_pair pair[DEVICE_SLOT_COUNT]; /* [DEVICE_SLOT_NONE] stays empty */

    enum device_stage stage;
    char operation[DEVICE_OPERATION_SIZE]; /* of the stage; "" while a key waits for any */

    char failed_operation[DEVICE_OPERATION_SIZE]; /* reported by the next heartbeat */
    char failed_reason[DEVICE_REASON_MAX + 1];
};

/* The slot that is not the current one. */
static inline enum device_slot device_state_spare(const struct device_state *s)
{
    return s->current == DEVICE_SLOT_A ? DEVICE_SLOT_B : DEVICE_SLOT_A;
}

/* Appends the file's text. ERR_TOO_LARGE as buf_append. */
MUST_USE err_t device_state_encode(const struct device_state *s, struct buf *to);
/* ERR_CORRUPT: damaged, or not a state; ERR_UNSUPPORTED: written by a newer version. *ret is
 * untouched then. */
MUST_USE err_t device_state_decode(struct span text, struct device_state *ret);

/* Replaces the file. Errors of storage_replace. */
MUST_USE err_t device_state_save(struct storage *storage, const struct device_state *s);
/* ERR_ABSENT: a fresh device, *ret is untouched. */
MUST_USE err_t device_state_load(struct storage *storage, struct device_state *ret);

#endif
