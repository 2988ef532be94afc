#include "ask.h"

#include <openssl/crypto.h>
#include <pthread.h>
#include <stdio.h>

#include "common/json.h"
#include "common/log.h"

#define KEY_HEADER_MAX 255
#define REPLY_MAX      ((size_t)8 * 1024 * 1024)
#define VALUE_MAX      ((size_t)256 * 1024)
#define GUARD_TTL_S    "600"
/* The server's own deadline is a net under the waiter's: Kafka may take this long to say that
 * nothing was stored. */
#define NET_MS 8000

static const struct json_limits reply_limits = {
    .max_bytes = REPLY_MAX, .max_depth = 16, .max_values = 200000};

/* What came back: of a single request its reply, of a bulk the numbers of all results together and
 * the first refusal, or all replies. */
struct tally {
    bool bulk;
    cJSON *reply; /* owned */
    cJSON *sums;  /* owned */
    cJSON *each;  /* owned; all replies, of a call that shows them one by one */
};

/* A client that waits. Freed when the last of its requests has ended. */
struct waiting {
    pthread_mutex_t lock;
    struct http_ticket *ticket;
    const struct api_call *call;
    struct ask_extra extra;
    bool may_repeat; /* an earlier call perhaps brought another secret */
    size_t remaining;
    char id[UUID_TEXT_SIZE];
    enum reply_outcome worst;
    bool sent; /* some item, perhaps */
    struct tally tally;
    cJSON *asked; /* for the call's show; owned */
};

/* ---- the request's id ---- */

static bool printable(const char *text)
{
    size_t len = strlen(text);
    for (size_t i = 0; i < len; i++) {
        if (text[i] < 0x20 || text[i] > 0x7e) {
            return false;
        }
    }
    return len >= 1 && len <= KEY_HEADER_MAX;
}

err_t ask_request_id(struct exchange *x, struct uuid *ret, struct fault *fault)
{
    char random[UUID_TEXT_SIZE];
    const char *key = http_request_header(x->req, "Idempotency-Key");
    if (key == NULL) {
        struct uuid fresh = uuid_v4();
        uuid_format(&fresh, random);
        key = random;
    } else if (!printable(key)) {
        return fault_set(fault, ERR_INVALID, "validation_error", "Idempotency-Key",
                         "must be 1..%d printable ASCII characters", KEY_HEADER_MAX);
    }
    const char *who = x->domain[0] != '\0' ? x->domain : "operator";
    *ret = UUID_V5(span_str(who), span_str(key), span_str(x->call->path));
    return ERR_OK;
}

/* ---- answers ---- */

static struct http_response *unknown_outcome(enum reply_outcome outcome)
{
    struct fault fault;
    if (outcome == REPLY_NOT_SENT) {
        (void)fault_set(&fault, ERR_UNAVAILABLE, "not_sent", "",
                        "the log cannot be written just now; nothing was done, try again");
    } else {
        (void)fault_set(&fault, ERR_UNAVAILABLE, "outcome_unknown", "",
                        "the log did not acknowledge in time; repeat the request with the same "
                        "Idempotency-Key to learn the outcome");
    }
    return http_response_fault(ERR_UNAVAILABLE, &fault);
}

static void add_extra(cJSON *object, const cJSON *result, const struct ask_extra *extra)
{
    if (extra == NULL || extra->name == NULL) {
        return;
    }
    if (extra->proof_name != NULL && result != NULL) {
        const cJSON *proof = cJSON_GetObjectItemCaseSensitive(result, extra->proof_name);
        if (!cJSON_IsString(proof) || strcmp(proof->valuestring, extra->proof) != 0) {
            return; /* a repeat: the secret of the first request counts, and was shown then */
        }
    }
    (void)cJSON_AddStringToObject(object, extra->name, extra->value);
}

static struct http_response *accepted(const struct waiting *w)
{
    CLEANUP_JSON cJSON *json = cJSON_CreateObject();
    (void)cJSON_AddStringToObject(json, "RequestUID", w->id);
    (void)cJSON_AddStringToObject(json, "Status", "pending");
    if (w->may_repeat) {
        (void)cJSON_AddStringToObject(json, "Message",
                                      "this repeats a request, and the secret of the "
                                      "first call counts; if that is lost, make a new one with "
                                      "another Idempotency-Key");
    } else {
        add_extra(json, NULL, &w->extra);
    }
    struct http_response *response = api_response(202, json);
    http_response_set_header(response, "Location", "/v1/request/get");
    http_response_set_retry_after(response, 1);
    return response;
}

