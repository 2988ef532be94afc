/*
 * The registry: what a customer configured. One aggregate per domain; topic registry.state,
 * partition key = domain id, record key
 * `<domain>/<kind>/<id>`, and the same JSON as payload of the view {r<p>}. Sole writer is
 * api-gateway's owner; doors, ca-signer (profiles, whitelist), scheduler and webhook-notifier
 * (webhooks) read the view. Requests come in on registry.requests.
 *
 * Indexes of the view, per partition:
 *   keys     member = record key, score 0; things of a domain by lexical range
 * (`<domain>/<kind>/`); stored results are not in it alias    member =
 * "profile:<DeviceProfileUID>\n<record key>" or "key:<APIKey>\n<record key>", score 0 domains
 * member = domain id, score 0 expire   member = record key of a stored result, score = when it may
 * go (unix seconds)
 *
 * A DeviceProfileUID and an APIKey carry the hash of their domain (registry_*_hint), so whoever
 * knows nothing else finds the partition. Structs own what their codec table says; release with
 * codec_free or registry_record_free. Pure functions, any thread.
 */
#ifndef PROTO_REGISTRY_H
#define PROTO_REGISTRY_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/codec.h"
#include "common/err.h"
#include "common/id.h"

#define REGISTRY_NAME_MAX        100
#define REGISTRY_UID_SIZE        17 /* 16 hex digits and NUL */
#define REGISTRY_PROFILE_SIZE    23 /* 22 base62 characters and NUL */
#define REGISTRY_HASH_SIZE       65 /* hex SHA-256 and NUL */
#define REGISTRY_CONTACTS_MAX    10
#define REGISTRY_EVENTS_MAX      32
#define REGISTRY_EVENT_SIZE      97
#define REGISTRY_URL_MAX         2048
#define REGISTRY_SPKI_MAX        600   /* bytes of a public key info: RSA-4096 fits */
#define REGISTRY_SEALED_MAX      512   /* bytes of a sealed webhook secret */
#define REGISTRY_RESULT_MAX      16384 /* bytes of a stored result */
#define REGISTRY_WHITELIST_CHUNK 50    /* whitelist entries in one request record */
#define REGISTRY_EXPIRE_CHUNK    50    /* stored results dropped by one request record */
#define REGISTRY_RESULT_DAYS     7     /* how long a result is kept: as long as the requests live */

/* Defaults of a new domain's limits, and limits that are no data yet. */
#define REGISTRY_CAS_DEFAULT         15
#define REGISTRY_ACCESS_KEYS_DEFAULT 5
#define REGISTRY_PROFILES_MAX        1000
#define REGISTRY_WEBHOOKS_MAX        50

enum registry_kind {
    REGISTRY_DOMAIN,
    REGISTRY_ACCESS_KEY,
    REGISTRY_PROFILE,
    REGISTRY_WHITELIST,
    REGISTRY_WEBHOOK,
    REGISTRY_CA,     /* a seat: the right to one CA */
    REGISTRY_RESULT, /* stored result of a request; word "request" */
    REGISTRY_KIND_COUNT,
};
/* The word in record keys: "domain", "access-key", "profile", "whitelist", "webhook", "ca",
 * "request". */
const char *registry_kind_word(enum registry_kind kind);

/* Record keys. `id` is the domain's own id for REGISTRY_DOMAIN. */
#define REGISTRY_KEY_SIZE 96
void registry_key(const char *domain, enum registry_kind kind, const char *id,
                  char out[REGISTRY_KEY_SIZE]);
/* Takes a record key apart; `domain` and `id` are borrowed from it. ERR_INVALID: not one of ours.
 */
err_t registry_key_parse(struct span key, struct span *ret_domain, enum registry_kind *ret_kind,
                         struct span *ret_id) MUST_USE;

/* ---- identifiers that carry their domain's hash ---- */

/* A new DeviceProfileUID: 6 base62 characters of stable_hash(domain), then 16 made of `random`
 * (uniform within 2^-40). */
#define REGISTRY_PROFILE_RANDOM 16
void registry_profile_uid(const char *domain, const uint8_t random[REGISTRY_PROFILE_RANDOM],
                          char out[REGISTRY_PROFILE_SIZE]);
/* 22 characters of [0-9A-Za-z]. */
bool registry_profile_uid_valid(const char *uid);
/* The domain's hash inside the UID: its partition is hash % partitions. ERR_INVALID: not a
 * DeviceProfileUID. */
