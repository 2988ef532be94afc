/* What others want of a device: a renewal, to be let in; and what it reports without a proof: that
 * its last work failed. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "device_life.h"

static void answer_operation(struct device_request *r, const struct uuid *id,
                             enum operation_state state, const char *reason)
{
    cJSON *object = outcome_answer(&r->outcome);
    json_add_uuid(object, "operation", id);
    json_add_text(object, "status", codec_name_of(operation_state_names, state));
    json_add_text(object, "reason", reason);
}

/* An automatic wish comes as long as the certificate is due, always with the same id: that another
 * wish took its place, or that it failed, says nothing about this time. */
static bool is_tried_anew(const struct device *old, const struct device_request *r,
                          const struct device_recent *past)
{
    return r->of.renew.automatic && past->state != OPERATION_INSTALLED &&
           !device_has_operation(old) && !life_is_stuck(old);
}

/* True when this very order was taken before. */
static bool answer_repeat(const struct device *old, struct device_request *r, int64_t now_ms)
{
    const struct uuid id = r->of.renew.operation;
    if (device_has_operation(old) && uuid_eq(&old->operation.id, &id)) {
        answer_operation(r, &id, old->operation.state, old->operation.reason);
        return true;
    }
    const struct device_recent *past = life_recent(old, &id, now_ms);
    if (past == NULL || is_tried_anew(old, r, past)) {
        return false;
    }
    answer_operation(r, &id, past->state, past->reason);
    return true;
}

static void refuse_running(struct device_outcome *o, const struct device *d)
{
    char id[UUID_TEXT_SIZE];
    uuid_format(&d->operation.id, id);
    outcome_refuse(o, REFUSAL_OPERATION_IN_PROGRESS, "", "operation %s (%s) is %s", id,
                   codec_name_of(operation_kind_names, d->operation.kind),
                   codec_name_of(operation_state_names, d->operation.state));
}

/* A wish that the device has not seen yet gives way to a newer one, but never to an automatic one.
 */
static bool may_replace(const struct device *d, const struct device_request *r)
{
    bool waiting =
        d->operation.state == OPERATION_QUEUED || d->operation.state == OPERATION_AWAITING_KEY;
    return waiting && d->operation.kind != OPERATION_ISSUE && !r->of.renew.automatic;
}

static void refuse_state(const struct device *old, struct device_request *r)
{
    struct device_outcome *o = &r->outcome;
    if (old == NULL || !life_belongs_to(old, &r->envelope)) {
        outcome_refuse(o, REFUSAL_UNKNOWN_DEVICE, "uid", "the domain has no such device");
    } else if (old->state != DEVICE_ACTIVE) {
        outcome_refuse(o, REFUSAL_NOT_ACTIVE, "", "the device is %s; only active ones are renewed",
                       codec_name_of(device_state_names, old->state));
    } else if (!device_has_certificate(old) && device_has_operation(old)) {
        refuse_running(o, old);
    } else if (!device_has_certificate(old)) {
        outcome_refuse(o, REFUSAL_NO_CERTIFICATE, "", "the device has no certificate to renew");
    } else if (old->certificate.revoked_at_ms != 0) {
        outcome_refuse(o, REFUSAL_REVOKED, "",
                       "a revoked certificate is not renewed; order an update instead");
    }
}

static void refuse_wish(const struct device *old, struct device_request *r, int64_t now_ms)
{
    struct device_outcome *o = &r->outcome;
    const struct device_renew_body *b = &r->of.renew;
    static const uint8_t any[CERTIFICATE_SERIAL];
    assert(old != NULL); /* refuse_state saw to it */
    const struct ca *ca = r->snapshots.ca;
    if (memcmp(b->serial, any, sizeof any) != 0 &&
        memcmp(b->serial, old->certificate.serial, sizeof any) != 0) {
        outcome_refuse(o, REFUSAL_CERTIFICATE_CHANGED, "serial",
                       "another certificate is installed by now");
    } else if (b->automatic && life_is_stuck(old)) {
        outcome_refuse(o, REFUSAL_STUCK, "",
                       "the device never confirmed its last certificate; its owner has to order");
    } else if (device_has_operation(old) && !may_replace(old, r)) {
        refuse_running(o, old);
    } else if (ca == NULL || !uuid_eq(&ca->id, &old->certificate.ca) || ca->state != CA_ACTIVE) {
        outcome_refuse(o, REFUSAL_NOT_MANAGED, "",
                       "the CA of the installed certificate is not one of ours any more");
    } else if (b->automatic && !life_is_due(old, ca, now_ms)) {
        outcome_refuse(o, REFUSAL_NOT_DUE, "", "its CA does not renew the certificate yet");
    } else if (!life_is_longer(&old->certificate, ca, b->validity_s, now_ms)) {
        outcome_refuse(o, REFUSAL_NOT_LONGER, "",
                       "a renewal would not be valid longer than the installed certificate; "
                       "transfer the device to another CA first, or ask for a longer validity");
    }
}

