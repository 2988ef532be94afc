/*
 * Bootstrap, pick-up and confirm: the device's signed message goes to its owner as it came, and the
 * owner's verdict comes back. The door adds nothing that is believed: ca-signer checks signature
 * and key itself. What the door decides is whether a stranger's message reaches the log at all
 * (vouch.h).
 */
#include <stdio.h>

#include "common/id.h"
#include "common/json.h"
#include "common/log.h"
#include "door.h"
#include "proto/device_request.h"
#include "proto/envelope.h"
#include "proto/registry.h"
#include "proto/topics.h"

#define REQUEST_BYTES  ((size_t)64 * 1024)
#define ANSWER_BYTES   ((size_t)DEVICE_ANSWER_MAX)
#define RETRY_AFTER_S  2 /* of a 202: repeats of the same message pass every guard */
#define ANSWER_LIMITS  ((struct json_limits){ANSWER_BYTES, 8, 1024})
#define PAYLOAD_LIMITS ((struct json_limits){(size_t)DEVICE_REQUEST_MAX, 4, 64})

#define LOOK_MS                                                                                    \
    10000 /* longest that Redis may leave a message waiting, behind its own time limits */

/* A signed exchange on its way: through a lane, then to its owner. */
struct exchange {
    struct vouch_lookup look;
    struct door *door;
    enum device_exchange kind;
    struct http_ticket *ticket;
    struct identity who;
    char operation[UUID_TEXT_SIZE]; /* "" at bootstrap */
    char id[UUID_TEXT_SIZE];        /* of the request */
    struct buf request;
};

static void exchange_free(struct exchange *x)
{
    buf_deinit(&x->request);
    free(x);
}
CLEANUP_DEFINE(struct exchange *, exchange_free);

/* ---- the answer ---- */

static void finish(struct exchange *x, struct http_response *response)
{
    err_t late = http_resume(x->ticket, response);
    (void)late; /* a deadline that was quicker has answered already */
}

static struct http_response *pending(const char *operation)
{
    CLEANUP_BUF struct buf body = BUF_INIT(256);
    if (operation[0] != 0) {
        (void)buf_printf(&body, "{\"operation\":\"%s\",\"status\":\"pending\"}", operation);
    } else {
        (void)buf_append_str(&body, "{\"status\":\"pending\"}");
    }
    struct http_response *response = http_response_json(202, &body);
    http_response_set_retry_after(response, RETRY_AFTER_S);
    return response;
}

static const char *text_of(const cJSON *object, const char *name)
{
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(object, name);
    return cJSON_IsString(value) ? value->valuestring : "";
}

static struct http_response *refusal(const cJSON *reply, int status)
{
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(reply, "fields");
    struct http_error_field fields[8];
    size_t count = 0;
    const cJSON *item = NULL;
    cJSON_ArrayForEach(item, list)
    {
        if (count < sizeof fields / sizeof fields[0]) {
            fields[count++] =
                (struct http_error_field){text_of(item, "field"), text_of(item, "message")};
        }
    }
    return http_response_error((unsigned)status, text_of(reply, "type"), text_of(reply, "message"),
                               fields, count);
}

static struct http_response *success(const struct exchange *x, cJSON *reply, int status)
{
    cJSON *result = cJSON_DetachItemFromObjectCaseSensitive(reply, "result");
    CLEANUP_JSON cJSON *body = result != NULL ? result : cJSON_CreateObject();
    if (x->kind == DEVICE_BOOTSTRAP && x->door->server_ca[0] != 0) {
        (void)cJSON_AddStringToObject(body, "server_ca", x->door->server_ca);
    }
    CLEANUP_BUF struct buf text = BUF_INIT(ANSWER_BYTES);
    if (json_encode(body, &text) != ERR_OK) {
        return http_response_fault(ERR_INTERNAL, NULL);
    }
    return http_response_json((unsigned)status, &text);
}

static struct http_response *answer(const struct exchange *x, struct span reply)
{
    CLEANUP_JSON cJSON *json = NULL;
    int64_t status = 0;
    if (json_decode(reply, &ANSWER_LIMITS, &json, NULL) != ERR_OK ||
        json_get_int(json, "status", 200, 599, &status, NULL) != ERR_OK) {
        return http_response_fault(ERR_INTERNAL, NULL);
    }
    return status < 300 ? success(x, json, (int)status) : refusal(json, (int)status);
}

