/* A device fetches what its operation gives it: the certificate is signed now, or handed out again.
 */
#include <assert.h>
#include <string.h>

#include "device_life.h"

static bool needs_key(const struct device *d)
{
    return d->operation.kind == OPERATION_ISSUE || d->operation.kind == OPERATION_UPDATE;
}

/* True: `hash` belongs to the key of the CSR, or none came. */
static bool csr_agrees(const struct device_request *r, const uint8_t hash[32])
{
    return !r->proof.has_csr || memcmp(r->proof.csr_hash, hash, 32) == 0;
}

static bool refuse_stranger(const struct device *old, struct device_request *r)
{
    struct device_outcome *o = &r->outcome;
    if (r->proof.refusal != REFUSAL_NONE) {
        outcome_refuse(o, r->proof.refusal, "",
                       "a pick-up must be signed by the root-of-trust key whose hash is the UID");
    } else if (old == NULL) {
        outcome_refuse(o, REFUSAL_UNKNOWN_DEVICE, "uid", "the device never bootstrapped");
    } else if (!span_eq(span_of(old->rot_key.der, old->rot_key.len),
                        span_of(r->body.rot_key.der, r->body.rot_key.len))) {
        outcome_refuse(o, REFUSAL_WRONG_KEY, "", "another root-of-trust key holds this UID");
    } else if (old->state != DEVICE_ACTIVE) {
        outcome_refuse(o, REFUSAL_NOT_ACTIVE, "", "the device is %s",
                       codec_name_of(device_state_names, old->state));
    }
    return o->refusal != REFUSAL_NONE;
}

static bool refuse_operation(const struct device *old, struct device_request *r, int64_t now_ms)
{
    const struct uuid *id = &r->of.pickup.operation;
    struct device_outcome *o = &r->outcome;
    if (device_has_operation(old) && uuid_eq(&old->operation.id, id)) {
        return false;
    }
    const struct device_recent *past = life_recent(old, id, now_ms);
    if (past == NULL) {
        outcome_refuse(o, REFUSAL_UNKNOWN_OPERATION, "operation",
                       "the device has no such operation");
    } else if (strcmp(past->reason, refusal_code(REFUSAL_STUCK)) == 0) {
        outcome_refuse(o, REFUSAL_STUCK, "operation",
                       "it was given up after %d deliveries without a confirmation",
                       DEVICE_DELIVERIES_MAX);
    } else {
        outcome_refuse(o, REFUSAL_OPERATION_FINISHED, "operation", "it is %s",
                       codec_name_of(operation_state_names, past->state));
    }
    return true;
}

/* The same pick-up again gets the same certificate and changes nothing; any other old sequence is
 * refused. */
static void answer_repeat(const struct device *old, struct device_request *r, int64_t now_ms)
{
    const struct device_unconfirmed *u = device_waiting(old, r, now_ms);
    if (u != NULL) {
        life_answer_pickup(r, u);
        return;
    }
    outcome_refuse(&r->outcome, REFUSAL_STALE_SEQUENCE, "sequence", "must be above %lld",
                   (long long)old->sequence);
}

/* An automatic renewal that its CA's settings do not want any more. */
static bool is_overtaken(const struct device *d, const struct ca *ca, int64_t now_ms)
{
    return d->operation.automatic && ca != NULL && device_has_certificate(d) &&
           !life_is_due(d, ca, now_ms);
}

static void sign_new(struct device_request *r, struct device *d, int64_t now_ms)
{
    struct device_outcome *o = &r->outcome;
    if (is_overtaken(d, r->snapshots.ca, now_ms)) {
        life_fail_operation(o, refusal_code(REFUSAL_NOT_DUE), now_ms);
        outcome_refuse(o, REFUSAL_OPERATION_FINISHED, "operation",
                       "its CA does not renew the certificate by itself now");
        return;
    }
    if (needs_key(d) && !r->proof.has_csr) {
        d->operation.state = OPERATION_AWAITING_KEY;
        d->operation.updated_at_ms = now_ms;
        outcome_refuse(o, REFUSAL_CSR_REQUIRED, "csr",
                       "this operation needs a new key: send a PKCS#10 request for it");
        return;
    }
    const struct device_subject *subject =
        device_has_certificate(d) ? &d->certificate.subject : NULL;
    if (needs_key(d)) {
        life_ask(r, &r->proof.key, subject, now_ms);
    } else if (csr_agrees(r, d->certificate.key_hash)) {
        life_ask(r, &d->certificate.spki, subject, now_ms);
    } else {
        outcome_refuse(o, REFUSAL_UNEXPECTED_KEY, "csr",
                       "a renewal keeps the key: leave the CSR out, or send one for that key");
    }
}

void device_pickup(const struct device *old, struct device_request *r, int64_t now_ms)
{
    struct device_outcome *o = &r->outcome;
    if (refuse_stranger(old, r)) {
        return;
    }
    assert(old != NULL); /* else it was a stranger */
    if (refuse_operation(old, r, now_ms)) {
        return;
    }
    if (r->body.signed_part.sequence <= old->sequence) {
        answer_repeat(old, r, now_ms);
        return;
    }
    if (r->proof.csr_fault.code[0] != 0) {
        outcome_refuse(o, REFUSAL_INVALID_CSR, "csr", "%s", r->proof.csr_fault.text);
        return;
    }
    struct device *d = life_change(old, r, now_ms);
    const struct device_unconfirmed *u = device_waiting(d, r, now_ms);
    if (u == NULL) {
        sign_new(r, d, now_ms);
    } else if (life_deliver(r, u, true, now_ms)) {
        life_answer_pickup(r, u);
    }
}
