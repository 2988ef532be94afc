/*
 * A delivery in hand, and how it is put down again: stored as an attempt, as a record of a retry
 * tier, as a request to the registry, or in the dead letters. One thread.
 */
#ifndef WEBHOOK_NOTIFIER_DELIVERY_H
#define WEBHOOK_NOTIFIER_DELIVERY_H

#include "outbox.h"
#include "proto/webhook.h"
#include "retry.h"
#include "transfer.h"

struct endpoint;

/* Kept small, since many wait: the record's bytes, and of its fields only what is looked at often.
 */
struct delivery {
    struct delivery *next;         /* in its endpoint's queue */
    struct delivery *all_previous; /* of everything in hand */
    struct delivery *all_next;
    struct endpoint *endpoint;
    struct group_ticket ticket;
    char webhook[UUID_TEXT_SIZE];
    char domain[UUID_TEXT_SIZE];
    int32_t attempts;
    int32_t deferred;
    int64_t created_at;
    int64_t due_at;
    int64_t failing_since;
    size_t len;
    uint8_t value[];
};

/* A copy of the record. ERR_INVALID, ERR_TOO_LARGE, ERR_UNSUPPORTED: `fault` says why. */
err_t delivery_new(const struct kafka_message *m, struct group_ticket ticket, struct delivery **ret,
                   struct fault *fault) MUST_USE;
void delivery_free(struct delivery *d);
CLEANUP_DEFINE(struct delivery *, delivery_free);

/* Its id and the body to send (appended to `body`). */
err_t delivery_body(const struct delivery *d, char ret_id[UUID_TEXT_SIZE],
                    struct buf *body) MUST_USE;

/* How it is put down. */
struct settlement {
    bool attempted;               /* something was sent: counts, and `result` tells */
    bool told;                    /* written to webhook.deliveries */
    enum webhook_outcome outcome; /* where told */
    const char *error;            /* where there is no result; "" for none */
    const struct transfer_result *result;
    bool retry; /* goes to `choice` */
    struct retry_choice choice;
    bool deferred;         /* counts as put back without an attempt */
    bool full;             /* put back since there was no room */
    int64_t failing_since; /* of the endpoint; 0: it does not fail */
    const char *disable;   /* why the registry shall disable the webhook; NULL: it shall not */
    int64_t now_ms;
};
struct settle_context {
    const struct retry_plan *plan;
    int32_t partitions;
    struct outbox *outbox;
};
/* Writes what `s` says, and frees the delivery; its ticket comes back from the outbox. */
void delivery_settle(const struct settle_context *c, struct delivery *d,
                     const struct settlement *s);
/* A record that is no delivery. */
void delivery_dead_letter(const struct settle_context *c, const struct kafka_message *m,
                          struct group_ticket ticket, err_t why, const struct fault *fault);

#endif
