/*
 * Records that must be stored in Kafka before something else may be called finished. Each parcel is
 * a few records that belong together and a ticket that comes back once all of them are stored.
 * What fails is produced again, also by a new producer when the old one is beyond repair, so
 * records can be doubled but not lost. One thread; only the fate of records comes from another.
 */
#ifndef WEBHOOK_NOTIFIER_OUTBOX_H
#define WEBHOOK_NOTIFIER_OUTBOX_H

#include "common/kafka_producer.h"
#include "group.h"

struct outbox;

/* `stored` is called inside outbox_step, on its thread. */
struct outbox_options {
    struct kafka_config kafka; /* what it points at is borrowed for good */
    void (*stored)(void *ctx, struct group_ticket ticket);
    void *ctx;
};
struct outbox *outbox_new(const struct outbox_options *options) __attribute__((returns_nonnull));
/* Drops what is not stored. */
void outbox_free(struct outbox *o);
CLEANUP_DEFINE(struct outbox *, outbox_free);

#define OUTBOX_PARCEL_MAX 3
struct parcel;
/* A parcel being filled. */
struct parcel *parcel_new(struct group_ticket ticket) __attribute__((returns_nonnull));
/* Adds a record; at most OUTBOX_PARCEL_MAX. Topic is a constant or lives as long as the outbox; the
 * rest is copied. */
void parcel_add(struct parcel *p, const struct kafka_record *record);
/* Hands it over. A parcel without records is stored at once. */
void outbox_send(struct outbox *o, struct parcel *p);

/* Produces what waits and reports what is stored. Does not block. */
void outbox_step(struct outbox *o);
/* Waits up to timeout_ms for news of a record. */
void outbox_wait(struct outbox *o, int timeout_ms);
/* Parcels sent and not stored yet. */
size_t outbox_waiting(const struct outbox *o);

#endif
