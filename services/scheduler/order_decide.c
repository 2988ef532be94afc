#include "order_decide.h"

#include <stdio.h>

static const struct {
    const char *code;
    const char *text;
} refusals[] = {
    {"not_found", "no such device in this domain"},
    {"not_active", "the device is not active: it may not have certificates now"},
    {"no_certificate", "the device has not proved any certificate yet"},
    {"revoked", "its certificate is revoked: order a new key with update"},
    {"not_managed", "its certificate was not issued by a CA of this system"},
    {"operation_in_progress", "another operation was handed to the device and is not proved yet"},
    {"not_longer", "the new certificate would not be valid longer than the present one: transfer "
                   "it to another CA first"},
};

const char *refusal_text(const char *code)
{
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        if (strcmp(refusals[i].code, code) == 0) {
            return refusals[i].text;
        }
    }
    return "refused";
}

/* A wish that nobody has picked up yet may be replaced; what was handed out must first be proved or
 * fail. */
static bool is_busy(const struct device *device)
{
    return device_has_operation(device) && device->operation.state != OPERATION_QUEUED;
}

static bool is_longer(const struct device *device, const struct renewal_terms *terms,
                      int64_t validity_s, int64_t now_ms)
{
    int64_t seconds = validity_s > 0 ? validity_s : terms->device_validity_s;
    int64_t until = now_ms + seconds * 1000;
    until = until < terms->not_after_ms ? until : terms->not_after_ms;
    return until > device->certificate.not_after_ms;
}

const char *renewal_refusal(const struct device *device, const struct uuid *domain,
                            const struct renewal_terms *terms, int64_t validity_s, int64_t now_ms)
{
    if (device == NULL || !uuid_eq(&device->domain, domain)) {
        return "not_found";
    }
    if (device->state != DEVICE_ACTIVE) {
        return "not_active";
    }
    if (!device_has_certificate(device)) {
        return "no_certificate";
    }
    if (device->certificate.revoked_at_ms != 0) {
        return "revoked";
    }
    if (!terms->known) {
        return "not_managed";
    }
    if (is_busy(device)) {
        return "operation_in_progress";
    }
    return is_longer(device, terms, validity_s, now_ms) ? "" : "not_longer";
}

static void place_chunk(const struct order_placing *in, size_t number, struct order_draft *draft)
{
    struct order_chunk *chunk = &draft->chunks[number];
    size_t from = number * ORDER_CHUNK_DEVICES;
    size_t count = in->request->device_count - from;
    count = count < ORDER_CHUNK_DEVICES ? count : ORDER_CHUNK_DEVICES;
    *chunk = (struct order_chunk){.type = ORDER_CHUNK_TYPE,
                                  .order = in->id,
                                  .number = (int32_t)number,
                                  .device_count = count};
    chunk->devices = xcalloc(count, sizeof *chunk->devices);
    for (size_t i = 0; i < count; i++) {
        const char *refusal = in->refusals[from + i];
        order_entry_set(&chunk->devices[i], in->request->devices[from + i].uid, refusal);
        draft->header.queued += refusal[0] == 0;
        draft->header.refused += refusal[0] != 0;
    }
}

void order_place(const struct order_placing *in, struct order_draft *ret)
{
    *ret = (struct order_draft){.header = {.type = ORDER_TYPE,
                                           .id = in->id,
                                           .domain = in->domain,
                                           .kind = in->request->kind,
                                           .validity_s = in->request->validity_s,
                                           .created_at_ms = in->now_ms,
                                           .total = (int32_t)in->request->device_count,
                                           .updated_at_ms = in->now_ms}};
    (void)snprintf(ret->header.actor, sizeof ret->header.actor, "%s", in->actor);
    (void)snprintf(ret->header.request_hash, sizeof ret->header.request_hash, "%s",
                   in->request_hash);
    ret->chunk_count = (in->request->device_count + ORDER_CHUNK_DEVICES - 1) / ORDER_CHUNK_DEVICES;
    for (size_t i = 0; i < ret->chunk_count; i++) {
        place_chunk(in, i, ret);
    }
    ret->header.state = ret->header.queued > 0 ? ORDER_FEEDING : ORDER_DONE;
    ret->header.cursor = ret->header.queued > 0 ? 0 : ret->header.total;
}

void order_draft_free(struct order_draft *draft)
{
    codec_free(&order_table, &draft->header);
    for (size_t i = 0; i < draft->chunk_count; i++) {
        codec_free(&order_chunk_table, &draft->chunks[i]);
    }
}

bool order_advance(const struct order *before, int32_t cursor, int64_t now_ms, struct order *ret)
{
    if (before->state != ORDER_FEEDING || cursor <= before->cursor || cursor > before->total) {
        return false;
    }
    codec_copy(&order_table, before, ret);
    ret->cursor = cursor;
    ret->state = cursor == before->total ? ORDER_DONE : ORDER_FEEDING;
    ret->updated_at_ms = now_ms;
    return true;
}
