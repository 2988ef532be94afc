#include "beat.h"

#include <inttypes.h>

#define REQ  CODEC_REQUIRED
#define OMIT CODEC_OMIT_ZERO

static bool is_failed(const void *member)
{
    return strcmp(member, "failed") == 0;
}

static const struct codec_field result_fields[] = {
#define T struct beat_result
    {CODEC_UUID(T, operation, "operation", REQ)},
    {CODEC_STR(T, status, "status", REQ, 1), CODEC_RULE(is_failed, "\"failed\"")},
    {CODEC_STR(T, reason, "reason", REQ, 1)},
#undef T
};
static const struct codec_table result_table = CODEC_TABLE(struct beat_result, result_fields);

static const struct codec_field request_fields[] = {
#define T struct beat_request
    {CODEC_I64_TEXT(T, sequence, "sequence", REQ, 1, JSON_INTEGER_MAX)},
    {CODEC_BYTES(T, token, token_len, "token", OMIT, 1)},
    {CODEC_HEX_FIXED(T, installed, "installed", OMIT)},
    {CODEC_OBJECT(T, result, "result", OMIT, &result_table), CODEC_HAS(T, has_result)},
#undef T
};
const struct codec_table beat_request_table = CODEC_TABLE(struct beat_request, request_fields);

const char *beat_verdict_name(enum beat_verdict v)
{
    static const char *const names[BEAT_COUNT] = {"opened", "repeated", "flood",
                                                  "stale",  "unknown",  "rebuild"};
    return (unsigned)v < BEAT_COUNT ? names[v] : "?";
}

uint32_t beat_retry_after(const struct heartbeat_guard *guard, int64_t now_ms)
{
    int64_t until_ms = guard->time_ms + (int64_t)guard->flood_s * 1000;
    int64_t wait_s = (until_ms - now_ms + 999) / 1000;
    /* A clock that stepped back must not lock a device out for longer than the interval. */
    if (wait_s > (int64_t)guard->flood_s) {
        wait_s = guard->flood_s;
    }
    return wait_s < 1 ? 1 : (uint32_t)wait_s;
}

int64_t beat_next_s(int64_t interval_s, uint32_t random)
{
    int64_t spread = interval_s / 10;
    return spread > 0 ? interval_s - (int64_t)(random % (uint64_t)(spread + 1)) : interval_s;
}

const struct device_operation *beat_work(const struct device *device)
{
    if (device->state != DEVICE_ACTIVE || !device_has_operation(device)) {
        return NULL;
    }
    switch (device->operation.state) {
    case OPERATION_QUEUED:
    case OPERATION_AWAITING_KEY:
    case OPERATION_ISSUED:
        return &device->operation;
    case OPERATION_INSTALLED:
    case OPERATION_FAILED:
    case OPERATION_SUPERSEDED:
    case OPERATION_CANCELLED:
        break;
    }
    return NULL;
}

static bool needs_key(const struct device *device)
{
    return device->operation.kind == OPERATION_UPDATE ||
           device->operation.kind == OPERATION_ISSUE ||
           device->operation.state == OPERATION_AWAITING_KEY;
}

err_t beat_answer(const struct device *device, int64_t next_s,
                  const uint8_t token[RATCHET_TOKEN_BYTES], struct buf *to)
{
    const struct device_operation *work = beat_work(device);
    if (work == NULL) {
        (void)buf_append_str(to, "{\"work\":null");
    } else {
        char id[UUID_TEXT_SIZE];
        uuid_format(&work->id, id);
        (void)buf_printf(to, "{\"work\":{\"operation\":\"%s\",\"kind\":\"%s\",\"new_key\":%s}", id,
                         codec_name_of(operation_kind_names, work->kind),
                         needs_key(device) ? "true" : "false");
    }
    (void)buf_printf(to, ",\"next_heartbeat_s\":%" PRId64 ",\"token\":\"", next_s);
    (void)base64_append(to, span_of(token, RATCHET_TOKEN_BYTES), BASE64_STANDARD);
    (void)buf_printf(to,
                     "\",\"settings\":{\"heartbeat_interval_s\":%" PRId64
                     ",\"flood_interval_s\":%" PRId64 "}}",
                     device->settings.heartbeat_interval_s, device->settings.flood_interval_s);
    return buf_ok(to) ? ERR_OK : ERR_TOO_LARGE;
}
