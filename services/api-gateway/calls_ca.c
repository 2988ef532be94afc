/*
 * Certificate authorities: asked for at the registry (which knows the quota) and made by ca-signer;
 * read from its view.
 */
#include <stdio.h>

#include "calls.h"
#include "common/json.h"
#include "duration.h"
#include "page.h"
#include "proto/ca.h"
#include "proto/topics.h"
#include "write.h"

#define CA_BYTES 65536u

static bool country_rule(const void *text)
{
    const char *c = text;
    return c[0] >= 'A' && c[0] <= 'Z' && c[1] >= 'A' && c[1] <= 'Z' && c[2] == '\0';
}

static const struct codec_field subject_fields[] = {
#define T struct ca_subject
    {CODEC_STR(T, common_name, "CommonName", CODEC_REQUIRED, 1), API_LINE},
    {CODEC_STR(T, organization, "Organization", CODEC_OMIT_ZERO, 1), API_LINE},
    {CODEC_STR(T, organizational_unit, "OrganizationalUnit", CODEC_OMIT_ZERO, 1), API_LINE},
    {CODEC_STR(T, country, "Country", CODEC_OMIT_ZERO, 2),
     CODEC_RULE(country_rule, "two capital letters (ISO 3166)")},
    {CODEC_STR(T, state, "State", CODEC_OMIT_ZERO, 1), API_LINE},
    {CODEC_STR(T, locality, "Locality", CODEC_OMIT_ZERO, 1), API_LINE},
#undef T
};
static const struct codec_table subject_table = CODEC_TABLE(struct ca_subject, subject_fields);
static const struct codec_field usage_element = {CODEC_ELEMENT_ENUM(ca_key_usage_names)};
static const struct codec_field extended_element = {CODEC_ELEMENT_ENUM(ca_extended_usage_names)};

static bool algorithm_rule(const void *text)
{
    return strcmp(text, "EC-P256") == 0;
}

struct create_body {
    API_BODY_HEAD;
    struct ca_create create;
    char validity[DURATION_TEXT_SIZE];
    char device_validity[DURATION_TEXT_SIZE];
    char renew_ahead[DURATION_TEXT_SIZE];
};
static const struct codec_field create_fields[] = {
#define T struct create_body
    API_DOMAIN_ROW(T),
    {CODEC_STR(T, create.name, "Name", CODEC_REQUIRED, 1), API_LINE},
    {CODEC_OBJECT(T, create.subject, "Subject", CODEC_REQUIRED, &subject_table)},
    {CODEC_STR(T, create.key_algorithm, "KeyAlgorithm", CODEC_OMIT_ZERO, 1),
     CODEC_RULE(algorithm_rule, "EC-P256")},
    {CODEC_STR(T, validity, "Validity", CODEC_REQUIRED, 1),
     CODEC_RULE(duration_valid, DURATION_WORDS)},
    {CODEC_STR(T, device_validity, "DeviceCertificateValidity", CODEC_REQUIRED, 1),
     CODEC_RULE(duration_valid, DURATION_WORDS)},
    {CODEC_BOOL(T, create.automatic_renewal, "AutomaticRenewal", 0)},
    {CODEC_STR(T, renew_ahead, "RenewAhead", CODEC_OMIT_ZERO, 1),
     CODEC_RULE(duration_valid, DURATION_WORDS)},
    {CODEC_ARRAY(T, create.key_usage, create.key_usage_count, "KeyUsage", CODEC_OMIT_ZERO, 0,
                 &usage_element)},
    {CODEC_ARRAY(T, create.extended_key_usage, create.extended_key_usage_count, "ExtendedKeyUsage",
                 CODEC_OMIT_ZERO, 0, &extended_element)},
#undef T
};
static const struct codec_table create_table = CODEC_TABLE(struct create_body, create_fields);

struct update_body {
    API_BODY_HEAD;
    char uid[UUID_TEXT_SIZE];
    struct ca_update update;
    char device_validity[DURATION_TEXT_SIZE];
    char renew_ahead[DURATION_TEXT_SIZE];
};
static const struct codec_field update_fields[] = {
#define T struct update_body
    API_DOMAIN_ROW(T),
    {CODEC_STR(T, uid, "RootCAUID", CODEC_REQUIRED, UUID_TEXT_SIZE - 1),
     CODEC_RULE(registry_uuid_valid, "a lower-case UUID")},
    {CODEC_STR(T, update.name, "Name", 0, 1), API_LINE, CODEC_HAS(T, update.has_name)},
    {CODEC_STR(T, device_validity, "DeviceCertificateValidity", 0, 1),
     CODEC_RULE(duration_valid, DURATION_WORDS), CODEC_HAS(T, update.has_device_validity)},
    {CODEC_BOOL(T, update.automatic_renewal, "AutomaticRenewal", 0),
     CODEC_HAS(T, update.has_automatic_renewal)},
    {CODEC_STR(T, renew_ahead, "RenewAhead", 0, 1), CODEC_RULE(duration_valid, DURATION_WORDS),
     CODEC_HAS(T, update.has_renew_ahead)},
#undef T
};
static const struct codec_table update_table = CODEC_TABLE(struct update_body, update_fields);

