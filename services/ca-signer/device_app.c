#include "device_app.h"

#include <assert.h>
#include <time.h>

#include "common/clock.h"
#include "common/digest.h"
#include "common/log.h"
#include "device_decide.h"
#include "device_project.h"
#include "device_publish.h"
#include "name.h"
#include "proto/topics.h"
#include "thread_signer.h"

/* The one entity of a device request. */
#define DEVICE_ENTITY 0U

static err_t decode(void *ctx, struct work *w, struct fault *fault)
{
    (void)ctx;
    const struct work_source *source = work_source(w);
    struct device_request *r = NULL;
    err_t e = device_request_decode(source->key, source->value, &r, fault);
    if (e != ERR_OK) {
        return e;
    }
    work_set_request(w, r);
    unsigned index = 0;
    e = work_need(w, span_str(r->uid), &index);
    assert(e != ERR_OK || index == DEVICE_ENTITY);
    /* One request of a device in each round: its snapshots are read before the first decision and
     * must be those of its state. */
    work_will_sign(w);
    return e;
}

static void free_request(void *request)
{
    device_request_free(request);
}

static void verify(void *ctx, struct work *w)
{
    (void)ctx;
    device_request_verify(work_request(w));
}

static err_t prepare(void *ctx, struct work **works, unsigned n)
{
    struct device_app *app = ctx;
    CLEANUP_FREE struct snapshot_want *wants = xcalloc(n, sizeof *wants);
    for (unsigned i = 0; i < n; i++) {
        wants[i].request = work_request(works[i]);
        wants[i].device = work_state(works[i], DEVICE_ENTITY);
        /* A round that was given up left its traces. */
        device_outcome_deinit(&wants[i].request->outcome);
        free(TAKE(wants[i].request->certificate));
    }
    int32_t partitions = 0; /* the views of domains, profiles and CAs are cut as this topic is */
    err_t e = work_partitions(works[0], TOPIC_REGISTRY_STATE, &partitions);
    return e != ERR_OK ? e
                       : device_snapshot_read(app->snapshot, partitions,
                                              clock_now_ms(&clock_system), wants, n);
}

static void log_refusal(const struct device_request *r)
{
    log_limited(LOG_LEVEL_INFO,
                (&(struct log_context){
                    .domain = r->envelope.domain, .device = r->uid, .request = r->envelope.id}),
                "refused", LOG_STR("type", r->envelope.type),
                LOG_STR("code", refusal_code(r->outcome.refusal)),
                LOG_STR("text", r->outcome.fault.text));
}

static void complete(struct device_app *app, struct work *w, struct device_request *r,
                     int64_t now_ms)
{
    struct device_outcome *o = &r->outcome;
    if (o->refusal != REFUSAL_NONE) {
        metric_inc(app->metrics.refused[o->refusal]);
        log_refusal(r);
    }
    if (o->issued) {
        const struct device_unconfirmed *u =
            &o->state->unconfirmed[o->state->unconfirmed_count - 1];
        metric_inc(app->metrics.issued[u->kind]);
    }
    if (r->kind == DEVICE_ASKS_CONFIRM && o->state != NULL) {
        metric_inc(app->metrics.confirmed[o->install.certificate.kind]);
    }
    device_publish(w, DEVICE_ENTITY, r, now_ms);
}

static void decide(void *ctx, struct work *w, int64_t now_ms)
{
    struct device_request *r = work_request(w);
    struct fault fault = {0};
    err_t e = work_check_place(w, span_str(r->uid), &fault);
    if (e != ERR_OK) {
        work_dead_letter(w, e, &fault);
        return;
    }
    r->now_ms = now_ms;
    device_decide(work_state(w, DEVICE_ENTITY), r, now_ms);
    if (r->outcome.sign) {
        work_sign(w);
    } else {
        complete(ctx, w, r, now_ms);
    }
}

/* A first certificate is for CN=<uid>; later ones repeat the subject byte for byte. */
static err_t subject_of(struct device_request *r, struct device_subject *to)
{
    if (r->outcome.ask.subject.len > 0) {
        *to = r->outcome.ask.subject;
        return ERR_OK;
    }
    uint8_t buffer[sizeof to->der];
    struct der_out out = der_out_of(buffer, sizeof buffer);
    const struct name_fields fields = {.common_name = span_str(r->uid)};
    err_t e = name_build(&fields, &out, &r->sign_fault);
    if (e == ERR_OK) {
        struct span name = der_written(&out);
        memcpy(to->der, name.ptr, name.len);
        to->len = name.len;
    }
    return e;
}

