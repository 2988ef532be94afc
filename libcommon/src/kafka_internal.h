/*
 * What the Kafka wrappers share behind their headers: settings, the client's own bookkeeping,
 * translation of errors, conversion of messages. librdkafka's types do not leave the files that
 * include this.
 */
#ifndef COMMON_SRC_KAFKA_INTERNAL_H
#define COMMON_SRC_KAFKA_INTERNAL_H

#include <librdkafka/rdkafka.h>
#include <stdatomic.h>

#include "common/clock.h"
#include "common/kafka_common.h"

CLEANUP_DEFINE(rd_kafka_conf_t *, rd_kafka_conf_destroy);
CLEANUP_DEFINE(rd_kafka_topic_partition_list_t *, rd_kafka_topic_partition_list_destroy);
CLEANUP_DEFINE(rd_kafka_headers_t *, rd_kafka_headers_destroy);
CLEANUP_DEFINE(rd_kafka_consumer_group_metadata_t *, rd_kafka_consumer_group_metadata_destroy);
CLEANUP_DEFINE(rd_kafka_queue_t *, rd_kafka_queue_destroy);
CLEANUP_DEFINE(rd_kafka_error_t *, rd_kafka_error_destroy);

#define KAFKA_TOPICS_MAX     64
#define KAFKA_ERROR_TEXT_MAX 256
/*
 * Read-ahead is bounded by bytes alone. A fetch that finds the queue over its bound is put off by a
 * whole second, whatever happens meanwhile (librdkafka before 2.2 has no fetch.queue.backoff.ms): a
 * bound that holds less than a second of work is a bound on the rate.
 */
#define KAFKA_QUEUED_MESSAGES 1000000

/*
 * The common part of every wrapper and librdkafka's opaque: always the first member, so that a
 * callback finds its wrapper. Topic handles are made once and live as long as the client.
 */
struct kafka_client {
    rd_kafka_t *rk;
    void (*log)(void *ctx, int level, const char *facility, const char *text);
    void *log_ctx;
    atomic_int fatal; /* rd_kafka_resp_err_t of the fatal error, 0: none */
    rd_kafka_topic_t *topics[KAFKA_TOPICS_MAX];
    size_t topics_count;
    char error[KAFKA_ERROR_TEXT_MAX]; /* owner thread only */
};

/* Settings being collected. After the first refusal the setters do nothing. */
struct kafka_settings {
    rd_kafka_conf_t *conf;
    struct fault *fault; /* may be NULL */
    err_t e;
};
/* Connection, TLS, log and whatever every client needs. */
struct kafka_settings kafka_settings_begin(const struct kafka_config *config, struct fault *fault);
void kafka_set(struct kafka_settings *s, const char *name, const char *value);
void kafka_set_int(struct kafka_settings *s, const char *name, int64_t value);
/* Applies config->extra, makes the client. Consumes the settings in every case. */
err_t kafka_client_start(struct kafka_client *c, struct kafka_settings *s, rd_kafka_type_t type,
                         const struct kafka_config *config) MUST_USE;
/* Destroys the client (flags of rd_kafka_destroy_flags). Accepts one that was never started. */
void kafka_client_stop(struct kafka_client *c, int flags);

/* The number of a topic's partitions, and of those with a leader; the topic's error. */
rd_kafka_resp_err_t kafka_client_count(struct kafka_client *c, const char *topic, int timeout_ms,
                                       int32_t *ret_count, int32_t *ret_led);
/* The first of the two alone; nothing is written on an error. */
err_t kafka_client_partition_count(struct kafka_client *c, const char *topic, int timeout_ms,
                                   int32_t *ret_count) MUST_USE;
/* The handle of a topic; NULL when there are KAFKA_TOPICS_MAX already. */
rd_kafka_topic_t *kafka_client_topic(struct kafka_client *c, const char *name);
/* Loads the topics' metadata. */
err_t kafka_client_warm_up(struct kafka_client *c, const char *const *topics, size_t count,
                           int timeout_ms) MUST_USE;
/* rd_kafka_producev with our record; `opaque` comes back in the delivery. */
rd_kafka_resp_err_t kafka_client_send(struct kafka_client *c, const struct kafka_record *record,
                                      void *opaque);
/* Notes the text for x_error_text and returns `e`. */
err_t kafka_client_error(struct kafka_client *c, err_t e, const char *what, const char *text);

/* What a code means to a caller outside a transaction. */
err_t kafka_translate(rd_kafka_resp_err_t code);

/* Takes over `native` and shows it as ours. */
void kafka_message_view(struct kafka_message *m, rd_kafka_message_t *native);

/* Deadlines on the monotonic clock. */
int64_t kafka_deadline(int timeout_ms);
/* >= 0 */
int kafka_remaining_ms(int64_t deadline_ms);

static inline int kafka_int_or(int value, int fallback)
{
    return value > 0 ? value : fallback;
}

struct kafka_consumer;
/* Of the generation that the member has now. Owned by the caller; NULL when it is no member. */
rd_kafka_consumer_group_metadata_t *kafka_consumer_group_metadata(struct kafka_consumer *c);

#endif
