/* The sender's state, shared by its two files: sender.c takes and commits, sender_send.c sends and
 * puts down. */
#ifndef WEBHOOK_NOTIFIER_SENDER_INTERNAL_H
#define WEBHOOK_NOTIFIER_SENDER_INTERNAL_H

#include "delivery.h"
#include "endpoint.h"
#include "outbox.h"
#include "registry_view.h"
#include "retry.h"
#include "sender.h"
#include "sender_metrics.h"
#include "transfer.h"

/* A partition that is held: the head of a tier is not due yet, or there is no room. */
struct parked {
    struct group_ticket ticket;
    int64_t until_ms;   /* monotonic */
    int64_t created_ms; /* of the head; 0: not known */
    bool used;
};

struct sender {
    struct sender_options options;
    struct retry_plan plan;
    const char *topics[RETRY_TIERS_MAX + 1];
    struct group *group;
    struct registry_view *registry;
    struct endpoints *endpoints;
    struct transfers *transfers;
    struct outbox *outbox;
    struct settle_context settle;
    struct sender_metrics metrics;
    struct kafka_batch batch;
    struct parked *parked; /* by slot of the group */
    size_t parked_count;
    struct delivery *all; /* in hand, newest first */
    struct room in_hand;
    size_t holders; /* endpoints with something in hand */
    size_t in_flight;
    int64_t registry_after_ms; /* monotonic; the registry is not asked before */
    int64_t commit_after_ms;
    int64_t look_after_ms;
};

/* In hand from here on, until it is put down; its endpoint is set. */
void sender_hold(struct sender *s, struct delivery *d);
void sender_let_go(struct sender *s, struct delivery *d);
/* Puts a held delivery down without an attempt because there is no room: to the tier after which
 * its endpoint can have worked off what it has. That is no round of the delivery. */
void sender_overflow(struct sender *s, struct delivery *d);
/* To the first tier as it is: the process is about to stop. */
void sender_give_back(struct sender *s, struct delivery *d);
/* Sends what the endpoint's state and the limits allow; `ctx` is the sender. */
void sender_serve(void *ctx, struct endpoint *e);
/* A transfer has ended; `ctx` is the sender, `token` the delivery. */
void sender_finished(void *ctx, void *token, const struct transfer_result *result);

#endif
