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
    } else if (b->flood_interval_s > b->heartbeat_interval_s) {
        registry_refuse(out, ERR_INVALID, "validation_error", "FloodInterval",
                        "must not exceed HeartbeatInterval (%lld s), else every heartbeat of a "
                        "device is refused",
                        (long long)b->heartbeat_interval_s);
    } else {
        return false;
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
