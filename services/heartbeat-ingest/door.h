/*
 * The device door: what its routes share. One object per process; the routes are in
 * heartbeat_route.c and exchange_route.c. Handlers run on the HTTP server's threads.
 */
#ifndef HEARTBEAT_INGEST_DOOR_H
#define HEARTBEAT_INGEST_DOOR_H

#include "beat.h"
#include "common/http_server.h"
#include "common/kafka_producer.h"
#include "common/reply_waiter.h"
#include "identity.h"
#include "lane.h"
#include "ratchet.h"
#include "vouch_lookup.h"

#define DOOR_LANES_MAX 8

struct door_metrics {
    struct metric *beats[BEAT_COUNT];
    struct metric *forks, *adopted, *bad_tokens, *records_dropped;
    struct metric *exchanges[DEVICE_EXCHANGE_COUNT], *unanswered;
    struct metric *admitted, *sighted; /* messages of devices that nobody vouches for */
    struct metric *flooded;            /* messages of devices that had sent too many */
};

struct door {
    const struct clock *clock;
    struct ratchet_key ratchet_key;
    int32_t partitions; /* of the device topics */
    struct lane *lanes[DOOR_LANES_MAX];
    size_t lane_count;
    struct reply_waiter *waiter;    /* borrowed */
    struct kafka_producer *records; /* borrowed: heartbeat records, nobody waits for them */
    char *server_ca;                /* PEM that devices get at bootstrap; "" for none; owned */
    uint32_t exchange_deadline_ms;
    struct vouch_rules vouch;
    struct door_metrics metrics;
};

void door_metrics_init(struct door_metrics *m, struct metrics *registry);

/* The partition of the caller's aggregate. */
int32_t door_partition(const struct door *door, const struct identity *who);

/* The lane that serves the caller. */
struct lane *door_lane(const struct door *door, const struct identity *who);

/* Handlers; ctx is the struct door. */
void heartbeat_route(struct http_request *req, void *ctx);
void bootstrap_route(struct http_request *req, void *ctx);
void pickup_route(struct http_request *req, void *ctx);
void confirm_route(struct http_request *req, void *ctx);

/* The routing table over them, for `door`: DOOR_ROUTES rows. */
#define DOOR_ROUTES 4
void door_routes(struct door *door, struct http_route routes[DOOR_ROUTES]);

/* Write to the device's owner; nobody waits. device.failed.v1: what the device said about its last
 * work in the heartbeat of this sequence. device.fork.v1: that heartbeat's token, or lack of one,
 * does not follow the last accepted one. */
void door_report_fork(struct door *door, const struct identity *who, int64_t sequence,
                      bool has_token);
void door_report_failure(struct door *door, const struct identity *who, int64_t sequence,
                         const struct beat_result *result);

#endif