static const struct codec_field get_fields[] = API_NAMED_FIELDS("RootCAUID");
static const struct codec_table get_table = CODEC_TABLE(struct api_named_body, get_fields);

/* ---- what is shown ---- */

static void show_subject(cJSON *json, const struct ca_subject *s)
{
    cJSON *subject = cJSON_AddObjectToObject(json, "Subject");
    (void)cJSON_AddStringToObject(subject, "CommonName", s->common_name);
    api_add_text(subject, "Organization", s->organization);
    api_add_text(subject, "OrganizationalUnit", s->organizational_unit);
    api_add_text(subject, "Country", s->country);
    api_add_text(subject, "State", s->state);
    api_add_text(subject, "Locality", s->locality);
}

static void show_words(cJSON *json, const char *name, const struct codec_name *names,
                       const int *values, size_t count)
{
    cJSON *array = cJSON_AddArrayToObject(json, name);
    for (size_t i = 0; i < count; i++) {
        (void)cJSON_AddItemToArray(array, cJSON_CreateString(codec_name_of(names, values[i])));
    }
}

static cJSON *show_ca(const struct ca *ca)
{
    cJSON *json = cJSON_CreateObject();
    api_add_uuid(json, "RootCAUID", &ca->id);
    (void)cJSON_AddStringToObject(json, "Name", ca->name);
    (void)cJSON_AddStringToObject(json, "Kind", codec_name_of(ca_kind_names, (int)ca->kind));
    (void)cJSON_AddStringToObject(json, "State", codec_name_of(ca_state_names, (int)ca->state));
    show_subject(json, &ca->subject);
    (void)cJSON_AddStringToObject(json, "KeyAlgorithm", ca->key_algorithm);
    api_add_time(json, "NotBefore", ca->not_before_ms);
    api_add_time(json, "NotAfter", ca->not_after_ms);
    api_add_duration(json, "DeviceCertificateValidity", ca->device_validity_s);
    (void)cJSON_AddBoolToObject(json, "AutomaticRenewal", ca->automatic_renewal);
    api_add_duration(json, "RenewAhead", ca->renew_ahead_s);
    show_words(json, "KeyUsage", ca_key_usage_names, ca->key_usage, ca->key_usage_count);
    show_words(json, "ExtendedKeyUsage", ca_extended_usage_names, ca->extended_key_usage,
               ca->extended_key_usage_count);
    api_add_pem(json, "Certificate", span_of(ca->certificate, ca->certificate_len));
    api_add_time(json, "CreatedAt", ca->created_at_ms);
    return json;
}

static cJSON *show_result(const cJSON *result, const cJSON *asked)
{
    (void)asked;
    CLEANUP_BUF struct buf text = BUF_INIT(CA_BYTES);
    CLEANUP(ca_free) struct ca *ca = NULL;
    if (result == NULL || json_encode(result, &text) != ERR_OK ||
        ca_decode(buf_span(&text), &ca, NULL) != ERR_OK) {
        return NULL;
    }
    return show_ca(ca);
}

/* ---- writing ---- */

static int64_t seconds(const char *text)
{
    int64_t s = 0;
    return text[0] != '\0' && duration_parse(text, &s) == ERR_OK ? s : 0;
}

static bool check_create(struct exchange *x, const struct ca_create *c)
{
    const struct {
        const char *field;
        bool wrong;
        const char *text;
    } rules[] = {
        {"Validity", c->validity_s > CA_VALIDITY_MAX_S, "must be at most 100y"},
        {"DeviceCertificateValidity", c->device_validity_s >= c->validity_s,
         "must be below the CA's own Validity: no device certificate outlives its CA"},
        {"RenewAhead", c->renew_ahead_s >= c->device_validity_s,
         "must be below DeviceCertificateValidity, else every certificate is due at once"},
    };
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        if (rules[i].wrong) {
            api_refuse(x, ERR_INVALID, "validation_error", rules[i].field, "%s", rules[i].text);
            return false;
        }
    }
    return true;
}

static void create(struct exchange *x)
{
    struct create_body *body = x->body;
    struct ca_create *c = &body->create;
    struct ask ask;
    struct uuid id;
    c->validity_s = seconds(body->validity);
    c->device_validity_s = seconds(body->device_validity);
    c->renew_ahead_s = seconds(body->renew_ahead);
    if (!check_create(x, c) || !write_begin(x, REGISTRY_REQUEST_CA_CREATE, &ask, &id)) {
        return;
    }
    ask_one(x, &ask, &id, write_body(&ca_create_table, c));
    ask_send(x, &ask);
}

