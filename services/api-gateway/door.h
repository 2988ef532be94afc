/*
 * The operators' door: the HTTPS server with its table of calls. Owns the reply waiter and the
 * connections to the views. Main thread.
 */
#ifndef API_GATEWAY_DOOR_H
#define API_GATEWAY_DOOR_H

#include "common/metrics.h"
#include "config.h"

struct door_service;

/*
 * Starts serving. Kafka must answer once, to tell the number of partitions; Redis may be away.
 * `config`, `metrics` are borrowed until door_service_free. ERR_INVALID: configuration, with
 * `fault`; ERR_UNAVAILABLE: Kafka or the address, try again.
 */
err_t door_service_start(const struct config *config, struct metrics *metrics,
                         struct door_service **ret, struct fault *fault) MUST_USE;
/* Refuses new requests, waits up to `grace_ms` for those in hand, answers the rest. */
void door_service_stop(struct door_service *d, uint32_t grace_ms);
void door_service_free(struct door_service *d);
CLEANUP_DEFINE(struct door_service *, door_service_free);
/* True when the reply channel stands; else the reason. */
bool door_service_ready(struct door_service *d, const char **ret_reason);
uint16_t door_service_port(const struct door_service *d);

#endif
