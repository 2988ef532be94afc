/*
 * A device on the bench: builds requests as device_request_decode and device_request_verify would,
 * applies decisions to a state, and signs with numbers instead of keys. For the tests of the
 * deciders. Header only.
 */
#ifndef TESTS_DEVICE_BENCH_H
#define TESTS_DEVICE_BENCH_H

#include "test_support.h"

#include <stdio.h>
#include <string.h>

#include "device_life.h"

#define BENCH_NOW     INT64_C(1795240800000)
#define BENCH_UID     "0123456789abcdef"
#define BENCH_DOMAIN  "7c9e6679-7425-40de-944b-e07fc1f90ae7"
#define BENCH_OTHER   "11111111-7425-40de-944b-e07fc1f90ae7"
#define BENCH_CA      "0f8fad5b-d9cb-469f-a165-70867728950e"
#define BENCH_CA_2    "11111111-4f89-41d3-9a0c-0305e82c3301"
#define BENCH_PROFILE "0000000000000000000001"
#define BENCH_DAY_S   INT64_C(86400)

struct bench {
    struct device *device; /* NULL: unknown */
    struct registry_profile profile;
    struct registry_whitelist listed;
    struct ca ca, ca_2; /* the second one signs once something names it */
    bool has_profile, is_listed, has_ca, has_key;
    const char *serial_holder; /* NULL: not asked for */
    int64_t now_ms;
    int64_t sequence; /* of the last message */
    uint8_t next_serial;
    struct device_request *last; /* with its outcome */
};

static inline int bench_setup(void **state)
{
    struct bench *b = xcalloc(1, sizeof *b);
    b->now_ms = BENCH_NOW;
    b->has_profile = b->has_ca = b->has_key = true;
    (void)snprintf(b->profile.uid, sizeof b->profile.uid, "%s", BENCH_PROFILE);
    (void)snprintf(b->profile.domain, sizeof b->profile.domain, "%s", BENCH_DOMAIN);
    (void)snprintf(b->profile.ca, sizeof b->profile.ca, "%s", BENCH_CA);
    b->profile.heartbeat_interval_s = 3600;
    b->profile.flood_interval_s = 60;
    b->profile.whitelist = REGISTRY_WHITELIST_IGNORE;
    b->profile.features.zero_touch = true;
    assert_ok(uuid_parse(span_str(BENCH_CA), &b->ca.id));
    assert_ok(uuid_parse(span_str(BENCH_DOMAIN), &b->ca.domain));
    b->ca.state = CA_ACTIVE;
    b->ca.device_validity_s = 365 * BENCH_DAY_S;
    b->ca.automatic_renewal = true;
    b->ca.renew_ahead_s = 366 * BENCH_DAY_S; /* everything is due */
    b->ca.not_after_ms = BENCH_NOW + 3650 * BENCH_DAY_S * 1000;
    b->ca.certificate_len = 2;
    b->ca_2 = b->ca;
    assert_ok(uuid_parse(span_str(BENCH_CA_2), &b->ca_2.id));
    *state = b;
    return 0;
}

static inline int bench_teardown(void **state)
{
    struct bench *b = *state;
    device_free(b->device);
    device_request_free(b->last);
    free(b);
    return 0;
}

/* A request of the device with the next sequence. */
static inline struct device_request *bench_request(struct bench *b, enum device_request_kind kind)
{
    struct device_request *r = xcalloc(1, sizeof *r);
    r->kind = kind;
    memcpy(r->uid, BENCH_UID, sizeof BENCH_UID);
    r->body.rot_key.len = 4;
    memcpy(r->body.rot_key.der, "root", 4);
    r->body.signed_part.sequence = ++b->sequence;
    (void)snprintf(r->envelope.domain, sizeof r->envelope.domain, "%s", BENCH_DOMAIN);
    (void)snprintf(r->envelope.actor_kind, sizeof r->envelope.actor_kind, "operator");
    return r;
}

static inline void bench_csr(struct device_request *r, uint8_t key)
{
    r->proof.has_csr = true;
    r->proof.key.len = 1;
    r->proof.key.der[0] = key;
    memset(r->proof.csr_hash, key, sizeof r->proof.csr_hash);
}

static inline struct device_request *bench_bootstrap(struct bench *b, uint8_t nonce, uint8_t key)
{
    struct device_request *r = bench_request(b, DEVICE_ASKS_BOOTSTRAP);
    memcpy(r->of.bootstrap.uid, BENCH_UID, sizeof BENCH_UID);
    memset(r->of.bootstrap.install_nonce, nonce, DEVICE_NONCE_BYTES);
    memcpy(r->of.bootstrap.profile, BENCH_PROFILE, sizeof BENCH_PROFILE);
    memcpy(r->of.bootstrap.serial, "SN-1", 5);
    if (key != 0) {
        bench_csr(r, key);
    }
    return r;
}

static inline struct device_request *bench_pickup(struct bench *b, const struct uuid *operation)
{
    struct device_request *r = bench_request(b, DEVICE_ASKS_PICKUP);
    r->of.pickup.operation = *operation;
    return r;
}

static inline struct device_request *bench_confirm(struct bench *b, const struct uuid *operation,
                                                   const uint8_t serial[CERTIFICATE_SERIAL],
                                                   uint8_t key)
{
    struct device_request *r = bench_request(b, DEVICE_ASKS_CONFIRM);
    r->of.confirm.operation = *operation;
    memcpy(r->of.confirm.serial, serial, CERTIFICATE_SERIAL);
    memset(r->proof.key_hash, key, sizeof r->proof.key_hash);
    return r;
}

