#include "device_decide.h"

#include <string.h>

#include "device_life.h"

void device_decide(const struct device *old, struct device_request *r, int64_t now_ms)
{
    static void (*const deciders[DEVICE_REQUEST_KINDS])(const struct device *,
                                                        struct device_request *, int64_t) = {
        [DEVICE_ASKS_BOOTSTRAP] = device_bootstrap,
        [DEVICE_ASKS_PICKUP] = device_pickup,
        [DEVICE_ASKS_CONFIRM] = device_confirm,
        [DEVICE_SAYS_FAILED] = device_failed,
        [DEVICE_SEEN_FORKED] = device_forked,
        [DEVICE_ORDER_RENEW] = device_renew,
        [DEVICE_ORDER_UNBLOCK] = device_unblock,
        [DEVICE_ORDER_SETTINGS] = device_change_settings,
    };
    deciders[r->kind](old, r, now_ms);
}

/* ---- what a request is about, for the decision and for those who read its snapshots ---- */

const struct device_unconfirmed *device_waiting(const struct device *d,
                                                const struct device_request *r, int64_t now_ms)
{
    if (r->kind != DEVICE_ASKS_BOOTSTRAP && r->kind != DEVICE_ASKS_PICKUP) {
        return NULL;
    }
    const struct uuid operation = r->kind == DEVICE_ASKS_PICKUP
                                      ? r->of.pickup.operation
                                      : device_issue_id(d->uid, r->of.bootstrap.install_nonce);
    const struct device_unconfirmed *u = device_unconfirmed_of(d, &operation);
    if (u == NULL || u->not_after_ms <= now_ms ||
        (r->proof.has_csr && memcmp(u->key_hash, r->proof.csr_hash, 32) != 0)) {
        return NULL;
    }
    return u;
}

static struct uuid profile_ca(const struct registry_profile *profile)
{
    struct uuid ca;
    bool named = profile != NULL && uuid_parse(span_str(profile->ca), &ca) == ERR_OK;
    return named ? ca : (struct uuid){{0}};
}

/* Of the request of a device that is known. */
static struct uuid known_ca_of(const struct device *d, const struct device_request *r)
{
    switch (r->kind) {
    case DEVICE_ASKS_PICKUP:
        return uuid_is_zero(&d->operation.ca) ? d->certificate.ca : d->operation.ca;
    case DEVICE_ORDER_RENEW:
        return d->certificate.ca;
    case DEVICE_ORDER_SETTINGS:
        return device_has_certificate(d) ? d->certificate.ca : d->operation.ca;
    default:
        return (struct uuid){{0}};
    }
}

struct uuid device_ca_of(const struct device *d, const struct device_request *r,
                         const struct registry_profile *profile, int64_t now_ms)
{
    const struct device_unconfirmed *u = d != NULL ? device_waiting(d, r, now_ms) : NULL;
    if (u != NULL) {
        return u->ca;
    }
    if (r->kind == DEVICE_ASKS_BOOTSTRAP) {
        return profile_ca(profile);
    }
    return d != NULL ? known_ca_of(d, r) : (struct uuid){{0}};
}

/* ---- what was signed ---- */

static const uint8_t *asked_hash(const struct device_request *r, const struct device *d)
{
    bool renewed =
        r->outcome.ask.spki.len == d->certificate.spki.len &&
        memcmp(r->outcome.ask.spki.der, d->certificate.spki.der, r->outcome.ask.spki.len) == 0;
    return renewed ? d->certificate.key_hash : r->proof.csr_hash;
}

void device_issued(struct device_request *r, const struct issued_certificate *c, int64_t now_ms)
{
    struct device_outcome *o = &r->outcome;
    struct device *d = o->state;
    int32_t deliveries = life_deliveries(d);
    if (d->unconfirmed_count == DEVICE_UNCONFIRMED_MAX) {
        life_drop_unconfirmed(o, 1, &d->operation.id);
    }
    struct device_unconfirmed *u = &d->unconfirmed[d->unconfirmed_count++];
    *u = (struct device_unconfirmed){
        .ca = o->ask.ca,
        .not_before_ms = c->not_before_ms,
        .not_after_ms = c->not_after_ms,
        .issued_at_ms = now_ms,
        .spki = o->ask.spki,
        .subject = c->subject,
        .operation = d->operation.id,
        .kind = d->operation.kind,
        .order = d->operation.order,
        .automatic = d->operation.automatic,
        .der_len = c->der.len,
        .deliveries = deliveries + 1,
    };
    memcpy(u->serial, c->serial, sizeof u->serial);
    memcpy(u->fingerprint, c->fingerprint, sizeof u->fingerprint);
    memcpy(u->key_hash, asked_hash(r, d), sizeof u->key_hash);
    memcpy(u->der, c->der.ptr, c->der.len);
    d->operation.state = OPERATION_ISSUED;
    d->operation.updated_at_ms = now_ms;
    o->issued = true;
    outcome_event(o, EVENT_CERTIFICATE_ISSUED, NULL, life_certificate_data(d, u));
    if (r->kind == DEVICE_ASKS_BOOTSTRAP) {
        life_answer_bootstrap(r, d, u);
    } else {
        life_answer_pickup(r, u);
    }
}

void device_not_issued(struct device_request *r, err_t why, const struct fault *fault,
                       int64_t now_ms)
{
    err_class_t class = err_class(why);
    if (class != ERR_CLASS_REJECT && class != ERR_CLASS_CONFLICT) {
        life_try_again(r, "the certificate could not be signed now; repeat the request");
    } else {
        life_not_issued(r, fault, now_ms);
    }
}