err_t registry_profile_hint(const char *uid, uint32_t *ret_hash) MUST_USE;
/* A new APIKey: a UUID whose first 8 hex digits are stable_hash(domain), the rest from `base`. */
void registry_api_key(const char *domain, const struct uuid *base, char out[UUID_TEXT_SIZE]);
err_t registry_api_key_hint(const char *api_key, uint32_t *ret_hash) MUST_USE;
/* The start of the alias members of a profile or key: "profile:<uid>\n"; the record key follows it.
 */
#define REGISTRY_ALIAS_SIZE 64
void registry_alias_profile(const char *uid, char out[REGISTRY_ALIAS_SIZE]);
void registry_alias_key(const char *api_key, char out[REGISTRY_ALIAS_SIZE]);

/* Lower-case UUID text; 16 lower-case hex digits. */
bool registry_uuid_valid(const void *text);
bool registry_uid_valid(const void *text);

/* ---- records ---- */

enum registry_account { REGISTRY_ACCOUNT_DEVELOPER, REGISTRY_ACCOUNT_COMMERCIAL };
extern const struct codec_name registry_account_names[];

enum registry_contact_role {
    REGISTRY_CONTACT_TECHNICAL,
    REGISTRY_CONTACT_BILLING,
    REGISTRY_CONTACT_SECURITY
};
extern const struct codec_name registry_contact_role_names[];
struct registry_contact {
    char name[REGISTRY_NAME_MAX + 1];
    char email[255];
    enum registry_contact_role role;
};
extern const struct codec_table registry_contact_table;

struct registry_domain_limits {
    int32_t cas;
    int32_t access_keys;
};
/* Things that exist now and count against a limit. */
struct registry_domain_usage {
    int32_t cas;
    int32_t access_keys; /* ACTIVE ones */
    int32_t profiles;
    int32_t webhooks;
};

struct registry_domain {
    char type[32]; /* "domain.v1" */
    char id[UUID_TEXT_SIZE];
    char name[REGISTRY_NAME_MAX + 1];
    char company[201];
    char address[501];
    struct registry_contact contacts[REGISTRY_CONTACTS_MAX];
    size_t contacts_count;
    enum registry_account account_type;
    int64_t created_at;
    struct registry_domain_limits limits;
    struct registry_domain_usage usage;
    int64_t updated_at;
    cJSON *extra;
};

enum registry_key_status { REGISTRY_KEY_ACTIVE, REGISTRY_KEY_INACTIVE };
extern const struct codec_name registry_key_status_names[];
struct registry_access_key {
    char type[32]; /* "access-key.v1" */
    char id[UUID_TEXT_SIZE];
    char domain[UUID_TEXT_SIZE];
    char name[REGISTRY_NAME_MAX + 1];
    uint8_t secret_hash[32]; /* SHA-256 of the secret's text */
    enum registry_key_status status;
    int64_t created_at;
    int64_t revoked_at; /* 0: never */
    int64_t updated_at;
    cJSON *extra;
};

enum registry_whitelist_mode { REGISTRY_WHITELIST_ON, REGISTRY_WHITELIST_IGNORE };
extern const struct codec_name registry_whitelist_mode_names[];
struct registry_features {
    bool zero_touch;      /* certificates without anyone's hand; on by default */
    bool data_protection; /* local */
    bool chip_to_chip;
};
struct registry_profile {
    char type[32]; /* "profile.v1" */
    char uid[REGISTRY_PROFILE_SIZE];
    char domain[UUID_TEXT_SIZE];
    char name[REGISTRY_NAME_MAX + 1];
    char ca[UUID_TEXT_SIZE];
    int64_t heartbeat_interval_s;
    int64_t flood_interval_s;
    enum registry_whitelist_mode whitelist;
    char key_algorithm[16]; /* of device keys: "EC-P256" */
    struct registry_features features;
    int64_t created_at;
    int64_t updated_at;
    cJSON *extra;
};
#define REGISTRY_HEARTBEAT_DEFAULT_S 604800
#define REGISTRY_HEARTBEAT_MIN_S     1
#define REGISTRY_HEARTBEAT_MAX_S     INT64_C(31622400) /* 366 days */
#define REGISTRY_FLOOD_DEFAULT_S     300
#define REGISTRY_FLOOD_MAX_S         86400

struct registry_whitelist {
    char type[32]; /* "whitelist.v1" */
    char uid[REGISTRY_UID_SIZE];
    char domain[UUID_TEXT_SIZE];
    uint8_t key[REGISTRY_SPKI_MAX]; /* public key info the device must show; none: the UID vouches
                                       for itself */
    size_t key_len;
    int64_t created_at;
    int64_t updated_at;
    cJSON *extra;
};

