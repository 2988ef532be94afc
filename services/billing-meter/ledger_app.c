#include "ledger_app.h"

#include <stdio.h>

#include "charge.h"
#include "common/log.h"
#include "evidence.h"
#include "proto/envelope.h"
#include "proto/ledger.h"
#include "proto/topics.h"

#define RECORD_BYTES 8192

/* A request on its way through a round. */
struct install_request {
    struct envelope envelope; /* without its tree */
    struct uuid id, domain;
    struct ledger_install install;
    unsigned charge_index, usage_index;
    err_t verdict; /* of the evidence */
    struct fault fault;
};

/* Both kinds of ledger records behind one pointer. */
struct ledger_state {
    enum { LEDGER_CHARGE, LEDGER_USAGE } kind;
    union {
        struct charge_record charge;
        struct usage_record usage;
    } of;
};

static const struct codec_table *table_of(const struct ledger_state *state)
{
    return state->kind == LEDGER_CHARGE ? &charge_record_table : &usage_record_table;
}

static void free_request(void *request)
{
    struct install_request *r = request;
    codec_free(&ledger_install_table, &r->install);
    free(r);
}

static void free_state(void *state)
{
    struct ledger_state *s = state;
    codec_free(table_of(s), &s->of);
    free(s);
}

static bool is_usage_key(struct span key)
{
    static const char word[] = "/usage/";
    return key.len > UUID_TEXT_SIZE &&
           memcmp(key.ptr + UUID_TEXT_SIZE - 1, word, sizeof word - 1) == 0;
}

/* ---- decode, verify ---- */

static err_t need_entities(struct work *w, struct install_request *r)
{
    char key[LEDGER_KEY_SIZE];
    char month[8];
    ledger_charge_key(&r->domain, &r->id, key);
    err_t e = work_need(w, span_str(key), &r->charge_index);
    if (e == ERR_OK) {
        ledger_month(r->install.installed_at_ms, month);
        ledger_usage_key(&r->domain, month, key);
        e = work_need(w, span_str(key), &r->usage_index);
    }
    return e;
}

static err_t decode(void *ctx, struct work *w, struct fault *fault)
{
    (void)ctx;
    struct install_request *r = xcalloc(1, sizeof *r);
    work_set_request(w, r);
    err_t e = envelope_decode(work_source(w)->value, &r->envelope, fault);
    if (e == ERR_OK && strcmp(r->envelope.type, LEDGER_INSTALL_TYPE) != 0) {
        e = fault_set(fault, ERR_UNSUPPORTED, "unknown_type", "type", "must be %s",
                      LEDGER_INSTALL_TYPE);
    }
    if (e == ERR_OK) {
        e = codec_decode(&ledger_install_table, CODEC_KEEP, r->envelope.body, &r->install, fault);
    }
    if (e == ERR_OK) {
        e = uuid_parse(span_str(r->envelope.id), &r->id);
    }
    if (e == ERR_OK && r->envelope.domain[0] != 0) {
        e = uuid_parse(span_str(r->envelope.domain), &r->domain);
    }
    envelope_deinit(&r->envelope);
    return e == ERR_OK ? need_entities(w, r) : e;
}

static void verify(void *ctx, struct work *w)
{
    (void)ctx;
    struct install_request *r = work_request(w);
    r->verdict = evidence_check(&r->install, &r->fault);
}

/* ---- decide ---- */

static void put(struct work *w, unsigned index, const struct ledger_state *value)
{
    CLEANUP_BUF struct buf record = BUF_INIT(RECORD_BYTES);
    struct ledger_state *state = xcalloc(1, sizeof *state);
    *state = *value;
    if (codec_encode(table_of(state), &state->of, &record) != ERR_OK) {
        abort(); /* our own struct, our own table */
    }
    work_put(w, index, state, buf_span(&record));
}

static cJSON *evidence_json(const struct charge_record *charge)
{
    char offset[24];
    (void)snprintf(offset, sizeof offset, "%lld", (long long)charge->offset);
    cJSON *evidence = cJSON_CreateObject();
    (void)cJSON_AddStringToObject(evidence, "topic", TOPIC_LEDGER_REQUESTS);
    (void)cJSON_AddNumberToObject(evidence, "partition", charge->partition);
    (void)cJSON_AddStringToObject(evidence, "offset", offset);
    return evidence;
}

/* The public event says what the record says, with the evidence in a place of its own. */
static cJSON *event_data(const struct charge_record *charge)
{
    CLEANUP_BUF struct buf record = BUF_INIT(RECORD_BYTES);
    cJSON *data = NULL;
    if (codec_encode(&charge_record_table, charge, &record) != ERR_OK ||
        json_decode(buf_span(&record), &JSON_LIMITS_DEFAULT, &data, NULL) != ERR_OK) {
        abort(); /* our own struct, our own table */
    }
    cJSON_DeleteItemFromObjectCaseSensitive(data, "type");
    cJSON_DeleteItemFromObjectCaseSensitive(data, "partition");
    cJSON_DeleteItemFromObjectCaseSensitive(data, "offset");
    cJSON *id = cJSON_DetachItemFromObjectCaseSensitive(data, "id");
    (void)cJSON_AddItemToObject(data, "charge", id);
    (void)cJSON_AddItemToObject(data, "evidence", evidence_json(charge));
    return data;
}

