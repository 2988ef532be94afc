/*
 * What the Kafka wrappers share: how to reach the brokers, records going out, messages coming in.
 * librdkafka (2.0.2 and later) stays behind these headers: its error codes become err_t here, its
 * objects never leave, its log lines go to one callback.
 *
 *     kafka_producer.h   idempotent producer, for doors and for heartbeats; any thread
 *     kafka_txn.h        transactional producer, for owners; one thread
 *     kafka_consumer.h   group consumer, for owners and other group members; one thread
 *     kafka_reader.h     group-less reading of chosen partitions, and their end; one thread
 *     kafka_admin.h      topics; for tools
 *
 * Time-outs are in milliseconds, >= 0.
 */
#ifndef COMMON_KAFKA_COMMON_H
#define COMMON_KAFKA_COMMON_H

#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"

/* One librdkafka setting, for what an operator must be able to add (SASL, tuning). */
struct kafka_property {
    const char *name;
    const char *value;
};

/* Borrowed during the constructors only, `log_ctx` for the life of the client. */
struct kafka_config {
    const char *brokers;              /* host:port[,host:port] */
    const char *client_id;            /* <service>-<ordinal> */
    const char *tls_ca_file;          /* NULL: no TLS. All three: mutual TLS */
    const char *tls_certificate_file; /* PEM chain; NULL: no client certificate */
    const char *tls_key_file;
    const struct kafka_property *extra; /* applied last; unknown ones fail the constructor */
    size_t extra_count;
    /* Receives librdkafka's log; level as syslog. Called on any thread; NULL: dropped. */
    void (*log)(void *ctx, int level, const char *facility, const char *text);
    void *log_ctx;
};

struct kafka_partition {
    const char *topic;
    int32_t partition;
};
struct kafka_offset {
    const char *topic;
    int32_t partition;
    int64_t offset;
};
#define KAFKA_OFFSET_BEGINNING INT64_C(-2)
#define KAFKA_OFFSET_NONE      INT64_C(-1001) /* nothing committed */

/* An outgoing record; everything borrowed until the produce call returns (it copies). */
struct kafka_header {
    const char *name;
    struct span value;
};
#define KAFKA_HEADERS_MAX 16
struct kafka_record {
    const char *topic;
    int32_t partition; /* explicit, from partition_of() */
    struct span key;
    struct span value; /* ptr NULL: a tombstone; an empty value needs a non-NULL ptr */
    const struct kafka_header *headers;
    size_t headers_count; /* <= KAFKA_HEADERS_MAX */
    uint64_t cookie;      /* comes back with the delivery */
};

/*
 * An incoming message: views into librdkafka's memory, valid until kafka_messages_free. `eof` (only
 * from a kafka_reader): no message, but the news that `offset` is the end of what may be read.
 */
struct kafka_message {
    const char *topic;
    int32_t partition;
    int64_t offset;
    int64_t timestamp_ms; /* since the epoch; -1: none */
    struct span key;
    struct span value; /* ptr NULL: a tombstone */
    bool eof;
    void *native; /* the wrapper's; NULL once freed */
};
/* The last header of that name; false if there is none (*ret untouched). */
bool kafka_message_header(const struct kafka_message *m, const char *name, struct span *ret);
/* Releases `count` messages and zeroes them. All messages must be freed before the client they came
 * from. */
void kafka_messages_free(struct kafka_message *messages, size_t count);

/* A batch that a scope can own. */
struct kafka_batch {
    struct kafka_message *messages;
    size_t count;
    size_t capacity;
};
/* capacity > 0 */
void kafka_batch_init(struct kafka_batch *b, size_t capacity);
/* Frees the messages, keeps the room. */
void kafka_batch_clear(struct kafka_batch *b);
void kafka_batch_deinit(struct kafka_batch *b);
CLEANUP_DEFINE_EMBEDDED(struct kafka_batch, kafka_batch_deinit);

/* "librdkafka 2.0.2", for --version. */
const char *kafka_library_version(void);

#endif
