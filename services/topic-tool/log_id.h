/*
 * The log id: the first record of every partition of a state topic, a random value that names this
 * log. A view in Redis remembers it beside its offset, so that a view of a topic that was deleted
 * and made anew is recognised: offsets alone would look as if everything had been applied already.
 * The record has a key of its own, so compaction keeps it. One thread.
 */
#ifndef TOPIC_TOOL_LOG_ID_H
#define TOPIC_TOOL_LOG_ID_H

#include <librdkafka/rdkafka.h>

#include "common/buf.h"
#include "common/err.h"

#define LOG_ID_KEY  "#log"
#define LOG_ID_TYPE "log-id.v1"

/* Appends the value of a log id record, for 16 random bytes. Pure. */
void log_id_format(const uint8_t id[16], struct buf *to);

/*
 * Writes a log id into each of the `partitions` partitions of `topic` that is empty, and returns
 * when the brokers have them all. `*ret_written` counts them. A partition with records is left
 * alone: a second run changes nothing. ERR_UNAVAILABLE: unknown how many were written; run again.
 */
err_t log_id_write_missing(rd_kafka_t *client, const char *topic, int partitions, int timeout_ms,
                           int *ret_written, struct fault *f) MUST_USE;

#endif
