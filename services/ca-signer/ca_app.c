#include "ca_app.h"

#include <assert.h>
#include <stdlib.h>

#include "ca_cert.h"
#include "ca_decide.h"
#include "common/log.h"
#include "proto/registry.h"
#include "proto/topics.h"
#include "thread_signer.h"

#define CA_ENTITY 0U

/* A request and what its signing made. */
struct ca_work {
    struct ca_command *command;
    int64_t now_ms;
    struct cert_out certificate;
    struct buf sealed;
    uint8_t key_hash[KEY_HASH_SIZE];
    err_t error;
    struct fault fault;
};

static err_t decode(void *ctx, struct work *w, struct fault *fault)
{
    (void)ctx;
    const struct work_source *source = work_source(w);
    struct ca_command *command = NULL;
    err_t e = ca_command_decode(source->key, source->value, &command, fault);
    if (e != ERR_OK) {
        return e;
    }
    struct ca_work *cw = xcalloc(1, sizeof *cw);
    cw->command = command;
    cw->sealed = BUF_INIT(KEY_SEALED_MAX);
    work_set_request(w, cw);
    if (command->kind == CA_ASKS_CREATE) {
        work_will_sign(w);
    }
    char id[UUID_TEXT_SIZE];
    unsigned index = 0;
    uuid_format(&command->id, id);
    e = work_need(w, span_str(id), &index);
    assert(e != ERR_OK || index == CA_ENTITY);
    return e;
}

static void free_request(void *request)
{
    struct ca_work *cw = request;
    ca_command_free(cw->command);
    buf_deinit(&cw->sealed);
    free(cw);
}

/* ---- the outcome into the transaction ---- */

static void emit_event(struct work *w, const struct ca_work *cw, const char *id)
{
    const struct ca_command *c = cw->command;
    CLEANUP_JSON cJSON *data = ca_public(c->outcome.state);
    cJSON_DeleteItemFromObjectCaseSensitive(data, "type");
    const struct event event = {
        .topic = TOPIC_EVENTS,
        .type = c->outcome.event,
        .domain = c->envelope.domain,
        .subject = id,
        .partition_key = c->envelope.domain,
        .cause_id = c->envelope.id,
        .time_ms = cw->now_ms,
        .sequence = (uint64_t)work_source(w)->offset + 1,
        .traceparent = c->envelope.traceparent,
    };
    event_emit(w, &event, data);
}

/* The domain's owner took a seat for this CA: it is given back. */
static void emit_release(struct work *w, const struct ca_work *cw, const char *id)
{
    const struct ca_command *c = cw->command;
    struct uuid cause = UUID_V5(span_str(c->envelope.id), span_str("release"));
    struct envelope envelope = {.type = REGISTRY_REQUEST_CA_RELEASE,
                                .time_ms = cw->now_ms,
                                .actor_kind = "service",
                                .actor_id = "ca-signer"};
    uuid_format(&cause, envelope.id);
    memcpy(envelope.domain, c->envelope.domain, sizeof envelope.domain);
    CLEANUP_JSON cJSON *body = cJSON_CreateObject();
    (void)cJSON_AddStringToObject(body, "id", id);
    (void)cJSON_AddStringToObject(body, "reason", c->outcome.fault.code);
    CLEANUP_BUF struct buf value = BUF_INIT((size_t)ENVELOPE_MAX);
    err_t e = envelope_encode(&envelope, body, &value);
    assert(e == ERR_OK);
    (void)e;
    work_emit(w, TOPIC_REGISTRY_REQUESTS, span_str(c->envelope.domain),
              span_str(c->envelope.domain), buf_span(&value), NULL, 0);
}

static void emit_key(struct work *w, const struct ca_work *cw, const char *id)
{
    CLEANUP_FREE struct ca_key_record *record = xcalloc(1, sizeof *record);
    memcpy(record->type, CA_KEY_TYPE, sizeof CA_KEY_TYPE);
    record->id = cw->command->id;
    record->domain = cw->command->domain;
    memcpy(record->key_hash, cw->key_hash, sizeof record->key_hash);
    memcpy(record->sealed, cw->sealed.ptr, cw->sealed.len);
    record->sealed_len = cw->sealed.len;
    CLEANUP_BUF struct buf json = BUF_INIT(CA_RECORD_MAX);
    err_t e = codec_encode(&ca_key_table, record, &json);
    assert(e == ERR_OK);
    (void)e;
    work_emit(w, TOPIC_CA_KEYS, span_str(id), span_str(id), buf_span(&json), NULL, 0);
}

