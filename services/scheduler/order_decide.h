/*
 * Decisions about orders: may this device be renewed now, what an order becomes when it is placed,
 * and how it goes on. Pure functions, any thread. The device's owner decides again when the request
 * reaches it: what is said here is the operator's first answer.
 */
#ifndef SCHEDULER_ORDER_DECIDE_H
#define SCHEDULER_ORDER_DECIDE_H

#include "proto/device.h"
#include "proto/order.h"

/* What a renewal would be signed with: from the CA's view. */
struct renewal_terms {
    bool known; /* false: the CA is not there any more */
    int64_t device_validity_s;
    int64_t not_after_ms; /* the CA's own end: nothing lives longer */
};

/*
 * Why a device cannot be renewed, "" if it can. `device` is NULL where the view has none. Codes:
 * not_found (also another domain's), not_active, no_certificate, revoked, not_managed (its CA is
 * not ours), operation_in_progress, not_longer.
 */
const char *renewal_refusal(const struct device *device, const struct uuid *domain,
                            const struct renewal_terms *terms, int64_t validity_s, int64_t now_ms);
/* The sentence behind a code, for people. Never NULL. */
const char *refusal_text(const char *code);

/* A placed order: header and chunks, from the request and one refusal code per device. Owned by the
 * caller: codec_free. */
struct order_draft {
    struct order header;
    struct order_chunk chunks[ORDER_CHUNKS_MAX];
    size_t chunk_count;
};
struct order_placing {
    struct uuid id, domain;
    const char *actor;
    const char *request_hash;
    const struct order_create *request;
    const char *const *refusals; /* request->device_count of them */
    int64_t now_ms;
};
void order_place(const struct order_placing *in, struct order_draft *ret);
void order_draft_free(struct order_draft *draft);

/* The header after its feeder reached `cursor`; false when that changes nothing (an old or repeated
 * report). */
bool order_advance(const struct order *before, int32_t cursor, int64_t now_ms, struct order *ret);

#endif
