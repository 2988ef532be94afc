#include "proto/heartbeat.h"

#define REQ  CODEC_REQUIRED
#define OMIT CODEC_OMIT_ZERO

static const struct codec_field heartbeat_fields[] = {
#define T struct heartbeat
    {CODEC_STR(T, type, "type", REQ, 1)},
    {CODEC_STR(T, uid, "uid", REQ, DEVICE_UID_LEN)},
    {CODEC_TIME(T, time_ms, "time", REQ)},
    {CODEC_I64_TEXT(T, sequence, "sequence", REQ, 1, INT64_MAX)},
    {CODEC_HEX_FIXED(T, installed, "installed", OMIT)},
    {CODEC_HEX_FIXED(T, accepted, "accepted", OMIT)},
#undef T
};
const struct codec_table heartbeat_table = CODEC_TABLE(struct heartbeat, heartbeat_fields);

static void put_be(uint8_t *to, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++) {
        to[i] = (uint8_t)(value >> (8 * (bytes - 1 - i)));
    }
}

static uint64_t get_be(const uint8_t *from, unsigned bytes)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; i++) {
        value = value << 8 | from[i];
    }
    return value;
}

void heartbeat_guard_encode(const struct heartbeat_guard *g, uint8_t out[HEARTBEAT_GUARD_BYTES])
{
    put_be(out, (uint64_t)g->time_ms, 8);
    put_be(out + 8, (uint64_t)g->sequence, 8);
    memcpy(out + 16, g->accepted, sizeof g->accepted);
    put_be(out + 24, g->flood_s, 4);
}

err_t heartbeat_guard_decode(struct span bytes, struct heartbeat_guard *ret)
{
    if (bytes.len != HEARTBEAT_GUARD_BYTES) {
        return ERR_CORRUPT;
    }
    ret->time_ms = (int64_t)get_be(bytes.ptr, 8);
    ret->sequence = (int64_t)get_be(bytes.ptr + 8, 8);
    memcpy(ret->accepted, bytes.ptr + 16, sizeof ret->accepted);
    ret->flood_s = (uint32_t)get_be(bytes.ptr + 24, 4);
    return ERR_OK;
}

void heartbeat_guard_key(const uint8_t uid[DEVICE_UID_BYTES], uint8_t out[HEARTBEAT_GUARD_KEY])
{
    memcpy(out, "g:h:", 4);
    memcpy(out + 4, uid, DEVICE_UID_BYTES);
}
