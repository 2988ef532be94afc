/*
 * A request on the device topic on its way through a round: what it says, what its proof is worth,
 * what else there is to know. Decoded on the processor's thread, verified on a worker, given its
 * snapshots before the decision (device_snapshot.h).
 */
#ifndef CA_SIGNER_DEVICE_REQUEST_H
#define CA_SIGNER_DEVICE_REQUEST_H

#include "device_outcome.h"
#include "kernel.h"
#include "proto/ca.h"
#include "proto/device_request.h"
#include "proto/envelope.h"
#include "proto/registry.h"

enum device_request_kind {
    DEVICE_ASKS_BOOTSTRAP,
    DEVICE_ASKS_PICKUP,
    DEVICE_ASKS_CONFIRM,
    DEVICE_SAYS_FAILED,
    DEVICE_SEEN_FORKED,
    DEVICE_ORDER_RENEW,
    DEVICE_ORDER_UNBLOCK,
    DEVICE_ORDER_SETTINGS,
    DEVICE_REQUEST_KINDS,
};

/* What the workers found out about a signed request. */
struct device_proof {
    enum refusal refusal;   /* REFUSAL_NONE: the signature is good, by the key it should be by */
    uint8_t key_hash[32];   /* confirm: of the key that signed */
    bool has_csr;           /* a CSR came, and its proof of possession is good: */
    struct device_key key;  /* its key, */
    uint8_t csr_hash[32];   /* and the hash of that */
    struct fault csr_fault; /* code not "": a CSR came and is no good */
};

/* What other aggregates look like now. Borrowed pointers live until the round's next prepare. */
struct device_snapshots {
    const struct registry_profile *profile;     /* NULL: there is none, and that is certain */
    const struct registry_whitelist *whitelist; /* NULL: not listed, and that is certain */
    const struct ca *ca;                        /* NULL: none asked for, or there is none */
    struct issuer_template *template;           /* NULL: its key is not at hand */
    char serial_holder[DEVICE_UID_LEN + 1]; /* the domain's first device with the serial; "": not
                                               asked for */
};

struct device_request {
    enum device_request_kind kind;
    struct envelope envelope;
    char uid[DEVICE_UID_LEN + 1];
    struct device_signed_body body; /* bootstrap, pickup, confirm */
    union {
        struct device_bootstrap_payload bootstrap;
        struct device_pickup_payload pickup;
        struct device_confirm_payload confirm;
        struct device_failed_body failed;
        struct device_fork_body fork;
        struct device_renew_body renew;
        struct device_unblock_body unblock;
        struct device_settings_body settings;
    } of;
    struct device_proof proof;
    struct device_snapshots snapshots;
    struct device_outcome outcome;
    int64_t now_ms;               /* of the decision, for sign */
    struct cert_out *certificate; /* owned: what sign made */
    err_t sign_error;
    struct fault sign_fault;
};

/*
 * Reads a request from its record. ERR_INVALID, ERR_TOO_LARGE, ERR_UNSUPPORTED with a fault: it
 * belongs to the dead letters. The record key must be the UID that the body speaks of, and what is
 * signed must be what is acted upon. *ret is owned by the caller.
 */
err_t device_request_decode(struct span key, struct span value, struct device_request **ret,
                            struct fault *fault) MUST_USE;
void device_request_free(struct device_request *r);
CLEANUP_DEFINE(struct device_request *, device_request_free);

/* Fills r->proof: signatures of the device and of its CSR. Any thread; has no effect but on `r`. */
void device_request_verify(struct device_request *r);

#endif
