#include "proto/envelope.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/processor.h"

#define ENVELOPE_DEPTH  12
#define ENVELOPE_VALUES 16384
#define SOURCE_MAX      64
#define DATA_MAX        ((size_t)64 * 1024)

void envelope_deinit(struct envelope *e)
{
    cJSON_Delete(e->root);
    e->root = NULL;
    e->body = NULL;
}

struct member {
    const char *name;
    char *to;
    size_t size;
    bool required;
};

static err_t take_member(const cJSON *object, const struct member *m, struct fault *fault)
{
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(object, m->name);
    m->to[0] = 0;
    if (value == NULL && !m->required) {
        return ERR_OK;
    }
    if (!cJSON_IsString(value) || strlen(value->valuestring) >= m->size ||
        (m->required && value->valuestring[0] == 0)) {
        return fault_set(fault, ERR_INVALID, "envelope_invalid", m->name,
                         "must be a string of %d..%zu bytes", m->required ? 1 : 0, m->size - 1);
    }
    (void)snprintf(m->to, m->size, "%s", value->valuestring);
    return ERR_OK;
}

/* `canonical`: gets the one spelling that partitions and record keys are computed from; may be
 * NULL. */
static err_t take_uuid(const char *text, const char *field, bool required, char *canonical,
                       struct fault *fault)
{
    struct uuid u;
    if (text[0] == 0 && !required) {
        return ERR_OK;
    }
    if (uuid_parse(span_str(text), &u) != ERR_OK) {
        return fault_set(fault, ERR_INVALID, "envelope_invalid", field,
                         "must be a UUID in 8-4-4-4-12 hex digits");
    }
    if (canonical != NULL) {
        uuid_format(&u, canonical);
    }
    return ERR_OK;
}

static err_t take_members(struct envelope *e, struct fault *fault)
{
    char time[TIME_TEXT_SIZE];
    const struct member members[] = {
        {"id", e->id, sizeof e->id, true},
        {"type", e->type, sizeof e->type, true},
        {"time", time, sizeof time, true},
        {"domain", e->domain, sizeof e->domain, false},
        {"traceparent", e->traceparent, sizeof e->traceparent, false},
        {"reply_to", e->reply_to, sizeof e->reply_to, false},
        {"hash", e->hash, sizeof e->hash, false},
    };
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        err_t err = take_member(e->root, &members[i], fault);
        if (err != ERR_OK) {
            return err;
        }
    }
    err_t err = take_uuid(e->id, "id", true, NULL, fault);
    if (err == ERR_OK) {
        err = take_uuid(e->domain, "domain", false, e->domain, fault);
    }
    if (err == ERR_OK && time_parse(span_str(time), &e->time_ms) != ERR_OK) {
        err = fault_set(fault, ERR_INVALID, "envelope_invalid", "time",
                        "must be RFC 3339 UTC, as 2026-01-31T12:00:00.000Z");
    }
    return err;
}

static err_t take_actor(struct envelope *e, struct fault *fault)
{
    const cJSON *actor = cJSON_GetObjectItemCaseSensitive(e->root, "actor");
    if (actor == NULL) {
        return ERR_OK;
    }
    if (!cJSON_IsObject(actor)) {
        return fault_set(fault, ERR_INVALID, "envelope_invalid", "actor", "must be an object");
    }
    err_t err = take_member(
        actor, &(struct member){"kind", e->actor_kind, sizeof e->actor_kind, true}, fault);
    return err != ERR_OK
               ? err
               : take_member(actor, &(struct member){"id", e->actor_id, sizeof e->actor_id, false},
                             fault);
}

err_t envelope_decode(struct span value, struct envelope *ret, struct fault *fault)
{
    CLEANUP(envelope_deinit) struct envelope e = {0};
    if (value.len > ENVELOPE_MAX) {
        return fault_set(fault, ERR_TOO_LARGE, "envelope_too_large", "",
                         "a request has at most %u bytes, this one %zu", ENVELOPE_MAX, value.len);
    }
    const struct json_limits limits = {ENVELOPE_MAX, ENVELOPE_DEPTH, ENVELOPE_VALUES};
    err_t err = json_decode(value, &limits, &e.root, fault);
    if (err == ERR_OK && !cJSON_IsObject(e.root)) {
        err = fault_set(fault, ERR_INVALID, "envelope_invalid", "", "must be a JSON object, is %s",
                        json_type_name(e.root));
    }
    if (err == ERR_OK) {
        err = take_members(&e, fault);
    }
    if (err == ERR_OK) {
        err = take_actor(&e, fault);
    }
    if (err != ERR_OK) {
        return err;
    }
    e.body = cJSON_GetObjectItemCaseSensitive(e.root, "body");
    if (!cJSON_IsObject(e.body)) {
        return fault_set(fault, ERR_INVALID, "envelope_invalid", "body", "must be an object");
    }
    *ret = e;
    e.root = NULL;
    return ERR_OK;
}

static void add_text(cJSON *to, const char *name, const char *text)
{
    if (text[0] != 0) {
        (void)cJSON_AddStringToObject(to, name, text);
    }
}

