/*
 * How many partitions a topic has, asked for once Kafka can be reached, and whether a record lies
 * in the one that its key belongs to. An owner knows the aggregates of its own partitions only: in
 * any other they would be unknown to it, and what was decided long ago could be decided anew.
 * Processor thread only, except the initialisation.
 */
#ifndef COMMON_TOPIC_COUNT_H
#define COMMON_TOPIC_COUNT_H

#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"

struct topic_count {
    const char *brokers;   /* borrowed */
    const char *client_id; /* likewise */
    const char *topic;     /* likewise */
    int32_t partitions;    /* 0: not known yet */
};

/* Asks Kafka unless it is known. Retry class errors: it could not be asked now. */
err_t topic_count_learn(struct topic_count *t) MUST_USE;
/* ERR_INVALID with a fault: the key belongs to another partition. The count is known. */
err_t topic_count_check(const struct topic_count *t, struct span key, int32_t partition,
                        struct fault *fault) MUST_USE;

#endif
