/*
 * Device profiles.
 */
#include "calls.h"
#include "duration.h"
#include "proto/ca.h"
#include "proto/topics.h"
#include "write.h"

#define CA_BYTES 65536u

static const struct codec_field features_fields[] = {
    {CODEC_BOOL(struct registry_features, zero_touch, "ZeroTouch", 0)},
    {CODEC_BOOL(struct registry_features, data_protection, "DataProtection", 0)},
    {CODEC_BOOL(struct registry_features, chip_to_chip, "ChipToChip", 0)},
};
static const struct codec_table features_table =
    CODEC_TABLE(struct registry_features, features_fields);

static bool algorithm_rule(const void *text)
{
    return strcmp(text, "EC-P256") == 0;
}

struct create_body {
    API_BODY_HEAD;
    char name[REGISTRY_NAME_MAX + 1];
    char ca[UUID_TEXT_SIZE];
    char heartbeat[DURATION_TEXT_SIZE];
    char flood[DURATION_TEXT_SIZE];
    enum registry_whitelist_mode whitelist;
    char key_algorithm[16];
    bool has_features;
    struct registry_features features;
};
static const struct codec_field create_fields[] = {
    API_DOMAIN_ROW(struct create_body),
    {CODEC_STR(struct create_body, name, "Name", CODEC_REQUIRED, 1), API_LINE},
    {CODEC_STR(struct create_body, ca, "RootCAUID", CODEC_REQUIRED, UUID_TEXT_SIZE - 1),
     CODEC_RULE(registry_uuid_valid, "a lower-case UUID")},
    {CODEC_STR(struct create_body, heartbeat, "HeartbeatInterval", CODEC_OMIT_ZERO, 1),
     CODEC_RULE(duration_valid, DURATION_WORDS)},
    {CODEC_STR(struct create_body, flood, "FloodInterval", CODEC_OMIT_ZERO, 1),
     CODEC_RULE(duration_valid, DURATION_WORDS)},
    {CODEC_ENUM(struct create_body, whitelist, "Whitelist", 0, registry_whitelist_mode_names)},
    {CODEC_STR(struct create_body, key_algorithm, "KeyAlgorithm", CODEC_OMIT_ZERO, 1),
     CODEC_RULE(algorithm_rule, "EC-P256")},
    {CODEC_OBJECT(struct create_body, features, "Features", 0, &features_table),
     CODEC_HAS(struct create_body, has_features)},
};
static const struct codec_table create_table = CODEC_TABLE(struct create_body, create_fields);

struct update_body {
    API_BODY_HEAD;
    struct registry_profile_update update;
    char heartbeat[DURATION_TEXT_SIZE];
    char flood[DURATION_TEXT_SIZE];
};
static bool profile_rule(const void *text)
{
    return registry_profile_uid_valid(text);
}
#define PROFILE_ROW(T, m)                                                                          \
    {                                                                                              \
        CODEC_STR(T, m, "DeviceProfileUID", CODEC_REQUIRED, REGISTRY_PROFILE_SIZE - 1),            \
            CODEC_RULE(profile_rule, "22 letters and digits")                                      \
    }
static const struct codec_field features_update_fields[] = {
#define T struct registry_features_update
    {CODEC_BOOL(T, zero_touch, "ZeroTouch", 0), CODEC_HAS(T, has_zero_touch)},
    {CODEC_BOOL(T, data_protection, "DataProtection", 0), CODEC_HAS(T, has_data_protection)},
    {CODEC_BOOL(T, chip_to_chip, "ChipToChip", 0), CODEC_HAS(T, has_chip_to_chip)},
#undef T
};
static const struct codec_table features_update_table =
    CODEC_TABLE(struct registry_features_update, features_update_fields);
static const struct codec_field update_fields[] = {
#define T struct update_body
    API_DOMAIN_ROW(T),
    PROFILE_ROW(T, update.uid),
    {CODEC_STR(T, update.name, "Name", 0, 1), API_LINE, CODEC_HAS(T, update.has_name)},
    {CODEC_STR(T, update.ca, "RootCAUID", 0, UUID_TEXT_SIZE - 1),
     CODEC_RULE(registry_uuid_valid, "a lower-case UUID"), CODEC_HAS(T, update.has_ca)},
    {CODEC_STR(T, heartbeat, "HeartbeatInterval", 0, 1), CODEC_RULE(duration_valid, DURATION_WORDS),
     CODEC_HAS(T, update.has_heartbeat_interval)},
    {CODEC_STR(T, flood, "FloodInterval", 0, 1), CODEC_RULE(duration_valid, DURATION_WORDS),
     CODEC_HAS(T, update.has_flood_interval)},
    {CODEC_ENUM(T, update.whitelist, "Whitelist", 0, registry_whitelist_mode_names),
     CODEC_HAS(T, update.has_whitelist)},
    {CODEC_OBJECT(T, update.features, "Features", 0, &features_update_table),
     CODEC_HAS(T, update.has_features)},
#undef T
};
static const struct codec_table update_table = CODEC_TABLE(struct update_body, update_fields);

