/*
 * A small owner over the real processor, for tests that kill it: counters that add. What it writes
 * depends on every request exactly once and in order (a running hash), so a lost, doubled or
 * reordered request shows in the state, the events and the view.
 *
 *   request
 * {"type":"counter.add.v1","id","key","add",["to"],["sign":true],["dead":true],["crash":true],
 *  ["pad":N]}
 *   state    key -> {"type":"counter.v1","key","total","count","chain",["signature"]}, with "pad"
 * followed by so many spaces
 *   event    {"id","key","total"} for each request; with "to":"a,b", half of it goes to counter a
 * by a request in the same transaction, and half of that on to b
 *
 *   processor-owner --brokers B --redis H:P --user U --password P --instance I --prefix T
 *                   [--session-ms N] [--transaction-ms N] [--batch N] [--spacing-ms N]
 *                   [--kill STEP:N]... [--stop STEP:N]... [--hold STEP:N] [--redeliver N]
 *
 * At the N-th time STEP is reached the process kills (SIGKILL) or stops (SIGSTOP) itself, or holds
 * the processor's thread, and no other, until SIGUSR1. --redeliver: once N requests came, the
 * consumer delivers the last ones a second time. Ends on SIGTERM.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "common/json.h"
#include "common/kafka_consumer.h"
#include "common/log.h"
#include "common/partition.h"
#include "common/processor.h"

#define FAULTS_MAX 8
#define PAD_MAX    800000
struct fault_point {
    char step[32];
    int signal;
    int left; /* times until it strikes */
};

struct options {
    const char *brokers, *redis, *user, *password, *instance, *prefix;
    struct fault_point faults[FAULTS_MAX];
    unsigned fault_count;
    unsigned session_ms, transaction_ms, batch, spacing_ms;
};

static unsigned redeliver_after; /* 0: never */

struct names {
    char requests[96], state[96], events[96], app[96];
};

struct counter {
    char key[64];
    int64_t total, count;
    uint32_t chain;
    char signature[16];
};

struct request {
    char id[128], key[64], to[256];
    int64_t add, pad;
    bool sign, dead, crash;
    unsigned index;
    uint32_t signature;
};

static struct names names;
static const struct json_limits state_limits = {
    .max_bytes = PAD_MAX + 1024, .max_depth = 4, .max_values = 32};

/* The linker puts it between the processor and its consumer (CMakeLists.txt). */
err_t __real_kafka_consumer_poll(struct kafka_consumer *c, struct kafka_batch *batch,
                                 int timeout_ms);
err_t __wrap_kafka_consumer_poll(struct kafka_consumer *c, struct kafka_batch *batch,
                                 int timeout_ms);

/* A seek that is carried out twice, as librdkafka does now and then: what was delivered comes
 * again. */
err_t __wrap_kafka_consumer_poll(struct kafka_consumer *c, struct kafka_batch *batch,
                                 int timeout_ms)
{
    err_t e = __real_kafka_consumer_poll(c, batch, timeout_ms);
    unsigned before = redeliver_after;
    redeliver_after -= batch->count < before ? (unsigned)batch->count : before;
    if (before > 0 && redeliver_after == 0) {
        const struct kafka_message *m = &batch->messages[0];
        log_info(NULL, "fault", LOG_STR("step", "redelivered"), LOG_INT("partition", m->partition),
                 LOG_INT("offset", m->offset));
        if (kafka_consumer_start(c, m->topic, m->partition, m->offset) != ERR_OK) {
            abort();
        }
    }
    return e;
}

static void copy_text(const cJSON *json, const char *name, char *to, size_t size)
{
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(json, name);
    if (cJSON_IsString(value)) {
        (void)snprintf(to, size, "%s", value->valuestring);
    }
}

static bool is_type(const cJSON *json, const char *type)
{
    char text[64] = "";
    copy_text(json, "type", text, sizeof text);
    return strcmp(text, type) == 0;
}

