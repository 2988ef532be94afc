/*
 * Steps in a device's life that several decisions share: how operations begin and end, how
 * certificates are handed out, what is told to whom. Pure; used by the device_* deciders only.
 */
#ifndef CA_SIGNER_DEVICE_LIFE_H
#define CA_SIGNER_DEVICE_LIFE_H

#include "device_decide.h"

#define EVENT_REGISTERED            "io.fleetseal.device.registered.v1"
#define EVENT_ALLOCATED             "io.fleetseal.device.allocated.v1"
#define EVENT_ACTIVATED             "io.fleetseal.device.activated.v1"
#define EVENT_UNKNOWN_PROFILE       "io.fleetseal.device.unknown_profile.v1"
#define EVENT_SEALING_REFUSED       "io.fleetseal.device.sealing_refused.v1"
#define EVENT_DUPLICATE             "io.fleetseal.device.duplicate.v1"
#define EVENT_FORKED                "io.fleetseal.device.forked.v1"
#define EVENT_SERIAL_DUPLICATE      "io.fleetseal.device.serial_duplicate.v1"
#define EVENT_SETTINGS_CHANGED      "io.fleetseal.device.settings_changed.v1"
#define EVENT_CERTIFICATE_ISSUED    "io.fleetseal.certificate.issued.v1"
#define EVENT_CERTIFICATE_INSTALLED "io.fleetseal.certificate.installed.v1"
#define EVENT_CERTIFICATE_RENEWED   "io.fleetseal.certificate.renewed.v1"
#define EVENT_CERTIFICATE_REPLACED  "io.fleetseal.certificate.superseded.v1"
#define EVENT_OPERATION_QUEUED      "io.fleetseal.operation.queued.v1"
#define EVENT_OPERATION_FAILED      "io.fleetseal.operation.failed.v1"
#define EVENT_OPERATION_SUPERSEDED  "io.fleetseal.operation.superseded.v1"

/* The deciders, one per kind of request. `old` as in device_decide. */
void device_bootstrap(const struct device *old, struct device_request *r, int64_t now_ms);
void device_pickup(const struct device *old, struct device_request *r, int64_t now_ms);
void device_confirm(const struct device *old, struct device_request *r, int64_t now_ms);
void device_failed(const struct device *old, struct device_request *r, int64_t now_ms);
void device_forked(const struct device *old, struct device_request *r, int64_t now_ms);
void device_renew(const struct device *old, struct device_request *r, int64_t now_ms);
void device_unblock(const struct device *old, struct device_request *r, int64_t now_ms);
void device_change_settings(const struct device *old, struct device_request *r, int64_t now_ms);

/* {"uid":..} and, as far as known, "profile" and "serial". Owned by the caller. */
cJSON *life_event_data(const struct device *d);
/* The same about an operation: id, kind, order, whether automatic. */
cJSON *life_operation_data(const struct device *d, const struct device_operation *o);
/* The same about a certificate and the operation that brought it. */
cJSON *life_certificate_data(const struct device *d, const struct device_unconfirmed *u);

/* A copy of the state to be changed, owned by the outcome, with the signed sequence of `r` taken
 * over where it has one. */
struct device *life_change(const struct device *old, struct device_request *r, int64_t now_ms);

/* A finished operation; NULL when there was none, or so long ago that nothing can repeat it. */
const struct device_recent *life_recent(const struct device *d, const struct uuid *id,
                                        int64_t now_ms);
/* An operation that never began is remembered like one that failed: who ordered it looks for it. */
void life_remember_refused(struct device *d, const struct uuid *id, enum operation_kind kind,
                           const char *reason, int64_t now_ms);
/* The running operation ends in `state` and is remembered. `reason` may be "". */
void life_end_operation(struct device_outcome *o, enum operation_state state, const char *reason,
                        int64_t now_ms);
/* The operation fails: ended, and told. The device keeps `reason` where it is left alone for it
 * ("stuck"). */
void life_fail_operation(struct device_outcome *o, const char *reason, int64_t now_ms);

