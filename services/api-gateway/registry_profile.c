/*
 * Device profiles, and seats: the right of a domain to one CA. A profile names a CA by its seat,
 * which is the registry's own record, so no other aggregate has to be asked.
 */
#include <stdio.h>

#include "proto/topics.h"
#include "registry_rules.h"

static err_t name_profile(struct registry_request *rq)
{
    const struct registry_profile_create *body = rq->body;
    err_t err = registry_name(rq, REGISTRY_PROFILE, body->uid);
    return err != ERR_OK ? err : registry_name(rq, REGISTRY_CA, body->ca);
}

static cJSON *profile_data(const struct registry_profile *p)
{
    /* The UID itself is as good as a secret: whoever knows it can claim devices for the domain. */
    cJSON *data = cJSON_CreateObject();
    (void)cJSON_AddStringToObject(data, "name", p->name);
    (void)cJSON_AddStringToObject(data, "ca", p->ca);
    (void)cJSON_AddStringToObject(data, "whitelist",
                                  codec_name_of(registry_whitelist_mode_names, (int)p->whitelist));
    return data;
}

/* Every heartbeat of a device would be refused. */
static bool refuse_flood(struct registry_outcome *out, int64_t heartbeat_s, int64_t flood_s)
{
    if (flood_s <= heartbeat_s) {
        return false;
    }
    registry_refuse(out, ERR_INVALID, "validation_error", "FloodInterval",
                    "must not exceed HeartbeatInterval (%lld s), else every heartbeat of a device "
                    "is refused",
                    (long long)heartbeat_s);
    return true;
}

static bool profile_refused(const struct registry_case *c, const struct registry_profile_create *b,
                            struct registry_outcome *out)
{
    if (registry_thing(c, 0) != NULL) {
        registry_refuse(out, ERR_EXISTS, "duplicate", "DeviceProfileUID",
                        "there is such a profile already; send the request again");
    } else if (registry_thing(c, 1) == NULL) {
        registry_refuse(out, ERR_ABSENT, "not_found", "RootCAUID", "there is no CA %s", b->ca);
    } else if (c->domain->usage.profiles >= REGISTRY_PROFILES_MAX) {
        registry_refuse(out, ERR_LIMIT, "account_limit_exceeded", "profile-count",
                        "a domain may have %d device profiles", REGISTRY_PROFILES_MAX);
    } else {
        return refuse_flood(out, b->heartbeat_interval_s, b->flood_interval_s);
    }
    return true;
}

static void profile_create(const struct registry_case *c, struct registry_outcome *out)
{
    const struct registry_profile_create *body = c->body;
    if (profile_refused(c, body, out)) {
        return;
    }
    struct registry_record *r = registry_make(c, REGISTRY_PROFILE);
    struct registry_profile *p = &r->of.profile;
    memcpy(p->uid, body->uid, sizeof p->uid);
    memcpy(p->name, body->name, sizeof p->name);
    memcpy(p->ca, body->ca, sizeof p->ca);
    p->heartbeat_interval_s = body->heartbeat_interval_s;
    p->flood_interval_s = body->flood_interval_s;
    p->whitelist = body->whitelist;
    memcpy(p->key_algorithm, body->key_algorithm, sizeof p->key_algorithm);
    p->features = body->features;
    registry_event(out, "io.fleetseal.profile.created.v1", c->domain->id, profile_data(p));
    registry_put(out, REGISTRY_ENTITY_THING, r, true);
    registry_put_domain(c, out)->usage.profiles++;
}

const struct registry_operation registry_operation_profile_create = {
    .type = REGISTRY_REQUEST_PROFILE_CREATE,
    .table = &registry_profile_create_table,
    .keeps_result = true,
    .name = name_profile,
    .decide = profile_create,
};

/* ---- changes ---- */