static err_t decode(void *ctx, struct work *w, struct fault *fault)
{
    (void)ctx;
    CLEANUP_JSON cJSON *json = NULL;
    struct request r = {0};
    err_t e = json_decode(work_source(w)->value, &JSON_LIMITS_DEFAULT, &json, fault);
    if (e == ERR_OK && !is_type(json, "counter.add.v1")) {
        return fault_set(fault, ERR_UNSUPPORTED, "unsupported_version", "type",
                         "only counter.add.v1 is understood");
    }
    if (e == ERR_OK) {
        e = json_get_int(json, "add", -1000000, 1000000, &r.add, fault);
    }
    if (e == ERR_OK && cJSON_HasObjectItem(json, "pad")) {
        e = json_get_int(json, "pad", 0, PAD_MAX, &r.pad, fault);
    }
    if (e != ERR_OK) {
        return e;
    }
    copy_text(json, "id", r.id, sizeof r.id);
    copy_text(json, "key", r.key, sizeof r.key);
    copy_text(json, "to", r.to, sizeof r.to);
    r.sign = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(json, "sign"));
    r.dead = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(json, "dead"));
    r.crash = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(json, "crash"));
    e = work_need(w, span_str(r.key), &r.index);
    if (e != ERR_OK) {
        return fault_set(fault, e, "validation_error", "key", "must be 1..63 bytes");
    }
    if (r.sign) {
        work_will_sign(w);
    }
    struct request *kept = xcalloc(1, sizeof *kept);
    *kept = r;
    work_set_request(w, kept);
    return ERR_OK;
}

static void counter_json(const struct counter *c, struct buf *to)
{
    (void)buf_printf(to,
                     "{\"type\":\"counter.v1\",\"key\":\"%s\",\"total\":%" PRId64
                     ",\"count\":%" PRId64 ",\"chain\":%" PRIu32 ",\"signature\":\"%s\"}",
                     c->key, c->total, c->count, c->chain, c->signature);
}

static void pass_on(struct work *w, const struct request *r)
{
    size_t len = strcspn(r->to, ",");
    const char *rest = r->to[len] == ',' ? r->to + len + 1 : "";
    struct span key = span_of((const uint8_t *)r->to, len);
    CLEANUP_BUF struct buf next = BUF_INIT(1024);
    (void)buf_printf(
        &next,
        "{\"type\":\"counter.add.v1\",\"id\":\"%s-to\",\"key\":\"%.*s\",\"add\":%" PRId64
        ",\"to\":\"%s\"}",
        r->id, (int)len, r->to, r->add / 2, rest);
    work_emit(w, names.requests, key, key, buf_span(&next), NULL, 0);
}

static void put(struct work *w, const struct request *r, const char *signature)
{
    const struct counter *before = work_state(w, r->index);
    struct counter *after = xcalloc(1, sizeof *after);
    if (before != NULL) {
        *after = *before;
    }
    (void)snprintf(after->key, sizeof after->key, "%s", r->key);
    (void)snprintf(after->signature, sizeof after->signature, "%s", signature);
    after->total += r->add;
    after->count++;
    CLEANUP_BUF struct buf link = BUF_INIT(256);
    (void)buf_printf(&link, "%" PRIu32 "|%s", after->chain, r->id);
    after->chain = stable_hash(buf_span(&link));
    CLEANUP_BUF struct buf record = BUF_INIT(PAD_MAX + 1024);
    counter_json(after, &record);
    (void)buf_printf(&record, "%*s", (int)r->pad, "");
    CLEANUP_BUF struct buf event = BUF_INIT(1024);
    (void)buf_printf(&event, "{\"id\":\"%s\",\"key\":\"%s\",\"total\":%" PRId64 "}", r->id, r->key,
                     after->total);
    struct work_header header = {"ce_id", span_str(r->id)};
    work_emit(w, names.events, span_str(r->key), span_str(r->key), buf_span(&event), &header, 1);
    if (r->to[0] != 0) {
        pass_on(w, r);
    }
    work_put(w, r->index, after, buf_span(&record));
    work_reply(w, r->id, "g:c:test", buf_span(&event));
}

static void decide(void *ctx, struct work *w, int64_t now_ms)
{
    (void)ctx;
    (void)now_ms;
    struct request *r = work_request(w);
    if (r->crash) {
        (void)raise(SIGKILL);
    }
    if (r->dead) {
        struct fault fault = {0};
        err_t e = fault_set(&fault, ERR_INVALID, "asked_for", "dead",
                            "the request asked to be put aside");
        work_dead_letter(w, e, &fault);
    } else if (r->sign) {
        work_sign(w);
    } else {
        put(w, r, "");
    }
}

