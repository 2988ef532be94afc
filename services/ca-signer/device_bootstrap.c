/* A device presents itself: for the first time, again because it was interrupted, or sealed at
 * last. */
#include <stdio.h>
#include <string.h>

#include "device_life.h"

static bool same_install(const struct device *old, const struct device_request *r)
{
    return memcmp(old->install_nonce, r->of.bootstrap.install_nonce, DEVICE_NONCE_BYTES) == 0;
}

/* What is refused before the device is touched. */
enum early {
    GOES_ON,
    NOT_SIGNED,
    BAD_CSR,
    OTHER_ROOT,
    GONE,
    OLD_SEQUENCE,
    COPY, /* the first one that held the key has proved a certificate; whoever comes with a fresh
             installation is a copy, or a device that lost its memory. Its owner decides. */
};

static enum early judge(const struct device *old, const struct device_request *r)
{
    if (r->proof.refusal != REFUSAL_NONE) {
        return NOT_SIGNED;
    }
    if (r->proof.csr_fault.code[0] != 0) {
        return BAD_CSR;
    }
    if (old == NULL) {
        return GOES_ON;
    }
    if (!span_eq(span_of(old->rot_key.der, old->rot_key.len),
                 span_of(r->body.rot_key.der, r->body.rot_key.len))) {
        return OTHER_ROOT;
    }
    if (old->state == DEVICE_DECOMMISSIONED) {
        return GONE;
    }
    if (!same_install(old, r) && r->body.signed_part.sequence <= old->sequence) {
        return OLD_SEQUENCE;
    }
    return !same_install(old, r) && device_has_certificate(old) ? COPY : GOES_ON;
}

/* True: refused. */
static bool refuse_early(const struct device *old, struct device_request *r)
{
    struct device_outcome *o = &r->outcome;
    switch (judge(old, r)) {
    case GOES_ON:
        return false;
    case NOT_SIGNED:
        outcome_refuse(o, r->proof.refusal, "",
                       "a bootstrap must be signed by the root-of-trust key whose hash is the UID");
        break;
    case BAD_CSR:
        outcome_refuse(o, REFUSAL_INVALID_CSR, "csr", "%s", r->proof.csr_fault.text);
        break;
    case OTHER_ROOT:
        outcome_refuse(o, REFUSAL_WRONG_KEY, "", "another root-of-trust key holds this UID");
        outcome_event(o, EVENT_DUPLICATE, NULL, life_event_data(old));
        break;
    case GONE:
        outcome_refuse(o, REFUSAL_DECOMMISSIONED, "", "the device was decommissioned");
        break;
    case OLD_SEQUENCE:
        outcome_refuse(o, REFUSAL_STALE_SEQUENCE, "sequence", "must be above %lld",
                       (long long)old->sequence);
        break;
    case COPY:
        outcome_refuse(o, REFUSAL_ALREADY_BOOTSTRAPPED, "install_nonce",
                       "the device has proved a certificate since its bootstrap; its owner can "
                       "order an update");
        outcome_event(o, EVENT_DUPLICATE, NULL, life_event_data(old));
        break;
    }
    return true;
}

/* An old message again, or a device that missed the owner's verdict on its first certificate: it is
 * answered, and nothing changes. */
static bool changes_nothing(const struct device *old, const struct device_request *r)
{
    return old != NULL &&
           (r->body.signed_part.sequence < old->sequence || device_has_certificate(old));
}

const char *device_claimed_serial(const struct device *old, const struct device_request *r)
{
    if (r->kind != DEVICE_ASKS_BOOTSTRAP || r->snapshots.profile == NULL ||
        judge(old, r) != GOES_ON || changes_nothing(old, r) ||
        (old != NULL && !uuid_is_zero(&old->domain))) {
        return "";
    }
    return old != NULL && old->sealed_profile[0] != 0 ? old->serial : r->of.bootstrap.serial;
}

static struct device *registered(struct device_request *r, int64_t now_ms)
{
    struct device *d = xcalloc(1, sizeof *d);
    memcpy(d->type, DEVICE_TYPE, sizeof DEVICE_TYPE);
    memcpy(d->uid, r->uid, sizeof d->uid);
    d->rot_key = r->body.rot_key;
    d->state = DEVICE_REGISTERED;
    d->registered_at_ms = now_ms;
    d->settings.heartbeat_interval_s = DEVICE_HEARTBEAT_INTERVAL_DEFAULT_S;
    d->settings.flood_interval_s = DEVICE_FLOOD_INTERVAL_DEFAULT_S;
    d->sequence = r->body.signed_part.sequence;
    d->updated_at_ms = now_ms;
    r->outcome.state = d;
    cJSON *data = life_event_data(d);
    json_add_text(data, "model", r->of.bootstrap.model);
    json_add_text(data, "firmware", r->of.bootstrap.firmware);
    outcome_event(&r->outcome, EVENT_REGISTERED, NULL, data);
    return d;
}

