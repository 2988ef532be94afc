/*
 * One device: its identity, what it remembers, its key and certificate, and the steps by which they
 * change. Every step that must survive a power cut is one replacement of the state file; files that
 * the state does not name are leftovers and are cleared when the device is opened again. The
 * exchanges with the server are in device/session.h. Owned by one thread at a time.
 */
#ifndef DEVICE_DEVICE_H
#define DEVICE_DEVICE_H

#include "common/clock.h"
#include "device/identity.h"
#include "device/state.h"
#include "device/storage.h"

#define DEVICE_ROT_FILE       "rot.pem"
#define DEVICE_SEALED_FILE    "sealed"
#define DEVICE_SERVER_CA_FILE "server-ca.pem"

/* Strings are borrowed for the device's life; NULL where not known. */
struct device_options {
    const struct clock *clock;
    EVP_PKEY *rot_key; /* a key from elsewhere (borrowed; its count is raised), NULL: the file's */
    const char *model, *firmware, *agent;
    int64_t flood_override_s; /* >= 0: instead of what the server says; -1 normally */
    bool read_only;           /* look, never write: needs no lock, mends nothing */
};

struct device {
    struct storage *storage; /* owned */
    struct device_options options;
    struct device_state state; /* equals the file, except sequence_next below */
    uint64_t sequence_next;    /* first number not used; < state.sequence_reserved or equal */

    char uid[DEVICE_UID_SIZE];
    EVP_PKEY *rot;
    X509 *rot_certificate;            /* made when first asked for */
    EVP_PKEY *key[DEVICE_SLOT_COUNT]; /* NULL where the slot is empty */

    char profile[DEVICE_PROFILE_SIZE]; /* "" until sealed */
    char serial[DEVICE_SERIAL_SIZE];   /* "" where sealed without one */

    int64_t sent_mono_ms; /* of this process's last heartbeat; -1: none yet */
};

/*
 * Takes `storage` over (also on failure). Makes identity and state when there are none, mends what
 * a power cut left, goes back to the previous certificate when the current one's files are gone or
 * not what was written. ERR_CORRUPT: the identity or the state is damaged, or one is there without
 * the other; nothing was changed. ERR_ABSENT: read_only and no device here. Storage errors pass
 * through: a file that cannot be read at the moment costs nothing.
 */
MUST_USE err_t device_open(struct storage *storage, const struct device_options *options,
                           struct device **ret, struct fault *fault);
void device_free(struct device *d);
CLEANUP_DEFINE(struct device *, device_free);

/* The certificate that the device shows in TLS; borrowed. ERR_INTERNAL. */
MUST_USE err_t device_tls_certificate(struct device *d, X509 **ret);

/* Seals profile and serial (may be NULL or ""), once for ever. ERR_EXISTS: already sealed, nothing
 * changed; ERR_INVALID: not their form. */
MUST_USE err_t device_seal(struct device *d, const char *profile, const char *serial,
                           struct fault *fault);
/* True while the server has not been told what is sealed, or the certificate in its answer was not
 * carried out: then the device still counts as new. */
bool device_needs_bootstrap(const struct device *d);

/* The next sequence number, never given out before, power cuts included. Storage errors: none was
 * given out. */
MUST_USE err_t device_next_sequence(struct device *d, uint64_t *ret);
/* Leaves a gap behind the last number, for a device whose state is older than the server's. */
MUST_USE err_t device_skip_sequence(struct device *d, uint64_t count);

/*
 * How long an opening heartbeat has to wait, in milliseconds; 0: it may go now. The interval is
 * kept over power cuts; a clock that was stepped back costs at most one interval from now, a clock
 * stepped forward is not believed while the process lives.
 */
MUST_USE err_t device_heartbeat_hold_ms(struct device *d, int64_t *ret_ms);
/* Durable before the heartbeat goes out. */
MUST_USE err_t device_heartbeat_sent(struct device *d);
/* Replaces the hold: the server said when to come back. */
MUST_USE err_t device_heartbeat_defer(struct device *d, int64_t wait_ms);

/*
 * A key pair for `operation` ("": a bootstrap, which has none yet) in the spare slot, durable
 * before anybody hears of it. Asked again for the same operation it is the same key; a key that
 * waits without an operation serves the first that comes, and a bootstrap takes any that waits.
 * ERR_CONFLICT while a confirmation is owed. *ret_key is borrowed.
 */
MUST_USE err_t device_new_key(struct device *d, const char *operation, EVP_PKEY **ret_key);

/* A certificate handed out for `operation`. */
struct device_grant {
    const char *operation;
    struct device_certificate certificate;
};
/*
 * Judges the certificate, stores it with its key in the spare slot and switches over; from then on
 * a confirmation is owed. Either way the device counts as active afterwards, since none but active
 * ones are given certificates. ERR_INVALID: it cannot be used; nothing was switched, the reason is
 * noted for the next heartbeat's report. Storage errors: nothing was switched, the same grant may
 * be installed again.
 */
MUST_USE err_t device_install(struct device *d, const struct device_grant *grant,
                              struct fault *fault);
/* The server's verdict: installed. The previous key and certificate are removed. */
MUST_USE err_t device_confirmed(struct device *d);
/* The server's verdict: refused. Back to the previous pair; the reason is noted for the report. */
MUST_USE err_t device_return(struct device *d, const char *reason);
/* Work that could not be done; noted for the next heartbeat's report. */
MUST_USE err_t device_note_failure(struct device *d, const char *operation, const char *reason);
/* The report was taken. */
MUST_USE err_t device_failure_reported(struct device *d);

/* The operational key and the serial in use; NULL and "" when there is none. Borrowed. */
EVP_PKEY *device_current_key(const struct device *d);
const char *device_current_serial(const struct device *d);

/* Names of the files of a slot in the storage; NULL for DEVICE_SLOT_NONE. */
const char *device_key_file(enum device_slot slot);
const char *device_certificate_file(enum device_slot slot);

#endif