static const char *text_of(const cJSON *object, const char *name, const char *otherwise)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
    return cJSON_IsString(item) ? item->valuestring : otherwise;
}

#define FIELDS_MAX 16
static struct http_response *show_refusal(unsigned status, const cJSON *reply)
{
    struct http_error_field fields[FIELDS_MAX];
    size_t n = 0;
    const cJSON *field = NULL;
    cJSON_ArrayForEach(field, cJSON_GetObjectItemCaseSensitive(reply, "fields"))
    {
        if (n < FIELDS_MAX) {
            fields[n++] = (struct http_error_field){.field = text_of(field, "field", ""),
                                                    .message = text_of(field, "message", "")};
        }
    }
    return http_response_error(status, text_of(reply, "type", "internal_error"),
                               text_of(reply, "message", "the request was refused"), fields, n);
}

static struct http_response *show_reply(const struct api_call *call, const cJSON *reply,
                                        const cJSON *asked, const struct ask_extra *extra)
{
    const cJSON *status = cJSON_GetObjectItemCaseSensitive(reply, "status");
    int64_t code = 0;
    if (!json_integer(status, &code) || code < 200 || code > 599) {
        return http_response_fault(ERR_INTERNAL, NULL);
    }
    if (code >= 300) {
        return show_refusal((unsigned)code, reply);
    }
    const cJSON *result = cJSON_GetObjectItemCaseSensitive(reply, "result");
    CLEANUP_JSON cJSON *json = call->show(result, asked);
    if (json == NULL) {
        return http_response_fault(ERR_INTERNAL, NULL);
    }
    add_extra(json, result, extra);
    return api_response((unsigned)code, json);
}

/* ---- what came back ---- */

static struct tally tally_of(const struct api_call *call, size_t items)
{
    if (call->each) {
        return (struct tally){.each = cJSON_CreateArray()};
    }
    return (struct tally){.bulk = items > 1, .sums = items > 1 ? cJSON_CreateObject() : NULL};
}

static void tally_deinit(struct tally *t)
{
    cJSON_Delete(t->reply);
    cJSON_Delete(t->sums);
    cJSON_Delete(t->each);
    *t = (struct tally){0};
}

static void add_sums(struct tally *t, const cJSON *result)
{
    const cJSON *item = NULL;
    cJSON_ArrayForEach(item, result)
    {
        if (cJSON_IsNumber(item)) {
            cJSON *sum = cJSON_GetObjectItemCaseSensitive(t->sums, item->string);
            if (sum == NULL) {
                (void)cJSON_AddNumberToObject(t->sums, item->string, item->valuedouble);
            } else {
                (void)cJSON_SetNumberHelper(sum, sum->valuedouble + item->valuedouble);
            }
        }
    }
}

static void take_reply(struct tally *t, struct span text)
{
    cJSON *json = NULL;
    if (json_decode(text, &reply_limits, &json, NULL) != ERR_OK) {
        json = cJSON_CreateObject(); /* shown as an internal error */
    }
    if (t->each != NULL) {
        (void)cJSON_AddItemToArray(t->each, json);
        return;
    }
    int64_t status = 0;
    bool fine = json_integer(cJSON_GetObjectItemCaseSensitive(json, "status"), &status) &&
                status >= 200 && status < 300;
    if (t->bulk && fine) {
        add_sums(t, cJSON_GetObjectItemCaseSensitive(json, "result"));
        cJSON_Delete(json);
    } else if (t->reply == NULL) {
        t->reply = json;
    } else {
        cJSON_Delete(json);
    }
}

static struct http_response *show_tally(const struct api_call *call, const struct tally *t,
                                        const cJSON *asked, const struct ask_extra *extra)
{
    if (t->reply != NULL) {
        return show_reply(call, t->reply, asked, extra);
    }
    CLEANUP_JSON cJSON *json = call->show(t->each != NULL ? t->each : t->sums, asked);
    return json != NULL ? api_response(200, json) : http_response_fault(ERR_INTERNAL, NULL);
}

struct http_response *ask_show(const struct api_call *call, const struct span *replies, size_t n,
                               const cJSON *asked)
{
    struct tally tally = tally_of(call, n);
    for (size_t i = 0; i < n; i++) {
        take_reply(&tally, replies[i]);
    }
    struct http_response *response = show_tally(call, &tally, asked, NULL);
    tally_deinit(&tally);
    return response;
}