/* Whoever fed an order without waiting for the answer learns of a refusal by event, and finds it at
 * the device. That something is not due is nobody's news. */
static void tell_refusal(const struct device *old, struct device_request *r, int64_t now_ms)
{
    const struct device_renew_body *b = &r->of.renew;
    if (r->envelope.reply_to[0] != 0 || (uuid_is_zero(&b->order) && !b->automatic) ||
        r->outcome.refusal == REFUSAL_NOT_DUE) {
        return;
    }
    struct device nobody = {.state = DEVICE_REGISTERED};
    memcpy(nobody.uid, r->uid, sizeof nobody.uid);
    bool known = old != NULL && life_belongs_to(old, &r->envelope);
    const struct device_operation wish = {
        .id = b->operation, .kind = OPERATION_RENEW, .order = b->order, .automatic = b->automatic};
    cJSON *data = life_operation_data(known ? old : &nobody, &wish);
    json_add_text(data, "reason", refusal_code(r->outcome.refusal));
    outcome_event(&r->outcome, EVENT_OPERATION_FAILED, NULL, data);
    if (known && !uuid_is_zero(&b->order)) {
        life_remember_refused(life_change(old, r, now_ms), &b->operation, OPERATION_RENEW,
                              refusal_code(r->outcome.refusal), now_ms);
    }
}

static void start(struct device *d, const struct device_request *r, int64_t now_ms)
{
    const struct device_renew_body *b = &r->of.renew;
    d->operation = (struct device_operation){
        .id = b->operation,
        .kind = OPERATION_RENEW,
        .state = OPERATION_QUEUED,
        .requested_at_ms = now_ms,
        .updated_at_ms = now_ms,
        .order = b->order,
        .ca = d->certificate.ca,
        .validity_s = b->validity_s,
        .automatic = b->automatic,
    };
    (void)snprintf(d->operation.actor, sizeof d->operation.actor, "%s:%.64s",
                   r->envelope.actor_kind, r->envelope.actor_id);
}

/* Remembered as failed, so that it is told once and not each time the scheduler comes by. */
static void fail_automatic(const struct device *old, struct device_request *r, int64_t now_ms)
{
    const char *reason = refusal_code(r->outcome.refusal);
    const struct device_recent *past = life_recent(old, &r->of.renew.operation, now_ms);
    if (past == NULL || strcmp(past->reason, reason) != 0) {
        start(life_change(old, r, now_ms), r, now_ms);
        life_fail_operation(&r->outcome, reason, now_ms);
    }
}

void device_renew(const struct device *old, struct device_request *r, int64_t now_ms)
{
    struct device_outcome *o = &r->outcome;
    if (old != NULL && life_belongs_to(old, &r->envelope) && answer_repeat(old, r, now_ms)) {
        return;
    }
    refuse_state(old, r);
    if (o->refusal == REFUSAL_NONE) {
        refuse_wish(old, r, now_ms);
    }
    if (o->refusal == REFUSAL_NOT_LONGER && r->of.renew.automatic) {
        fail_automatic(old, r, now_ms);
        return;
    }
    if (o->refusal != REFUSAL_NONE) {
        tell_refusal(old, r, now_ms);
        return;
    }
    assert(old != NULL); /* refuse_state saw to it */
    struct device *d = life_change(old, r, now_ms);
    if (device_has_operation(d)) {
        cJSON *data = life_operation_data(d, &d->operation);
        json_add_uuid(data, "replaced_by", &r->of.renew.operation);
        outcome_event(o, EVENT_OPERATION_SUPERSEDED, NULL, data);
        life_end_operation(o, OPERATION_SUPERSEDED, "replaced", now_ms);
    }
    d->reason[0] = 0;
    start(d, r, now_ms);
    outcome_event(o, EVENT_OPERATION_QUEUED, NULL, life_operation_data(d, &d->operation));
    answer_operation(r, &d->operation.id, OPERATION_QUEUED, "");
}

