/*
 * Membership in a consumer group for work that ends in any order: starts assigned partitions where
 * the group left off, remembers per partition what is finished, commits the contiguous part, and
 * rebuilds the membership when it is lost. Whoever holds a ticket of a partition that was taken
 * away may go on; finishing it changes nothing then, its new owner does it again. One thread.
 */
#ifndef WEBHOOK_NOTIFIER_GROUP_H
#define WEBHOOK_NOTIFIER_GROUP_H

#include "common/kafka_consumer.h"

struct group;

struct group_options {
    struct kafka_config kafka; /* what it points at is borrowed for good, as all below */
    const char *name;
    const char *instance;
    const char *const *topics;
    size_t topics_count;
    int32_t partitions; /* of each of them */
    /* They are taken away; called before, to bring to an end what nearly is. May be NULL. */
    void (*revoked)(void *ctx);
    void *ctx;
};

/* One message in hand. */
struct group_ticket {
    uint32_t slot;
    uint32_t generation; /* 0: no ticket */
    int64_t offset;
};

struct group *group_new(const struct group_options *options) __attribute__((returns_nonnull));
/* Without any farewell; all messages must be freed before. */
void group_free(struct group *g);
CLEANUP_DEFINE(struct group *, group_free);

/* As kafka_consumer_poll. ERR_OK also when there is nothing or Kafka is away; ERR_ABSENT,
 * ERR_FORBIDDEN: configuration; others: tried again by the next poll, after a pause by the caller.
 */
err_t group_poll(struct group *g, struct kafka_batch *batch, int timeout_ms) MUST_USE;
/* Takes a polled message in hand. */
struct group_ticket group_take(struct group *g, const struct kafka_message *m);
void group_done(struct group *g, struct group_ticket ticket);
/* Puts it back, with all behind it: held until group_resume, then delivered again. */
void group_park(struct group *g, struct group_ticket ticket);
/* Puts it back, with all behind it, to be delivered again at once. */
void group_rewind(struct group *g, struct group_ticket ticket);
/* Lets a parked partition go on; harmless for another. */
void group_resume(struct group *g, struct group_ticket ticket);
/* True when the ticket's partition is still ours. */
bool group_holds(const struct group *g, struct group_ticket ticket);
/* Commits what is finished and was not committed. ERR_TIMEOUT, ERR_UNAVAILABLE: again later. */
err_t group_commit(struct group *g, int timeout_ms) MUST_USE;
/* Ends the membership without telling the group, so that a restart moves no partition. */
err_t group_close(struct group *g, int timeout_ms) MUST_USE;
/* True once partitions were assigned, for health; any thread. */
bool group_joined(const struct group *g);

#endif