static void done(void *ctx, enum reply_outcome outcome, struct span reply)
{
    struct exchange *x = ctx;
    switch (outcome) {
    case REPLY_ANSWERED:
        finish(x, answer(x, reply));
        break;
    case REPLY_NONE:
    case REPLY_UNKNOWN:
        metric_inc(x->door->metrics.unanswered);
        finish(x, pending(x->operation));
        break;
    case REPLY_NOT_SENT:
        finish(x, http_response_fault(ERR_UNAVAILABLE, NULL));
        break;
    }
    exchange_free(x);
}

/* The server's own deadline lies behind the waiter's: it only speaks when the process is going down
 * or stuck. */
static struct http_response *too_late(struct http_request *req, void *ctx, enum http_wake why)
{
    (void)req;
    (void)ctx;
    (void)why;
    return pending("");
}

/* ---- the request ---- */

struct message {
    const struct identity *who;
    enum device_exchange kind;
    struct span payload;
    char operation[UUID_TEXT_SIZE];    /* "" for none */
    char profile[DEVICE_PROFILE_SIZE]; /* "" for none */
    uint64_t sequence;
    uint8_t signature[DEVICE_SIGNATURE_MAX];
    size_t signature_len;
};

static const char *request_type(enum device_exchange kind)
{
    switch (kind) {
    case DEVICE_BOOTSTRAP:
        return DEVICE_REQUEST_BOOTSTRAP;
    case DEVICE_PICKUP:
        return DEVICE_REQUEST_PICKUP;
    case DEVICE_CONFIRM:
        return DEVICE_REQUEST_CONFIRM;
    case DEVICE_HEARTBEAT:
    case DEVICE_EXCHANGE_COUNT:
        break;
    }
    return "";
}

#define SIGNATURE_FORM "must be \"v1 <sequence> <base64 signature>\""

static err_t take_signature(struct http_request *req, struct message *m, struct fault *fault)
{
    const char *header = http_request_header(req, DEVICE_SIGNATURE_HEADER);
    if (header == NULL) {
        return fault_set(fault, ERR_INVALID, "signature_missing", DEVICE_SIGNATURE_HEADER,
                         SIGNATURE_FORM);
    }
    err_t e =
        device_signature_parse(span_str(header), &m->sequence, m->signature, &m->signature_len);
    if (e == ERR_OK && m->sequence <= (uint64_t)JSON_INTEGER_MAX) {
        return ERR_OK;
    }
    return fault_set(fault, ERR_INVALID, "signature_invalid", DEVICE_SIGNATURE_HEADER,
                     SIGNATURE_FORM ", sequence 1 to %lld, signature of at most %d bytes",
                     (long long)JSON_INTEGER_MAX, DEVICE_SIGNATURE_MAX);
}

/* What a device signs, by exchange. */
union payload {
    struct device_bootstrap_payload bootstrap;
    struct device_pickup_payload pickup;
    struct device_confirm_payload confirm;
};

static const struct codec_table *payload_table(enum device_exchange kind)
{
    switch (kind) {
    case DEVICE_BOOTSTRAP:
        return &device_bootstrap_payload_table;
    case DEVICE_PICKUP:
        return &device_pickup_payload_table;
    case DEVICE_CONFIRM:
    case DEVICE_HEARTBEAT:
    case DEVICE_EXCHANGE_COUNT:
        break;
    }
    return &device_confirm_payload_table;
}

static err_t check_uid(const struct message *m, const char *uid, struct fault *fault)
{
    return strcmp(uid, m->who->uid_text) == 0
               ? ERR_OK
               : fault_set(fault, ERR_FORBIDDEN, "uid_mismatch", "uid",
                           "must be %s, that of the client certificate's key", m->who->uid_text);
}

/*
 * The owner reads the payload itself, since only the signature makes it true. It is read here as
 * well because an owner has no answer for what it cannot read: the device would be told to come
 * back for ever.
 */
static err_t take_payload(struct message *m, struct fault *fault)
{
    const struct codec_table *table = payload_table(m->kind);
    CLEANUP_FREE union payload *payload = xcalloc(1, sizeof *payload);
    err_t e = codec_decode_text(table, CODEC_KEEP, m->payload, &PAYLOAD_LIMITS, payload, fault);
    if (e != ERR_OK) {
        return e;
    }
    switch (m->kind) {
    case DEVICE_BOOTSTRAP:
        e = check_uid(m, payload->bootstrap.uid, fault);
        memcpy(m->profile, payload->bootstrap.profile, sizeof m->profile);
        break;
    case DEVICE_PICKUP:
        uuid_format(&payload->pickup.operation, m->operation);
        break;
    case DEVICE_CONFIRM:
        uuid_format(&payload->confirm.operation, m->operation);
        break;
    case DEVICE_HEARTBEAT:
    case DEVICE_EXCHANGE_COUNT:
        break;
    }
    codec_free(table, payload);
    return e;
}

