#include "registry_owner.h"

#include <stdio.h>

#include "common/json.h"
#include "proto/topics.h"
#include "registry_decide.h"

#define RECORD_MAX  65536u
#define FORWARD_MAX ((size_t)256 * 1024)

static void free_request(void *request)
{
    registry_request_deinit(request);
    free(request);
}

static err_t decode(void *ctx, struct work *w, struct fault *fault)
{
    (void)ctx;
    const struct work_source *source = work_source(w);
    struct registry_request *rq = xcalloc(1, sizeof *rq);
    work_set_request(w, rq);
    err_t err = registry_request_decode(source->value, rq, fault);
    if (err != ERR_OK) {
        return err;
    }
    if (!span_eq(source->key, span_str(rq->envelope.domain))) {
        return fault_set(fault, ERR_INVALID, "validation_error", "domain",
                         "must be the record's key");
    }
    for (unsigned i = 0; i < rq->key_count; i++) {
        unsigned index = 0;
        err = work_need(w, span_str(rq->keys[i]), &index);
        if (err != ERR_OK) {
            return err;
        }
    }
    return ERR_OK;
}

/* Entities the request names twice are one in the processor: rq->keys[i] -> its number there. */
static unsigned entity_number(struct work *w, const struct registry_request *rq, unsigned i)
{
    unsigned index = i;
    err_t err = work_need(w, span_str(rq->keys[i]), &index);
    return err == ERR_OK ? index : i;
}

static bool put(struct work *w, unsigned entity, struct registry_record **record)
{
    if (*record == NULL) {
        work_delete(w, entity);
        return true;
    }
    CLEANUP_BUF struct buf json = BUF_INIT(RECORD_MAX);
    if (registry_record_encode(*record, &json) != ERR_OK) {
        return false;
    }
    work_put(w, entity, TAKE(*record), buf_span(&json));
    return true;
}

static void emit_forward(struct work *w, const struct registry_request *rq,
                         const struct registry_forward *forward, int64_t now_ms)
{
    const struct envelope *cause = &rq->envelope;
    struct envelope e = *cause;
    e.root = NULL;
    e.time_ms = now_ms;
    memcpy(e.id, forward->id, sizeof e.id);
    (void)snprintf(e.type, sizeof e.type, "%s", forward->type);
    if (!forward->reply) {
        e.reply_to[0] = '\0';
        e.hash[0] = '\0';
    }
    CLEANUP_BUF struct buf value = BUF_INIT(FORWARD_MAX);
    if (envelope_encode(&e, forward->body, &value) == ERR_OK) {
        work_emit(w, forward->topic, span_str(forward->key), span_str(forward->key),
                  buf_span(&value), NULL, 0);
    }
}

static void reply(struct work *w, const struct registry_request *rq,
                  const struct registry_outcome *out)
{
    CLEANUP_BUF struct buf json = BUF_INIT(RECORD_MAX);
    const struct fault *fault = out->fault.code[0] != '\0' ? &out->fault : NULL;
    if (reply_encode(rq->envelope.id, out->status, fault, out->result, &json) == ERR_OK) {
        work_reply(w, rq->envelope.id, rq->envelope.reply_to, buf_span(&json));
    }
}