enum registry_webhook_status { REGISTRY_WEBHOOK_ACTIVE, REGISTRY_WEBHOOK_DISABLED };
extern const struct codec_name registry_webhook_status_names[];
struct registry_webhook {
    char type[32]; /* "webhook.v1" */
    char id[UUID_TEXT_SIZE];
    char domain[UUID_TEXT_SIZE];
    char url[REGISTRY_URL_MAX + 1];
    char events[REGISTRY_EVENTS_MAX]
               [REGISTRY_EVENT_SIZE]; /* event types; "*" or a trailing ".*" take more than one */
    size_t events_count;
    char description[201];
    uint8_t secret_sealed[REGISTRY_SEALED_MAX]; /* common/seal.h under the notifier's key; AAD
                                                   "<domain>/<id>" */
    size_t secret_sealed_len;
    enum registry_webhook_status status;
    char reason[201]; /* why it is disabled */
    int64_t created_at;
    int64_t updated_at;
    cJSON *extra;
};
/* Whether a webhook with these events wants an event type. */
bool registry_webhook_wants(const struct registry_webhook *w, const char *event_type);

struct registry_seat {
    char type[32];           /* "ca-seat.v1" */
    char id[UUID_TEXT_SIZE]; /* of the CA */
    char domain[UUID_TEXT_SIZE];
    char name[REGISTRY_NAME_MAX + 1];
    char request_hash[REGISTRY_HASH_SIZE];
    int64_t created_at;
    int64_t updated_at;
    cJSON *extra;
};

struct registry_result {
    char type[32]; /* "request.v1" */
    char id[UUID_TEXT_SIZE];
    char domain[UUID_TEXT_SIZE];
    char request_type[64];
    char hash[REGISTRY_HASH_SIZE]; /* of the requester's body */
    int32_t status;
    cJSON *result; /* of the reply */
    int64_t at;
    int64_t expires_at;
    int64_t updated_at;
    cJSON *extra;
};

extern const struct codec_table registry_domain_table;
extern const struct codec_table registry_access_key_table;
extern const struct codec_table registry_profile_table;
extern const struct codec_table registry_whitelist_table;
extern const struct codec_table registry_webhook_table;
extern const struct codec_table registry_seat_table;
extern const struct codec_table registry_result_table;
const struct codec_table *registry_table(enum registry_kind kind);

/* Any record: what the owner keeps in memory and what a reader decodes. */
struct registry_record {
    enum registry_kind kind;
    union {
        struct registry_domain domain;
        struct registry_access_key access_key;
        struct registry_profile profile;
        struct registry_whitelist whitelist;
        struct registry_webhook webhook;
        struct registry_seat seat;
        struct registry_result result;
        cJSON *align_;
    } of;
};
/*
 * JSON of a record (state topic or view payload) -> a new record, owned by the caller. The kind is
 * that of the record's key, and the "type" must belong to it. ERR_UNSUPPORTED: another major
 * version, never to be skipped. ERR_CORRUPT: anything else.
 */
err_t registry_record_decode(enum registry_kind kind, struct span json,
                             struct registry_record **ret) MUST_USE;
/* Appends the JSON. ERR_TOO_LARGE as buf_append. */
err_t registry_record_encode(const struct registry_record *r, struct buf *to) MUST_USE;
struct registry_record *registry_record_new(enum registry_kind kind)
    __attribute__((returns_nonnull));
/* A deep copy. */
struct registry_record *registry_record_copy(const struct registry_record *r)
    __attribute__((returns_nonnull));
void registry_record_free(struct registry_record *r);
CLEANUP_DEFINE(struct registry_record *, registry_record_free);

/* ---- requests: envelope types on registry.requests; partition key and record key = domain id ----
 */

#define REGISTRY_REQUEST_DOMAIN_CREATE                                                             \
    "registry.domain.create.v1" /* envelope id = id of the domain */
#define REGISTRY_REQUEST_KEY_CREATE       "registry.access-key.create.v1"
#define REGISTRY_REQUEST_KEY_REVOKE       "registry.access-key.revoke.v1"
#define REGISTRY_REQUEST_PROFILE_CREATE   "registry.profile.create.v1"
#define REGISTRY_REQUEST_PROFILE_UPDATE   "registry.profile.update.v1"
#define REGISTRY_REQUEST_WHITELIST_ADD    "registry.whitelist.add.v1"
#define REGISTRY_REQUEST_WHITELIST_REMOVE "registry.whitelist.remove.v1"
#define REGISTRY_REQUEST_WEBHOOK_CREATE                                                            \
    "registry.webhook.create.v1" /* envelope id = id of the webhook */
