#include "device_life.h"

#include <stdio.h>
#include <string.h>

cJSON *life_event_data(const struct device *d)
{
    cJSON *data = cJSON_CreateObject();
    json_add_text(data, "uid", d->uid);
    json_add_text(data, "profile", d->profile);
    json_add_text(data, "device_serial", d->serial);
    return data;
}

cJSON *life_operation_data(const struct device *d, const struct device_operation *o)
{
    cJSON *data = life_event_data(d);
    json_add_uuid(data, "operation", &o->id);
    json_add_text(data, "kind", codec_name_of(operation_kind_names, o->kind));
    json_add_uuid(data, "order", &o->order);
    (void)cJSON_AddBoolToObject(data, "automatic", o->automatic);
    return data;
}

cJSON *life_certificate_data(const struct device *d, const struct device_unconfirmed *u)
{
    const struct device_operation by = {
        .id = u->operation, .kind = u->kind, .order = u->order, .automatic = u->automatic};
    cJSON *data = life_operation_data(d, &by);
    json_add_hex(data, "serial", span_of(u->serial, sizeof u->serial));
    json_add_hex(data, "fingerprint", span_of(u->fingerprint, sizeof u->fingerprint));
    json_add_hex(data, "key_hash", span_of(u->key_hash, sizeof u->key_hash));
    json_add_uuid(data, "ca", &u->ca);
    json_add_time(data, "not_before", u->not_before_ms);
    json_add_time(data, "not_after", u->not_after_ms);
    return data;
}

struct device *life_change(const struct device *old, struct device_request *r, int64_t now_ms)
{
    struct device *d = device_copy(old);
    int64_t sequence = r->body.signed_part.sequence;
    d->sequence = sequence > d->sequence ? sequence : d->sequence;
    d->updated_at_ms = now_ms;
    r->outcome.state = d;
    return d;
}

/* ---- operations ---- */

static bool is_past(const struct device_recent *entry, int64_t now_ms)
{
    return entry->at_ms < now_ms - DEVICE_RECENT_KEEP_MS;
}

const struct device_recent *life_recent(const struct device *d, const struct uuid *id,
                                        int64_t now_ms)
{
    for (size_t i = 0; i < d->recent_count; i++) {
        if (uuid_eq(&d->recent[i].id, id) && !is_past(&d->recent[i], now_ms)) {
            return &d->recent[i];
        }
    }
    return NULL;
}

static void remember(struct device *d, const struct device_recent *entry, int64_t now_ms)
{
    size_t kept = 0;
    for (size_t i = 0; i < d->recent_count; i++) {
        if (!is_past(&d->recent[i], now_ms) && !uuid_eq(&d->recent[i].id, &entry->id)) {
            d->recent[kept++] = d->recent[i];
        }
    }
    if (kept == DEVICE_RECENT_MAX) {
        kept--;
        memmove(&d->recent[0], &d->recent[1], kept * sizeof d->recent[0]);
    }
    memset(&d->recent[kept], 0, (DEVICE_RECENT_MAX - kept) * sizeof d->recent[0]);
    d->recent[kept] = *entry;
    d->recent_count = kept + 1;
}

void life_remember_refused(struct device *d, const struct uuid *id, enum operation_kind kind,
                           const char *reason, int64_t now_ms)
{
    struct device_recent entry = {
        .id = *id, .kind = kind, .state = OPERATION_FAILED, .at_ms = now_ms};
    (void)snprintf(entry.reason, sizeof entry.reason, "%s", reason);
    remember(d, &entry, now_ms);
}

void life_end_operation(struct device_outcome *o, enum operation_state state, const char *reason,
                        int64_t now_ms)
{
    struct device *d = o->state;
    struct device_recent entry = {
        .id = d->operation.id, .kind = d->operation.kind, .state = state, .at_ms = now_ms};
    (void)snprintf(entry.reason, sizeof entry.reason, "%s", reason);
    remember(d, &entry, now_ms);
    d->operation = (struct device_operation){0};
}

void life_fail_operation(struct device_outcome *o, const char *reason, int64_t now_ms)
{
    cJSON *data = life_operation_data(o->state, &o->state->operation);
    json_add_text(data, "reason", reason);
    outcome_event(o, EVENT_OPERATION_FAILED, NULL, data);
    life_end_operation(o, OPERATION_FAILED, reason, now_ms);
}

/* ---- admission ---- */

bool life_belongs_to(const struct device *d, const struct envelope *e)
{
    struct uuid domain;
    return uuid_parse(span_str(e->domain), &domain) == ERR_OK && uuid_eq(&domain, &d->domain);
}

