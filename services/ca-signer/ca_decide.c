#include "ca_decide.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ca_usage.h"
#include "common/json.h"
#include "kernel.h"

void ca_outcome_deinit(struct ca_outcome *o)
{
    ca_free(o->state);
    cJSON_Delete(o->result);
    *o = (struct ca_outcome){0};
}

void ca_command_free(struct ca_command *c)
{
    if (c != NULL) {
        ca_outcome_deinit(&c->outcome);
        envelope_deinit(&c->envelope);
        free(c);
    }
}

/* One CA, one spelling: records are kept under the id as uuid_format writes it, and a key that is
 * spelled otherwise belongs to another partition, where the CA would be unknown. */
static err_t read_key(struct span key, struct uuid *id)
{
    char canonical[UUID_TEXT_SIZE];
    if (uuid_parse(key, id) != ERR_OK) {
        return ERR_INVALID;
    }
    uuid_format(id, canonical);
    return span_eq(key, span_str(canonical)) ? ERR_OK : ERR_INVALID;
}

err_t ca_command_decode(struct span key, struct span value, struct ca_command **ret,
                        struct fault *fault)
{
    CLEANUP(ca_command_free) struct ca_command *c = xcalloc(1, sizeof *c);
    if (read_key(key, &c->id) != ERR_OK) {
        return fault_set(fault, ERR_INVALID, "invalid_key", "key",
                         "the record key must be a CA id in lower case");
    }
    err_t e = envelope_decode(value, &c->envelope, fault);
    if (e != ERR_OK) {
        return e;
    }
    if (uuid_parse(span_str(c->envelope.domain), &c->domain) != ERR_OK) {
        return fault_set(fault, ERR_INVALID, "envelope_invalid", "domain",
                         "a request about a CA names its domain");
    }
    struct uuid named = c->id;
    if (strcmp(c->envelope.type, CA_REQUEST_CREATE) == 0) {
        c->kind = CA_ASKS_CREATE;
        e = codec_decode(&ca_create_table, CODEC_KEEP, c->envelope.body, &c->of.create, fault);
        if (e == ERR_OK) {
            e = uuid_parse(span_str(c->envelope.id), &named);
        }
    } else if (strcmp(c->envelope.type, CA_REQUEST_UPDATE) == 0) {
        c->kind = CA_ASKS_UPDATE;
        e = codec_decode(&ca_update_table, CODEC_KEEP, c->envelope.body, &c->of.update, fault);
        named = c->of.update.id;
    } else {
        e = fault_set(fault, ERR_UNSUPPORTED, "unknown_type", "type",
                      "must be " CA_REQUEST_CREATE " or " CA_REQUEST_UPDATE ", is %.40s",
                      c->envelope.type);
    }
    if (e == ERR_OK && !uuid_eq(&named, &c->id)) {
        e = fault_set(fault, ERR_INVALID, "contradiction", "id",
                      "the record key must be the CA that the request is about");
    }
    if (e != ERR_OK) {
        return e;
    }
    *ret = TAKE(c);
    return ERR_OK;
}

/* ---- rules ---- */

/* Certificates become due up to a twentieth of their life before their end (device_due_ms), and
 * renew-ahead is counted from there: what reaches back to the beginning would renew without end. */
static err_t check_ahead(int64_t device_validity_s, int64_t renew_ahead_s, struct fault *fault)
{
    int64_t most_s = device_validity_s - device_validity_s / 20 - 1;
    if (renew_ahead_s > most_s) {
        return fault_set(fault, ERR_INVALID, "validation_error", "RenewAhead",
                         "must be below 95 %% of DeviceCertificateValidity, at most %lld s here, "
                         "else a certificate is due for renewal as soon as it is made",
                         (long long)(most_s > 0 ? most_s : 0));
    }
    return ERR_OK;
}

