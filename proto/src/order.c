#include "proto/order.h"

#include <stdio.h>
#include <string.h>

const struct codec_name order_state_names[] = {
    {ORDER_FEEDING, "feeding"}, {ORDER_DONE, "done"}, {0, NULL}};

#define REQ  CODEC_REQUIRED
#define OMIT CODEC_OMIT_ZERO

static bool uid_rule(const void *member)
{
    return device_uid_valid(span_str(member));
}

static const struct codec_field order_fields[] = {
#define T struct order
    {CODEC_STR(T, type, "type", REQ, 1)},
    {CODEC_UUID(T, id, "id", REQ)},
    {CODEC_UUID(T, domain, "domain", REQ)},
    {CODEC_ENUM(T, kind, "kind", REQ, operation_kind_names)},
    {CODEC_ENUM(T, state, "state", REQ, order_state_names)},
    {CODEC_STR(T, actor, "actor", OMIT, 0)},
    {CODEC_I64(T, validity_s, "validity_s", OMIT, 0, JSON_INTEGER_MAX)},
    {CODEC_TIME(T, created_at_ms, "created_at", REQ)},
    {CODEC_I32(T, total, "total", REQ, 0, ORDER_DEVICES_MAX)},
    {CODEC_I32(T, queued, "queued", REQ, 0, ORDER_DEVICES_MAX)},
    {CODEC_I32(T, refused, "refused", REQ, 0, ORDER_DEVICES_MAX)},
    {CODEC_I32(T, cursor, "cursor", REQ, 0, ORDER_DEVICES_MAX)},
    {CODEC_STR(T, request_hash, "request_hash", OMIT, 0)},
    {CODEC_TIME(T, updated_at_ms, "updated_at", REQ)},
#undef T
};
const struct codec_table order_table = CODEC_TABLE_KEEP(struct order, order_fields, extra);

static const struct codec_field entry_element = {
    CODEC_ELEMENT_STR(sizeof(struct order_entry), DEVICE_UID_LEN)};

static const struct codec_field chunk_fields[] = {
#define T struct order_chunk
    {CODEC_STR(T, type, "type", REQ, 1)},
    {CODEC_UUID(T, order, "order", REQ)},
    {CODEC_I32(T, number, "number", REQ, 0, ORDER_CHUNKS_MAX - 1)},
    {CODEC_ARRAY_HEAP(T, devices, device_count, "devices", REQ, 1, ORDER_CHUNK_DEVICES,
                      &entry_element)},
#undef T
};
const struct codec_table order_chunk_table =
    CODEC_TABLE_KEEP(struct order_chunk, chunk_fields, extra);

static const struct codec_field uid_element = {
    CODEC_ELEMENT_STR(sizeof(struct order_create_device), DEVICE_UID_LEN),
    CODEC_RULE(uid_rule, "16 lower-case hex digits")};

static const struct codec_field create_fields[] = {
#define T struct order_create
    {CODEC_ENUM(T, kind, "kind", REQ, operation_kind_names)},
    {CODEC_I64(T, validity_s, "validity_s", OMIT, 0, JSON_INTEGER_MAX)},
    {CODEC_ARRAY_HEAP(T, devices, device_count, "devices", REQ, 1, ORDER_DEVICES_MAX,
                      &uid_element)},
#undef T
};
const struct codec_table order_create_table = CODEC_TABLE(struct order_create, create_fields);

static const struct codec_field progress_fields[] = {
#define T struct order_progress
    {CODEC_UUID(T, order, "order", REQ)},
    {CODEC_I32(T, cursor, "cursor", REQ, 0, ORDER_DEVICES_MAX)},
#undef T
};
const struct codec_table order_progress_table = CODEC_TABLE(struct order_progress, progress_fields);

void order_entry_set(struct order_entry *entry, const char *uid, const char *code)
{
    (void)snprintf(entry->text, sizeof entry->text, "%.*s%s%.*s", DEVICE_UID_LEN, uid,
                   code[0] ? " " : "", ORDER_CODE_MAX, code);
}

const char *order_entry_code(const struct order_entry *entry)
{
    const char *space = strchr(entry->text, ' ');
    return space != NULL ? space + 1 : "";
}

void order_key(const struct uuid *order, int32_t number, char out[ORDER_KEY_SIZE])
{
    uuid_format(order, out);
    if (number >= 0) {
        (void)snprintf(out + UUID_TEXT_SIZE - 1, ORDER_KEY_SIZE - UUID_TEXT_SIZE + 1, "/%d",
                       (int)number);
    }
}

struct uuid order_operation_id(const struct uuid *order, const char *uid)
{
    return UUID_V5(uuid_span(order), span_str(uid));
}