bool life_is_allowed(const struct device *d, const struct device_snapshots *s)
{
    if (s->profile == NULL) {
        return false;
    }
    if (s->profile->whitelist == REGISTRY_WHITELIST_IGNORE) {
        return true;
    }
    /* A list entry with a key stands for that key alone. */
    return s->whitelist != NULL &&
           (s->whitelist->key_len == 0 || span_eq(span_of(s->whitelist->key, s->whitelist->key_len),
                                                  span_of(d->rot_key.der, d->rot_key.len)));
}

void life_take_settings(struct device *d, const struct device_snapshots *s)
{
    if (s->profile != NULL && strcmp(s->profile->uid, d->profile) == 0) {
        d->settings.heartbeat_interval_s = s->profile->heartbeat_interval_s;
        d->settings.flood_interval_s = s->profile->flood_interval_s;
    }
}

void life_activate(struct device_outcome *o, int64_t now_ms)
{
    struct device *d = o->state;
    d->state = DEVICE_ACTIVE;
    d->activated_at_ms = now_ms;
    d->reason[0] = 0;
    outcome_event(o, EVENT_ACTIVATED, NULL, life_event_data(d));
}

bool life_want_first(struct device_outcome *o, const struct device_snapshots *s,
                     const struct device_unconfirmed *waits, int64_t now_ms)
{
    struct device *d = o->state;
    struct uuid ca;
    if (d->state != DEVICE_ACTIVE || device_has_certificate(d) || s->profile == NULL ||
        !s->profile->features.zero_touch || uuid_parse(span_str(s->profile->ca), &ca) != ERR_OK) {
        return false;
    }
    struct uuid id = device_issue_id(d->uid, d->install_nonce);
    if (life_is_stuck(d) || life_recent(d, &id, now_ms) != NULL) {
        return false; /* it was given up, for every install nonce or for this one */
    }
    if (device_has_operation(d) && !uuid_eq(&d->operation.id, &id)) {
        life_end_operation(o, OPERATION_SUPERSEDED, "bootstrapped_again", now_ms);
    }
    if (!device_has_operation(d)) {
        d->reason[0] = 0;
        d->operation = (struct device_operation){.id = id,
                                                 .kind = OPERATION_ISSUE,
                                                 .state = OPERATION_QUEUED,
                                                 .requested_at_ms = now_ms,
                                                 .updated_at_ms = now_ms,
                                                 .actor = "device"};
    }
    d->operation.ca = waits != NULL ? waits->ca : ca; /* what the profile says now */
    return true;
}

/* A certificate of the operation by another CA than the profile's would be handed out again for
 * ever: it goes, and the rest is as if it had never been handed out. */
static void begin_again(struct device_outcome *o, const struct uuid *operation,
                        const struct device_snapshots *s)
{
    struct device *d = o->state;
    struct uuid ca;
    bool has_ca = s->profile != NULL && uuid_parse(span_str(s->profile->ca), &ca) == ERR_OK;
    size_t kept = 0;
    for (size_t i = 0; i < d->unconfirmed_count; i++) {
        struct device_unconfirmed *u = &d->unconfirmed[i];
        bool mine = uuid_eq(&u->operation, operation);
        if (mine && has_ca && !uuid_eq(&u->ca, &ca)) {
            (void)life_supersede(o, &u->ca, u->serial, u->fingerprint, operation);
            continue;
        }
        u->deliveries = u->kind == OPERATION_ISSUE ? 0 : u->deliveries;
        d->unconfirmed[kept++] = *u;
    }
    memset(&d->unconfirmed[kept], 0, (d->unconfirmed_count - kept) * sizeof d->unconfirmed[0]);
    d->unconfirmed_count = kept;
}

void life_forget_first(struct device_outcome *o, const struct device_snapshots *s)
{
    struct device *d = o->state;
    struct uuid id = device_issue_id(d->uid, d->install_nonce);
    size_t kept = 0;
    for (size_t i = 0; i < d->recent_count; i++) {
        if (!uuid_eq(&d->recent[i].id, &id)) {
            d->recent[kept++] = d->recent[i];
        }
    }
    memset(&d->recent[kept], 0, (d->recent_count - kept) * sizeof d->recent[0]);
    d->recent_count = kept;
    d->reason[0] = 0;
    begin_again(o, &id, s);
}

/* ---- certificates ---- */

void life_try_again(struct device_request *r, const char *why)
{
    struct device_outcome *o = &r->outcome;
    if (r->kind == DEVICE_ASKS_PICKUP) {
        device_outcome_deinit(o);
    }
    outcome_refuse(o, REFUSAL_TRY_AGAIN, "", "%s", why);
}

