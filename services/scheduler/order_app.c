#include "order_app.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/log.h"
#include "proto/envelope.h"
#include "proto/topics.h"

#define RECORD_BYTES ((size_t)ORDER_RECORD_MAX)
#define REPLY_BYTES  ((size_t)2 * 1024 * 1024)
#define JSON_RECORD  ((struct json_limits){ORDER_RECORD_MAX, 4, 4096})

struct order_request {
    struct envelope envelope; /* without its tree */
    bool creates;
    struct uuid id, domain;
    struct order_create create;
    struct order_progress progress;
    unsigned header;
    unsigned chunks[ORDER_CHUNKS_MAX];
    size_t chunk_count;
    const char **refusals; /* one per device; constants */
};

/* Both kinds of order records behind one pointer. */
struct order_state_object {
    bool is_chunk;
    union {
        struct order header;
        struct order_chunk chunk;
    } of;
};

static const struct codec_table *table_of(const struct order_state_object *s)
{
    return s->is_chunk ? &order_chunk_table : &order_table;
}

static void free_request(void *request)
{
    struct order_request *r = request;
    codec_free(&order_create_table, &r->create);
    free(r->refusals);
    free(r);
}

static void free_state(void *state)
{
    struct order_state_object *s = state;
    codec_free(table_of(s), &s->of);
    free(s);
}

/* ---- decode ---- */

static err_t need(struct work *w, const struct uuid *order, int32_t number, unsigned *ret)
{
    char key[ORDER_KEY_SIZE];
    order_key(order, number, key);
    return work_need(w, span_str(key), ret);
}

static err_t decode_create(struct work *w, struct order_request *r, const cJSON *body,
                           struct fault *fault)
{
    err_t e = codec_decode(&order_create_table, CODEC_KEEP, body, &r->create, fault);
    if (e == ERR_OK && r->create.kind != OPERATION_RENEW) {
        e = fault_set(fault, ERR_UNSUPPORTED, "unsupported_order", "kind", "must be renew");
    }
    if (e == ERR_OK && r->envelope.domain[0] == 0) {
        e = fault_set(fault, ERR_INVALID, "validation_error", "domain",
                      "must name whose devices they are");
    }
    if (e == ERR_OK) {
        e = need(w, &r->id, -1, &r->header);
    }
    r->chunk_count = (r->create.device_count + ORDER_CHUNK_DEVICES - 1) / ORDER_CHUNK_DEVICES;
    for (size_t i = 0; i < r->chunk_count && e == ERR_OK; i++) {
        e = need(w, &r->id, (int32_t)i, &r->chunks[i]);
    }
    return e;
}

static err_t decode_progress(struct work *w, struct order_request *r, const cJSON *body,
                             struct fault *fault)
{
    err_t e = codec_decode(&order_progress_table, CODEC_KEEP, body, &r->progress, fault);
    return e == ERR_OK ? need(w, &r->progress.order, -1, &r->header) : e;
}

static err_t decode_body(struct work *w, struct order_request *r, struct fault *fault)
{
    if (strcmp(r->envelope.type, ORDER_REQUEST_CREATE) == 0) {
        r->creates = true;
        return decode_create(w, r, r->envelope.body, fault);
    }
    if (strcmp(r->envelope.type, ORDER_REQUEST_PROGRESS) == 0) {
        return decode_progress(w, r, r->envelope.body, fault);
    }
    return fault_set(fault, ERR_UNSUPPORTED, "unknown_type", "type", "must be %s or %s",
                     ORDER_REQUEST_CREATE, ORDER_REQUEST_PROGRESS);
}

static err_t decode(void *ctx, struct work *w, struct fault *fault)
{
    (void)ctx;
    struct order_request *r = xcalloc(1, sizeof *r);
    work_set_request(w, r);
    err_t e = envelope_decode(work_source(w)->value, &r->envelope, fault);
    if (e == ERR_OK) {
        e = uuid_parse(span_str(r->envelope.id), &r->id);
    }
    if (e == ERR_OK && r->envelope.domain[0] != 0) {
        e = uuid_parse(span_str(r->envelope.domain), &r->domain);
    }
    if (e == ERR_OK) {
        e = decode_body(w, r, fault);
    }
    envelope_deinit(&r->envelope);
    return e;
}