/* The same message has the same request id, however often the device repeats it. */
static struct uuid request_id(const struct message *m)
{
    char sequence[24];
    (void)snprintf(sequence, sizeof sequence, "%llu", (unsigned long long)m->sequence);
    return UUID_V5(span_str(m->who->uid_text), span_str(device_exchange_name(m->kind)),
                   span_str(sequence), m->payload);
}

/* A set of numbers takes the least room in Redis. */
static uint64_t message_number(const struct uuid *id)
{
    uint64_t number = 0;
    for (size_t i = 0; i < 6; i++) { /* in front of the version's bits */
        number = number << 8 | id->bytes[i];
    }
    return number;
}

static void add_bytes(cJSON *to, const char *name, struct span bytes)
{
    CLEANUP_BUF struct buf text = BUF_INIT(REQUEST_BYTES);
    (void)base64_append(&text, bytes, BASE64_STANDARD);
    (void)cJSON_AddStringToObject(to, name, buf_cstr(&text));
}

static cJSON *body_of(const struct message *m)
{
    char sequence[24];
    (void)snprintf(sequence, sizeof sequence, "%llu", (unsigned long long)m->sequence);
    cJSON *body = cJSON_CreateObject();
    cJSON *part = cJSON_AddObjectToObject(body, "signed");
    (void)cJSON_AddStringToObject(part, "kind", device_exchange_name(m->kind));
    (void)cJSON_AddStringToObject(part, "operation", m->operation[0] != 0 ? m->operation : "-");
    (void)cJSON_AddStringToObject(part, "sequence", sequence);
    add_bytes(part, "payload", m->payload);
    add_bytes(part, "signature", span_of(m->signature, m->signature_len));
    add_bytes(body, "rot_key", span_of(m->who->spki, m->who->spki_len));
    return body;
}

static err_t encode(const struct door *door, struct http_request *req, const struct message *m,
                    const char *id, struct buf *to)
{
    const char *trace = http_request_traceparent(req);
    struct envelope envelope = {.time_ms = clock_now_ms(door->clock), .actor_kind = "device"};
    (void)snprintf(envelope.id, sizeof envelope.id, "%s", id);
    (void)snprintf(envelope.type, sizeof envelope.type, "%s", request_type(m->kind));
    (void)snprintf(envelope.actor_id, sizeof envelope.actor_id, "%s", m->who->uid_text);
    (void)snprintf(envelope.traceparent, sizeof envelope.traceparent, "%s",
                   trace != NULL ? trace : "");
    (void)snprintf(envelope.reply_to, sizeof envelope.reply_to, "%s",
                   reply_waiter_channel(door->waiter));
    CLEANUP_JSON cJSON *body = body_of(m);
    return envelope_encode(&envelope, body, to);
}

/* ---- from the lane to the owner ---- */

static void refuse(struct exchange *x, err_t e, const char *code, const char *text,
                   uint32_t retry_after_s)
{
    struct fault fault = {0};
    (void)fault_set(&fault, e, code, "", "%s", text);
    struct http_response *response = http_response_fault(e, &fault);
    if (retry_after_s > 0) {
        http_response_set_retry_after(response, retry_after_s);
    }
    finish(x, response);
    exchange_free(x);
}

static void send(struct exchange *x)
{
    /* The answer may come, and `x` be gone, before the call below returns: a repeated message has
     * its answer already. */
    CLEANUP_BUF struct buf request = x->request;
    x->request = BUF_INIT(0);
    char uid[DEVICE_UID_SIZE];
    char id[UUID_TEXT_SIZE];
    memcpy(uid, x->who.uid_text, sizeof uid);
    memcpy(id, x->id, sizeof id);
    struct door *door = x->door;
    const struct kafka_record record = {.topic = TOPIC_DEVICE_REQUESTS,
                                        .partition = x->look.partition,
                                        .key = span_str(uid),
                                        .value = buf_span(&request)};
    metric_inc(door->metrics.exchanges[x->kind]);
    err_t e =
        reply_waiter_send(door->waiter, &record, id, (int)door->exchange_deadline_ms, done, x);
    if (e != ERR_OK) {
        refuse(x, ERR_UNAVAILABLE, "unavailable", "the request cannot be stored now", 0);
    }
}

static void sighted(struct exchange *x)
{
    uint32_t random = 0;
    random_bytes(&random, sizeof random);
    metric_inc(x->door->metrics.sighted);
    log_limited(LOG_LEVEL_WARN, &(struct log_context){.device = x->who.uid_text},
                "unvouched_device_sighted",
                LOG_STR("profile", x->look.profile[0] != 0 ? "unknown" : "none"));
    refuse(x, ERR_BUSY, "not_vouched",
           "this device is not known here, nor is a profile sealed into it, and more such devices "
           "are calling than may be registered: wait as Retry-After says",
           vouch_retry_after(x->look.left_ms, x->door->vouch.unvouched_window_ms, random));
}