static void decide(void *ctx, struct work *w, int64_t now_ms)
{
    (void)ctx;
    const struct registry_request *rq = work_request(w);
    const struct registry_record *states[REGISTRY_ENTITIES_MAX];
    struct fault astray = {0};
    err_t err = work_check_place(w, span_str(rq->envelope.domain), &astray);
    if (err != ERR_OK) { /* its domain would be unknown here */
        work_dead_letter(w, err, &astray);
        return;
    }
    for (unsigned i = 0; i < rq->key_count; i++) {
        states[i] = work_state(w, entity_number(w, rq, i));
    }
    CLEANUP(registry_outcome_deinit) struct registry_outcome out;
    registry_decide(rq, states, now_ms, &out);
    for (unsigned i = 0; i < out.put_count; i++) {
        if (!put(w, entity_number(w, rq, out.puts[i].entity), &out.puts[i].record)) {
            struct fault fault;
            work_dead_letter(w,
                             fault_set(&fault, ERR_TOO_LARGE, "record_too_large", "",
                                       "the record would exceed %u bytes", RECORD_MAX),
                             &fault);
            return;
        }
    }
    for (unsigned i = 0; i < out.event_count; i++) {
        const struct event event = {.topic = TOPIC_EVENTS,
                                    .type = out.events[i].type,
                                    .domain = rq->envelope.domain,
                                    .subject = out.events[i].subject,
                                    .partition_key = rq->envelope.domain,
                                    .cause_id = rq->envelope.id,
                                    .time_ms = now_ms,
                                    .traceparent = rq->envelope.traceparent};
        event_emit(w, &event, out.events[i].data);
    }
    for (unsigned i = 0; i < out.forward_count; i++) {
        emit_forward(w, rq, &out.forwards[i], now_ms);
    }
    if (out.status != 0) {
        reply(w, rq, &out);
    }
}

static err_t load(void *ctx, struct span record_key, struct span payload, void **ret_state)
{
    (void)ctx;
    struct span domain;
    struct span id;
    enum registry_kind kind = REGISTRY_DOMAIN;
    if (registry_key_parse(record_key, &domain, &kind, &id) != ERR_OK) {
        return ERR_CORRUPT;
    }
    struct registry_record *record = NULL;
    err_t err = registry_record_decode(kind, payload, &record);
    if (err == ERR_OK) {
        *ret_state = record;
    }
    return err;
}

static void free_state(void *state)
{
    registry_record_free(state);
}

static err_t index_alias(struct view_record *to, const char *prefix, struct span record_key)
{
    CLEANUP_BUF struct buf member = BUF_INIT(256);
    (void)buf_append_str(&member, prefix);
    (void)buf_append_span(&member, record_key);
    return buf_ok(&member) ? view_record_index(to, span_str("alias"), buf_span(&member), 0)
                           : ERR_TOO_LARGE;
}

static err_t index_record(const struct registry_record *r, struct span record_key,
                          struct view_record *to)
{
    char prefix[REGISTRY_ALIAS_SIZE];
    if (r->kind == REGISTRY_RESULT) {
        int64_t expires_s = r->of.result.expires_at / 1000;
        return view_record_index(to, span_str("expire"), record_key, (double)expires_s);
    }
    err_t err = view_record_index(to, span_str("keys"), record_key, 0);
    if (err != ERR_OK) {
        return err;
    }
    switch (r->kind) {
    case REGISTRY_DOMAIN:
        return view_record_index(to, span_str("domains"), span_str(r->of.domain.id), 0);
    case REGISTRY_PROFILE:
        registry_alias_profile(r->of.profile.uid, prefix);
        return index_alias(to, prefix, record_key);
    case REGISTRY_ACCESS_KEY:
        registry_alias_key(r->of.access_key.id, prefix);
        return index_alias(to, prefix, record_key);
    default:
        return ERR_OK;
    }
}

err_t registry_project(void *ctx, struct span record_key, struct span value, struct view_record *to)
{
    void *state = NULL;
    err_t err = load(ctx, record_key, value, &state);
    if (err != ERR_OK) {
        return err;
    }
    CLEANUP(registry_record_free) struct registry_record *record = state;
    view_record_clear(to);
    err = index_record(record, record_key, to);
    if (err == ERR_OK) {
        err = buf_append_span(&to->key, record_key);
    }
    return err != ERR_OK ? err : buf_append_span(&to->payload, value);
}

const struct processor_app registry_owner_app = {
    .name = REGISTRY_OWNER_NAME,
    .request_topic = TOPIC_REGISTRY_REQUESTS,
    .state_topic = TOPIC_REGISTRY_STATE,
    .view_letter = VIEW_REGISTRY,
    .decode = decode,
    .decide = decide,
    .free_request = free_request,
    .load = load,
    .free_state = free_state,
    .project = registry_project,
};