static void sign(void *ctx, struct work *w)
{
    (void)ctx;
    struct request *r = work_request(w);
    r->signature = stable_hash(span_str(r->id));
}

static void finish(void *ctx, struct work *w, int64_t now_ms)
{
    (void)ctx;
    (void)now_ms;
    const struct request *r = work_request(w);
    char text[16];
    (void)snprintf(text, sizeof text, "%08" PRIx32, r->signature);
    put(w, r, text);
}

static err_t counter_parse(struct span value, struct counter *c)
{
    CLEANUP_JSON cJSON *json = NULL;
    int64_t chain = 0;
    err_t e = json_decode(value, &state_limits, &json, NULL);
    if (e == ERR_OK && !is_type(json, "counter.v1")) {
        return ERR_UNSUPPORTED;
    }
    if (e == ERR_OK) {
        e = json_get_int(json, "total", -JSON_INTEGER_MAX, JSON_INTEGER_MAX, &c->total, NULL);
    }
    if (e == ERR_OK) {
        e = json_get_int(json, "count", 0, JSON_INTEGER_MAX, &c->count, NULL);
    }
    if (e == ERR_OK) {
        e = json_get_int(json, "chain", 0, UINT32_MAX, &chain, NULL);
    }
    if (e != ERR_OK) {
        return ERR_CORRUPT;
    }
    c->chain = (uint32_t)chain;
    copy_text(json, "key", c->key, sizeof c->key);
    copy_text(json, "signature", c->signature, sizeof c->signature);
    return ERR_OK;
}

static err_t load(void *ctx, struct span record_key, struct span payload, void **ret_state)
{
    (void)ctx;
    (void)record_key;
    struct counter *c = xcalloc(1, sizeof *c);
    err_t e = counter_parse(payload, c);
    if (e != ERR_OK) {
        free(c);
        return e;
    }
    *ret_state = c;
    return ERR_OK;
}

static err_t project(void *ctx, struct span record_key, struct span value, struct view_record *to)
{
    (void)ctx;
    struct counter c = {0};
    err_t e = counter_parse(value, &c);
    if (e != ERR_OK) {
        return e;
    }
    view_record_clear(to);
    (void)buf_append_span(&to->key, record_key);
    (void)buf_append_span(&to->payload, value);
    char sign_name[16];
    (void)snprintf(sign_name, sizeof sign_name, "parity:%d", (int)(c.total & 1));
    e = view_record_index(to, span_str("totals"), (struct span){0}, (double)c.total);
    return e != ERR_OK ? e : view_record_index(to, span_str(sign_name), (struct span){0}, 0);
}

static sigset_t waited_for(void)
{
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    return set;
}

static void strike(int signal)
{
    if (signal != SIGUSR1) {
        (void)raise(signal);
        return;
    }
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGUSR1);
    int got = 0;
    (void)sigwait(&set, &got);
}

static void on_step(void *ctx, const char *step)
{
    struct options *o = ctx;
    for (unsigned i = 0; i < o->fault_count; i++) {
        struct fault_point *f = &o->faults[i];
        if (strcmp(step, f->step) == 0 && --f->left == 0) {
            log_info(NULL, "fault", LOG_STR("step", step), LOG_INT("signal", f->signal));
            strike(f->signal);
        }
    }
}

static bool add_fault(struct options *o, const char *value, int signal)
{
    const char *colon = strchr(value, ':');
    if (o->fault_count == FAULTS_MAX || colon == NULL) {
        return false;
    }
    struct fault_point *f = &o->faults[o->fault_count++];
    (void)snprintf(f->step, sizeof f->step, "%.*s", (int)(colon - value), value);
    f->left = (int)strtol(colon + 1, NULL, 10);
    f->signal = signal;
    return true;
}

