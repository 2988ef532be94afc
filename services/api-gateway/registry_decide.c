#include "registry_decide.h"

#include <stdarg.h>
#include <stdio.h>

#include "registry_rules.h"

static const struct registry_operation *const operations[] = {
    &registry_operation_domain_create,    &registry_operation_key_create,
    &registry_operation_key_revoke,       &registry_operation_profile_create,
    &registry_operation_profile_update,   &registry_operation_whitelist_add,
    &registry_operation_whitelist_remove, &registry_operation_webhook_create,
    &registry_operation_webhook_delete,   &registry_operation_webhook_disable,
    &registry_operation_ca_create,        &registry_operation_ca_release,
    &registry_operation_expire,
};

static const struct registry_operation *find_operation(const char *type)
{
    for (size_t i = 0; i < sizeof operations / sizeof operations[0]; i++) {
        if (strcmp(operations[i]->type, type) == 0) {
            return operations[i];
        }
    }
    return NULL;
}

err_t registry_name(struct registry_request *rq, enum registry_kind kind, const char *id)
{
    if (rq->key_count == REGISTRY_ENTITIES_MAX) {
        return ERR_TOO_LARGE;
    }
    registry_key(rq->envelope.domain, kind, id, rq->keys[rq->key_count++]);
    return ERR_OK;
}

err_t registry_request_decode(struct span value, struct registry_request *ret, struct fault *fault)
{
    err_t err = envelope_decode(value, &ret->envelope, fault);
    if (err != ERR_OK) {
        return err;
    }
    ret->operation = find_operation(ret->envelope.type);
    if (ret->operation == NULL) {
        return fault_set(fault, ERR_UNSUPPORTED, "unknown_type", "type",
                         "the registry knows no request of type %s", ret->envelope.type);
    }
    if (!registry_uuid_valid(ret->envelope.domain)) {
        return fault_set(fault, ERR_INVALID, "validation_error", "domain",
                         "must be the UUID of a domain");
    }
    const struct codec_table *table = ret->operation->table;
    void *body = xcalloc(1, table->size);
    err = codec_decode(table, CODEC_KEEP, ret->envelope.body, body, fault);
    if (err != ERR_OK) {
        free(body);
        return err;
    }
    ret->body = body;
    err = registry_name(ret, REGISTRY_DOMAIN, ret->envelope.domain);
    if (err == ERR_OK) {
        err = registry_name(ret, REGISTRY_RESULT, ret->envelope.id);
    }
    if (err == ERR_OK && ret->operation->name != NULL) {
        err = ret->operation->name(ret);
    }
    return err;
}

void registry_request_deinit(struct registry_request *rq)
{
    if (rq->body != NULL) {
        codec_free(rq->operation->table, rq->body);
        free(rq->body);
    }
    envelope_deinit(&rq->envelope);
    *rq = (struct registry_request){0};
}

void registry_outcome_deinit(struct registry_outcome *out)
{
    for (unsigned i = 0; i < out->put_count; i++) {
        registry_record_free(out->puts[i].record);
    }
    for (unsigned i = 0; i < out->event_count; i++) {
        cJSON_Delete(out->events[i].data);
    }
    cJSON_Delete(out->result);
    out->put_count = out->event_count = out->forward_count = 0;
    out->result = NULL;
}

/* ---- what the operations are made of ---- */

void registry_refuse(struct registry_outcome *out, err_t e, const char *code, const char *field,
                     const char *format, ...)
{
    char text[FAULT_TEXT_MAX];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    out->status = reply_status(fault_set(&out->fault, e, code, field, "%s", text));
}

void registry_refuse_reuse(struct registry_outcome *out)
{
    (void)fault_set(&out->fault, ERR_CONFLICT, "idempotency_key_reused", "Idempotency-Key",
                    "this key was used with another body; use a new key for a new request");
    out->status = 422;
}

static const struct {
    const char *type;
    size_t domain_at, created_at, updated_at; /* offsets in the struct */
} stamps[REGISTRY_KIND_COUNT] = {
#define STAMP(kind, T, name, member)                                                               \
    [kind] = {name, offsetof(struct T, member), offsetof(struct T, created_at),                    \
              offsetof(struct T, updated_at)}
    STAMP(REGISTRY_DOMAIN, registry_domain, "domain.v1", id),
    STAMP(REGISTRY_ACCESS_KEY, registry_access_key, "access-key.v1", domain),
    STAMP(REGISTRY_PROFILE, registry_profile, "profile.v1", domain),
    STAMP(REGISTRY_WHITELIST, registry_whitelist, "whitelist.v1", domain),
    STAMP(REGISTRY_WEBHOOK, registry_webhook, "webhook.v1", domain),
    STAMP(REGISTRY_CA, registry_seat, "ca-seat.v1", domain),
    [REGISTRY_RESULT] = {"request.v1", offsetof(struct registry_result, domain),
                         offsetof(struct registry_result, at),
                         offsetof(struct registry_result, updated_at)},
#undef STAMP
};