/* The CA, if it is one of the exchange's domain; else NULL and the client is answered. */
static struct ca *read_ca(struct exchange *x, const char *uid)
{
    CLEANUP_BUF struct buf payload = BUF_INIT(CA_BYTES);
    CLEANUP(ca_free) struct ca *ca = NULL;
    struct uuid domain;
    err_t err = views_get(x->redis, VIEW_CA, api_partition(x->door, uid), span_str(uid), &payload);
    if (err == ERR_OK) {
        err = ca_decode(buf_span(&payload), &ca, NULL);
    }
    if (err == ERR_OK &&
        (uuid_parse(span_str(x->domain), &domain) != ERR_OK || !uuid_eq(&domain, &ca->domain))) {
        err = ERR_ABSENT;
    }
    if (err != ERR_OK) {
        api_view_failed(x, err, "RootCAUID", "CA", uid);
        return NULL;
    }
    return TAKE(ca);
}

/* A device that calls less often than its certificate must be renewed would lose it: refused here
 * as well as at its profile. */
static bool heartbeats_fit(struct exchange *x, const char *ca, int64_t renew_ahead_s)
{
    const struct registry_profile_slowest slowest = registry_slowest_profile(x, ca);
    if (slowest.err != ERR_OK) {
        api_view_failed(x, slowest.err, "", "list", "");
        return false;
    }
    if (slowest.heartbeat_interval_s >= renew_ahead_s) {
        char interval[DURATION_TEXT_SIZE];
        duration_format(slowest.heartbeat_interval_s, interval);
        api_refuse(x, ERR_INVALID, "validation_error", "RenewAhead",
                   "must exceed the HeartbeatInterval of every device profile of this CA (%s), "
                   "else certificates expire between two heartbeats",
                   interval);
        return false;
    }
    return true;
}

static void update(struct exchange *x)
{
    struct update_body *body = x->body;
    struct ca_update *u = &body->update;
    if (!u->has_name && !u->has_device_validity && !u->has_automatic_renewal &&
        !u->has_renew_ahead) {
        api_refuse(x, ERR_INVALID, "missing_field", "",
                   "nothing to change; accepted: Name, DeviceCertificateValidity, "
                   "AutomaticRenewal, RenewAhead");
        return;
    }
    CLEANUP(ca_free) struct ca *ca = read_ca(x, body->uid);
    if (ca == NULL) {
        return;
    }
    u->id = ca->id;
    u->device_validity_s = seconds(body->device_validity);
    u->renew_ahead_s = seconds(body->renew_ahead);
    bool automatic = u->has_automatic_renewal ? u->automatic_renewal : ca->automatic_renewal;
    int64_t ahead_s = u->has_renew_ahead ? u->renew_ahead_s : ca->renew_ahead_s;
    struct ask ask;
    struct uuid id;
    if ((automatic && !heartbeats_fit(x, body->uid, ahead_s)) ||
        !write_begin(x, CA_REQUEST_UPDATE, &ask, &id)) {
        return;
    }
    ask.topic = TOPIC_CA_REQUESTS;
    memcpy(ask.key, body->uid, sizeof ask.key);
    ask_one(x, &ask, &id, write_body(&ca_update_table, u));
    ask_send(x, &ask);
}

/* ---- reading ---- */

static void get(struct exchange *x)
{
    const struct api_named_body *body = x->body;
    CLEANUP(ca_free) struct ca *ca = read_ca(x, body->uid);
    if (ca != NULL) {
        api_reply(x, 200, show_ca(ca));
    }
}

static cJSON *show_row(struct exchange *x, const void *ctx, struct span payload)
{
    (void)x;
    (void)ctx;
    CLEANUP(ca_free) struct ca *ca = NULL;
    return ca_decode(payload, &ca, NULL) == ERR_OK ? show_ca(ca) : NULL;
}

static void list(struct exchange *x)
{
    const struct api_page_body *body = x->body;
    char prefix[UUID_TEXT_SIZE + 1];
    char after[UUID_TEXT_SIZE + sizeof body->after] = "";
    (void)snprintf(prefix, sizeof prefix, "%s/", x->domain);
    if (body->after[0] != '\0') {
        (void)snprintf(after, sizeof after, "%s%s", prefix, body->after);
    }
    const struct page page = {.letter = VIEW_CA,
                              .index = "keys",
                              .partition = -1,
                              .prefix = prefix,
                              .after = after,
                              .show = show_row};
    page_reply(x, &page);
}

const struct api_call calls_ca[] = {
    {.path = "/v1/ztp/rootca/create",
     .access = API_DOMAIN,
     .write = true,
     .body = &create_table,
     .max_body = 16384,
     .max_values = 128,
     .serve = create,
     .show = show_result},
    {.path = "/v1/ztp/rootca/update",
     .access = API_DOMAIN,
     .write = true,
     .body = &update_table,
     .max_body = 4096,
     .max_values = 32,
     .serve = update,
     .show = show_result},
    {.path = "/v1/ztp/rootca/get",
     .access = API_DOMAIN,
     .body = &get_table,
     API_SMALL,
     .serve = get},
    {.path = "/v1/ztp/rootca/list",
     .access = API_DOMAIN,
     .body = &api_page_table,
     API_SMALL,
     .serve = list},
    {0},
};