void life_not_issued(struct device_request *r, const struct fault *fault, int64_t now_ms)
{
    struct device_outcome *o = &r->outcome;
    if (o->state->operation.kind != OPERATION_ISSUE) {
        life_fail_operation(o, fault->code, now_ms);
    }
    outcome_refuse(o, REFUSAL_ISSUE_FAILED, fault->field, "%s", fault->text);
}

bool life_is_longer(const struct device_certificate *present, const struct ca *ca,
                    int64_t validity_s, int64_t now_ms)
{
    int64_t end_ms = now_ms + (validity_s > 0 ? validity_s : ca->device_validity_s) * 1000;
    return (end_ms < ca->not_after_ms ? end_ms : ca->not_after_ms) > present->not_after_ms;
}

bool life_is_due(const struct device *d, const struct ca *ca, int64_t now_ms)
{
    const struct device_certificate *c = &d->certificate;
    int64_t due_ms = device_due_ms(d->uid, c->not_before_ms, c->not_after_ms);
    return ca->automatic_renewal &&
           due_ms <= now_ms + ca->renew_ahead_s * 1000 + DEVICE_CLOCK_SLACK_MS;
}

/* The clock shows a time before something that has happened: what is signed now would begin and end
 * too early. */
static bool clock_is_behind(const struct device *d, const struct ca *ca, int64_t now_ms)
{
    int64_t latest_ms = ca->created_at_ms;
    latest_ms = d->operation.requested_at_ms > latest_ms ? d->operation.requested_at_ms : latest_ms;
    latest_ms = d->certificate.issued_at_ms > latest_ms ? d->certificate.issued_at_ms : latest_ms;
    return now_ms < latest_ms - DEVICE_CLOCK_SLACK_MS;
}

static void become_stuck(struct device_request *r, int64_t now_ms)
{
    struct device_outcome *o = &r->outcome;
    life_fail_operation(o, refusal_code(REFUSAL_STUCK), now_ms);
    (void)snprintf(o->state->reason, sizeof o->state->reason, "%s", refusal_code(REFUSAL_STUCK));
    outcome_refuse(o, REFUSAL_STUCK, "",
                   "certificates were handed out %d times and none was confirmed; "
                   "the owner has to order anew",
                   DEVICE_DELIVERIES_MAX);
}

bool life_is_stuck(const struct device *d)
{
    return strcmp(d->reason, refusal_code(REFUSAL_STUCK)) == 0;
}

/* The id of an issue depends on the install nonce, which the device chooses: what was issued counts
 * for all of them. */
static bool is_of_operation(const struct device_unconfirmed *u, const struct device_operation *o)
{
    return o->kind == OPERATION_ISSUE ? u->kind == OPERATION_ISSUE : uuid_eq(&u->operation, &o->id);
}

int32_t life_deliveries(const struct device *d)
{
    int32_t most = 0;
    for (size_t i = 0; i < d->unconfirmed_count; i++) {
        const struct device_unconfirmed *u = &d->unconfirmed[i];
        if (is_of_operation(u, &d->operation) && u->deliveries > most) {
            most = u->deliveries;
        }
    }
    return most;
}

static void refuse_not_longer(struct device_request *r, int64_t now_ms)
{
    life_fail_operation(&r->outcome, refusal_code(REFUSAL_NOT_LONGER), now_ms);
    outcome_refuse(&r->outcome, REFUSAL_NOT_LONGER, "",
                   "the new certificate would not be valid longer than the installed one");
}

void life_ask(struct device_request *r, const struct device_key *key,
              const struct device_subject *subject, int64_t now_ms)
{
    struct device_outcome *o = &r->outcome;
    const struct device *d = o->state;
    const struct device_operation *operation = &d->operation;
    const struct ca *ca = r->snapshots.ca;
    if (ca == NULL || !uuid_eq(&ca->id, &operation->ca)) {
        life_try_again(r, "the CA is not at hand; repeat the request");
    } else if (!uuid_eq(&ca->domain, &d->domain) || ca->state != CA_ACTIVE) {
        const struct fault fault = {.code = "ca_not_usable",
                                    .text = "the device's domain has no such active CA"};
        life_not_issued(r, &fault, now_ms);
    } else if (clock_is_behind(d, ca, now_ms)) {
        life_try_again(r, "the server's clock is behind; repeat the request");
    } else if (operation->kind == OPERATION_RENEW &&
               !life_is_longer(&d->certificate, ca, operation->validity_s, now_ms)) {
        refuse_not_longer(r, now_ms);
    } else if (life_deliveries(d) >= DEVICE_DELIVERIES_MAX) {
        become_stuck(r, now_ms);
    } else if (r->snapshots.template == NULL) {
        life_try_again(r, "the CA's key is not at hand; repeat the request");
    } else {
        o->sign = true;
        o->ask.ca = ca->id;
        o->ask.spki = *key;
        o->ask.subject = subject != NULL ? *subject : (struct device_subject){.len = 0};
        o->ask.validity_s =
            operation->validity_s > 0 ? operation->validity_s : ca->device_validity_s;
    }
}