/* What the device says of itself: facts always, the seal once. */
static void take_facts(struct device *d, struct device_request *r)
{
    const struct device_bootstrap_payload *p = &r->of.bootstrap;
    memcpy(d->install_nonce, p->install_nonce, sizeof d->install_nonce);
    memcpy(d->model, p->model, sizeof d->model);
    memcpy(d->firmware, p->firmware, sizeof d->firmware);
    memcpy(d->agent, p->agent, sizeof d->agent);
    if (p->profile[0] == 0) {
        return;
    }
    if (d->sealed_profile[0] == 0) {
        memcpy(d->sealed_profile, p->profile, sizeof d->sealed_profile);
        memcpy(d->serial, p->serial, sizeof d->serial);
    } else if (strcmp(d->sealed_profile, p->profile) != 0 || strcmp(d->serial, p->serial) != 0) {
        outcome_event(&r->outcome, EVENT_SEALING_REFUSED, NULL, life_event_data(d));
    }
}

static void set_reason(struct device *d, const char *reason)
{
    (void)snprintf(d->reason, sizeof d->reason, "%s", reason);
}

/* Two devices with one serial: a mistake at the factory, or somebody who copied a seal. */
static void tell_duplicate_serial(const struct device *d, struct device_request *r)
{
    const char *holder = r->snapshots.serial_holder;
    if (holder[0] != 0 && strcmp(holder, d->uid) != 0) {
        cJSON *data = life_event_data(d);
        json_add_text(data, "holder", holder);
        outcome_event(&r->outcome, EVENT_SERIAL_DUPLICATE, NULL, data);
    }
}

/* A sealed profile that exists gives the device its owner. */
static void assign_owner(struct device *d, struct device_request *r)
{
    const struct registry_profile *profile = r->snapshots.profile;
    if (!uuid_is_zero(&d->domain) || d->sealed_profile[0] == 0) {
        return;
    }
    struct uuid domain;
    if (profile == NULL || strcmp(profile->uid, d->sealed_profile) != 0 ||
        uuid_parse(span_str(profile->domain), &domain) != ERR_OK) {
        if (strcmp(d->reason, "unknown_profile") != 0) {
            set_reason(d, "unknown_profile");
            outcome_event(&r->outcome, EVENT_UNKNOWN_PROFILE, NULL, life_event_data(d));
        }
        return;
    }
    d->domain = domain;
    memcpy(d->profile, profile->uid, sizeof d->profile);
    d->reason[0] = 0;
    tell_duplicate_serial(d, r);
}

static void admit(struct device *d, struct device_request *r, int64_t now_ms)
{
    if (uuid_is_zero(&d->domain) ||
        (d->state != DEVICE_REGISTERED && d->state != DEVICE_ALLOCATED)) {
        return;
    }
    if (life_is_allowed(d, &r->snapshots)) {
        life_activate(&r->outcome, now_ms);
        return;
    }
    bool news = d->state != DEVICE_ALLOCATED;
    d->state = DEVICE_ALLOCATED;
    set_reason(d, refusal_code(REFUSAL_NOT_WHITELISTED));
    if (news) {
        cJSON *data = life_event_data(d);
        json_add_text(data, "reason", d->reason);
        outcome_event(&r->outcome, EVENT_ALLOCATED, NULL, data);
    }
}

void device_bootstrap(const struct device *old, struct device_request *r, int64_t now_ms)
{
    if (refuse_early(old, r)) {
        return;
    }
    if (changes_nothing(old, r)) {
        life_answer_bootstrap(r, old,
                              device_has_certificate(old) ? NULL : device_waiting(old, r, now_ms));
        return;
    }
    bool fresh = old == NULL || r->body.signed_part.sequence > old->sequence;
    struct device *d = old == NULL ? registered(r, now_ms) : life_change(old, r, now_ms);
    take_facts(d, r);
    assign_owner(d, r);
    const struct device_unconfirmed *u = device_waiting(d, r, now_ms);
    if (u == NULL) { /* else it is handed out again, as it was made */
        life_take_settings(d, &r->snapshots);
    }
    admit(d, r, now_ms);
    bool began = !device_has_operation(d);
    if (!life_want_first(&r->outcome, &r->snapshots, u, now_ms)) {
        life_answer_bootstrap(r, d, NULL);
        return;
    }
    if (u != NULL) {
        if (life_deliver(r, u, fresh, now_ms)) {
            life_answer_bootstrap(r, d, u);
        }
    } else if (r->proof.has_csr) {
        life_ask(r, &r->proof.key, NULL, now_ms);
    } else {
        if (began) {
            outcome_event(&r->outcome, EVENT_OPERATION_QUEUED, NULL,
                          life_operation_data(d, &d->operation));
        }
        life_answer_bootstrap(r, d, NULL);
    }
}
