/*
 * The life of a device as pure functions: (present state, request with its proofs and snapshots,
 * time) -> outcome. No I/O, no clock, no randomness, no cryptography: what those give comes in as
 * arguments. A decision that needs a certificate leaves `sign` and what to sign in the outcome;
 * device_issued or device_not_issued complete it with what the kernel made. Who calls: device_app.c
 * on the processor's thread, and the tests.
 */
#ifndef CA_SIGNER_DEVICE_DECIDE_H
#define CA_SIGNER_DEVICE_DECIDE_H

#include "device_request.h"

/* An operation whose certificates were handed out this often without a proof marks the device as
 * stuck; until the first proof the operations of all install nonces are one. */
#define DEVICE_DELIVERIES_MAX 5
/* A visit of a device lasts at most so long: within it the same certificate handed out again is not
 * another delivery. Messages that waited while nobody answered arrive together, too. */
#define DEVICE_VISIT_MS (INT64_C(5) * 60 * 1000)
/* So many failures reported by the device do, too. */
#define DEVICE_ATTEMPTS_MAX 5
/* So far apart may the clocks of replicas be. */
#define DEVICE_CLOCK_SLACK_MS (INT64_C(5) * 60 * 1000)

/* The unconfirmed certificate that answers this request as it is: the newest of the operation that
 * the request is about, if its key is the one asked for (or none is) and it has not expired. NULL:
 * there is none. */
const struct device_unconfirmed *device_waiting(const struct device *d,
                                                const struct device_request *r, int64_t now_ms);
/* The CA that the decision may sign with or look at, or whose certificate goes out with the one
 * that waits; zero: none. `d` and `profile` (of the snapshots) may be NULL. */
struct uuid device_ca_of(const struct device *d, const struct device_request *r,
                         const struct registry_profile *profile, int64_t now_ms);

/* The serial number by which a bootstrap is let into a domain now, with snapshots.profile filled
 * in;
 * "": by none, or it is refused, or changes nothing. `old` as in device_decide. */
const char *device_claimed_serial(const struct device *old, const struct device_request *r);

/* `old` is NULL for a device nobody has seen. Fills r->outcome, which is empty. */
void device_decide(const struct device *old, struct device_request *r, int64_t now_ms);

/* What came of outcome.ask. */
struct issued_certificate {
    struct span der;
    uint8_t serial[CERTIFICATE_SERIAL];
    uint8_t fingerprint[32]; /* SHA-256 of the DER */
    struct device_subject subject;
    int64_t not_before_ms, not_after_ms;
};
void device_issued(struct device_request *r, const struct issued_certificate *c, int64_t now_ms);
/* Nothing was signed: `why` decides whether the operation failed or waits, `fault` is for people.
 */
void device_not_issued(struct device_request *r, err_t why, const struct fault *fault,
                       int64_t now_ms);

#endif