/* It gave up its first certificate, so that there is nothing to be renewed yet. */
static bool is_stuck_first(const struct device *d)
{
    return d->state == DEVICE_ACTIVE && !device_has_certificate(d) && !device_has_operation(d) &&
           life_is_stuck(d);
}

void device_unblock(const struct device *old, struct device_request *r, int64_t now_ms)
{
    struct device_outcome *o = &r->outcome;
    if (old == NULL || !life_belongs_to(old, &r->envelope)) {
        outcome_refuse(o, REFUSAL_UNKNOWN_DEVICE, "uid", "the domain has no such device");
        return;
    }
    if (old->state == DEVICE_ALLOCATED && !life_is_allowed(old, &r->snapshots)) {
        outcome_refuse(o, REFUSAL_NOT_WHITELISTED, "uid",
                       "the device is not on the whitelist of its profile's domain");
        return;
    }
    bool stuck = is_stuck_first(old);
    if (old->state == DEVICE_ALLOCATED || stuck) {
        struct device *d = life_change(old, r, now_ms);
        life_take_settings(d, &r->snapshots);
        if (stuck) {
            life_forget_first(o, &r->snapshots);
        } else {
            life_activate(o, now_ms);
        }
        if (life_want_first(o, &r->snapshots, NULL, now_ms)) {
            outcome_event(o, EVENT_OPERATION_QUEUED, NULL, life_operation_data(d, &d->operation));
        }
    }
    const struct device *d = o->state != NULL ? o->state : old;
    json_add_text(outcome_answer(o), "state", codec_name_of(device_state_names, d->state));
}

/* Machine-readable: anything else a device says is cut to printable ASCII. */
static void take_reason(char out[DEVICE_WORD_MAX + 1], const char *said)
{
    size_t len = 0;
    for (; said[len] != 0 && len < DEVICE_WORD_MAX; len++) {
        bool plain = said[len] >= ' ' && said[len] <= '~';
        out[len] = '?';
        if (plain) {
            out[len] = said[len];
        }
    }
    out[len] = 0;
}

/* The door saw it and nobody signed it: it is told, and noted for the device's owner to judge. */
void device_forked(const struct device *old, struct device_request *r, int64_t now_ms)
{
    const struct device_fork_body *fork = &r->of.fork;
    if (old == NULL) {
        outcome_refuse(&r->outcome, REFUSAL_UNKNOWN_DEVICE, "uid", "no such device");
        return;
    }
    (void)outcome_answer(&r->outcome);
    if (fork->sequence == old->fork.sequence) {
        return; /* told already */
    }
    struct device *d = life_change(old, r, now_ms);
    d->fork = (struct device_fork){.at_ms = now_ms, .sequence = fork->sequence};
    char sequence[24];
    (void)snprintf(sequence, sizeof sequence, "%" PRId64, fork->sequence);
    cJSON *data = life_event_data(d);
    json_add_text(data, "sequence", sequence);
    json_add_text(data, "token", codec_name_of(device_fork_token_names, fork->token));
    outcome_event(&r->outcome, EVENT_FORKED, NULL, data);
}

void device_failed(const struct device *old, struct device_request *r, int64_t now_ms)
{
    struct device_outcome *o = &r->outcome;
    if (old == NULL || !device_has_operation(old) ||
        !uuid_eq(&old->operation.id, &r->of.failed.operation)) {
        outcome_refuse(o, REFUSAL_UNKNOWN_OPERATION, "operation",
                       "the device has no such operation running");
        return;
    }
    struct device *d = life_change(old, r, now_ms);
    d->operation.attempts++;
    d->operation.updated_at_ms = now_ms;
    take_reason(d->operation.reason, r->of.failed.reason);
    struct uuid id = d->operation.id;
    if (d->operation.attempts < DEVICE_ATTEMPTS_MAX) {
        answer_operation(r, &id, d->operation.state, d->operation.reason);
        return;
    }
    char reason[DEVICE_WORD_MAX + 1];
    memcpy(reason, d->operation.reason, sizeof reason);
    life_fail_operation(o, reason[0] != 0 ? reason : "device_failed", now_ms);
    (void)snprintf(d->reason, sizeof d->reason, "%s", refusal_code(REFUSAL_STUCK));
    answer_operation(r, &id, OPERATION_FAILED, reason);
}
