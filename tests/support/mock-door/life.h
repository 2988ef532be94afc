/*
 * The server's side of a device's life, as small as it can be: one certificate authority, devices
 * in memory, every signature checked. It stands in for the device door and its owner where a test
 * is about the device. Any thread: one lock.
 */
#ifndef MOCK_DOOR_LIFE_H
#define MOCK_DOOR_LIFE_H

#include "device/device.h"

struct life;

struct life_options {
    long renewals; /* orders per device, each given by the heartbeat after the last was confirmed */
    const char *kind; /* of the orders: "renew", "update", ... */
    bool new_key;
    bool allocate_only; /* bootstraps are answered without a certificate */
    long busy_every;    /* every n-th request is answered 503; 0: none */
    long flood_interval_s, heartbeat_interval_s;
};

struct life *life_new(const struct life_options *options);
void life_free(struct life *l);

/* One request of the device whose TLS client key is `rot`. Appends the answer's body, returns the
 * status; *ret_retry_s >= 0 when a Retry-After belongs to it. */
int life_answer(struct life *l, EVP_PKEY *rot, const char *path, const char *signature,
                struct span body, struct buf *answer, long *ret_retry_s);

/* For tests in the same process: the serial confirmed by a device, "" while none; counts so far. */
const char *life_installed(struct life *l, const char *uid);
struct life_numbers {
    long confirms, refused;
};
struct life_numbers life_numbers(struct life *l);

/* Appends the numbers as one JSON object. */
void life_report(struct life *l, struct buf *to);

#endif
