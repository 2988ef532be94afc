#include "door.h"

#include "common/partition.h"

void door_metrics_init(struct door_metrics *m, struct metrics *registry)
{
    for (int i = 0; i < BEAT_COUNT; i++) {
        m->beats[i] =
            metrics_counter(registry, "fleetseal_heartbeats_total", "Heartbeats by outcome.",
                            METRIC_LABELS({"outcome", beat_verdict_name((enum beat_verdict)i)}));
    }
    m->forks =
        metrics_counter(registry, "fleetseal_ratchet_total", "Ratchet verdicts worth a look.",
                        METRIC_LABELS({"verdict", "fork"}));
    m->adopted =
        metrics_counter(registry, "fleetseal_ratchet_total", "Ratchet verdicts worth a look.",
                        METRIC_LABELS({"verdict", "adopted"}));
    m->bad_tokens =
        metrics_counter(registry, "fleetseal_ratchet_total", "Ratchet verdicts worth a look.",
                        METRIC_LABELS({"verdict", "refused"}));
    m->records_dropped = metrics_counter(registry, "fleetseal_heartbeat_records_dropped_total",
                                         "Heartbeat records that found the producer's queue full.",
                                         METRIC_NO_LABELS);
    for (int i = 0; i < DEVICE_EXCHANGE_COUNT; i++) {
        m->exchanges[i] = metrics_counter(
            registry, "fleetseal_device_exchanges_total", "Signed exchanges handed to the owner.",
            METRIC_LABELS({"kind", device_exchange_name((enum device_exchange)i)}));
    }
    m->unanswered =
        metrics_counter(registry, "fleetseal_device_exchanges_unanswered_total",
                        "Signed exchanges whose owner did not answer in time.", METRIC_NO_LABELS);
    m->admitted = metrics_counter(registry, "fleetseal_unvouched_total",
                                  "Signed messages of devices that nobody vouches for.",
                                  METRIC_LABELS({"outcome", "admitted"}));
    m->sighted = metrics_counter(registry, "fleetseal_unvouched_total",
                                 "Signed messages of devices that nobody vouches for.",
                                 METRIC_LABELS({"outcome", "sighted"}));
    m->flooded =
        metrics_counter(registry, "fleetseal_device_messages_refused_total",
                        "Signed messages of devices that had sent too many.", METRIC_NO_LABELS);
}

int32_t door_partition(const struct door *door, const struct identity *who)
{
    return partition_of(span_str(who->uid_text), door->partitions);
}

struct lane *door_lane(const struct door *door, const struct identity *who)
{
    return door->lanes[who->uid[0] % door->lane_count];
}

void door_routes(struct door *door, struct http_route routes[DOOR_ROUTES])
{
    static const struct {
        enum device_exchange exchange;
        http_handler_fn handler;
        size_t max_body;
    } rows[DOOR_ROUTES] = {
        {DEVICE_BOOTSTRAP, bootstrap_route, DEVICE_REQUEST_MAX},
        {DEVICE_HEARTBEAT, heartbeat_route, BEAT_BODY_MAX},
        {DEVICE_PICKUP, pickup_route, DEVICE_REQUEST_MAX},
        {DEVICE_CONFIRM, confirm_route, DEVICE_REQUEST_MAX},
    };
    for (size_t i = 0; i < DOOR_ROUTES; i++) {
        routes[i] = (struct http_route){.method = HTTP_POST,
                                        .pattern = device_exchange_path(rows[i].exchange),
                                        .handler = rows[i].handler,
                                        .max_body = rows[i].max_body,
                                        .content_type = "application/json",
                                        .flags = HTTP_ROUTE_CLIENT_CERT,
                                        .ctx = door};
    }
}
