/*
 * The webhooks of domains, out of the registry's Redis view. A view that is being rebuilt lacks
 * things that exist, and an event that finds no webhook is lost to it for ever; so an answer is
 * given only when the view is known to hold everything that the registry's log held, and stays
 * believed as long as its mark does not fall back. One object per thread.
 */
#ifndef WEBHOOK_NOTIFIER_REGISTRY_VIEW_H
#define WEBHOOK_NOTIFIER_REGISTRY_VIEW_H

#include "common/kafka_common.h"
#include "common/redis.h"
#include "proto/registry.h"

struct registry_view;

/* Borrows the connection. `partitions` is that of registry.state. ERR_INVALID, ERR_INTERNAL: the
 * reader of the log cannot be made. */
err_t registry_view_new(const struct kafka_config *kafka, struct redis *redis, int32_t partitions,
                        struct registry_view **ret) MUST_USE;
void registry_view_free(struct registry_view *v);
CLEANUP_DEFINE(struct registry_view *, registry_view_free);

/* The webhooks of one domain; `records` and what they point at are owned. */
struct domain_webhooks {
    char domain[UUID_TEXT_SIZE]; /* in */
    struct registry_record **records;
    size_t count;
};
void domain_webhooks_deinit(struct domain_webhooks *d);

/*
 * Fills in the webhooks of `n` domains, two round trips for all. ERR_UNAVAILABLE: Redis or Kafka is
 * away, or a view is incomplete: again later, *d holds nothing. ERR_CORRUPT, ERR_UNSUPPORTED: a
 * record that we cannot read.
 */
err_t registry_view_webhooks(struct registry_view *v, struct domain_webhooks *d, size_t n) MUST_USE;
/* One webhook, owned by the caller; NULL when there is none. Errors as above. */
err_t registry_view_webhook(struct registry_view *v, const char *domain, const char *id,
                            struct registry_record **ret) MUST_USE;

#endif