struct get_body {
    API_BODY_HEAD;
    char uid[REGISTRY_PROFILE_SIZE];
};
static const struct codec_field get_fields[] = {
    API_DOMAIN_ROW(struct get_body),
    PROFILE_ROW(struct get_body, uid),
};
static const struct codec_table get_table = CODEC_TABLE(struct get_body, get_fields);

static cJSON *show_profile(const struct registry_profile *p)
{
    cJSON *json = cJSON_CreateObject();
    (void)cJSON_AddStringToObject(json, "DeviceProfileUID", p->uid);
    (void)cJSON_AddStringToObject(json, "Name", p->name);
    (void)cJSON_AddStringToObject(json, "RootCAUID", p->ca);
    api_add_duration(json, "HeartbeatInterval", p->heartbeat_interval_s);
    api_add_duration(json, "FloodInterval", p->flood_interval_s);
    (void)cJSON_AddStringToObject(json, "Whitelist",
                                  codec_name_of(registry_whitelist_mode_names, (int)p->whitelist));
    (void)cJSON_AddStringToObject(json, "KeyAlgorithm", p->key_algorithm);
    cJSON *features = cJSON_AddObjectToObject(json, "Features");
    (void)cJSON_AddBoolToObject(features, "ZeroTouch", p->features.zero_touch);
    (void)cJSON_AddBoolToObject(features, "DataProtection", p->features.data_protection);
    (void)cJSON_AddBoolToObject(features, "ChipToChip", p->features.chip_to_chip);
    api_add_time(json, "CreatedAt", p->created_at);
    return json;
}

static cJSON *show_result(const cJSON *result, const cJSON *asked)
{
    (void)asked;
    CLEANUP(registry_record_free)
    struct registry_record *r = registry_from_result(REGISTRY_PROFILE, result);
    return r != NULL ? show_profile(&r->of.profile) : NULL;
}

static int64_t seconds_or(const char *text, int64_t otherwise)
{
    int64_t seconds = otherwise;
    return text[0] != '\0' && duration_parse(text, &seconds) == ERR_OK ? seconds : otherwise;
}

/* A device that calls less often than its certificate must be renewed would lose it: refused where
 * it is made. */
static bool can_work(struct exchange *x, const struct ca *ca, int64_t heartbeat_s)
{
    if (ca->automatic_renewal && heartbeat_s >= ca->renew_ahead_s) {
        char ahead[DURATION_TEXT_SIZE];
        duration_format(ca->renew_ahead_s, ahead);
        api_refuse(x, ERR_INVALID, "validation_error", "HeartbeatInterval",
                   "must be below the CA's RenewAhead (%s), else certificates expire between two "
                   "heartbeats",
                   ahead);
        return false;
    }
    return true;
}

/* The domain's active CA; NULL: the client is answered. */
static struct ca *read_ca(struct exchange *x, const char *uid)
{
    CLEANUP_BUF struct buf payload = BUF_INIT(CA_BYTES);
    CLEANUP(ca_free) struct ca *ca = NULL;
    struct uuid domain;
    err_t err = views_get(x->redis, VIEW_CA, api_partition(x->door, uid), span_str(uid), &payload);
    if (err == ERR_OK) {
        err = ca_decode(buf_span(&payload), &ca, NULL);
    }
    if (err == ERR_OK && (uuid_parse(span_str(x->domain), &domain) != ERR_OK ||
                          !uuid_eq(&domain, &ca->domain) || ca->state != CA_ACTIVE)) {
        err = ERR_ABSENT;
    }
    if (err != ERR_OK) {
        api_view_failed(x, err, "RootCAUID", "CA", uid);
        return NULL;
    }
    return TAKE(ca);
}

static bool check_ca(struct exchange *x, const struct registry_profile_create *request)
{
    CLEANUP(ca_free) struct ca *ca = read_ca(x, request->ca);
    return ca != NULL && can_work(x, ca, request->heartbeat_interval_s);
}

static bool check_times(struct exchange *x, int64_t heartbeat_s, int64_t flood_s)
{
    if (heartbeat_s > REGISTRY_HEARTBEAT_MAX_S) {
        api_refuse(x, ERR_INVALID, "validation_error", "HeartbeatInterval", "must be 1s..366d");
        return false;
    }
    if (flood_s > REGISTRY_FLOOD_MAX_S) {
        api_refuse(x, ERR_INVALID, "validation_error", "FloodInterval", "must be 1s..24h");
        return false;
    }
    return true;
}

