/*
 * Orders: what an operator wishes for a list of devices, kept by the scheduler. The header
 * ("order.v1", record key "<order>") holds the counts and how far the list was handed to the device
 * owners; the devices are in chunks ("order-chunk.v1", "<order>/<n>"), since nothing that grows
 * sits inside one record. Doors read the view {o<p>} (same JSON); indexes: `keys` with member
 * "<domain>/<created ms, 13 digits>/<order>", and `open` (score: created) while it is being fed.
 * Pure functions, any thread.
 */
#ifndef PROTO_ORDER_H
#define PROTO_ORDER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/codec.h"
#include "proto/device.h"

#define ORDER_TYPE          "order.v1"
#define ORDER_CHUNK_TYPE    "order-chunk.v1"
#define ORDER_DEVICES_MAX   10000
#define ORDER_CHUNK_DEVICES 1000
#define ORDER_CHUNKS_MAX    (ORDER_DEVICES_MAX / ORDER_CHUNK_DEVICES)
#define ORDER_CODE_MAX      24
#define ORDER_RECORD_MAX    65536
#define ORDER_KEY_SIZE      48

#define ORDER_REQUEST_CREATE   "order.create.v1"
#define ORDER_REQUEST_PROGRESS "order.progress.v1"

enum order_state {
    ORDER_FEEDING = 1, /* devices from `cursor` on are still to be handed to their owners */
    ORDER_DONE,        /* every queued device's owner has its request; each goes on by itself */
};
extern const struct codec_name order_state_names[];

struct order {
    char type[16];
    struct uuid id; /* of the request that made it */
    struct uuid domain;
    enum operation_kind kind;
    enum order_state state;
    char actor[97];
    int64_t validity_s; /* 0: what each CA says */
    int64_t created_at_ms;
    int32_t total, queued, refused;
    int32_t cursor; /* devices handed over, counted in list order, refused ones included */
    char request_hash[65];
    int64_t updated_at_ms;
    cJSON *extra;
};
extern const struct codec_table order_table;

/* One device of an order: "" means queued, else why not ("no_certificate", ...). Stored as "<uid>"
 * or "<uid> <code>". */
struct order_entry {
    char text[DEVICE_UID_LEN + 1 + ORDER_CODE_MAX + 1];
};
void order_entry_set(struct order_entry *entry, const char *uid, const char *code);
/* The code; "" for queued. */
const char *order_entry_code(const struct order_entry *entry);

struct order_chunk {
    char type[16];
    struct uuid order;
    int32_t number;
    struct order_entry *devices; /* owned */
    size_t device_count;
    cJSON *extra;
};
extern const struct codec_table order_chunk_table;

/* Body of order.create.v1; the envelope's id is the order's id, its domain the owner. */
struct order_create {
    enum operation_kind kind;
    int64_t validity_s;
    struct order_create_device {
        char uid[DEVICE_UID_LEN + 1];
    } * devices; /* owned */
    size_t device_count;
};
extern const struct codec_table order_create_table;

/* Body of order.progress.v1, which the scheduler writes to itself. */
struct order_progress {
    struct uuid order;
    int32_t cursor;
};
extern const struct codec_table order_progress_table;

/* Record key of a chunk; number < 0: of the header. */
void order_key(const struct uuid *order, int32_t number, char out[ORDER_KEY_SIZE]);
/* The operation an order gives a device: uuid5(order, uid). */
struct uuid order_operation_id(const struct uuid *order, const char *uid);

#endif