/* ---- prepare: what the devices and CAs look like now ---- */

static err_t refusal_of(struct order_app *app, const struct order_request *r, const char *uid,
                        struct span packed, int64_t now_ms, const char **ret)
{
    CLEANUP(device_free) struct device *device = NULL;
    struct renewal_terms terms = {0};
    err_t e = ERR_OK;
    if (packed.ptr != NULL && device_unpack_bare(span_str(uid), packed, &device) != ERR_OK) {
        e = ERR_UNAVAILABLE; /* its owner's alarm, not one of the orders' */
    }
    if (e == ERR_OK && device != NULL && device_has_certificate(device)) {
        e = fleet_view_terms(app->fleet, &device->certificate.ca, clock_mono_ms(app->clock),
                             &terms);
    }
    if (e == ERR_OK) {
        *ret = renewal_refusal(device, &r->domain, &terms, r->create.validity_s, now_ms);
    }
    return e;
}

static err_t look_up(struct order_app *app, struct order_request *r)
{
    size_t n = r->create.device_count;
    CLEANUP(arena_deinit) struct arena arena = {0};
    CLEANUP_FREE const char **uids = xcalloc(n, sizeof *uids);
    CLEANUP_FREE struct span *packed = xcalloc(n, sizeof *packed);
    CLEANUP_FREE const char **found = xcalloc(n, sizeof *found);
    for (size_t i = 0; i < n; i++) {
        uids[i] = r->create.devices[i].uid;
    }
    int64_t now_ms = clock_now_ms(app->clock);
    err_t e = fleet_view_devices(app->fleet, uids, n, &arena, packed);
    for (size_t i = 0; i < n && e == ERR_OK; i++) {
        e = refusal_of(app, r, uids[i], packed[i], now_ms, &found[i]);
    }
    if (e == ERR_OK) {
        free(r->refusals);
        r->refusals = TAKE(found);
    }
    return e;
}

static err_t prepare(void *ctx, struct work **works, unsigned n)
{
    err_t e = ERR_OK;
    for (unsigned i = 0; i < n && e == ERR_OK; i++) {
        struct order_request *r = work_request(works[i]);
        if (r->creates && work_state(works[i], r->header) == NULL) {
            e = look_up(ctx, r);
        }
    }
    return e;
}

/* ---- decide ---- */

static void put(struct work *w, unsigned index, struct order_state_object *state)
{
    CLEANUP_BUF struct buf record = BUF_INIT(RECORD_BYTES);
    if (codec_encode(table_of(state), &state->of, &record) != ERR_OK) {
        abort(); /* our own struct within our own limits */
    }
    work_put(w, index, state, buf_span(&record));
}

static void put_header(struct work *w, unsigned index, const struct order *header)
{
    struct order_state_object *state = xcalloc(1, sizeof *state);
    codec_copy(&order_table, header, &state->of.header);
    put(w, index, state);
}

static void put_chunk(struct work *w, unsigned index, const struct order_chunk *chunk)
{
    struct order_state_object *state = xcalloc(1, sizeof *state);
    state->is_chunk = true;
    codec_copy(&order_chunk_table, chunk, &state->of.chunk);
    put(w, index, state);
}

static void add_refusals(cJSON *list, cJSON *texts, const struct order_chunk *chunk)
{
    for (size_t i = 0; i < chunk->device_count; i++) {
        const char *code = order_entry_code(&chunk->devices[i]);
        if (code[0] == 0) {
            continue;
        }
        cJSON *item = cJSON_CreateObject();
        char uid[DEVICE_UID_LEN + 1];
        (void)snprintf(uid, sizeof uid, "%.*s", DEVICE_UID_LEN, chunk->devices[i].text);
        (void)cJSON_AddStringToObject(item, "uid", uid);
        (void)cJSON_AddStringToObject(item, "code", code);
        (void)cJSON_AddItemToArray(list, item);
        if (!cJSON_HasObjectItem(texts, code)) {
            (void)cJSON_AddStringToObject(texts, code, refusal_text(code));
        }
    }
}

