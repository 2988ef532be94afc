/*
 * Webhooks: who wants which events where. Delivering is webhook-notifier's; it tells the registry
 * when an endpoint must be left alone.
 */
#include <stdio.h>

#include "registry_rules.h"

static cJSON *webhook_data(const struct registry_webhook *w)
{
    cJSON *data = cJSON_CreateObject();
    (void)cJSON_AddStringToObject(data, "webhook", w->id);
    (void)cJSON_AddStringToObject(data, "url", w->url);
    if (w->reason[0] != '\0') {
        (void)cJSON_AddStringToObject(data, "reason", w->reason);
    }
    return data;
}

static err_t name_created(struct registry_request *rq)
{
    return registry_name(rq, REGISTRY_WEBHOOK, rq->envelope.id);
}

static void webhook_create(const struct registry_case *c, struct registry_outcome *out)
{
    const struct registry_webhook_create *body = c->body;
    if (registry_thing(c, 0) != NULL) {
        registry_refuse(out, ERR_EXISTS, "duplicate", "Idempotency-Key",
                        "this key made webhook %s before; use a new key", c->rq->envelope.id);
        return;
    }
    if (c->domain->usage.webhooks >= REGISTRY_WEBHOOKS_MAX) {
        registry_refuse(out, ERR_LIMIT, "account_limit_exceeded", "webhook-count",
                        "a domain may have %d webhooks; delete one first", REGISTRY_WEBHOOKS_MAX);
        return;
    }
    struct registry_record *r = registry_make(c, REGISTRY_WEBHOOK);
    struct registry_webhook *w = &r->of.webhook;
    memcpy(w->id, c->rq->envelope.id, sizeof w->id);
    memcpy(w->url, body->url, sizeof w->url);
    memcpy(w->events, body->events, sizeof w->events);
    w->events_count = body->events_count;
    memcpy(w->description, body->description, sizeof w->description);
    memcpy(w->secret_sealed, body->secret_sealed, body->secret_sealed_len);
    w->secret_sealed_len = body->secret_sealed_len;
    w->status = REGISTRY_WEBHOOK_ACTIVE;
    registry_event(out, "io.fleetseal.webhook.created.v1", w->id, webhook_data(w));
    registry_put(out, REGISTRY_ENTITY_THING, r, true);
    registry_put_domain(c, out)->usage.webhooks++;
}

const struct registry_operation registry_operation_webhook_create = {
    .type = REGISTRY_REQUEST_WEBHOOK_CREATE,
    .table = &registry_webhook_create_table,
    .keeps_result = true,
    .name = name_created,
    .decide = webhook_create,
};

static err_t name_target(struct registry_request *rq)
{
    const struct registry_target *body = rq->body;
    return registry_name(rq, REGISTRY_WEBHOOK, body->id);
}

static bool absent(const struct registry_case *c, struct registry_outcome *out)
{
    const struct registry_target *body = c->body;
    if (registry_thing(c, 0) != NULL) {
        return false;
    }
    registry_refuse(out, ERR_ABSENT, "not_found", "WebhookUID", "there is no webhook %s", body->id);
    return true;
}

static void webhook_delete(const struct registry_case *c, struct registry_outcome *out)
{
    if (absent(c, out)) {
        return;
    }
    const struct registry_webhook *w = &registry_thing(c, 0)->of.webhook;
    registry_event(out, "io.fleetseal.webhook.deleted.v1", w->id, webhook_data(w));
    registry_delete(out, REGISTRY_ENTITY_THING);
    registry_put_domain(c, out)->usage.webhooks--;
    out->status = 200;
    out->result = cJSON_CreateObject();
    (void)cJSON_AddStringToObject(out->result, "id", w->id);
}

const struct registry_operation registry_operation_webhook_delete = {
    .type = REGISTRY_REQUEST_WEBHOOK_DELETE,
    .table = &registry_target_table,
    .keeps_result = true,
    .name = name_target,
    .decide = webhook_delete,
};

static void webhook_disable(const struct registry_case *c, struct registry_outcome *out)
{
    const struct registry_target *body = c->body;
    if (absent(c, out)) {
        return;
    }
    struct registry_record *r = registry_record_copy(registry_thing(c, 0));
    struct registry_webhook *w = &r->of.webhook;
    if (w->status == REGISTRY_WEBHOOK_ACTIVE) {
        w->status = REGISTRY_WEBHOOK_DISABLED;
        memcpy(w->reason, body->reason, sizeof w->reason);
        w->updated_at = c->now_ms;
        registry_event(out, "io.fleetseal.webhook.disabled.v1", w->id, webhook_data(w));
    }
    registry_put(out, REGISTRY_ENTITY_THING, r, true);
}

const struct registry_operation registry_operation_webhook_disable = {
    .type = REGISTRY_REQUEST_WEBHOOK_DISABLE,
    .table = &registry_target_table,
    .name = name_target,
    .decide = webhook_disable,
};