static void emit_reply(struct work *w, const struct ca_command *c)
{
    if (c->envelope.reply_to[0] == 0) {
        return; /* nobody waits */
    }
    const struct ca_outcome *o = &c->outcome;
    CLEANUP_BUF struct buf json = BUF_INIT(CA_RECORD_MAX);
    const struct fault *fault = o->fault.code[0] != 0 ? &o->fault : NULL;
    err_t e = reply_encode(c->envelope.id, o->status, fault, o->result, &json);
    assert(e == ERR_OK);
    (void)e;
    work_reply(w, c->envelope.id, c->envelope.reply_to, buf_span(&json));
}

static void count(struct ca_app *app, const struct ca_command *c)
{
    if (c->outcome.fault.code[0] != 0) {
        metric_inc(app->refused);
        log_limited(
            LOG_LEVEL_INFO,
            (&(struct log_context){.domain = c->envelope.domain, .request = c->envelope.id}),
            "refused", LOG_STR("type", c->envelope.type), LOG_STR("code", c->outcome.fault.code),
            LOG_STR("text", c->outcome.fault.text));
    } else if (c->outcome.state != NULL) {
        metric_inc(c->kind == CA_ASKS_CREATE ? app->created : app->updated);
    }
}

static void complete(struct ca_app *app, struct work *w, struct ca_work *cw)
{
    struct ca_command *c = cw->command;
    struct ca_outcome *o = &c->outcome;
    char id[UUID_TEXT_SIZE];
    uuid_format(&c->id, id);
    count(app, c);
    if (o->event != NULL) {
        emit_event(w, cw, id);
    }
    if (o->release_seat) {
        emit_release(w, cw, id);
    }
    emit_reply(w, c);
    if (o->state != NULL) {
        CLEANUP_BUF struct buf record = BUF_INIT(CA_RECORD_MAX);
        err_t e = ca_encode(o->state, &record);
        assert(e == ERR_OK);
        (void)e;
        work_put(w, CA_ENTITY, TAKE(o->state), buf_span(&record));
    }
}

/* ---- the round ---- */

static void decide(void *ctx, struct work *w, int64_t now_ms)
{
    (void)ctx;
    struct ca_work *cw = work_request(w);
    struct fault fault = {0};
    char id[UUID_TEXT_SIZE];
    uuid_format(&cw->command->id, id);
    err_t e = work_check_place(w, span_str(id), &fault);
    if (e != ERR_OK) {
        work_dead_letter(w, e, &fault);
        return;
    }
    ca_outcome_deinit(&cw->command->outcome); /* a round that was given up left its traces */
    cw->now_ms = now_ms;
    ca_decide(work_state(w, CA_ENTITY), cw->command, now_ms);
    if (cw->command->outcome.sign) {
        work_sign(w);
    } else {
        complete(ctx, w, cw);
    }
}

static err_t make_key(struct ca_app *app, struct ca_work *cw, struct ca_key **ret)
{
    const struct ca_command *c = cw->command;
    enum key_algorithm algorithm = KEY_ALGORITHM_EC_P256;
    char id[UUID_TEXT_SIZE];
    char domain[UUID_TEXT_SIZE];
    uuid_format(&c->id, id);
    uuid_format(&c->domain, domain);
    err_t e = key_algorithm_parse(span_str(c->of.create.key_algorithm), &algorithm, &cw->fault);
    if (e != ERR_OK) {
        return e;
    }
    const struct key_owner owner = {.domain = span_str(domain), .ca = span_str(id)};
    buf_clear(&cw->sealed);
    return keystore_generate(app->store, &owner, algorithm, ret, &cw->sealed);
}