static void reply(struct work *w, const struct order_request *r, int status,
                  const struct fault *fault, const cJSON *result)
{
    CLEANUP_BUF struct buf json = BUF_INIT(REPLY_BYTES);
    if (reply_encode(r->envelope.id, status, fault, result, &json) == ERR_OK) {
        work_reply(w, r->envelope.id, r->envelope.reply_to, buf_span(&json));
    }
}

/* The per-device answer: who is not in `refused` is queued; its operation is uuid5(order, uid). */
static void reply_placed(struct work *w, const struct order_request *r)
{
    const struct order_state_object *state = work_state(w, r->header);
    const struct order *header = &state->of.header;
    CLEANUP_JSON cJSON *result = cJSON_CreateObject();
    (void)cJSON_AddStringToObject(result, "order", r->envelope.id);
    (void)cJSON_AddNumberToObject(result, "total", header->total);
    (void)cJSON_AddNumberToObject(result, "queued", header->queued);
    cJSON *list = cJSON_AddArrayToObject(result, "refused");
    cJSON *texts = cJSON_AddObjectToObject(result, "messages");
    for (size_t i = 0; i < r->chunk_count; i++) {
        const struct order_state_object *chunk = work_state(w, r->chunks[i]);
        if (chunk != NULL) {
            add_refusals(list, texts, &chunk->of.chunk);
        }
    }
    reply(w, r, 200, NULL, result);
}

static void place(struct order_app *app, struct work *w, const struct order_request *r,
                  int64_t now_ms)
{
    char actor[sizeof((struct order *)0)->actor];
    (void)snprintf(actor, sizeof actor, "%s:%.70s", r->envelope.actor_kind, r->envelope.actor_id);
    struct order_draft draft;
    order_place(&(struct order_placing){.id = r->id,
                                        .domain = r->domain,
                                        .actor = actor,
                                        .request_hash = r->envelope.hash,
                                        .request = &r->create,
                                        .refusals = r->refusals,
                                        .now_ms = now_ms},
                &draft);
    put_header(w, r->header, &draft.header);
    for (size_t i = 0; i < draft.chunk_count; i++) {
        put_chunk(w, r->chunks[i], &draft.chunks[i]);
    }
    metric_inc(app->placed);
    metric_add(app->queued, draft.header.queued);
    metric_add(app->refused, draft.header.refused);
    order_draft_free(&draft);
    reply_placed(w, r);
}

static void decide_create(struct order_app *app, struct work *w, const struct order_request *r,
                          int64_t now_ms)
{
    const struct order_state_object *before = work_state(w, r->header);
    if (before == NULL) {
        if (r->refusals != NULL) {
            place(app, w, r, now_ms);
        }
        return;
    }
    metric_inc(app->repeated);
    if (strcmp(before->of.header.request_hash, r->envelope.hash) == 0) {
        reply_placed(w, r);
        return;
    }
    struct fault fault = {0};
    (void)fault_set(&fault, ERR_CONFLICT, "idempotency_key_reused", "Idempotency-Key",
                    "this key was used with another body: take a new key, or send the same body");
    reply(w, r, 422, &fault, NULL);
}

static void decide_progress(struct work *w, const struct order_request *r, int64_t now_ms)
{
    const struct order_state_object *before = work_state(w, r->header);
    struct order after;
    if (before == NULL) {
        struct fault fault = {0};
        err_t e = fault_set(&fault, ERR_ABSENT, "unknown_order", "order", "there is no such order");
        work_dead_letter(w, e, &fault);
    } else if (order_advance(&before->of.header, r->progress.cursor, now_ms, &after)) {
        put_header(w, r->header, &after);
        codec_free(&order_table, &after);
    }
}

/* In another partition the order would be unknown, and placed a second time. */
static err_t check_place(const struct work *w, const struct order_request *r, struct fault *fault)
{
    char order[UUID_TEXT_SIZE];
    uuid_format(r->creates ? &r->id : &r->progress.order, order);
    return work_check_place(w, span_str(order), fault);
}