static err_t name_changed_profile(struct registry_request *rq)
{
    const struct registry_profile_update *body = rq->body;
    err_t err = registry_name(rq, REGISTRY_PROFILE, body->uid);
    return err != ERR_OK || !body->has_ca ? err : registry_name(rq, REGISTRY_CA, body->ca);
}

static void apply(struct registry_profile *p, const struct registry_profile_update *b)
{
    const struct registry_features_update *f = &b->features;
    if (b->has_name) {
        memcpy(p->name, b->name, sizeof p->name);
    }
    if (b->has_ca) {
        memcpy(p->ca, b->ca, sizeof p->ca);
    }
    p->heartbeat_interval_s =
        b->has_heartbeat_interval ? b->heartbeat_interval_s : p->heartbeat_interval_s;
    p->flood_interval_s = b->has_flood_interval ? b->flood_interval_s : p->flood_interval_s;
    p->whitelist = b->has_whitelist ? b->whitelist : p->whitelist;
    p->features.zero_touch = f->has_zero_touch ? f->zero_touch : p->features.zero_touch;
    p->features.data_protection =
        f->has_data_protection ? f->data_protection : p->features.data_protection;
    p->features.chip_to_chip = f->has_chip_to_chip ? f->chip_to_chip : p->features.chip_to_chip;
}

/* The door looked at a CA for this wish; another wish may have come in between. */
static bool result_refused(const struct registry_profile *p,
                           const struct registry_profile_update *b, struct registry_outcome *out)
{
    bool looked = b->has_ca || b->has_heartbeat_interval;
    if (looked && strcmp(p->ca, b->checked_ca) != 0) {
        registry_refuse(out, ERR_CONFLICT, "conflict", "RootCAUID",
                        "the profile was given another CA meanwhile; send the request again");
        return true;
    }
    if (looked && b->heartbeat_below_s > 0 && p->heartbeat_interval_s >= b->heartbeat_below_s) {
        registry_refuse(out, ERR_INVALID, "validation_error", "HeartbeatInterval",
                        "must be below the CA's RenewAhead (%lld s), else certificates expire "
                        "between two heartbeats",
                        (long long)b->heartbeat_below_s);
        return true;
    }
    return refuse_flood(out, p->heartbeat_interval_s, p->flood_interval_s);
}

static bool profile_same(const struct registry_profile *a, const struct registry_profile *b)
{
    return strcmp(a->name, b->name) == 0 && strcmp(a->ca, b->ca) == 0 &&
           a->heartbeat_interval_s == b->heartbeat_interval_s &&
           a->flood_interval_s == b->flood_interval_s && a->whitelist == b->whitelist &&
           a->features.zero_touch == b->features.zero_touch &&
           a->features.data_protection == b->features.data_protection &&
           a->features.chip_to_chip == b->features.chip_to_chip;
}

static cJSON *changed_data(const struct registry_profile *p, const char *previous_name)
{
    cJSON *data = profile_data(p);
    if (strcmp(p->name, previous_name) != 0) {
        (void)cJSON_AddStringToObject(data, "previous_name", previous_name);
    }
    (void)cJSON_AddNumberToObject(data, "heartbeat_interval_s", (double)p->heartbeat_interval_s);
    (void)cJSON_AddNumberToObject(data, "flood_interval_s", (double)p->flood_interval_s);
    cJSON *features = cJSON_AddObjectToObject(data, "features");
    (void)cJSON_AddBoolToObject(features, "zero_touch", p->features.zero_touch);
    (void)cJSON_AddBoolToObject(features, "data_protection", p->features.data_protection);
    (void)cJSON_AddBoolToObject(features, "chip_to_chip", p->features.chip_to_chip);
    return data;
}