/* Its own owner would be kept from all the other devices of the partition. */
static void flooded(struct exchange *x)
{
    metric_inc(x->door->metrics.flooded);
    log_limited(LOG_LEVEL_WARN, &(struct log_context){.device = x->who.uid_text},
                "device_sends_too_much", LOG_INT("wait_ms", x->look.wait_ms));
    refuse(x, ERR_BUSY, "too_many_messages",
           "this device has sent too many different messages: wait as Retry-After says; the same "
           "message again is always let through",
           (uint32_t)((x->look.wait_ms + 999) / 1000));
}

static void looked_up(struct lane_job *job)
{
    struct exchange *x = job->ctx;
    if (job->result != ERR_OK) {
        refuse(x, ERR_UNAVAILABLE, "unavailable", "the device's state cannot be read now", 0);
        return;
    }
    enum vouch_verdict verdict = vouch_judge(&x->look.facts);
    if (x->look.wait_ms > 0 && (verdict == VOUCH_ADMITTED || verdict == VOUCH_KNOWN)) {
        flooded(x);
        return;
    }
    switch (verdict) {
    case VOUCH_ADMITTED:
        metric_inc(x->door->metrics.admitted);
        send(x);
        break;
    case VOUCH_KNOWN:
        send(x);
        break;
    case VOUCH_SIGHTED:
        sighted(x);
        break;
    case VOUCH_REBUILD:
        refuse(x, ERR_UNAVAILABLE, "unavailable",
               "the state of devices or profiles is being rebuilt", 0);
        break;
    }
}

/* ---- from the request to the lane ---- */

static struct exchange *exchange_new(struct door *door, const struct message *m)
{
    struct exchange *x = xcalloc(1, sizeof *x);
    uint32_t hash = 0;
    x->door = door;
    x->kind = m->kind;
    x->who = *m->who;
    x->request = BUF_INIT(REQUEST_BYTES);
    memcpy(x->operation, m->operation, sizeof x->operation);
    struct uuid id = request_id(m);
    uuid_format(&id, x->id);
    x->look =
        (struct vouch_lookup){.job = {.question = &vouch_question, .done = looked_up, .ctx = x},
                              .rules = &door->vouch,
                              .partition = door_partition(door, m->who),
                              .now_ms = clock_now_ms(door->clock),
                              .message = message_number(&id)};
    memcpy(x->look.uid, m->who->uid, sizeof x->look.uid);
    memcpy(x->look.profile, m->profile, sizeof x->look.profile);
    if (registry_profile_hint(m->profile, &hash) == ERR_OK) {
        x->look.profile_partition = (int32_t)(hash % (uint32_t)door->partitions);
    } /* else no profile of ours: it is not in any partition */
    return x;
}

static void ask(struct door *door, struct http_request *req, const struct message *m)
{
    CLEANUP(exchange_free) struct exchange *x = exchange_new(door, m);
    err_t e = encode(door, req, m, x->id, &x->request);
    if (e != ERR_OK) {
        http_reply_fault(req, e, NULL);
        return;
    }
    x->ticket = http_suspend(req, LOOK_MS + door->exchange_deadline_ms * 2, too_late);
    if (lane_ask(door_lane(door, &x->who), &x->look.job) != ERR_OK) {
        refuse(TAKE(x), ERR_UNAVAILABLE, "unavailable", "too many messages at once", 0);
        return;
    }
    (void)TAKE(x);
}

static void exchange_route(struct http_request *req, struct door *door, enum device_exchange kind)
{
    struct fault fault = {0};
    struct message m = {
        .who = http_request_identity(req), .kind = kind, .payload = http_request_body(req)};
    err_t e = take_signature(req, &m, &fault);
    if (e == ERR_OK) {
        e = take_payload(&m, &fault);
    }
    if (e != ERR_OK) {
        http_reply_fault(req, e, &fault);
        return;
    }
    ask(door, req, &m);
}

void bootstrap_route(struct http_request *req, void *ctx)
{
    exchange_route(req, ctx, DEVICE_BOOTSTRAP);
}

void pickup_route(struct http_request *req, void *ctx)
{
    exchange_route(req, ctx, DEVICE_PICKUP);
}

void confirm_route(struct http_request *req, void *ctx)
{
    exchange_route(req, ctx, DEVICE_CONFIRM);
}