static void emit_charge(struct work *w, const struct install_request *r,
                        const struct charge_record *charge)
{
    CLEANUP_JSON cJSON *data = event_data(charge);
    const struct event event = {
        .topic = TOPIC_BILLING_EVENTS,
        .type = CHARGE_EVENT_TYPE,
        .domain = r->envelope.domain,
        .subject = charge->uid,
        .partition_key = r->envelope.domain,
        .cause_id = r->envelope.id,
        .id = r->envelope.id, /* the charge id: consumers deduplicate by it for ever */
        .time_ms = charge->installed_at_ms,
        .traceparent = r->envelope.traceparent};
    event_emit(w, &event, data);
}

static void refuse(struct ledger_app *app, struct work *w, err_t why, const struct fault *fault)
{
    metric_inc(app->metrics.refused);
    log_limited(LOG_LEVEL_ERROR, NULL, "install_refused", LOG_INT("partition", work_partition(w)),
                LOG_INT("offset", work_source(w)->offset), LOG_STR("code", fault->code),
                LOG_STR("text", fault->text));
    work_dead_letter(w, why, fault);
}

static void decide(void *ctx, struct work *w, int64_t now_ms)
{
    (void)now_ms;
    struct ledger_app *app = ctx;
    struct install_request *r = work_request(w);
    const struct ledger_state *before = work_state(w, r->charge_index);
    const struct ledger_state *usage = work_state(w, r->usage_index);
    const struct charge_input in = {r->id, r->domain, &r->install, work_partition(w),
                                    work_source(w)->offset};
    struct charge_outcome outcome;
    err_t e = r->verdict;
    if (e == ERR_OK) {
        /* in another partition its charge would be unknown, and made a second time */
        e = work_check_place(w, span_str(r->envelope.domain), &r->fault);
    }
    if (e == ERR_OK) {
        e = charge_decide(&in, before != NULL ? &before->of.charge : NULL,
                          usage != NULL ? &usage->of.usage : NULL, &outcome, &r->fault);
    }
    if (e != ERR_OK) {
        refuse(app, w, e, &r->fault);
        return;
    }
    if (!outcome.charged) {
        metric_inc(app->metrics.repeated);
        return;
    }
    put(w, r->charge_index,
        &(struct ledger_state){.kind = LEDGER_CHARGE, .of.charge = outcome.charge});
    put(w, r->usage_index, &(struct ledger_state){.kind = LEDGER_USAGE, .of.usage = outcome.usage});
    emit_charge(w, r, &outcome.charge);
    metric_inc(app->metrics.installs);
    metric_inc(app->metrics.charges[r->install.kind - OPERATION_RENEW]);
}

/* ---- state ---- */

static err_t parse(struct span record_key, struct span value, struct ledger_state *state)
{
    state->kind = is_usage_key(record_key) ? LEDGER_USAGE : LEDGER_CHARGE;
    return codec_decode_text(table_of(state), CODEC_KEEP, value, &JSON_LIMITS_DEFAULT, &state->of,
                             NULL);
}

static err_t load(void *ctx, struct span record_key, struct span payload, void **ret_state)
{
    (void)ctx;
    CLEANUP_FREE struct ledger_state *state = xcalloc(1, sizeof *state);
    if (parse(record_key, payload, state) != ERR_OK) {
        return ERR_CORRUPT;
    }
    *ret_state = TAKE(state);
    return ERR_OK;
}

static err_t project(void *ctx, struct span record_key, struct span value, struct view_record *to)
{
    (void)ctx;
    struct ledger_state state = {0};
    err_t e = parse(record_key, value, &state);
    if (e != ERR_OK) {
        return ERR_CORRUPT;
    }
    const char *type = state.kind == LEDGER_CHARGE ? state.of.charge.type : state.of.usage.type;
    bool known = strcmp(type, state.kind == LEDGER_CHARGE ? CHARGE_TYPE : USAGE_TYPE) == 0;
    codec_free(table_of(&state), &state.of);
    if (!known) {
        return ERR_UNSUPPORTED;
    }
    view_record_clear(to);
    e = buf_append_span(&to->key, record_key);
    return e != ERR_OK ? e : buf_append_span(&to->payload, value);
}

void ledger_app_init(struct ledger_app *app, struct metrics *registry)
{
    static const char *const kinds[] = {"renew", "update", "transfer"};
    app->metrics.installs =
        metrics_counter(registry, "fleetseal_billing_installs_total",
                        "Billable installs whose proof held.", METRIC_NO_LABELS);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        app->metrics.charges[i] =
            metrics_counter(registry, "fleetseal_billing_charges_total", "Charges made.",
                            METRIC_LABELS({"kind", kinds[i]}));
    }
    app->metrics.repeated =
        metrics_counter(registry, "fleetseal_billing_repeated_total",
                        "Installs that had been counted before.", METRIC_NO_LABELS);
    app->metrics.refused = metrics_counter(
        registry, "fleetseal_billing_refused_total",
        "Installs put aside because their proof or form did not hold.", METRIC_NO_LABELS);
}

const struct processor_app ledger_processor = {
    .name = "billing-meter.ledger",
    .request_topic = TOPIC_LEDGER_REQUESTS,
    .state_topic = TOPIC_LEDGER_STATE,
    .view_letter = VIEW_LEDGER,
    .decode = decode,
    .verify = verify,
    .decide = decide,
    .free_request = free_request,
    .load = load,
    .free_state = free_state,
    .project = project,
};
