/*
 * The whitelist, a chunk per request, and the end of stored results.
 */
#include <assert.h>
#include <stdio.h>

#include "proto/topics.h"
#include "registry_rules.h"

static err_t name_devices(struct registry_request *rq)
{
    const struct registry_whitelist_change *body = rq->body;
    for (size_t i = 0; i < body->devices_count; i++) {
        err_t err = registry_name(rq, REGISTRY_WHITELIST, body->devices[i].uid);
        if (err != ERR_OK) {
            return err;
        }
    }
    return body->first[0] != '\0' ? registry_name(rq, REGISTRY_RESULT, body->first) : ERR_OK;
}

/*
 * A long list comes in chunks that have ids of their own. The result of the first one, which was
 * decided before, stands for the Idempotency-Key: another list under the same key is refused as a
 * whole, whatever its length.
 */
static bool key_reused(const struct registry_case *c, struct registry_outcome *out)
{
    const struct registry_whitelist_change *body = c->body;
    const struct registry_record *first =
        body->first[0] != '\0' ? registry_thing(c, (unsigned)body->devices_count) : NULL;
    if (first == NULL || strcmp(first->of.result.hash, c->rq->envelope.hash) == 0) {
        return false;
    }
    registry_refuse_reuse(out);
    return true;
}

/* A device named twice in one chunk is one entity; only its last entry counts. */
static bool named_later(const struct registry_whitelist_change *body, size_t i)
{
    for (size_t j = i + 1; j < body->devices_count; j++) {
        if (strcmp(body->devices[i].uid, body->devices[j].uid) == 0) {
            return true;
        }
    }
    return false;
}

static bool same_entry(const struct registry_whitelist *present,
                       const struct registry_whitelist_entry *wanted)
{
    return span_eq(span_of(present->key, present->key_len), span_of(wanted->key, wanted->key_len));
}

/* The device may have called before it was listed: its owner decides whether that changes anything.
 */
static void forward_unblock(const struct registry_case *c, const char *uid,
                            struct registry_outcome *out)
{
    struct registry_forward *forward = &out->forwards[out->forward_count++];
    *forward =
        (struct registry_forward){.topic = TOPIC_DEVICE_REQUESTS, .type = "device.unblock.v1"};
    struct uuid id = UUID_V5(span_str(c->rq->envelope.id), span_str("unblock"), span_str(uid));
    uuid_format(&id, forward->id);
    (void)snprintf(forward->key, sizeof forward->key, "%s", uid);
}

static void count_reply(struct registry_outcome *out, const char *changed_name, unsigned changed,
                        size_t total)
{
    out->status = 200;
    out->result = cJSON_CreateObject();
    (void)cJSON_AddNumberToObject(out->result, changed_name, changed);
    (void)cJSON_AddNumberToObject(out->result, "unchanged", (double)(total - changed));
}

static void whitelist_event(const struct registry_case *c, const char *type,
                            const struct registry_whitelist_change *body,
                            struct registry_outcome *out)
{
    cJSON *data = cJSON_CreateObject();
    cJSON *devices = cJSON_AddArrayToObject(data, "devices");
    for (size_t i = 0; i < body->devices_count; i++) {
        (void)cJSON_AddItemToArray(devices, cJSON_CreateString(body->devices[i].uid));
    }
    registry_event(out, type, c->domain->id, data);
}

static void whitelist_add(const struct registry_case *c, struct registry_outcome *out)
{
    const struct registry_whitelist_change *body = c->body;
    unsigned changed = 0;
    assert(body->devices != NULL); /* the codec refuses an empty list */
    if (key_reused(c, out)) {
        return;
    }
    for (size_t i = 0; i < body->devices_count; i++) {
        const struct registry_whitelist_entry *entry = &body->devices[i];
        if (named_later(body, i)) {
            continue;
        }
        forward_unblock(c, entry->uid, out);
        const struct registry_record *present = registry_thing(c, (unsigned)i);
        if (present != NULL && same_entry(&present->of.whitelist, entry)) {
            continue;
        }
        struct registry_record *r = registry_make(c, REGISTRY_WHITELIST);
        struct registry_whitelist *w = &r->of.whitelist;
        memcpy(w->uid, entry->uid, sizeof w->uid);
        memcpy(w->key, entry->key, sizeof w->key);
        w->key_len = entry->key_len;
        if (present != NULL) {
            w->created_at = present->of.whitelist.created_at;
        }
        registry_put(out, REGISTRY_ENTITY_THING + (unsigned)i, r, false);
        changed++;
    }
    count_reply(out, "added", changed, body->devices_count);
    if (changed > 0) {
        whitelist_event(c, "io.fleetseal.whitelist.added.v1", body, out);
    }
}

const struct registry_operation registry_operation_whitelist_add = {
    .type = REGISTRY_REQUEST_WHITELIST_ADD,
    .table = &registry_whitelist_change_table,
    .keeps_result = true,
    .name = name_devices,
    .decide = whitelist_add,
};

static void whitelist_remove(const struct registry_case *c, struct registry_outcome *out)
{
    const struct registry_whitelist_change *body = c->body;
    unsigned changed = 0;
    if (key_reused(c, out)) {
        return;
    }
    for (size_t i = 0; i < body->devices_count; i++) {
        if (!named_later(body, i) && registry_thing(c, (unsigned)i) != NULL) {
            registry_delete(out, REGISTRY_ENTITY_THING + (unsigned)i);
            changed++;
        }
    }
    count_reply(out, "removed", changed, body->devices_count);
    if (changed > 0) {
        whitelist_event(c, "io.fleetseal.whitelist.removed.v1", body, out);
    }
}

const struct registry_operation registry_operation_whitelist_remove = {
    .type = REGISTRY_REQUEST_WHITELIST_REMOVE,
    .table = &registry_whitelist_change_table,
    .keeps_result = true,
    .name = name_devices,
    .decide = whitelist_remove,
};

static err_t name_results(struct registry_request *rq)
{
    const struct registry_expire *body = rq->body;
    for (size_t i = 0; i < body->ids_count; i++) {
        err_t err = registry_name(rq, REGISTRY_RESULT, body->ids[i]);
        if (err != ERR_OK) {
            return err;
        }
    }
    return ERR_OK;
}

/* Whoever asks may have seen an old view: what is not over stays. */
static void expire(const struct registry_case *c, struct registry_outcome *out)
{
    const struct registry_expire *body = c->body;
    for (size_t i = 0; i < body->ids_count; i++) {
        const struct registry_record *r = registry_thing(c, (unsigned)i);
        if (r != NULL && r->of.result.expires_at <= c->now_ms) {
            registry_delete(out, REGISTRY_ENTITY_THING + (unsigned)i);
        }
    }
    out->status = 200;
}

const struct registry_operation registry_operation_expire = {
    .type = REGISTRY_REQUEST_EXPIRE,
    .table = &registry_expire_table,
    .name = name_results,
    .decide = expire,
};