struct registry_record *registry_make(const struct registry_case *c, enum registry_kind kind)
{
    struct registry_record *r = registry_record_new(kind);
    char *base = (char *)&r->of;
    /* every record begins with its type */
    (void)snprintf(base, sizeof r->of.domain.type, "%s", stamps[kind].type);
    memcpy(base + stamps[kind].domain_at, c->rq->envelope.domain, UUID_TEXT_SIZE);
    memcpy(base + stamps[kind].created_at, &c->now_ms, sizeof c->now_ms);
    memcpy(base + stamps[kind].updated_at, &c->now_ms, sizeof c->now_ms);
    return r;
}

static cJSON *record_json(const struct registry_record *record)
{
    CLEANUP_BUF struct buf text = BUF_INIT(65536);
    cJSON *tree = NULL;
    if (registry_record_encode(record, &text) == ERR_OK &&
        json_decode(buf_span(&text), &JSON_LIMITS_DEFAULT, &tree, NULL) == ERR_OK) {
        return tree;
    }
    return cJSON_CreateObject();
}

void registry_put(struct registry_outcome *out, unsigned entity, struct registry_record *record,
                  bool reply)
{
    if (reply) {
        out->status = 200;
        out->result = record_json(record);
    }
    out->puts[out->put_count++] = (struct registry_put){.entity = entity, .record = record};
}

void registry_delete(struct registry_outcome *out, unsigned entity)
{
    out->puts[out->put_count++] = (struct registry_put){.entity = entity, .record = NULL};
}

struct registry_domain *registry_put_domain(const struct registry_case *c,
                                            struct registry_outcome *out)
{
    struct registry_record *copy = registry_record_copy(c->states[REGISTRY_ENTITY_DOMAIN]);
    copy->of.domain.updated_at = c->now_ms;
    registry_put(out, REGISTRY_ENTITY_DOMAIN, copy, false);
    return &copy->of.domain;
}

void registry_event(struct registry_outcome *out, const char *type, const char *subject,
                    cJSON *data)
{
    struct registry_event *event = &out->events[out->event_count++];
    event->type = type;
    event->data = data;
    (void)snprintf(event->subject, sizeof event->subject, "%s", subject);
}

/* ---- the decision ---- */

/* A request seen before: what was answered then, and nothing else. */
static void repeat(const struct registry_request *rq, const struct registry_result *seen,
                   struct registry_outcome *out)
{
    if (strcmp(seen->hash, rq->envelope.hash) != 0 ||
        strcmp(seen->request_type, rq->envelope.type) != 0) {
        registry_refuse_reuse(out);
        return;
    }
    out->status = seen->status;
    out->result = seen->result != NULL ? cJSON_Duplicate(seen->result, true) : NULL;
}

static void keep_result(const struct registry_case *c, struct registry_outcome *out)
{
    struct registry_record *r = registry_make(c, REGISTRY_RESULT);
    struct registry_result *result = &r->of.result;
    memcpy(result->id, c->rq->envelope.id, sizeof result->id);
    (void)snprintf(result->request_type, sizeof result->request_type, "%s", c->rq->envelope.type);
    memcpy(result->hash, c->rq->envelope.hash, sizeof result->hash);
    result->status = out->status;
    result->result = out->result != NULL ? cJSON_Duplicate(out->result, true) : NULL;
    result->expires_at = c->now_ms + INT64_C(86400000) * REGISTRY_RESULT_DAYS;
    registry_put(out, REGISTRY_ENTITY_RESULT, r, false);
}

void registry_decide(const struct registry_request *rq, const struct registry_record *const *states,
                     int64_t now_ms, struct registry_outcome *out)
{
    *out = (struct registry_outcome){0};
    const struct registry_record *seen = states[REGISTRY_ENTITY_RESULT];
    if (seen != NULL) {
        repeat(rq, &seen->of.result, out);
        return;
    }
    const struct registry_record *domain = states[REGISTRY_ENTITY_DOMAIN];
    if (domain == NULL && !rq->operation->makes_domain) {
        registry_refuse(out, ERR_ABSENT, "not_found", "DomainUID", "there is no domain %s",
                        rq->envelope.domain);
        return;
    }
    const struct registry_case c = {
        .rq = rq,
        .states = states,
        .now_ms = now_ms,
        .domain = domain != NULL ? &domain->of.domain : NULL,
        .body = rq->body,
    };
    rq->operation->decide(&c, out);
    /* A refusal changed nothing and may turn out otherwise next time: only successes are kept. */
    if (rq->operation->keeps_result && out->status >= 200 && out->status < 300) {
        keep_result(&c, out);
    }
}