static void sign(void *ctx, struct work *w)
{
    struct ca_app *app = ctx;
    struct ca_work *cw = work_request(w);
    const struct ca_create *body = &cw->command->of.create;
    CLEANUP(ca_key_unref) struct ca_key *key = NULL;
    cw->error = make_key(app, cw, &key);
    if (cw->error != ERR_OK) {
        return;
    }
    const struct ca_request request = {
        .now_ms = cw->now_ms,
        .validity_s = body->validity_s,
        .backdate_s = app->backdate_s,
        .subject = {.country = span_str(body->subject.country),
                    .state = span_str(body->subject.state),
                    .locality = span_str(body->subject.locality),
                    .organization = span_str(body->subject.organization),
                    .organizational_unit = span_str(body->subject.organizational_unit),
                    .common_name = span_str(body->subject.common_name)},
        .path_length = 0,
        .digital_signature = true,
    };
    memcpy(cw->key_hash, ca_key_hash(key).ptr, sizeof cw->key_hash);
    cw->error = ca_cert_root(key, thread_signer(), &request, &cw->certificate, &cw->fault);
}

static void finish(void *ctx, struct work *w, int64_t now_ms)
{
    struct ca_work *cw = work_request(w);
    if (cw->error == ERR_OK && cw->certificate.len > CA_CERTIFICATE_MAX) {
        cw->error = fault_set(&cw->fault, ERR_TOO_LARGE, "certificate_too_large", "Subject",
                              "the CA's certificate has at most %d bytes", CA_CERTIFICATE_MAX);
    }
    if (cw->error != ERR_OK) {
        ca_not_made(cw->command, cw->error, &cw->fault);
    } else {
        const struct ca_made made = {.certificate = cert_out_der(&cw->certificate),
                                     .not_before_ms = cw->certificate.not_before_ms,
                                     .not_after_ms = cw->certificate.not_after_ms};
        char id[UUID_TEXT_SIZE];
        uuid_format(&cw->command->id, id);
        ca_made(cw->command, &made, now_ms);
        emit_key(w, cw, id);
    }
    complete(ctx, w, cw);
}

/* ---- state ---- */

static err_t load(void *ctx, struct span record_key, struct span payload, void **ret_state)
{
    (void)ctx;
    (void)record_key;
    struct ca *ca = NULL;
    err_t e = ca_decode(payload, &ca, NULL);
    if (e != ERR_OK) {
        return ERR_CORRUPT;
    }
    *ret_state = ca;
    return ERR_OK;
}

static void free_state(void *state)
{
    ca_free(state);
}

static err_t project(void *ctx, struct span record_key, struct span value, struct view_record *to)
{
    (void)ctx;
    CLEANUP(ca_free) struct ca *ca = NULL;
    err_t e = ca_decode(value, &ca, NULL);
    if (e != ERR_OK) {
        return e == ERR_UNSUPPORTED ? e : ERR_CORRUPT;
    }
    char id[UUID_TEXT_SIZE];
    char member[2 * UUID_TEXT_SIZE];
    uuid_format(&ca->domain, member);
    member[UUID_TEXT_SIZE - 1] = '/';
    uuid_format(&ca->id, member + UUID_TEXT_SIZE);
    uuid_format(&ca->id, id);
    e = buf_append_span(&to->key, record_key);
    if (e == ERR_OK) {
        e = buf_append_span(&to->payload, value);
    }
    if (e == ERR_OK) {
        e = view_record_index(to, span_str("keys"), span_str(member), 0);
    }
    if (e == ERR_OK && ca->automatic_renewal && ca->state == CA_ACTIVE) {
        e = view_record_index(to, span_str("auto"), span_str(id), (double)ca->renew_ahead_s);
    }
    return e;
}

const struct processor_app ca_processor = {
    .name = "ca-signer.ca",
    .request_topic = TOPIC_CA_REQUESTS,
    .state_topic = TOPIC_CA_STATE,
    .view_letter = VIEW_CA,
    .decode = decode,
    .decide = decide,
    .sign = sign,
    .finish = finish,
    .free_request = free_request,
    .load = load,
    .free_state = free_state,
    .project = project,
};

void ca_app_init(struct ca_app *app, struct keystore *store, int64_t backdate_s,
                 struct metrics *registry)
{
    app->store = store;
    app->backdate_s = backdate_s;
    app->created =
        metrics_counter(registry, "fleetseal_cas_created_total", "CAs made.", METRIC_NO_LABELS);
    app->updated = metrics_counter(registry, "fleetseal_cas_updated_total",
                                   "Changes of a CA's settings.", METRIC_NO_LABELS);
    app->refused = metrics_counter(registry, "fleetseal_ca_requests_refused_total",
                                   "Requests about CAs that were refused.", METRIC_NO_LABELS);
}
