#include "device_publish.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "proto/ledger.h"
#include "proto/topics.h"

/* Events of one device are numbered by the request that caused them: requests of a device have one
 * order. */
#define EVENTS_PER_REQUEST 32
_Static_assert(OUTCOME_EVENTS_MAX < EVENTS_PER_REQUEST, "event numbers would overlap");

#define RECORD_MAX ((size_t)DEVICE_RECORD_MAX)

static void encode(const struct codec_table *table, const void *in, struct buf *to)
{
    err_t e = codec_encode(table, in, to);
    assert(e == ERR_OK); /* our own struct, within its bounds */
    (void)e;
}

static void publish_certificate(struct work *w, const struct device_request *r)
{
    const struct device *d = r->outcome.state;
    assert(d != NULL); /* what was issued is in it */
    const struct device_unconfirmed *u = &d->unconfirmed[d->unconfirmed_count - 1];
    struct certificate_record record = {
        .type = CERTIFICATE_TYPE,
        .ca = u->ca,
        .domain = d->domain,
        .der_len = u->der_len,
        .not_before_ms = u->not_before_ms,
        .not_after_ms = u->not_after_ms,
        .operation = u->operation,
        .kind = u->kind,
        .issued_at_ms = u->issued_at_ms,
    };
    memcpy(record.serial, u->serial, sizeof record.serial);
    memcpy(record.uid, r->uid, sizeof record.uid);
    memcpy(record.der, u->der, u->der_len);
    CLEANUP_BUF struct buf json = BUF_INIT(CERTIFICATE_RECORD_MAX);
    char key[CERTIFICATE_KEY_SIZE];
    encode(&certificate_record_table, &record, &json);
    certificate_key(&u->ca, u->serial, key);
    work_emit(w, TOPIC_CERTIFICATES, span_str(r->uid), span_str(key), buf_span(&json), NULL, 0);
}

static void publish_status(struct work *w, const struct device_request *r,
                           const struct outcome_status *s, int64_t now_ms)
{
    struct certificate_status_record record = {.type = CERTIFICATE_STATUS_TYPE,
                                               .ca = s->ca,
                                               .status = s->status,
                                               .at_ms = now_ms,
                                               .operation = s->operation};
    memcpy(record.serial, s->serial, sizeof record.serial);
    memcpy(record.uid, r->uid, sizeof record.uid);
    CLEANUP_BUF struct buf json = BUF_INIT(CERTIFICATE_RECORD_MAX);
    char key[CERTIFICATE_KEY_SIZE];
    encode(&certificate_status_table, &record, &json);
    certificate_status_key(&s->ca, s->serial, key);
    work_emit(w, TOPIC_CERTIFICATES, span_str(r->uid), span_str(key), buf_span(&json), NULL, 0);
}

/* Who is told: whoever ordered, even if the device turns out to be another domain's; for what a
 * device sends, its owner. */
static void domain_text(const struct device_request *r, const struct device *d,
                        char out[UUID_TEXT_SIZE])
{
    bool ordered = r->kind == DEVICE_ORDER_RENEW || r->kind == DEVICE_ORDER_UNBLOCK ||
                   r->kind == DEVICE_ORDER_SETTINGS;
    struct uuid domain = {{0}};
    if (ordered && uuid_parse(span_str(r->envelope.domain), &domain) != ERR_OK) {
        domain = (struct uuid){{0}};
    } else if (!ordered && d != NULL) {
        domain = d->domain;
    }
    out[0] = 0;
    if (!uuid_is_zero(&domain)) {
        uuid_format(&domain, out);
    }
}

static void publish_events(struct work *w, const struct device_request *r, const char *domain,
                           int64_t now_ms)
{
    const struct device_outcome *o = &r->outcome;
    uint64_t base = (uint64_t)work_source(w)->offset * EVENTS_PER_REQUEST;
    for (unsigned i = 0; i < o->event_count; i++) {
        const struct outcome_event *fact = &o->events[i];
        char id[UUID_TEXT_SIZE];
        struct uuid distinct = UUID_V5(span_str(r->envelope.id), span_str(fact->type),
                                       span_str(r->uid), span_str(fact->distinct));
        uuid_format(&distinct, id);
        const struct event event = {
            .topic = TOPIC_EVENTS,
            .type = fact->type,
            .domain = domain,
            .subject = r->uid,
            .partition_key = r->uid,
            .cause_id = r->envelope.id,
            .id = fact->distinct[0] != 0 ? id : NULL,
            .time_ms = now_ms,
            .sequence = base + i + 1,
            .traceparent = r->envelope.traceparent,
        };
        event_emit(w, &event, fact->data);
    }
}