/* The operation was last touched by the delivery that counted last, or by a later failure: either
 * belongs to a visit. */
static bool is_another_visit(const struct device *d, int64_t now_ms)
{
    return now_ms - d->operation.updated_at_ms >= DEVICE_VISIT_MS;
}

bool life_deliver(struct device_request *r, const struct device_unconfirmed *u, bool fresh,
                  int64_t now_ms)
{
    struct device *d = r->outcome.state;
    int32_t deliveries = life_deliveries(d);
    if (!fresh || (deliveries > 0 && !is_another_visit(d, now_ms))) {
        return true;
    }
    if (deliveries >= DEVICE_DELIVERIES_MAX) {
        become_stuck(r, now_ms);
        return false;
    }
    d->unconfirmed[u - d->unconfirmed].deliveries = deliveries + 1;
    d->operation.updated_at_ms = now_ms;
    return true;
}

cJSON *life_supersede(struct device_outcome *o, const struct uuid *ca,
                      const uint8_t serial[CERTIFICATE_SERIAL], const uint8_t fingerprint[32],
                      const struct uuid *operation)
{
    cJSON *data = life_event_data(o->state);
    json_add_hex(data, "serial", span_of(serial, CERTIFICATE_SERIAL));
    json_add_uuid(data, "ca", ca);
    json_add_hex(data, "fingerprint", span_of(fingerprint, 32));
    outcome_status(o, ca, serial, CERTIFICATE_SUPERSEDED, operation);
    outcome_event(o, EVENT_CERTIFICATE_REPLACED, serial, data);
    return data;
}

void life_drop_unconfirmed(struct device_outcome *o, size_t keep_from, const struct uuid *operation)
{
    struct device *d = o->state;
    for (size_t i = 0; i < keep_from; i++) {
        const struct device_unconfirmed *u = &d->unconfirmed[i];
        (void)life_supersede(o, &u->ca, u->serial, u->fingerprint, operation);
    }
    size_t left = d->unconfirmed_count - keep_from;
    memmove(d->unconfirmed, d->unconfirmed + keep_from, left * sizeof d->unconfirmed[0]);
    memset(d->unconfirmed + left, 0, keep_from * sizeof d->unconfirmed[0]);
    d->unconfirmed_count = left;
}

/* ---- answers ---- */

void life_answer_certificate(cJSON *answer, const struct device_unconfirmed *u, const struct ca *ca)
{
    json_add_uuid(answer, "operation", &u->operation);
    json_add_hex(answer, "serial", span_of(u->serial, sizeof u->serial));
    json_add_base64(answer, "certificate", span_of(u->der, u->der_len));
    cJSON *chain = cJSON_AddArrayToObject(answer, "chain");
    if (ca != NULL && uuid_eq(&ca->id, &u->ca)) {
        CLEANUP_BUF struct buf text = BUF_INIT(2 * (size_t)CA_CERTIFICATE_MAX);
        (void)base64_append(&text, span_of(ca->certificate, ca->certificate_len), BASE64_STANDARD);
        (void)cJSON_AddItemToArray(chain, cJSON_CreateString(buf_cstr(&text)));
    }
    json_add_time(answer, "not_after", u->not_after_ms);
}

void life_answer_bootstrap(struct device_request *r, const struct device *d,
                           const struct device_unconfirmed *u)
{
    cJSON *answer = outcome_answer(&r->outcome);
    json_add_text(answer, "state", codec_name_of(device_state_names, d->state));
    json_add_text(answer, "reason", d->reason);
    json_add_uuid(answer, "domain", &d->domain);
    cJSON *settings = cJSON_AddObjectToObject(answer, "settings");
    (void)cJSON_AddNumberToObject(settings, "heartbeat_interval_s",
                                  (double)d->settings.heartbeat_interval_s);
    (void)cJSON_AddNumberToObject(settings, "flood_interval_s",
                                  (double)d->settings.flood_interval_s);
    if (u != NULL) {
        life_answer_certificate(answer, u, r->snapshots.ca);
    } else if (device_has_certificate(d)) {
        json_add_hex(answer, "serial", span_of(d->certificate.serial, CERTIFICATE_SERIAL));
    } else if (device_has_operation(d)) {
        json_add_uuid(answer, "operation", &d->operation.id);
    }
}

void life_answer_pickup(struct device_request *r, const struct device_unconfirmed *u)
{
    life_answer_certificate(outcome_answer(&r->outcome), u, r->snapshots.ca);
}
