/*
 * Domains and their access keys.
 */
#include <stdio.h>

#include "registry_rules.h"

static cJSON *named(const char *id_field, const char *id, const char *name)
{
    cJSON *data = cJSON_CreateObject();
    (void)cJSON_AddStringToObject(data, id_field, id);
    (void)cJSON_AddStringToObject(data, "name", name);
    return data;
}

static void domain_create(const struct registry_case *c, struct registry_outcome *out)
{
    const struct registry_domain_create *body = c->body;
    if (c->domain != NULL) {
        registry_refuse(out, ERR_EXISTS, "duplicate", "Idempotency-Key",
                        "this key made domain %s before; use a new key", c->domain->id);
        return;
    }
    struct registry_record *r = registry_make(c, REGISTRY_DOMAIN);
    struct registry_domain *d = &r->of.domain;
    memcpy(d->name, body->name, sizeof d->name);
    memcpy(d->company, body->company, sizeof d->company);
    memcpy(d->address, body->address, sizeof d->address);
    memcpy(d->contacts, body->contacts, sizeof d->contacts);
    d->contacts_count = body->contacts_count;
    d->account_type = body->account_type;
    d->limits = (struct registry_domain_limits){.cas = REGISTRY_CAS_DEFAULT,
                                                .access_keys = REGISTRY_ACCESS_KEYS_DEFAULT};
    registry_event(out, "io.fleetseal.domain.created.v1", d->id, named("domain", d->id, d->name));
    registry_put(out, REGISTRY_ENTITY_DOMAIN, r, true);
}

const struct registry_operation registry_operation_domain_create = {
    .type = REGISTRY_REQUEST_DOMAIN_CREATE,
    .table = &registry_domain_create_table,
    .makes_domain = true,
    .keeps_result = true,
    .decide = domain_create,
};

static err_t name_created_key(struct registry_request *rq)
{
    const struct registry_key_create *body = rq->body;
    return registry_name(rq, REGISTRY_ACCESS_KEY, body->id);
}

static void key_create(const struct registry_case *c, struct registry_outcome *out)
{
    const struct registry_key_create *body = c->body;
    if (registry_thing(c, 0) != NULL) {
        registry_refuse(out, ERR_EXISTS, "duplicate", "Idempotency-Key",
                        "this key made access key %s before; use a new key", body->id);
        return;
    }
    if (c->domain->usage.access_keys >= c->domain->limits.access_keys) {
        registry_refuse(out, ERR_LIMIT, "account_limit_exceeded", "access-key-count",
                        "a domain may have %d active access keys; revoke one first",
                        c->domain->limits.access_keys);
        return;
    }
    struct registry_record *r = registry_make(c, REGISTRY_ACCESS_KEY);
    struct registry_access_key *key = &r->of.access_key;
    memcpy(key->id, body->id, sizeof key->id);
    memcpy(key->name, body->name, sizeof key->name);
    memcpy(key->secret_hash, body->secret_hash, sizeof key->secret_hash);
    key->status = REGISTRY_KEY_ACTIVE;
    registry_event(out, "io.fleetseal.access_key.created.v1", key->id,
                   named("access_key", key->id, key->name));
    registry_put(out, REGISTRY_ENTITY_THING, r, true);
    registry_put_domain(c, out)->usage.access_keys++;
}

const struct registry_operation registry_operation_key_create = {
    .type = REGISTRY_REQUEST_KEY_CREATE,
    .table = &registry_key_create_table,
    .keeps_result = true,
    .name = name_created_key,
    .decide = key_create,
};

static err_t name_target_key(struct registry_request *rq)
{
    const struct registry_target *body = rq->body;
    return registry_name(rq, REGISTRY_ACCESS_KEY, body->id);
}

static void key_revoke(const struct registry_case *c, struct registry_outcome *out)
{
    const struct registry_target *body = c->body;
    const struct registry_record *present = registry_thing(c, 0);
    if (present == NULL) {
        registry_refuse(out, ERR_ABSENT, "not_found", "APIKey", "there is no access key %s",
                        body->id);
        return;
    }
    struct registry_record *r = registry_record_copy(present);
    struct registry_access_key *key = &r->of.access_key;
    if (key->status == REGISTRY_KEY_ACTIVE) {
        key->status = REGISTRY_KEY_INACTIVE;
        key->revoked_at = key->updated_at = c->now_ms;
        registry_put_domain(c, out)->usage.access_keys--;
        registry_event(out, "io.fleetseal.access_key.revoked.v1", key->id,
                       named("access_key", key->id, key->name));
    }
    registry_put(out, REGISTRY_ENTITY_THING, r, true);
}

const struct registry_operation registry_operation_key_revoke = {
    .type = REGISTRY_REQUEST_KEY_REVOKE,
    .table = &registry_target_table,
    .keeps_result = true,
    .name = name_target_key,
    .decide = key_revoke,
};
