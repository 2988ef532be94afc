/*
 * The request envelope, the reply and the CloudEvent: what every message of every *.requests topic
 * and of `events` has in common. The body belongs to the request type (proto/device.h,
 * proto/registry.h, ...). Pure functions, any thread.
 */
#ifndef PROTO_ENVELOPE_H
#define PROTO_ENVELOPE_H

#include <cjson/cJSON.h>

#include "common/buf.h"
#include "common/err.h"
#include "common/id.h"

#define ENVELOPE_MAX                                                                               \
    (256u * 1024u) /* bytes of one request; more goes to the dead letters unread                   \
                    */
#define ENVELOPE_TYPE_MAX    64
#define ENVELOPE_CHANNEL_MAX 96
#define ENVELOPE_ACTOR_MAX   96
#define ENVELOPE_TRACE_MAX   64
#define ENVELOPE_HASH_MAX    65

struct envelope {
    char id[UUID_TEXT_SIZE];              /* request id */
    char type[ENVELOPE_TYPE_MAX];         /* "device.renew.v1" */
    int64_t time_ms;                      /* when it was written */
    char domain[UUID_TEXT_SIZE];          /* "" where none is known yet (bootstrap) */
    char traceparent[ENVELOPE_TRACE_MAX]; /* W3C; may be "" */
    char reply_to[ENVELOPE_CHANNEL_MAX];  /* Redis channel; "" when nobody waits */
    char actor_kind[24];                  /* operator, access-key, device, scheduler, service */
    char actor_id[ENVELOPE_ACTOR_MAX];
    char hash[ENVELOPE_HASH_MAX]; /* hex SHA-256 of the body as the requester sent it; "" when
                                     idempotence is by id alone */
    cJSON *root;                  /* owned; NULL in an envelope that is to be encoded */
    const cJSON *body;            /* inside root */
};
void envelope_deinit(struct envelope *e);
CLEANUP_DEFINE_EMBEDDED(struct envelope, envelope_deinit);

/* Parses and checks everything but the body. ERR_INVALID, ERR_TOO_LARGE, ERR_UNSUPPORTED with
 * `fault` naming the field. */
err_t envelope_decode(struct span value, struct envelope *ret, struct fault *fault) MUST_USE;
/* Writes an envelope around `body` (borrowed; NULL is {}). Empty members are left out. */
err_t envelope_encode(const struct envelope *e, const cJSON *body, struct buf *to) MUST_USE;

/*
 * The reply to a request. `status` is HTTP-like; 2xx means committed. `result` may be NULL
 * (borrowed). On errors `fault` gives type, message and field.
 */
err_t reply_encode(const char *request_id, int status, const struct fault *fault,
                   const cJSON *result, struct buf *to) MUST_USE;

/* HTTP-like status of an error code, the same table as the doors use. */
int reply_status(err_t e);

/* ---- CloudEvents 1.0, Kafka binary mode ---- */

struct work;

struct event {
    const char *topic;         /* TOPIC_EVENTS or TOPIC_BILLING_EVENTS */
    const char *type;          /* "io.fleetseal.certificate.installed.v1" */
    const char *domain;        /* tenant; source is /fleetseal/<domain>, or /fleetseal when "" */
    const char *subject;       /* device or CA */
    const char *partition_key; /* aggregate the event belongs to */
    const char *cause_id; /* id of the request that caused it; the event id is uuid5(cause, type,
                             subject) */
    const char *id;       /* overrides the derived id when not NULL */
    int64_t time_ms;
    uint64_t sequence;       /* per subject; 20 digits in ce_sequence; 0 leaves it out */
    const char *traceparent; /* may be NULL or "" */
};
/* Emits the event into the work's transaction; `data` borrowed. */
void event_emit(struct work *w, const struct event *event, const cJSON *data);
/* The id an event will have. */
void event_id(const char *cause_id, const char *type, const char *subject,
              char out[UUID_TEXT_SIZE]);

#endif
