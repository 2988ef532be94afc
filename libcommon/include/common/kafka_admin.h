/*
 * Topics: made with their settings, counted, removed. For the topic tool and tests; services never
 * create topics. One thread at a time.
 */
#ifndef COMMON_KAFKA_ADMIN_H
#define COMMON_KAFKA_ADMIN_H

#include "common/kafka_common.h"

struct kafka_admin;

struct kafka_topic {
    const char *name;
    int32_t partitions;
    int32_t replicas; /* -1: the broker's default */
    const struct kafka_property *settings;
    size_t settings_count;
};

/* ERR_INVALID (`ret_fault`, may be NULL), ERR_INTERNAL. */
err_t kafka_admin_new(const struct kafka_config *config, struct fault *ret_fault,
                      struct kafka_admin **ret) MUST_USE;
void kafka_admin_free(struct kafka_admin *a);
CLEANUP_DEFINE(struct kafka_admin *, kafka_admin_free);

/* Waits until a broker answers. ERR_TIMEOUT. */
err_t kafka_admin_wait(struct kafka_admin *a, int timeout_ms) MUST_USE;
/* Creates one topic and waits until its partitions have leaders. ERR_EXISTS (its settings are not
 * looked at), ERR_INVALID (`ret_fault` has the broker's text), ERR_FORBIDDEN, ERR_TIMEOUT,
 * ERR_UNAVAILABLE. */
err_t kafka_admin_create_topic(struct kafka_admin *a, const struct kafka_topic *topic,
                               int timeout_ms, struct fault *ret_fault) MUST_USE;
/* ERR_ABSENT, and as above. */
err_t kafka_admin_delete_topic(struct kafka_admin *a, const char *topic, int timeout_ms,
                               struct fault *ret_fault) MUST_USE;
/* The number of partitions. ERR_ABSENT, ERR_FORBIDDEN, ERR_TIMEOUT, ERR_UNAVAILABLE. */
err_t kafka_admin_partition_count(struct kafka_admin *a, const char *topic, int timeout_ms,
                                  int32_t *ret_count) MUST_USE;

#endif
