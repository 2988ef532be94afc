/*
 * One heartbeat as the door sees it: what the device sent, what the guard makes of it, and what is
 * answered. Pure functions, any thread; the guard's update itself happens inside Redis (lane.c),
 * with the same rules in its script.
 */
#ifndef HEARTBEAT_INGEST_BEAT_H
#define HEARTBEAT_INGEST_BEAT_H

#include "common/buf.h"
#include "common/codec.h"
#include "proto/device.h"
#include "proto/heartbeat.h"
#include "ratchet.h"

#define BEAT_BODY_MAX   1024
#define BEAT_ANSWER_MAX 1024

/* Body of POST /v1/device/heartbeat. */
struct beat_result {
    struct uuid operation;
    char status[16]; /* "failed" */
    char reason[DEVICE_REASON_MAX + 1];
};
struct beat_request {
    int64_t sequence;
    uint8_t token[DEVICE_TOKEN_MAX];
    size_t token_len;
    uint8_t installed[CERTIFICATE_SERIAL];
    struct beat_result result;
    bool has_result;
};
extern const struct codec_table beat_request_table;

/* What the guard decided. */
enum beat_verdict {
    BEAT_OPENED,   /* counted; the guard moved on */
    BEAT_REPEATED, /* the same sequence again: the same answer, nothing moved */
    BEAT_FLOOD,    /* inside the flood interval: refused, nothing moved */
    BEAT_STALE,    /* an old sequence: refused */
    BEAT_UNKNOWN,  /* no such device in a complete view */
    BEAT_REBUILD,  /* the view of its partition is being rebuilt: later */
    BEAT_COUNT,
};
const char *beat_verdict_name(enum beat_verdict v);

/* Seconds until a refused device may open again, never 0. */
uint32_t beat_retry_after(const struct heartbeat_guard *guard, int64_t now_ms);
/*
 * When the device should call again: its interval, less up to a tenth by chance, so that a fleet
 * that started together spreads. `random`: any 32 random bits.
 */
int64_t beat_next_s(int64_t interval_s, uint32_t random);
/* The work that waits: an active device's operation that it can act on; NULL when there is none. */
const struct device_operation *beat_work(const struct device *device);
/* Writes the answer of an accepted heartbeat. ERR_TOO_LARGE as buf_append. */
err_t beat_answer(const struct device *device, int64_t next_s,
                  const uint8_t token[RATCHET_TOKEN_BYTES], struct buf *to) MUST_USE;

#endif