/* ---- the waiting client ---- */

static void waiting_free(struct waiting *w)
{
    tally_deinit(&w->tally);
    cJSON_Delete(w->asked);
    OPENSSL_cleanse(&w->extra, sizeof w->extra);
    (void)pthread_mutex_destroy(&w->lock);
    free(w);
}

static void finish(struct waiting *w)
{
    struct http_response *response = NULL;
    if (w->worst == REPLY_NONE) {
        response = accepted(w);
    } else if (w->worst != REPLY_ANSWERED) {
        /* of a list sent in part nobody may say that nothing was done */
        response = unknown_outcome(w->sent ? REPLY_UNKNOWN : w->worst);
    } else {
        response = show_tally(w->call, &w->tally, w->asked, &w->extra);
    }
    /* ERR_STALE: the server had answered before, nothing is left to do */
    err_t err = http_resume(TAKE(w->ticket), response);
    log_debug("ask", NULL, "resumed", LOG_ERR("error", err));
    waiting_free(w);
}

/* Of the outcomes of a bulk the least certain one is told: what is unknown beats what failed beats
 * what takes long. */
static int rank(enum reply_outcome outcome)
{
    static const int ranks[] = {
        [REPLY_ANSWERED] = 0, [REPLY_NONE] = 1, [REPLY_NOT_SENT] = 2, [REPLY_UNKNOWN] = 3};
    return ranks[outcome];
}

/* `parts` of what it waits for have ended; it must not be touched afterwards. */
static void leave(struct waiting *w, size_t parts)
{
    (void)pthread_mutex_lock(&w->lock);
    w->remaining -= parts;
    bool last = w->remaining == 0;
    (void)pthread_mutex_unlock(&w->lock);
    if (last) {
        finish(w);
    }
}

static void note(struct waiting *w, enum reply_outcome outcome, struct span reply)
{
    (void)pthread_mutex_lock(&w->lock);
    if (outcome == REPLY_ANSWERED) {
        take_reply(&w->tally, reply);
    }
    if (rank(outcome) > rank(w->worst)) {
        w->worst = outcome;
    }
    w->sent = w->sent || outcome != REPLY_NOT_SENT;
    (void)pthread_mutex_unlock(&w->lock);
}

static void on_done(void *ctx, enum reply_outcome outcome, struct span reply)
{
    note(ctx, outcome, reply);
    leave(ctx, 1);
}

/* ---- sending ---- */

struct uuid ask_item_id(const struct uuid *first, size_t i)
{
    char number[24];
    (void)snprintf(number, sizeof number, "%zu", i);
    return i == 0 ? *first : UUID_V5(uuid_span(first), span_str(number));
}

void ask_one(struct exchange *x, struct ask *ask, const struct uuid *id, cJSON *body)
{
    ask->items = xcalloc(1, sizeof *ask->items);
    ask->items[0] = (struct ask_item){.id = *id, .body = body};
    ask->item_count = 1;
    ask->deadline_ms = x->door->config->answer_timeout_ms;
}

static void fill_envelope(const struct exchange *x, const struct ask *ask, struct envelope *e)
{
    *e = (struct envelope){.time_ms = x->now_ms};
    (void)snprintf(e->type, sizeof e->type, "%s", ask->type);
    memcpy(e->domain, x->domain, sizeof e->domain);
    memcpy(e->hash, ask->hash, sizeof ask->hash);
    const char *trace = http_request_traceparent(x->req);
    (void)snprintf(e->traceparent, sizeof e->traceparent, "%s", trace != NULL ? trace : "");
    (void)snprintf(e->reply_to, sizeof e->reply_to, "%s", reply_waiter_channel(x->door->waiter));
    (void)snprintf(e->actor_kind, sizeof e->actor_kind, "%s",
                   x->caller->kind == CALLER_OPERATOR ? "operator" : "access-key");
    (void)snprintf(e->actor_id, sizeof e->actor_id, "%s", x->caller->id);
}

/* Whoever asks later must be of the same domain, and is shown the answer as this call would have.
 */