static void create(struct exchange *x)
{
    const struct create_body *body = x->body;
    struct registry_profile_create request = {
        .heartbeat_interval_s = seconds_or(body->heartbeat, REGISTRY_HEARTBEAT_DEFAULT_S),
        .whitelist = body->whitelist,
        .key_algorithm = "EC-P256",
        .features = body->features,
    };
    /* not given: the usual five minutes, or less for profiles that call more often than that */
    int64_t flood = request.heartbeat_interval_s < REGISTRY_FLOOD_DEFAULT_S
                        ? request.heartbeat_interval_s
                        : REGISTRY_FLOOD_DEFAULT_S;
    request.flood_interval_s = seconds_or(body->flood, flood);
    if (!body->has_features) {
        request.features.zero_touch = true;
    }
    memcpy(request.name, body->name, sizeof request.name);
    memcpy(request.ca, body->ca, sizeof request.ca);
    struct ask ask;
    struct uuid id;
    if (!check_times(x, request.heartbeat_interval_s, request.flood_interval_s) ||
        !check_ca(x, &request) || !write_begin(x, REGISTRY_REQUEST_PROFILE_CREATE, &ask, &id)) {
        return;
    }
    uint8_t random[REGISTRY_PROFILE_RANDOM];
    random_bytes(random, sizeof random);
    registry_profile_uid(x->domain, random, request.uid);
    ask_one(x, &ask, &id, write_body(&registry_profile_create_table, &request));
    ask_send(x, &ask);
}

static bool says_nothing(const struct registry_profile_update *u)
{
    const struct registry_features_update *f = &u->features;
    return !u->has_name && !u->has_ca && !u->has_heartbeat_interval && !u->has_flood_interval &&
           !u->has_whitelist && !f->has_zero_touch && !f->has_data_protection &&
           !f->has_chip_to_chip;
}

/* Only the CA's owner knows how far ahead it renews; the registry's is told what was seen. */
static bool check_result(struct exchange *x, struct registry_profile_update *u)
{
    CLEANUP(ca_free) struct ca *ca = u->has_ca ? read_ca(x, u->ca) : NULL;
    if (u->has_ca && ca == NULL) {
        return false;
    }
    CLEANUP(registry_record_free)
    struct registry_record *present =
        registry_read(x, REGISTRY_PROFILE, u->uid, "DeviceProfileUID");
    if (present == NULL || (!u->has_ca && !u->has_heartbeat_interval)) {
        return present != NULL;
    }
    const struct registry_profile *p = &present->of.profile;
    memcpy(u->checked_ca, u->has_ca ? u->ca : p->ca, sizeof u->checked_ca);
    if (ca == NULL) {
        ca = read_ca(x, u->checked_ca);
    }
    if (ca == NULL) {
        return false;
    }
    u->heartbeat_below_s = ca->automatic_renewal ? ca->renew_ahead_s : 0;
    return can_work(x, ca,
                    u->has_heartbeat_interval ? u->heartbeat_interval_s : p->heartbeat_interval_s);
}

static void update(struct exchange *x)
{
    struct update_body *body = x->body;
    struct registry_profile_update *u = &body->update;
    if (says_nothing(u)) {
        api_refuse(x, ERR_INVALID, "missing_field", "",
                   "nothing to change; accepted: Name, RootCAUID, HeartbeatInterval, "
                   "FloodInterval, Whitelist, Features");
        return;
    }
    u->heartbeat_interval_s = seconds_or(body->heartbeat, 0);
    u->flood_interval_s = seconds_or(body->flood, 0);
    struct ask ask;
    struct uuid id;
    if (!check_times(x, u->heartbeat_interval_s, u->flood_interval_s) || !check_result(x, u) ||
        !write_begin(x, REGISTRY_REQUEST_PROFILE_UPDATE, &ask, &id)) {
        return;
    }
    ask_one(x, &ask, &id, write_body(&registry_profile_update_table, u));
    ask_send(x, &ask);
}

static void get(struct exchange *x)
{
    const struct get_body *body = x->body;
    CLEANUP(registry_record_free)
    struct registry_record *r = registry_read(x, REGISTRY_PROFILE, body->uid, "DeviceProfileUID");
    if (r != NULL) {
        api_reply(x, 200, show_profile(&r->of.profile));
    }
}

static cJSON *show_row(struct exchange *x, const struct registry_record *r)
{
    (void)x;
    return show_profile(&r->of.profile);
}

static void list(struct exchange *x)
{
    registry_list(x, REGISTRY_PROFILE, show_row);
}

const struct api_call calls_profile[] = {
    {.path = "/v1/device/profile/create",
     .access = API_DOMAIN,
     .write = true,
     .body = &create_table,
     .max_body = 8192,
     .max_values = 64,
     .serve = create,
     .show = show_result},
    {.path = "/v1/device/profile/update",
     .access = API_DOMAIN,
     .write = true,
     .body = &update_table,
     .max_body = 8192,
     .max_values = 64,
     .serve = update,
     .show = show_result},
    {.path = "/v1/device/profile/get",
     .access = API_DOMAIN,
     .body = &get_table,
     API_SMALL,
     .serve = get},
    {.path = "/v1/device/profile/list",
     .access = API_DOMAIN,
     .body = &api_page_table,
     API_SMALL,
     .serve = list},
    {0},
};