/* Whether whoever orders this is the device's owner. */
bool life_belongs_to(const struct device *d, const struct envelope *e);
/* Whether whitelist and profile let the device in. */
bool life_is_allowed(const struct device *d, const struct device_snapshots *s);
/* What the profile says of heartbeats now. Until a device has its first certificate they go with
 * the CA that will sign it. */
void life_take_settings(struct device *d, const struct device_snapshots *s);
/* allocated -> active, told. */
void life_activate(struct device_outcome *o, int64_t now_ms);
/* The device is left alone until its owner orders. */
bool life_is_stuck(const struct device *d);
/* How often certificates were handed out for what the running operation is after, whichever keys
 * they were for; for a first one under whatever install nonce. */
int32_t life_deliveries(const struct device *d);

/* Begins the first-certificate operation unless it runs or has ended, or the device is stuck; false
 * when there is nothing to be done. Its CA is the profile's, or that of the certificate that
 * `waits` (may be NULL). */
bool life_want_first(struct device_outcome *o, const struct device_snapshots *s,
                     const struct device_unconfirmed *waits, int64_t now_ms);
/* That it ended is forgotten, that the device is stuck, and how often it was given one: its owner
 * wants it again. What
 * another CA than the profile's signed for it is superseded. */
void life_forget_first(struct device_outcome *o, const struct device_snapshots *s);

/* Nothing could be signed now. A pick-up leaves no trace, so that the same message succeeds later;
 * a bootstrap is looked at anew in any case and keeps what it reached. */
void life_try_again(struct device_request *r, const char *why);
/* Nothing can be signed, now or later: the operation fails, `fault` is for people. A first
 * certificate stays wanted, so that a device heals once its CA does. */
void life_not_issued(struct device_request *r, const struct fault *fault, int64_t now_ms);
/* Whether a certificate signed by `ca` now would outlive `present`. `validity_s` 0: what the CA
 * says. */
bool life_is_longer(const struct device_certificate *present, const struct ca *ca,
                    int64_t validity_s, int64_t now_ms);
/* Whether the CA renews the installed certificate by itself, and it is time by this clock. The
 * scheduler found it so by its own, perhaps long ago. */
bool life_is_due(const struct device *d, const struct ca *ca, int64_t now_ms);
/*
 * Asks for a signature over `key` for the running operation. Nothing is asked for, and a refusal is
 * in the outcome, when the CA may not sign for this device or is not at hand, the clock is wrong, a
 * renewal would not be longer, or the device was given enough certificates already.
 */
void life_ask(struct device_request *r, const struct device_key *key,
              const struct device_subject *subject, int64_t now_ms);
/*
 * The certificate is handed out once more. `fresh`: this is a new exchange, not the same one
 * repeated; it counts as a delivery once in a visit. False: it was handed out too often, the device
 * is stuck, and a refusal is in the outcome.
 */
bool life_deliver(struct device_request *r, const struct device_unconfirmed *u, bool fresh,
                  int64_t now_ms);
/* A certificate is superseded by what `operation` brought: recorded and told. Returns the event's
 * data, borrowed from the outcome, to be added to. */
cJSON *life_supersede(struct device_outcome *o, const struct uuid *ca,
                      const uint8_t serial[CERTIFICATE_SERIAL], const uint8_t fingerprint[32],
                      const struct uuid *operation);
/* Drops the oldest unconfirmed certificates below `keep_from`: told as superseded. */
void life_drop_unconfirmed(struct device_outcome *o, size_t keep_from,
                           const struct uuid *operation);

/* The certificate and its chain as an answer's members. */
void life_answer_certificate(cJSON *answer, const struct device_unconfirmed *u,
                             const struct ca *ca);
/* The whole answer to a bootstrap; `u` may be NULL. */
void life_answer_bootstrap(struct device_request *r, const struct device *d,
                           const struct device_unconfirmed *u);
/* The whole answer to a pick-up. */
void life_answer_pickup(struct device_request *r, const struct device_unconfirmed *u);

#endif