static void fill_install(struct ledger_install *to, const struct device_request *r, int64_t now_ms)
{
    const struct outcome_install *install = &r->outcome.install;
    const struct device_unconfirmed *u = &install->certificate;
    const struct device_signed *s = &r->body.signed_part;
    assert(r->outcome.state != NULL); /* an install changes the state */
    memcpy(to->uid, r->uid, sizeof r->uid);
    memcpy(to->serial, u->serial, sizeof to->serial);
    if (install->has_previous) {
        memcpy(to->previous_serial, install->previous_serial, sizeof to->previous_serial);
    }
    to->ca = u->ca;
    to->operation = u->operation;
    to->order = u->order;
    to->kind = u->kind;
    to->automatic = u->automatic;
    to->installed_at_ms = now_ms;
    memcpy(to->profile, r->outcome.state->profile, sizeof r->outcome.state->profile);
    memcpy(to->certificate, u->der, u->der_len);
    to->certificate_len = u->der_len;
    memcpy(to->confirmation.payload, s->payload, s->payload_len);
    to->confirmation.payload_len = s->payload_len;
    memcpy(to->confirmation.signature, s->signature, s->signature_len);
    to->confirmation.signature_len = s->signature_len;
    to->confirmation.sequence = s->sequence;
}

/* The proof goes to the ledger's owner, in the transaction that makes the certificate the installed
 * one. */
static void publish_install(struct work *w, const struct device_request *r, const char *domain,
                            int64_t now_ms)
{
    const struct device *d = r->outcome.state;
    CLEANUP_FREE struct ledger_install *install = xcalloc(1, sizeof *install);
    fill_install(install, r, now_ms);
    CLEANUP_BUF struct buf body_text = BUF_INIT(RECORD_MAX);
    encode(&ledger_install_table, install, &body_text);
    CLEANUP_JSON cJSON *body = cJSON_Parse(buf_cstr(&body_text));
    struct uuid charge = ledger_charge_id(&d->domain, r->uid, install->serial, install->kind);
    struct envelope envelope = {
        .type = LEDGER_INSTALL_TYPE,
        .time_ms = now_ms,
        .actor_kind = "service",
        .actor_id = "ca-signer",
    };
    uuid_format(&charge, envelope.id);
    memcpy(envelope.domain, domain, UUID_TEXT_SIZE);
    memcpy(envelope.traceparent, r->envelope.traceparent, sizeof envelope.traceparent);
    CLEANUP_BUF struct buf value = BUF_INIT((size_t)ENVELOPE_MAX);
    err_t e = envelope_encode(&envelope, body, &value);
    assert(e == ERR_OK);
    (void)e;
    char key[UUID_TEXT_SIZE * 2 + 16];
    (void)snprintf(key, sizeof key, "%s/install/%s", domain, envelope.id);
    work_emit(w, TOPIC_LEDGER_REQUESTS, span_str(domain), span_str(key), buf_span(&value), NULL, 0);
}

static void publish_reply(struct work *w, const struct device_request *r)
{
    const struct device_outcome *o = &r->outcome;
    if (r->envelope.reply_to[0] == 0) {
        return; /* nobody waits */
    }
    CLEANUP_BUF struct buf json = BUF_INIT(RECORD_MAX);
    const struct fault *fault = o->refusal != REFUSAL_NONE ? &o->fault : NULL;
    err_t e = reply_encode(r->envelope.id, o->status, fault, o->result, &json);
    assert(e == ERR_OK);
    (void)e;
    work_reply(w, r->envelope.id, r->envelope.reply_to, buf_span(&json));
}

void device_publish(struct work *w, unsigned index, struct device_request *r, int64_t now_ms)
{
    struct device_outcome *o = &r->outcome;
    const struct device *known = o->state != NULL ? o->state : work_state(w, index);
    char domain[UUID_TEXT_SIZE];
    domain_text(r, known, domain);
    if (o->issued) {
        publish_certificate(w, r);
    }
    for (unsigned i = 0; i < o->status_count; i++) {
        publish_status(w, r, &o->statuses[i], now_ms);
    }
    publish_events(w, r, domain, now_ms);
    if (o->install.billable) {
        publish_install(w, r, domain, now_ms);
    }
    publish_reply(w, r);
    if (o->state != NULL) {
        CLEANUP_BUF struct buf record = BUF_INIT(RECORD_MAX);
        encode(&device_table, o->state, &record);
        work_put(w, index, TAKE(o->state), buf_span(&record));
    }
}