err_t envelope_encode(const struct envelope *e, const cJSON *body, struct buf *to)
{
    char time[TIME_TEXT_SIZE];
    time_format(e->time_ms, time);
    CLEANUP_JSON cJSON *root = cJSON_CreateObject();
    add_text(root, "id", e->id);
    add_text(root, "type", e->type);
    add_text(root, "time", time);
    add_text(root, "domain", e->domain);
    add_text(root, "traceparent", e->traceparent);
    add_text(root, "reply_to", e->reply_to);
    if (e->actor_kind[0] != 0) {
        cJSON *actor = cJSON_AddObjectToObject(root, "actor");
        add_text(actor, "kind", e->actor_kind);
        add_text(actor, "id", e->actor_id);
    }
    add_text(root, "hash", e->hash);
    if (body == NULL) {
        (void)cJSON_AddObjectToObject(root, "body");
    } else {
        (void)cJSON_AddItemReferenceToObject(root, "body", (cJSON *)(uintptr_t)body);
    }
    return json_encode(root, to);
}

int reply_status(err_t e)
{
    switch (e) {
    case ERR_OK:
        return 200;
    case ERR_INVALID:
        return 400;
    case ERR_TOO_LARGE:
        return 413;
    case ERR_UNAUTHORIZED:
        return 401;
    case ERR_FORBIDDEN:
    case ERR_LIMIT:
        return 403;
    case ERR_UNSUPPORTED:
        return 415;
    case ERR_ABSENT:
        return 404;
    case ERR_EXISTS:
    case ERR_CONFLICT:
    case ERR_STALE:
        return 409;
    case ERR_BUSY:
        return 429;
    case ERR_TIMEOUT:
    case ERR_UNAVAILABLE:
    case ERR_STOPPING:
        return 503;
    case ERR_CORRUPT:
    case ERR_FENCED:
    case ERR_INTERNAL:
    case ERR_COUNT_:
        break;
    }
    return 500;
}

err_t reply_encode(const char *request_id, int status, const struct fault *fault,
                   const cJSON *result, struct buf *to)
{
    CLEANUP_JSON cJSON *root = cJSON_CreateObject();
    (void)cJSON_AddStringToObject(root, "request", request_id);
    (void)cJSON_AddNumberToObject(root, "status", status);
    if (fault != NULL && fault->code[0] != 0) {
        (void)cJSON_AddStringToObject(root, "type", fault->code);
        (void)cJSON_AddStringToObject(root, "message", fault->text);
        if (fault->field[0] != 0) {
            cJSON *field = cJSON_CreateObject();
            (void)cJSON_AddStringToObject(field, "field", fault->field);
            (void)cJSON_AddStringToObject(field, "message", fault->text);
            (void)cJSON_AddItemToArray(cJSON_AddArrayToObject(root, "fields"), field);
        }
    }
    if (result != NULL) {
        (void)cJSON_AddItemReferenceToObject(root, "result", (cJSON *)(uintptr_t)result);
    }
    return json_encode(root, to);
}

void event_id(const char *cause_id, const char *type, const char *subject, char out[UUID_TEXT_SIZE])
{
    struct uuid id = UUID_V5(span_str(cause_id), span_str(type), span_str(subject));
    uuid_format(&id, out);
}

void event_emit(struct work *w, const struct event *event, const cJSON *data)
{
    char id[UUID_TEXT_SIZE];
    char time[TIME_TEXT_SIZE];
    char source[SOURCE_MAX];
    char sequence[24];
    event_id(event->cause_id, event->type, event->subject, id);
    time_format(event->time_ms, time);
    (void)snprintf(source, sizeof source, "/fleetseal%s%s", event->domain[0] ? "/" : "",
                   event->domain);
    (void)snprintf(sequence, sizeof sequence, "%020" PRIu64, event->sequence);
    struct work_header headers[12] = {
        {"ce_specversion", span_str("1.0")},
        {"ce_id", span_str(event->id != NULL ? event->id : id)},
        {"ce_source", span_str(source)},
        {"ce_type", span_str(event->type)},
        {"ce_subject", span_str(event->subject)},
        {"ce_time", span_str(time)},
        {"ce_partitionkey", span_str(event->partition_key)},
        {"content-type", span_str("application/json")},
    };
    unsigned n = 8;
    if (event->domain[0] != 0) {
        headers[n++] = (struct work_header){"ce_domain", span_str(event->domain)};
    }
    if (event->sequence > 0) {
        headers[n++] = (struct work_header){"ce_sequence", span_str(sequence)};
    }
    if (event->traceparent != NULL && event->traceparent[0] != 0) {
        headers[n++] = (struct work_header){"ce_traceparent", span_str(event->traceparent)};
    }
    CLEANUP_BUF struct buf value = BUF_INIT(DATA_MAX);
    if (json_encode(data, &value) != ERR_OK) {
        return;
    }
    work_emit(w, event->topic, span_str(event->partition_key), span_str(event->partition_key),
              buf_span(&value), headers, n);
}