static void remember(struct exchange *x, const char *request_id, size_t items)
{
    char key[64];
    char value[160];
    (void)snprintf(key, sizeof key, "g:t:rq:%s", request_id);
    (void)snprintf(value, sizeof value, "%s %s %zu", x->domain, x->call->path, items);
    err_t err =
        redis_command_str(x->redis, NULL, "SET", key, value, "EX", GUARD_TTL_S, (char *)NULL);
    if (err != ERR_OK) {
        log_limited(LOG_LEVEL_WARN, NULL, "request_not_remembered", LOG_ERR("error", err));
    }
}

/* Whether an earlier call with this id may have brought a secret of its own, which the owner keeps
 * then. What Redis cannot tell counts as a repeat: a secret that never works is worse than none. */
static bool may_repeat(struct exchange *x, const struct ask *ask, const char *request_id)
{
    char key[64];
    CLEANUP(redis_reply_free) struct redis_reply *reply = NULL;
    if (ask->extra.name == NULL || http_request_header(x->req, "Idempotency-Key") == NULL) {
        return false;
    }
    (void)snprintf(key, sizeof key, "g:t:sf:%s", request_id);
    err_t err = redis_command_str(x->redis, &reply, "SET", key, "1", "NX", "EX", ASK_KEY_TTL_S,
                                  (char *)NULL);
    return err != ERR_OK || redis_reply_kind(reply) == REDIS_KIND_NIL;
}

static err_t send_item(struct exchange *x, const struct ask *ask, const struct ask_item *item,
                       struct envelope *e, struct waiting *w)
{
    uuid_format(&item->id, e->id);
    CLEANUP_BUF struct buf value = BUF_INIT(VALUE_MAX);
    err_t err = envelope_encode(e, item->body, &value);
    if (err != ERR_OK) {
        return err;
    }
    const struct kafka_header headers[] = {{"traceparent", span_str(e->traceparent)}};
    const char *key = item->key[0] != '\0' ? item->key : ask->key;
    const struct kafka_record record = {
        .topic = ask->topic,
        .partition = api_partition(x->door, key),
        .key = span_str(ask->record_key[0] != '\0' ? ask->record_key : key),
        .value = buf_span(&value),
        .headers = headers,
        .headers_count = e->traceparent[0] != '\0' ? 1 : 0,
    };
    return reply_waiter_send(x->door->waiter, &record, e->id, (int)ask->deadline_ms, on_done, w);
}

static void release(struct ask *ask)
{
    for (size_t i = 0; i < ask->item_count; i++) {
        cJSON_Delete(ask->items[i].body);
    }
    free(ask->items);
    OPENSSL_cleanse(&ask->extra, sizeof ask->extra);
}

static struct http_response *on_wake(struct http_request *req, void *ctx, enum http_wake why)
{
    (void)ctx;
    (void)why;
    /* Neither stored nor refused by now: repeating it is the way to know. */
    log_debug("ask", NULL, "woken", LOG_STR("request", http_request_id(req)));
    return unknown_outcome(REPLY_UNKNOWN);
}

void ask_send(struct exchange *x, struct ask *ask)
{
    struct waiting *w = xcalloc(1, sizeof *w);
    (void)pthread_mutex_init(&w->lock, NULL);
    w->call = x->call;
    w->extra = ask->extra;
    w->asked = TAKE(ask->asked);
    w->tally = tally_of(x->call, ask->item_count);
    /* one more than there are items: the handler's own, so that the last reply cannot end it while
     * it still sends */
    w->remaining = ask->item_count + 1;
    uuid_format(&ask->items[0].id, w->id);
    memcpy(x->caller->request_id, w->id, sizeof w->id);
    remember(x, w->id, ask->item_count);
    w->may_repeat = may_repeat(x, ask, w->id);
    w->ticket = http_suspend(x->req, (uint32_t)(ask->deadline_ms + NET_MS), on_wake);
    struct envelope e;
    fill_envelope(x, ask, &e);
    size_t mine = 1; /* parts that end here: the handler's own, and what could not be sent */
    for (size_t i = 0; i < ask->item_count; i++) {
        err_t err = send_item(x, ask, &ask->items[i], &e, w);
        if (err != ERR_OK) {
            log_limited(LOG_LEVEL_WARN, NULL, "request_not_sent", LOG_STR("topic", ask->topic),
                        LOG_ERR("error", err));
            note(w, REPLY_NOT_SENT, span_of(NULL, 0));
            mine++;
        }
    }
    release(ask);
    leave(w, mine);
}
