/*
 * The topics of a Kafka cluster, as the tool sees them: which exist, creating those that do not,
 * and where the others differ from the catalogue. Nothing here ever changes or deletes a topic that
 * exists: more partitions would tear keys from their partition, and other settings are for a person
 * to decide. One thread.
 */
#ifndef TOPIC_TOOL_CLUSTER_H
#define TOPIC_TOOL_CLUSTER_H

#include <librdkafka/rdkafka.h>
#include <stdio.h>

#include "catalog.h"

struct cluster_options {
    const char *brokers;
    /* librdkafka properties as name=value, for TLS and SASL. Borrowed until cluster_open returns.
     */
    char *const *properties;
    size_t properties_count;
    int timeout_ms;  /* bounds each step */
    int partitions;  /* of every topic */
    int replication; /* -1: the brokers' default, also for min.insync.replicas */
};

struct cluster;

/* Connects and waits until a broker answers. ERR_INVALID for a property librdkafka refuses,
 * ERR_UNAVAILABLE when nobody answered in time. The caller closes `*ret`. */
err_t cluster_open(const struct cluster_options *options, struct cluster **ret,
                   struct fault *f) MUST_USE;
void cluster_close(struct cluster *c);
CLEANUP_DEFINE(struct cluster *, cluster_close);

/* The client, an idempotent producer, borrowed until close. */
rd_kafka_t *cluster_client(struct cluster *c);

/* Fills `counts[i]` with the partitions of topic i of the catalogue, 0 where it does not exist.
 * ERR_UNAVAILABLE. */
err_t cluster_partition_counts(struct cluster *c, const struct catalog *catalog, int *counts,
                               struct fault *f) MUST_USE;

/*
 * Creates the topics whose count is 0 and returns when each partition has a leader. A topic that
 * somebody else created in this moment is no error. ERR_INVALID, ERR_FORBIDDEN with the broker's
 * reason, ERR_UNAVAILABLE.
 */
err_t cluster_create_missing(struct cluster *c, const struct catalog *catalog, const int *counts,
                             struct fault *f) MUST_USE;

/* Writes a line to `report` for each way in which a topic that exists differs, and counts them.
 * Topics with count 0 are passed over. ERR_FORBIDDEN, ERR_UNAVAILABLE. */
err_t cluster_compare(struct cluster *c, const struct catalog *catalog, const int *counts,
                      FILE *report, int *ret_differences, struct fault *f) MUST_USE;

/* A librdkafka error as ours. */
err_t cluster_err(rd_kafka_resp_err_t e);

#endif