#define REGISTRY_REQUEST_WEBHOOK_DELETE "registry.webhook.delete.v1"
/* From webhook-notifier: an endpoint said 410 or failed for too long. Body {id, reason}. */
#define REGISTRY_REQUEST_WEBHOOK_DISABLE "registry.webhook.disable.v1"
/* Body = body of ca.create.v1, forwarded under the same envelope id (= id of the CA) once a seat is
 * granted. */
#define REGISTRY_REQUEST_CA_CREATE "registry.ca.create.v1"
/* From ca-signer: the CA was refused, or is deleted; the seat is free again. Body {id}. */
#define REGISTRY_REQUEST_CA_RELEASE "registry.ca.release.v1"
/* From the owner to itself: results whose time is over. Body {ids[..]}. */
#define REGISTRY_REQUEST_EXPIRE "registry.expire.v1"

struct registry_domain_create {
    char name[REGISTRY_NAME_MAX + 1];
    char company[201];
    char address[501];
    struct registry_contact contacts[REGISTRY_CONTACTS_MAX];
    size_t contacts_count;
    enum registry_account account_type;
};
struct registry_key_create {
    char id[UUID_TEXT_SIZE]; /* the APIKey, made at the door */
    char name[REGISTRY_NAME_MAX + 1];
    uint8_t secret_hash[32];
};
struct registry_profile_create {
    char uid[REGISTRY_PROFILE_SIZE]; /* made at the door */
    char name[REGISTRY_NAME_MAX + 1];
    char ca[UUID_TEXT_SIZE];
    int64_t heartbeat_interval_s;
    int64_t flood_interval_s;
    enum registry_whitelist_mode whitelist;
    char key_algorithm[16];
    struct registry_features features;
};
/* What is not given stays. */
struct registry_features_update {
    bool zero_touch, has_zero_touch;
    bool data_protection, has_data_protection;
    bool chip_to_chip, has_chip_to_chip;
};
struct registry_profile_update {
    char uid[REGISTRY_PROFILE_SIZE];
    char name[REGISTRY_NAME_MAX + 1];
    bool has_name;
    char ca[UUID_TEXT_SIZE];
    bool has_ca;
    int64_t heartbeat_interval_s;
    bool has_heartbeat_interval;
    int64_t flood_interval_s;
    bool has_flood_interval;
    enum registry_whitelist_mode whitelist;
    bool has_whitelist;
    struct registry_features_update features;
    bool has_features;
    /* Looked up at the door when CA or heartbeat change, since only the CA's owner knows: of which
     * CA the result must be, and what its heartbeat interval must be below (0: anything). */
    char checked_ca[UUID_TEXT_SIZE];
    int64_t heartbeat_below_s;
};
struct registry_whitelist_entry {
    char uid[REGISTRY_UID_SIZE];
    uint8_t key[REGISTRY_SPKI_MAX];
    size_t key_len;
};
/* add, and remove (where keys are not looked at). */
struct registry_whitelist_change {
    char first[UUID_TEXT_SIZE]; /* the first chunk's request id when this is a further one; else ""
                                 */
    struct registry_whitelist_entry *devices; /* owned */
    size_t devices_count;
};
struct registry_webhook_create {
    char url[REGISTRY_URL_MAX + 1];
    char events[REGISTRY_EVENTS_MAX][REGISTRY_EVENT_SIZE];
    size_t events_count;
    char description[201];
    uint8_t secret_sealed[REGISTRY_SEALED_MAX];
    size_t secret_sealed_len;
};
/* key.revoke, webhook.delete, webhook.disable, ca.release */
struct registry_target {
    char id[UUID_TEXT_SIZE];
    char reason[201];
};
struct registry_expire {
    char ids[REGISTRY_EXPIRE_CHUNK][UUID_TEXT_SIZE];
    size_t ids_count;
};
/* What the registry itself looks at in a ca.create.v1 body; the rest is the CA owner's. */
struct registry_ca_create {
    char name[REGISTRY_NAME_MAX + 1];
};

extern const struct codec_table registry_domain_create_table;
extern const struct codec_table registry_key_create_table;
extern const struct codec_table registry_profile_create_table;
extern const struct codec_table registry_profile_update_table;
extern const struct codec_table registry_whitelist_change_table;
extern const struct codec_table registry_webhook_create_table;
extern const struct codec_table registry_target_table;
extern const struct codec_table registry_expire_table;
extern const struct codec_table registry_ca_create_table;

#endif