static err_t check_create(struct ca_create *body, struct fault *fault)
{
    enum key_algorithm algorithm = KEY_ALGORITHM_EC_P256;
    if (body->key_algorithm[0] == 0) {
        (void)snprintf(body->key_algorithm, sizeof body->key_algorithm, "%s",
                       key_algorithm_name(algorithm));
    }
    err_t e = key_algorithm_parse(span_str(body->key_algorithm), &algorithm, fault);
    if (e != ERR_OK) {
        return e;
    }
    if (body->device_validity_s > body->validity_s) {
        return fault_set(fault, ERR_INVALID, "validation_error", "DeviceCertificateValidity",
                         "must be at most the CA's own Validity, %lld s",
                         (long long)body->validity_s);
    }
    if (body->renew_ahead_s == 0) {
        int64_t third_s = body->device_validity_s / 3;
        body->renew_ahead_s = third_s < CA_RENEW_AHEAD_USUAL_S ? third_s : CA_RENEW_AHEAD_USUAL_S;
    }
    if (body->key_usage_count == 0) {
        body->key_usage[body->key_usage_count++] = CA_USAGE_DIGITAL_SIGNATURE;
    }
    if (body->extended_key_usage_count == 0) {
        body->extended_key_usage[body->extended_key_usage_count++] = CA_EXTENDED_CLIENT_AUTH;
    }
    e = issuer_check_usages(
        ca_usage_bits(body->key_usage, body->key_usage_count),
        ca_extended_usage_bits(body->extended_key_usage, body->extended_key_usage_count), fault);
    return e != ERR_OK ? e : check_ahead(body->device_validity_s, body->renew_ahead_s, fault);
}

/* ---- answers ---- */

static void answer(struct ca_outcome *o, const struct ca *ca)
{
    o->status = 200;
    o->result = ca_public(ca);
}

static void refuse(struct ca_outcome *o, int status, const char *code, const char *text)
{
    o->status = status;
    (void)fault_set(&o->fault, ERR_CONFLICT, code, "", "%s", text);
}

/* An id that was seen: the stored outcome, or a refusal when it now comes with another body. */
static void answer_repeat(const struct ca *old, struct ca_command *c, const char *hash)
{
    if (hash[0] != 0 && c->envelope.hash[0] != 0 && strcmp(hash, c->envelope.hash) != 0) {
        c->outcome.status = 422;
        (void)fault_set(&c->outcome.fault, ERR_CONFLICT, "idempotency_key_reused",
                        "Idempotency-Key",
                        "this key was used with another body; use a new key for a new request");
    } else {
        answer(&c->outcome, old);
    }
}

static void remember(struct ca *ca, const struct ca_command *c, int status, int64_t now_ms)
{
    size_t kept = 0;
    for (size_t i = 0; i < ca->requests_count; i++) {
        if (ca->requests[i].at_ms >= now_ms - CA_REQUESTS_KEEP_MS) {
            ca->requests[kept++] = ca->requests[i];
        }
    }
    if (kept == CA_REQUESTS_MAX) {
        kept--;
        memmove(&ca->requests[0], &ca->requests[1], kept * sizeof ca->requests[0]);
    }
    struct ca_answered *entry = &ca->requests[kept];
    memset(entry, 0, (CA_REQUESTS_MAX - kept) * sizeof *entry);
    if (uuid_parse(span_str(c->envelope.id), &entry->id) == ERR_OK) {
        memcpy(entry->hash, c->envelope.hash, sizeof entry->hash);
        entry->at_ms = now_ms;
        entry->status = status;
        kept++;
    }
    ca->requests_count = kept;
}

/* ---- create ---- */

static void create(const struct ca *old, struct ca_command *c)
{
    struct ca_outcome *o = &c->outcome;
    if (old != NULL && !uuid_eq(&old->domain, &c->domain)) {
        refuse(o, 409, "conflict", "this id belongs to another CA");
        return;
    }
    if (old != NULL) {
        answer_repeat(old, c, old->request_hash);
        return;
    }
    if (check_create(&c->of.create, &o->fault) != ERR_OK) {
        o->status = 400;
        o->release_seat = true;
        return;
    }
    o->sign = true;
}