static void profile_update(const struct registry_case *c, struct registry_outcome *out)
{
    const struct registry_profile_update *body = c->body;
    const struct registry_record *present = registry_thing(c, 0);
    if (present == NULL) {
        registry_refuse(out, ERR_ABSENT, "not_found", "DeviceProfileUID", "there is no profile %s",
                        body->uid);
        return;
    }
    if (body->has_ca && registry_thing(c, 1) == NULL) {
        registry_refuse(out, ERR_ABSENT, "not_found", "RootCAUID", "there is no CA %s", body->ca);
        return;
    }
    CLEANUP(registry_record_free) struct registry_record *r = registry_record_copy(present);
    struct registry_profile *p = &r->of.profile;
    apply(p, body);
    if (result_refused(p, body, out)) {
        return;
    }
    if (!profile_same(p, &present->of.profile)) {
        p->updated_at = c->now_ms;
        registry_event(out, "io.fleetseal.profile.updated.v1", c->domain->id,
                       changed_data(p, present->of.profile.name));
    }
    registry_put(out, REGISTRY_ENTITY_THING, TAKE(r), true);
}

const struct registry_operation registry_operation_profile_update = {
    .type = REGISTRY_REQUEST_PROFILE_UPDATE,
    .table = &registry_profile_update_table,
    .keeps_result = true,
    .name = name_changed_profile,
    .decide = profile_update,
};

/* ---- seats ---- */

static err_t name_own_seat(struct registry_request *rq)
{
    return registry_name(rq, REGISTRY_CA, rq->envelope.id);
}

static void forward_ca(const struct registry_case *c, struct registry_outcome *out)
{
    struct registry_forward *forward = &out->forwards[out->forward_count++];
    *forward = (struct registry_forward){.topic = TOPIC_CA_REQUESTS,
                                         .type = "ca.create.v1",
                                         .body = c->rq->envelope.body,
                                         .reply = true};
    memcpy(forward->id, c->rq->envelope.id, sizeof forward->id);
    memcpy(forward->key, c->rq->envelope.id, sizeof forward->key);
}

/*
 * The seat is the stored result here: it remembers the body's hash for as long as the CA exists,
 * and a repeat is forwarded again, since only the CA's owner knows what became of it.
 */
static void ca_create(const struct registry_case *c, struct registry_outcome *out)
{
    const struct registry_ca_create *body = c->body;
    const struct registry_record *present = registry_thing(c, 0);
    if (present != NULL) {
        if (strcmp(present->of.seat.request_hash, c->rq->envelope.hash) != 0) {
            registry_refuse_reuse(out);
            return;
        }
        forward_ca(c, out);
        return;
    }
    if (c->domain->usage.cas >= c->domain->limits.cas) {
        registry_refuse(out, ERR_LIMIT, "account_limit_exceeded", "ca-count",
                        "a domain may have %d CAs; delete one first", c->domain->limits.cas);
        return;
    }
    struct registry_record *r = registry_make(c, REGISTRY_CA);
    struct registry_seat *seat = &r->of.seat;
    memcpy(seat->id, c->rq->envelope.id, sizeof seat->id);
    memcpy(seat->name, body->name, sizeof seat->name);
    memcpy(seat->request_hash, c->rq->envelope.hash, sizeof seat->request_hash);
    registry_put(out, REGISTRY_ENTITY_THING, r, false);
    registry_put_domain(c, out)->usage.cas++;
    forward_ca(c, out);
}

const struct registry_operation registry_operation_ca_create = {
    .type = REGISTRY_REQUEST_CA_CREATE,
    .table = &registry_ca_create_table,
    .name = name_own_seat,
    .decide = ca_create,
};

static err_t name_seat(struct registry_request *rq)
{
    const struct registry_target *body = rq->body;
    return registry_name(rq, REGISTRY_CA, body->id);
}

static void ca_release(const struct registry_case *c, struct registry_outcome *out)
{
    out->status = 200;
    if (registry_thing(c, 0) != NULL) {
        registry_delete(out, REGISTRY_ENTITY_THING);
        registry_put_domain(c, out)->usage.cas--;
    }
}

const struct registry_operation registry_operation_ca_release = {
    .type = REGISTRY_REQUEST_CA_RELEASE,
    .table = &registry_target_table,
    .name = name_seat,
    .decide = ca_release,
};