static void decide(void *ctx, struct work *w, int64_t now_ms)
{
    const struct order_request *r = work_request(w);
    struct fault astray = {0};
    err_t e = check_place(w, r, &astray);
    if (e != ERR_OK) {
        work_dead_letter(w, e, &astray);
    } else if (r->creates) {
        decide_create(ctx, w, r, now_ms);
    } else {
        decide_progress(w, r, now_ms);
    }
}

/* ---- state ---- */

static err_t parse(struct span record_key, struct span value, struct order_state_object *s)
{
    s->is_chunk = memchr(record_key.ptr, '/', record_key.len) != NULL;
    err_t e = codec_decode_text(table_of(s), CODEC_KEEP, value, &JSON_RECORD, &s->of, NULL);
    if (e != ERR_OK) {
        return ERR_CORRUPT;
    }
    bool known = s->is_chunk ? strcmp(s->of.chunk.type, ORDER_CHUNK_TYPE) == 0
                             : strcmp(s->of.header.type, ORDER_TYPE) == 0;
    if (!known) {
        codec_free(table_of(s), &s->of);
        return ERR_UNSUPPORTED;
    }
    return ERR_OK;
}

static err_t load(void *ctx, struct span record_key, struct span payload, void **ret_state)
{
    (void)ctx;
    CLEANUP_FREE struct order_state_object *s = xcalloc(1, sizeof *s);
    err_t e = parse(record_key, payload, s);
    if (e == ERR_OK) {
        *ret_state = TAKE(s);
    }
    return e;
}

static err_t index_header(const struct order *order, struct view_record *to)
{
    char domain[UUID_TEXT_SIZE];
    char id[UUID_TEXT_SIZE];
    char member[128];
    uuid_format(&order->domain, domain);
    uuid_format(&order->id, id);
    (void)snprintf(member, sizeof member, "%s/%013" PRId64 "/%s", domain, order->created_at_ms, id);
    err_t e = view_record_index(to, span_str("keys"), span_str(member), 0);
    if (e == ERR_OK && order->state == ORDER_FEEDING) {
        e = view_record_index(to, span_str("open"), span_str(id), (double)order->created_at_ms);
    }
    return e;
}

static err_t project(void *ctx, struct span record_key, struct span value, struct view_record *to)
{
    (void)ctx;
    struct order_state_object s = {0};
    err_t e = parse(record_key, value, &s);
    if (e != ERR_OK) {
        return e;
    }
    view_record_clear(to);
    (void)buf_append_span(&to->key, record_key);
    (void)buf_append_span(&to->payload, value);
    if (!s.is_chunk) {
        e = index_header(&s.of.header, to);
    }
    codec_free(table_of(&s), &s.of);
    return e != ERR_OK ? e : buf_ok(&to->payload) ? ERR_OK : ERR_TOO_LARGE;
}

void order_app_init(struct order_app *app, struct fleet_view *fleet, const struct clock *clock,
                    struct metrics *registry)
{
    app->fleet = fleet;
    app->clock = clock;
    app->placed = metrics_counter(registry, "fleetseal_orders_placed_total", "Orders accepted.",
                                  METRIC_NO_LABELS);
    app->repeated = metrics_counter(registry, "fleetseal_orders_repeated_total",
                                    "Orders that had been placed before.", METRIC_NO_LABELS);
    app->queued =
        metrics_counter(registry, "fleetseal_order_devices_total",
                        "Devices in orders, by first answer.", METRIC_LABELS({"answer", "queued"}));
    app->refused = metrics_counter(registry, "fleetseal_order_devices_total",
                                   "Devices in orders, by first answer.",
                                   METRIC_LABELS({"answer", "refused"}));
}

const struct processor_app order_processor = {
    .name = "scheduler.order",
    .request_topic = TOPIC_ORDER_REQUESTS,
    .state_topic = TOPIC_ORDER_STATE,
    .view_letter = VIEW_ORDER,
    .decode = decode,
    .prepare = prepare,
    .decide = decide,
    .free_request = free_request,
    .load = load,
    .free_state = free_state,
    .project = project,
};