void ca_made(struct ca_command *c, const struct ca_made *made, int64_t now_ms)
{
    const struct ca_create *body = &c->of.create;
    struct ca *ca = xcalloc(1, sizeof *ca);
    memcpy(ca->type, CA_TYPE, sizeof CA_TYPE);
    ca->id = c->id;
    ca->domain = c->domain;
    memcpy(ca->name, body->name, sizeof ca->name);
    ca->kind = CA_ROOT;
    ca->subject = body->subject;
    memcpy(ca->key_algorithm, body->key_algorithm, sizeof ca->key_algorithm);
    memcpy(ca->certificate, made->certificate.ptr, made->certificate.len);
    ca->certificate_len = made->certificate.len;
    ca->not_before_ms = made->not_before_ms;
    ca->not_after_ms = made->not_after_ms;
    ca->device_validity_s = body->device_validity_s;
    ca->automatic_renewal = body->automatic_renewal;
    ca->renew_ahead_s = body->renew_ahead_s;
    memcpy(ca->key_usage, body->key_usage, sizeof ca->key_usage);
    ca->key_usage_count = body->key_usage_count;
    memcpy(ca->extended_key_usage, body->extended_key_usage, sizeof ca->extended_key_usage);
    ca->extended_key_usage_count = body->extended_key_usage_count;
    ca->state = CA_ACTIVE;
    ca->created_at_ms = ca->updated_at_ms = now_ms;
    memcpy(ca->request_hash, c->envelope.hash, sizeof ca->request_hash);
    remember(ca, c, 200, now_ms);
    c->outcome.state = ca;
    c->outcome.event = EVENT_CA_CREATED;
    answer(&c->outcome, ca);
}

void ca_not_made(struct ca_command *c, err_t why, const struct fault *fault)
{
    struct ca_outcome *o = &c->outcome;
    err_class_t class = err_class(why);
    o->release_seat = true;
    if (class == ERR_CLASS_REJECT || class == ERR_CLASS_CONFLICT) {
        o->status = 400;
        o->fault = *fault;
    } else {
        refuse(o, 503, "key_store_unavailable", "the CA's key could not be made now; try again");
    }
}

/* ---- update ---- */

static void apply(struct ca *ca, const struct ca_update *body)
{
    if (body->has_name) {
        memcpy(ca->name, body->name, sizeof ca->name);
    }
    if (body->has_device_validity) {
        ca->device_validity_s = body->device_validity_s;
    }
    if (body->has_automatic_renewal) {
        ca->automatic_renewal = body->automatic_renewal;
    }
    if (body->has_renew_ahead) {
        ca->renew_ahead_s = body->renew_ahead_s;
    }
}

static const struct ca_answered *request_of(const struct ca *ca, const char *id)
{
    struct uuid wanted;
    for (size_t i = 0; i < ca->requests_count && uuid_parse(span_str(id), &wanted) == ERR_OK; i++) {
        if (uuid_eq(&ca->requests[i].id, &wanted)) {
            return &ca->requests[i];
        }
    }
    return NULL;
}

static void update(const struct ca *old, struct ca_command *c, int64_t now_ms)
{
    struct ca_outcome *o = &c->outcome;
    if (old == NULL || !uuid_eq(&old->domain, &c->domain) || old->state != CA_ACTIVE) {
        refuse(o, 404, "not_found", "the domain has no such CA");
        return;
    }
    const struct ca_answered *seen = request_of(old, c->envelope.id);
    if (seen != NULL) {
        answer_repeat(old, c, seen->hash);
        return;
    }
    CLEANUP(ca_free) struct ca *ca = ca_copy(old);
    apply(ca, &c->of.update);
    err_t e = check_ahead(ca->device_validity_s, ca->renew_ahead_s, &o->fault);
    int64_t life_s = (ca->not_after_ms - ca->not_before_ms) / 1000;
    if (e == ERR_OK && ca->device_validity_s > life_s) {
        e = fault_set(&o->fault, ERR_INVALID, "validation_error", "DeviceCertificateValidity",
                      "must be at most the CA's own validity, %lld s", (long long)life_s);
    }
    if (e != ERR_OK) {
        o->status = 400;
        return;
    }
    ca->updated_at_ms = now_ms;
    remember(ca, c, 200, now_ms);
    answer(o, ca);
    o->event = EVENT_CA_UPDATED;
    o->state = TAKE(ca);
}

void ca_decide(const struct ca *old, struct ca_command *c, int64_t now_ms)
{
    if (c->kind == CA_ASKS_CREATE) {
        create(old, c);
    } else {
        update(old, c, now_ms);
    }
}
