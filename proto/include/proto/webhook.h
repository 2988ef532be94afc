/*
 * Deliveries to webhooks. What is to be sent lies on webhook.requests, what is to be tried again on
 * the retry tiers webhook.retry.<delay>, both as the same record, and every attempt is told on
 * webhook.deliveries. Partition key = webhook id, record key = delivery id, on all of them. Only
 * webhook-notifier writes and reads the first two; the attempts are for everybody. Pure functions,
 * any thread.
 */
#ifndef PROTO_WEBHOOK_H
#define PROTO_WEBHOOK_H

#include <stdint.h>

#include "common/buf.h"
#include "common/codec.h"
#include "common/err.h"
#include "common/id.h"

#define WEBHOOK_DELIVERY_TYPE "webhook-delivery.v1"
#define WEBHOOK_ATTEMPT_TYPE  "webhook-attempt.v1"

#define WEBHOOK_DELIVERY_MAX  ((size_t)192 * 1024) /* bytes of one record */
#define WEBHOOK_DELIVERY_ROOM ((size_t)1024)       /* of it, for what retries add */
#define WEBHOOK_ATTEMPTS_MAX  1000000
#define WEBHOOK_EVENT_ID_SIZE 129
#define WEBHOOK_EVENT_SIZE    129
#define WEBHOOK_ERROR_SIZE    161
#define WEBHOOK_RESPONSE_MAX  256 /* bytes of an answer that are kept */
#define WEBHOOK_RETRY_TOPIC   "fleetseal.webhook.retry."
#define WEBHOOK_REQUESTS_DLQ  "fleetseal.webhook.requests.dlq"
#define WEBHOOK_EVENTS_DLQ    "fleetseal.events.dlq"

/* One event on its way to one webhook. */
struct webhook_delivery {
    char type[32];
    char id[UUID_TEXT_SIZE]; /* webhook_delivery_id: what the receiver sees as webhook-id */
    char webhook[UUID_TEXT_SIZE];
    char domain[UUID_TEXT_SIZE];
    char event_id[WEBHOOK_EVENT_ID_SIZE];
    char event_type[WEBHOOK_EVENT_SIZE];
    int64_t created_at; /* when it was fanned out */
    int32_t attempts;   /* made so far */
    int32_t deferred;   /* times put back without an attempt */
    int64_t due_at;     /* not before; 0: at once */
    int64_t
        failing_since; /* first failure of the endpoint without a success since; 0: none known */
    cJSON *event;      /* the CloudEvent in structured mode: the body, byte for byte */
    cJSON *extra;
};
extern const struct codec_table webhook_delivery_table;

/* uuid5(webhook, event): the same event to the same webhook is the same delivery, for ever. */
void webhook_delivery_id(const char *webhook, const char *event_id, char out[UUID_TEXT_SIZE]);
/* Release with codec_free. ERR_UNSUPPORTED: another major version. ERR_INVALID, ERR_TOO_LARGE with
 * `fault` (may be NULL) naming the field. */
err_t webhook_delivery_decode(struct span value, struct webhook_delivery *ret,
                              struct fault *fault) MUST_USE;

/* How an attempt ended. */
enum webhook_outcome {
    WEBHOOK_DELIVERED, /* 2xx */
    WEBHOOK_FAILED,    /* tried again at next_at */
    WEBHOOK_GIVEN_UP,  /* failed for the last time */
    WEBHOOK_GONE,      /* 410: the webhook is disabled */
    WEBHOOK_CANCELLED, /* not sent: the webhook is deleted or disabled */
    WEBHOOK_OUTCOME_COUNT,
};
extern const struct codec_name webhook_outcome_names[];

struct webhook_attempt {
    char type[32];
    char webhook[UUID_TEXT_SIZE];
    char domain[UUID_TEXT_SIZE];
    char event[WEBHOOK_EVENT_ID_SIZE];
    char event_type[WEBHOOK_EVENT_SIZE];
    char delivery[UUID_TEXT_SIZE];
    int32_t attempt; /* 1 for the first; 0 when none was made */
    int64_t at;
    enum webhook_outcome outcome;
    int32_t status; /* of HTTP; 0: there was no answer */
    char error[WEBHOOK_ERROR_SIZE];
    int64_t duration_ms;
    char response[WEBHOOK_RESPONSE_MAX + 1]; /* its beginning; never of a private address */
    int64_t next_at;
    cJSON *extra;
};
extern const struct codec_table webhook_attempt_table;

#endif
