/*
 * A device proves that it uses a certificate: the message is signed by that certificate's key. The
 * proof beats the plan: whatever became of the operation that brought it, the newest proved
 * certificate is the installed one, and only the proof is billed.
 */
#include <string.h>

#include "device_life.h"

static size_t find(const struct device *d, const uint8_t serial[CERTIFICATE_SERIAL])
{
    size_t i = 0;
    while (i < d->unconfirmed_count &&
           memcmp(d->unconfirmed[i].serial, serial, CERTIFICATE_SERIAL) != 0) {
        i++;
    }
    return i;
}

static void answer(struct device_request *r, const struct device_certificate *c)
{
    cJSON *object = outcome_answer(&r->outcome);
    json_add_uuid(object, "operation", &c->operation);
    json_add_hex(object, "serial", span_of(c->serial, sizeof c->serial));
    json_add_text(object, "status", "installed");
}

/* True: refused, or answered because it is known already. */
static bool settle_early(const struct device *old, struct device_request *r)
{
    struct device_outcome *o = &r->outcome;
    const uint8_t *serial = r->of.confirm.serial;
    if (r->proof.refusal != REFUSAL_NONE) {
        outcome_refuse(o, r->proof.refusal, "",
                       "a confirmation must be signed by the key of the certificate it confirms");
        return true;
    }
    if (old == NULL) {
        outcome_refuse(o, REFUSAL_UNKNOWN_DEVICE, "uid", "the device never bootstrapped");
        return true;
    }
    const struct device_certificate *c = &old->certificate;
    bool installed =
        device_has_certificate(old) && memcmp(c->serial, serial, CERTIFICATE_SERIAL) == 0;
    size_t at = find(old, serial);
    if (!installed && at == old->unconfirmed_count) {
        outcome_refuse(o, REFUSAL_UNKNOWN_CERTIFICATE, "serial",
                       "no certificate with this serial waits for a confirmation: it was never "
                       "issued to this device, or a newer one is installed");
        return true;
    }
    const uint8_t *hash = installed ? c->key_hash : old->unconfirmed[at].key_hash;
    if (memcmp(hash, r->proof.key_hash, 32) != 0) {
        outcome_refuse(o, REFUSAL_WRONG_KEY, "key",
                       "must be the key of the certificate that is confirmed");
        return true;
    }
    if (installed) {
        answer(r, c); /* the verdict was lost on its way */
        return true;
    }
    if (r->body.signed_part.sequence <= old->sequence) {
        outcome_refuse(o, REFUSAL_STALE_SEQUENCE, "sequence", "must be above %lld",
                       (long long)old->sequence);
        return true;
    }
    return false;
}

static cJSON *installed_data(const struct device *d, const struct device_unconfirmed *u,
                             const struct device_certificate *before)
{
    cJSON *data = life_certificate_data(d, u);
    if (before->installed_at_ms != 0) {
        json_add_hex(data, "previous_serial", span_of(before->serial, sizeof before->serial));
        json_add_hex(data, "previous_fingerprint",
                     span_of(before->fingerprint, sizeof before->fingerprint));
        json_add_uuid(data, "previous_ca", &before->ca);
    }
    return data;
}

static void supersede(struct device_outcome *o, const struct device_certificate *before,
                      const struct device_unconfirmed *by)
{
    if (before->installed_at_ms == 0) {
        return;
    }
    cJSON *data =
        life_supersede(o, &before->ca, before->serial, before->fingerprint, &by->operation);
    json_add_hex(data, "replaced_by", span_of(by->serial, sizeof by->serial));
}

static void install(struct device *d, const struct device_unconfirmed *u, int64_t now_ms)
{
    struct device_certificate *c = &d->certificate;
    bool other_key = !device_has_certificate(d) || memcmp(c->key_hash, u->key_hash, 32) != 0;
    d->key_generation += other_key;
    memcpy(c->serial, u->serial, sizeof c->serial);
    memcpy(c->key_hash, u->key_hash, sizeof c->key_hash);
    memcpy(c->fingerprint, u->fingerprint, sizeof c->fingerprint);
    c->ca = u->ca;
    c->not_before_ms = u->not_before_ms;
    c->not_after_ms = u->not_after_ms;
    c->issued_at_ms = u->issued_at_ms;
    c->installed_at_ms = now_ms;
    c->revoked_at_ms = 0;
    c->spki = u->spki;
    c->subject = u->subject;
    c->operation = u->operation;
}

/* The operation that brought it is done, if it still runs or was given up; another one that runs
 * meanwhile goes on. */
static void settle_operation(struct device_outcome *o, const struct uuid *id, int64_t now_ms)
{
    struct device *d = o->state;
    if (device_has_operation(d) && uuid_eq(&d->operation.id, id)) {
        life_end_operation(o, OPERATION_INSTALLED, "", now_ms);
        return;
    }
    for (size_t i = 0; i < d->recent_count; i++) {
        if (uuid_eq(&d->recent[i].id, id)) {
            d->recent[i].state = OPERATION_INSTALLED;
            d->recent[i].at_ms = now_ms;
            d->recent[i].reason[0] = 0;
        }
    }
}

static bool is_billable(enum operation_kind kind)
{
    return kind == OPERATION_RENEW || kind == OPERATION_UPDATE || kind == OPERATION_TRANSFER;
}

void device_confirm(const struct device *old, struct device_request *r, int64_t now_ms)
{
    if (settle_early(old, r)) {
        return;
    }
    struct device_outcome *o = &r->outcome;
    struct device *d = life_change(old, r, now_ms);
    size_t at = find(d, r->of.confirm.serial);
    const struct device_unconfirmed u = d->unconfirmed[at];
    const struct device_certificate before = d->certificate;
    outcome_status(o, &u.ca, u.serial, CERTIFICATE_INSTALLED, &u.operation);
    outcome_event(o, EVENT_CERTIFICATE_INSTALLED, NULL, installed_data(d, &u, &before));
    if (u.kind == OPERATION_RENEW) {
        outcome_event(o, EVENT_CERTIFICATE_RENEWED, NULL, installed_data(d, &u, &before));
    }
    supersede(o, &before, &u);
    life_drop_unconfirmed(o, at, &u.operation);
    memmove(d->unconfirmed, d->unconfirmed + 1,
            (d->unconfirmed_count - 1) * sizeof d->unconfirmed[0]);
    memset(&d->unconfirmed[--d->unconfirmed_count], 0, sizeof d->unconfirmed[0]);
    install(d, &u, now_ms);
    if (d->state == DEVICE_ACTIVE) {
        d->reason[0] = 0; /* no longer stuck */
    }
    settle_operation(o, &u.operation, now_ms);
    o->install.billable = is_billable(u.kind);
    o->install.certificate = u;
    o->install.has_previous = before.installed_at_ms != 0;
    memcpy(o->install.previous_serial, before.serial, sizeof before.serial);
    answer(r, &d->certificate);
}