static inline struct uuid bench_id(uint8_t n)
{
    struct uuid id = {{0xaa, [15] = n}};
    return id;
}

static inline struct device_request *bench_renew(struct bench *b, uint8_t id)
{
    struct device_request *r = bench_request(b, DEVICE_ORDER_RENEW);
    r->body.signed_part.sequence = 0;
    b->sequence--;
    memcpy(r->of.renew.uid, BENCH_UID, sizeof BENCH_UID);
    r->of.renew.operation = bench_id(id);
    return r;
}

/* Seconds of 0 are not given. */
static inline struct device_request *bench_settings(struct bench *b, const char *id,
                                                    int64_t heartbeat_s, int64_t flood_s)
{
    struct device_request *r = bench_request(b, DEVICE_ORDER_SETTINGS);
    r->body.signed_part.sequence = 0;
    b->sequence--;
    (void)snprintf(r->envelope.id, sizeof r->envelope.id, "%s", id);
    r->of.settings = (struct device_settings_body){.heartbeat_interval_s = heartbeat_s,
                                                   .has_heartbeat_interval = heartbeat_s != 0,
                                                   .flood_interval_s = flood_s,
                                                   .has_flood_interval = flood_s != 0};
    memcpy(r->of.settings.uid, BENCH_UID, sizeof BENCH_UID);
    return r;
}

static inline void bench_sign(struct bench *b, struct device_request *r)
{
    static const uint8_t der[] = "certificate";
    struct issued_certificate c = {
        .der = span_of(der, sizeof der),
        .not_before_ms = b->now_ms,
        .not_after_ms = b->now_ms + r->outcome.ask.validity_s * 1000,
        .subject = {.der = "name", .len = 4},
    };
    memset(c.serial, ++b->next_serial, sizeof c.serial);
    memset(c.fingerprint, b->next_serial, sizeof c.fingerprint);
    device_issued(r, &c, b->now_ms);
}

/* As device_snapshot.c finds it. */
static inline const struct ca *bench_ca(const struct bench *b, const struct device_request *r)
{
    struct uuid id = device_ca_of(b->device, r, b->has_profile ? &b->profile : NULL, b->now_ms);
    if (!b->has_ca || (!uuid_eq(&id, &b->ca.id) && !uuid_eq(&id, &b->ca_2.id))) {
        return NULL;
    }
    return uuid_eq(&id, &b->ca.id) ? &b->ca : &b->ca_2;
}

/* The device goes away and comes back. */
static inline void bench_next_visit(struct bench *b)
{
    b->now_ms += DEVICE_VISIT_MS;
}

/* Decides, signs if asked, and makes the outcome's state the device's. The request is kept in
 * b->last. */
static inline struct device_outcome *bench_apply(struct bench *b, struct device_request *r)
{
    b->now_ms += 1000;
    r->snapshots = (struct device_snapshots){
        .profile = b->has_profile ? &b->profile : NULL,
        .whitelist = b->is_listed ? &b->listed : NULL,
        .ca = bench_ca(b, r),
        /* Never looked into by a decision. */
        .template = b->has_key ? (struct issuer_template *)(void *)b : NULL,
    };
    if (b->serial_holder != NULL) {
        (void)snprintf(r->snapshots.serial_holder, sizeof r->snapshots.serial_holder, "%s",
                       b->serial_holder);
    }
    device_decide(b->device, r, b->now_ms);
    if (r->outcome.sign) {
        bench_sign(b, r);
    }
    if (r->outcome.state != NULL) {
        device_free(b->device);
        b->device = device_copy(r->outcome.state);
    }
    device_request_free(b->last);
    b->last = r;
    return &r->outcome;
}

static inline unsigned bench_events(const struct device_outcome *o, const char *type)
{
    unsigned n = 0;
    for (unsigned i = 0; i < o->event_count; i++) {
        n += strcmp(o->events[i].type, type) == 0;
    }
    return n;
}

static inline const char *bench_text(const struct device_outcome *o, const char *name)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(o->result, name));
    return text != NULL ? text : "";
}

/* A device with its first certificate, proved; its key is 1, its serial 01.. */
static inline void bench_installed(struct bench *b)
{
    (void)bench_apply(b, bench_bootstrap(b, 1, 1));
    assert_int_equal(b->device->unconfirmed_count, 1);
    const struct device_unconfirmed u = b->device->unconfirmed[0];
    struct device_outcome *o = bench_apply(b, bench_confirm(b, &u.operation, u.serial, 1));
    assert_int_equal(o->refusal, REFUSAL_NONE);
    assert_true(device_has_certificate(b->device));
}

/* Then with a renewal ordered and handed out, not proved: serial 02.. */
static inline void bench_renewing(struct bench *b, uint8_t id)
{
    struct device_outcome *o = bench_apply(b, bench_renew(b, id));
    assert_int_equal(o->refusal, REFUSAL_NONE);
    struct uuid operation = bench_id(id);
    o = bench_apply(b, bench_pickup(b, &operation));
    assert_int_equal(o->refusal, REFUSAL_NONE);
    assert_int_equal(b->device->operation.state, OPERATION_ISSUED);
}

#endif
