/* The settings of heartbeat-ingest: one table (config.c), from which --help, --print-config and the
 * checks come. */
#ifndef HEARTBEAT_INGEST_CONFIG_H
#define HEARTBEAT_INGEST_CONFIG_H

#include "common/config_common.h"

struct config {
    struct common_config common;
    char listen[128];
    char tls_certificate[512];
    char tls_key[512];
    char ticket_key[512];
    int64_t ticket_lifetime_ms;
    struct config_secret ratchet_key;
    char server_ca[512];
    char manufacturers[512];
    int64_t exchange_deadline_ms;
    int64_t threads;
    int64_t lanes;
    int64_t queue_max;
    int64_t connections_max;
    int64_t connections_per_address;
    int64_t accept_rate;
    int64_t unvouched_max;
    int64_t unvouched_window_ms;
    int64_t sightings_max;
    int64_t sighting_ttl_ms;
    int64_t messages_max;
    int64_t messages_window_ms;
};

extern const struct config_spec config_spec;

#endif