/* For the histogram alone: finer than a clock's milliseconds. */
static double seconds_now(void)
{
    struct timespec now = {0};
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void sign(void *ctx, struct work *w)
{
    struct device_app *app = ctx;
    struct device_request *r = work_request(w);
    double started = seconds_now();
    r->certificate = xcalloc(1, sizeof *r->certificate);
    struct device_subject subject;
    r->sign_error = subject_of(r, &subject);
    if (r->sign_error != ERR_OK) {
        return;
    }
    const struct cert_request request = {
        .now_ms = r->now_ms,
        .validity_s = r->outcome.ask.validity_s,
        .backdate_s = app->backdate_s,
        .subject = span_of(subject.der, subject.len),
        .spki = span_of(r->outcome.ask.spki.der, r->outcome.ask.spki.len),
    };
    r->outcome.ask.subject = subject;
    r->sign_error = kernel_issue(r->snapshots.template, thread_signer(), &request, r->certificate,
                                 &r->sign_fault);
    metric_observe(app->metrics.signing, seconds_now() - started);
}

static void finish(void *ctx, struct work *w, int64_t now_ms)
{
    struct device_request *r = work_request(w);
    if (r->sign_error != ERR_OK || r->certificate->len > DEVICE_DER_MAX) {
        err_t e = r->sign_error != ERR_OK
                      ? r->sign_error
                      : fault_set(&r->sign_fault, ERR_TOO_LARGE, "certificate_too_large", "",
                                  "a certificate has at most %d bytes", DEVICE_DER_MAX);
        device_not_issued(r, e, &r->sign_fault, now_ms);
    } else {
        struct issued_certificate issued = {
            .der = cert_out_der(r->certificate),
            .subject = r->outcome.ask.subject,
            .not_before_ms = r->certificate->not_before_ms,
            .not_after_ms = r->certificate->not_after_ms,
        };
        struct digest fingerprint = digest_sha256(issued.der);
        memcpy(issued.serial, r->certificate->serial, sizeof issued.serial);
        memcpy(issued.fingerprint, fingerprint.bytes, sizeof issued.fingerprint);
        device_issued(r, &issued, now_ms);
    }
    complete(ctx, w, r, now_ms);
}

/* ---- state ---- */

static err_t load(void *ctx, struct span record_key, struct span payload, void **ret_state)
{
    (void)ctx;
    struct device *d = NULL;
    err_t e = device_unpack(record_key, payload, &d);
    if (e == ERR_OK) {
        *ret_state = d;
    }
    return e;
}

static void free_state(void *state)
{
    device_free(state);
}

static err_t view_key_of(struct span record_key, struct buf *to)
{
    uint8_t key[DEVICE_UID_LEN / 2];
    err_t e = device_view_key(record_key, key);
    return e == ERR_OK ? buf_append(to, key, sizeof key) : e;
}

static err_t project(void *ctx, struct span record_key, struct span value, struct view_record *to)
{
    (void)ctx;
    return device_project(record_key, value, to);
}

const struct processor_app device_processor = {
    .name = "ca-signer.device",
    .request_topic = TOPIC_DEVICE_REQUESTS,
    .state_topic = TOPIC_DEVICE_STATE,
    .view_letter = VIEW_DEVICE,
    .decode = decode,
    .verify = verify,
    .prepare = prepare,
    .decide = decide,
    .sign = sign,
    .finish = finish,
    .free_request = free_request,
    .load = load,
    .free_state = free_state,
    .view_key = view_key_of,
    .project = project,
};

void device_app_init(struct device_app *app, struct device_snapshot *snapshot, int64_t backdate_s,
                     struct metrics *registry)
{
    static const double seconds[] = {0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.1, 1};
    app->snapshot = snapshot;
    app->backdate_s = backdate_s;
    for (int kind = OPERATION_ISSUE; kind <= OPERATION_DELETE; kind++) {
        const struct metric_label *labels =
            METRIC_LABELS({"kind", codec_name_of(operation_kind_names, kind)});
        app->metrics.issued[kind] = metrics_counter(registry, "fleetseal_certificates_issued_total",
                                                    "Certificates signed and recorded.", labels);
        app->metrics.confirmed[kind] =
            metrics_counter(registry, "fleetseal_certificates_confirmed_total",
                            "Certificates proved to be installed.", labels);
    }
    for (int i = REFUSAL_NONE + 1; i < REFUSAL_COUNT; i++) {
        app->metrics.refused[i] =
            metrics_counter(registry, "fleetseal_device_requests_refused_total",
                            "Requests of devices and about devices that were refused, by reason.",
                            METRIC_LABELS({"reason", refusal_code((enum refusal)i)}));
    }
    app->metrics.signing = metrics_histogram(registry, "fleetseal_certificate_signing_seconds",
                                             "Time to make one certificate.", METRIC_NO_LABELS,
                                             seconds, sizeof seconds / sizeof seconds[0]);
}
