/*
 * A certificate authority as its owner (ca-signer) keeps it: the record in TOPIC_CA_STATE ("ca.v1",
 * partition key and record key are the CA's id; the Redis view {c<p>} holds the same JSON), its
 * private key, sealed, in TOPIC_CA_KEYS ("ca-key.v1", never in Redis), and the requests that make
 * and change it. Doors read the view. Indexes of the view, per partition: `keys`, member
 * "<domain>/<ca id>", score 0; `auto`, member the CA's id, score its renew-ahead in seconds, only
 * while automatic renewal is on. Pure functions, any thread.
 */
#ifndef PROTO_CA_H
#define PROTO_CA_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/codec.h"
#include "common/err.h"
#include "common/id.h"

#define CA_TYPE             "ca.v1"
#define CA_KEY_TYPE         "ca-key.v1"
#define CA_NAME_MAX         100
#define CA_CERTIFICATE_MAX  4096 /* bytes of DER */
#define CA_SEALED_MAX       8192 /* bytes of a sealed key */
#define CA_USAGES_MAX       9
#define CA_REQUESTS_MAX     64 /* request ids remembered */
#define CA_REQUESTS_KEEP_MS (INT64_C(8) * 86400 * 1000)
#define CA_RECORD_MAX       65536

/* Seconds. A CA lives at most 100 years, a device certificate at most as long as its CA. */
#define CA_VALIDITY_MAX_S      (INT64_C(100) * 366 * 86400)
#define CA_RENEW_AHEAD_MAX_S   CA_VALIDITY_MAX_S
#define CA_RENEW_AHEAD_USUAL_S (INT64_C(30) * 86400)

enum ca_kind { CA_ROOT = 1, CA_INTERMEDIATE };
enum ca_state { CA_ACTIVE = 1, CA_DELETED };

/* Bits of a device certificate's key usage, in the order of RFC 5280; words as people write them.
 */
enum ca_key_usage {
    CA_USAGE_DIGITAL_SIGNATURE = 1,
    CA_USAGE_NON_REPUDIATION,
    CA_USAGE_KEY_ENCIPHERMENT,
    CA_USAGE_DATA_ENCIPHERMENT,
    CA_USAGE_KEY_AGREEMENT,
};
enum ca_extended_usage { CA_EXTENDED_CLIENT_AUTH = 1, CA_EXTENDED_SERVER_AUTH };

extern const struct codec_name ca_kind_names[];           /* root, intermediate */
extern const struct codec_name ca_state_names[];          /* active, deleted */
extern const struct codec_name ca_key_usage_names[];      /* digitalSignature, ... */
extern const struct codec_name ca_extended_usage_names[]; /* clientAuth, serverAuth */

/* Sizes are the upper bounds of RFC 5280 appendix A.1 in UTF-8 bytes. */
struct ca_subject {
    char common_name[65];
    char organization[65];
    char organizational_unit[65];
    char country[3];
    char state[129];
    char locality[129];
};

/* A request that was answered: a repeat gets the same answer. */
struct ca_answered {
    struct uuid id;
    char hash[65]; /* of the requester's body */
    int64_t at_ms;
    int32_t status;
};

struct ca {
    char type[16];
    struct uuid id;
    struct uuid domain;
    char name[CA_NAME_MAX + 1];
    enum ca_kind kind;
    struct ca_subject subject;
    char key_algorithm[16]; /* "EC-P256" */
    uint8_t certificate[CA_CERTIFICATE_MAX];
    size_t certificate_len;
    int64_t not_before_ms, not_after_ms;
    int64_t device_validity_s;
    bool automatic_renewal;
    int64_t renew_ahead_s;
    int key_usage[CA_USAGES_MAX]; /* enum ca_key_usage */
    size_t key_usage_count;
    int extended_key_usage[CA_USAGES_MAX]; /* enum ca_extended_usage */
    size_t extended_key_usage_count;
    enum ca_state state;
    int64_t created_at_ms;
    char request_hash[65]; /* of the body that made it */
    struct ca_answered requests[CA_REQUESTS_MAX];
    size_t requests_count;
    int64_t updated_at_ms;
    cJSON *extra; /* fields of a newer version, kept; owned */
};
extern const struct codec_table ca_table;

/* The private key of a CA, sealed; see TOPIC_CA_KEYS. */
struct ca_key_record {
    char type[16];
    struct uuid id; /* of the CA */
    struct uuid domain;
    uint8_t key_hash[32]; /* SHA-256 of the CA's SubjectPublicKeyInfo */
    uint8_t sealed[CA_SEALED_MAX];
    size_t sealed_len;
    cJSON *extra;
};
extern const struct codec_table ca_key_table;

/* NULL is fine. */
void ca_free(struct ca *ca);
CLEANUP_DEFINE(struct ca *, ca_free);
/* A deep copy, owned by the caller. */
struct ca *ca_copy(const struct ca *ca);
/* A record or view payload. ERR_UNSUPPORTED: another type or major version; ERR_INVALID,
 * ERR_TOO_LARGE: not a CA. */
err_t ca_decode(struct span json, struct ca **ret, struct fault *fault) MUST_USE;
/* ERR_TOO_LARGE as buf_append. */
err_t ca_encode(const struct ca *ca, struct buf *to) MUST_USE;
/* What a door may show of it: the record without what is kept for the owner alone. Owned by the
 * caller. */
cJSON *ca_public(const struct ca *ca);
/* A record of TOPIC_CA_KEYS; release with codec_free(&ca_key_table, ...). Errors as ca_decode. */
err_t ca_key_decode(struct span json, struct ca_key_record *ret, struct fault *fault) MUST_USE;

/* ---- requests on TOPIC_CA_REQUESTS: partition key and record key = CA id ---- */

/* The envelope's id is the id of the CA to be. */
#define CA_REQUEST_CREATE "ca.create.v1"
#define CA_REQUEST_UPDATE "ca.update.v1"

struct ca_create {
    char name[CA_NAME_MAX + 1];
    struct ca_subject subject;
    char key_algorithm[16]; /* "": EC-P256 */
    int64_t validity_s;
    int64_t device_validity_s;
    bool automatic_renewal;
    int64_t renew_ahead_s; /* 0: 30 days, or a third of the device validity if that is less */
    int key_usage[CA_USAGES_MAX]; /* none: digitalSignature */
    size_t key_usage_count;
    int extended_key_usage[CA_USAGES_MAX]; /* none: clientAuth */
    size_t extended_key_usage_count;
};
extern const struct codec_table ca_create_table;

/* What is absent stays. */
struct ca_update {
    struct uuid id;
    bool has_name, has_device_validity, has_automatic_renewal, has_renew_ahead;
    char name[CA_NAME_MAX + 1];
    int64_t device_validity_s;
    bool automatic_renewal;
    int64_t renew_ahead_s;
};
extern const struct codec_table ca_update_table;

#endif
