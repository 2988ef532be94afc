#include "config.h"

#include "common/version.h"
#include "door.h"

#define T struct config

static const struct config_row rows[] = {
    CONFIG_COMMON_ROWS(T, common),
    CONFIG_LISTEN(T, listen, "device.listen", "*:8443",
                  "Where devices call in, by HTTPS with their root-of-trust key."),
    CONFIG_PATH(T, tls_certificate, "device.tls_certificate", CONFIG_REQUIRED,
                "PEM chain of the door, leaf first."),
    CONFIG_PATH(T, tls_key, "device.tls_key", CONFIG_REQUIRED, "PEM private key of the door."),
    CONFIG_PATH(T, ticket_key, "device.ticket_key", "",
                "64 random bytes, the same for every replica; none: TLS sessions are not resumed."),
    CONFIG_DURATION(
        T, ticket_lifetime_ms, "device.ticket_lifetime", "7d", 60000, 604800000,
        "How long a device may resume its TLS session; weekly devices need the full week."),
    CONFIG_SECRET(
        T, ratchet_key, "device.ratchet_key_file", CONFIG_REQUIRED,
        "32 bytes or more in a file, the same for every replica: signs the anti-cloning tokens."),
    CONFIG_PATH(T, server_ca, "device.server_ca", "",
                "PEM of up to 32 KiB that devices get at bootstrap to trust this door later; none: "
                "nothing."),
    CONFIG_PATH(T, manufacturers, "device.manufacturers_file", "",
                "PEM with CAs whose device certificates are accepted besides self-signed ones."),
    CONFIG_DURATION(
        T, exchange_deadline_ms, "device.exchange_deadline", "5s", 100, 60000,
        "How long a signed exchange waits for its owner before the device is told to come back."),
    CONFIG_INT(T, threads, "device.threads", "2", 1, 64, "threads", "Event loops of the door."),
    CONFIG_INT(T, lanes, "device.lanes", "1", 1, DOOR_LANES_MAX, "connections",
               "Redis connections that look devices up."),
    CONFIG_INT(T, queue_max, "device.queue", "20000", 100, 1000000, "messages",
               "Messages that may wait for Redis; more get 503."),
    CONFIG_INT(T, connections_max, "device.connections", "10000", 10, 1000000, "connections",
               "Open connections; more are not accepted."),
    CONFIG_INT(T, connections_per_address, "device.connections_per_address", "0", 0, 1000000,
               "connections",
               "Open connections from one address; 0: no limit, for fleets behind one NAT."),
    CONFIG_INT(T, accept_rate, "device.accept_rate", "2000", 0, 1000000, "connections/s",
               "New connections per second before TLS; 0: no limit."),
    CONFIG_INT(
        T, unvouched_max, "device.unvouched_max", "1000", 0, 1000000, "devices",
        "Devices that nobody vouches for (not known yet, and no known profile) whose messages "
        "may reach the log in one window, over all replicas; 0: none ever."),
    CONFIG_DURATION(T, unvouched_window_ms, "device.unvouched_window", "1h", 1000, 604800000,
                    "How long such a window lasts; it begins with its first device."),
    CONFIG_INT(T, sightings_max, "device.sightings_max", "10000", 0, 1000000, "devices",
               "Devices over that budget that Redis keeps note of; the longest unseen go first."),
    CONFIG_DURATION(T, sighting_ttl_ms, "device.sighting_ttl", "7d", 1000, 31536000000,
                    "How long such a note is kept after the device was last seen."),
    CONFIG_INT(T, messages_max, "device.messages_max", "60", 0, 1000000, "messages",
               "Different signed messages of one device that are let through in one window; the "
               "same one again is not counted; 0: no limit."),
    CONFIG_DURATION(T, messages_window_ms, "device.messages_window", "5m", 1000, 86400000,
                    "How long such a window lasts; it begins with its first message."),
};

const struct config_spec config_spec = {
    .program = "heartbeat-ingest",
    .summary = "the devices' door: bootstrap, heartbeat, pick-up, confirm",
    .rows = rows,
    .count = sizeof rows / sizeof rows[0],
    .size = sizeof(struct config),
    .versions = version_libraries,
};