static int parse(int argc, char **argv, struct options *o)
{
    for (int i = 1; i + 1 < argc; i += 2) {
        const char *name = argv[i];
        const char *value = argv[i + 1];
        const struct {
            const char *name;
            const char **to;
        } texts[] = {{"--brokers", &o->brokers},   {"--redis", &o->redis},
                     {"--user", &o->user},         {"--password", &o->password},
                     {"--instance", &o->instance}, {"--prefix", &o->prefix}};
        const struct {
            const char *name;
            unsigned *to;
        } numbers[] = {{"--session-ms", &o->session_ms},
                       {"--transaction-ms", &o->transaction_ms},
                       {"--batch", &o->batch},
                       {"--spacing-ms", &o->spacing_ms},
                       {"--redeliver", &redeliver_after}};
        bool known = false;
        for (size_t k = 0; k < sizeof texts / sizeof texts[0]; k++) {
            if (strcmp(name, texts[k].name) == 0) {
                *texts[k].to = value;
                known = true;
            }
        }
        for (size_t k = 0; k < sizeof numbers / sizeof numbers[0]; k++) {
            if (strcmp(name, numbers[k].name) == 0) {
                *numbers[k].to = (unsigned)strtoul(value, NULL, 10);
                known = true;
            }
        }
        const struct {
            const char *name;
            int signal;
        } faults[] = {{"--kill", SIGKILL}, {"--stop", SIGSTOP}, {"--hold", SIGUSR1}};
        for (size_t k = 0; k < sizeof faults / sizeof faults[0]; k++) {
            if (strcmp(name, faults[k].name) == 0) {
                known = add_fault(o, value, faults[k].signal);
            }
        }
        if (!known) {
            (void)fprintf(stderr, "unknown option %s\n", name);
            return 64;
        }
    }
    return o->brokers && o->redis && o->instance && o->prefix ? 0 : 64;
}

static void wait_for_end(struct processor *p)
{
    sigset_t ends = waited_for();
    bool was_ready = false;
    for (;;) {
        int got = sigtimedwait(&ends, NULL, &(struct timespec){.tv_nsec = 20000000});
        if (got > 0) {
            return;
        }
        char reason[256];
        bool ready = processor_ready(p, reason, sizeof reason);
        if (ready != was_ready) {
            log_info(NULL, ready ? "ready" : "not_ready", LOG_STR("reason", reason));
            was_ready = ready;
        }
    }
}

int main(int argc, char **argv)
{
    struct options o = {0};
    if (parse(argc, argv, &o) != 0) {
        return 64;
    }
    sigset_t blocked = waited_for();
    (void)sigaddset(&blocked, SIGUSR1);
    (void)sigprocmask(SIG_BLOCK, &blocked, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    log_init(&(struct log_options){
        .service = "processor-owner", .instance = o.instance, .level = LOG_LEVEL_INFO, .fd = 1});
    (void)snprintf(names.requests, sizeof names.requests, "%s.requests", o.prefix);
    (void)snprintf(names.state, sizeof names.state, "%s.state", o.prefix);
    (void)snprintf(names.events, sizeof names.events, "%s.events", o.prefix);
    (void)snprintf(names.app, sizeof names.app, "%s.owner", o.prefix);
    const struct processor_app app = {.name = names.app,
                                      .request_topic = names.requests,
                                      .state_topic = names.state,
                                      .view_letter = 'r',
                                      .decode = decode,
                                      .decide = decide,
                                      .sign = sign,
                                      .finish = finish,
                                      .free_request = free,
                                      .load = load,
                                      .free_state = free,
                                      .project = project};
    const struct processor_options options = {.brokers = o.brokers,
                                              .instance = o.instance,
                                              .redis_address = o.redis,
                                              .redis_user = o.user,
                                              .redis_password = o.password,
                                              .session_timeout_ms = o.session_ms,
                                              .transaction_timeout_ms = o.transaction_ms,
                                              .batch_max = o.batch,
                                              .transaction_spacing_ms = o.spacing_ms,
                                              .hook = on_step,
                                              .hook_ctx = &o};
    CLEANUP(processor_free) struct processor *p = NULL;
    if (processor_new(&app, NULL, &options, &p) != ERR_OK || processor_start(p) != ERR_OK) {
        return 70;
    }
    wait_for_end(p);
    err_t e = processor_stop(p, 8000);
    log_info(NULL, "stopped", LOG_ERR("result", e));
    return e == ERR_OK ? 0 : 70;
}
