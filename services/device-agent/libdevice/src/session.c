#include "device/session.h"

#include <stdio.h>

#include "device/wire.h"
#include "device_internal.h"
#include "session_internal.h"

int64_t session_mono_ms(const struct device_session *s)
{
    return clock_mono_ms(s->device->options.clock);
}

int64_t session_wall_ms(const struct device_session *s)
{
    return clock_now_ms(s->device->options.clock);
}

/* The last visit's trouble is what `status` shows. */
static void remember_error(struct device_session *s)
{
    char text[DEVICE_REASON_MAX + 1] = "";
    if (s->outcome.err != ERR_OK) {
        const char *what =
            s->outcome.fault.text[0] != 0 ? s->outcome.fault.text : err_name(s->outcome.err);
        (void)snprintf(text, sizeof text, "%s: %.150s", device_exchange_name(s->exchange), what);
    }
    if (strcmp(text, s->device->state.last_error) != 0) {
        struct device_state next = s->device->state;
        memcpy(next.last_error, text, sizeof text);
        if (device_commit(s->device, &next) != ERR_OK) {
            s->device->state = next; /* the visit's own result counts more than this text */
        }
    }
}

void session_finish(struct device_session *s, err_t err, const struct fault *why)
{
    s->outcome.err = err;
    if (why != NULL) {
        s->outcome.fault = *why;
    }
    s->done = true;
    remember_error(s);
}

void session_finish_storage(struct device_session *s, err_t err)
{
    struct fault why;
    (void)fault_set(&why, err, "storage", "", "the device's state cannot be stored (%s)",
                    err_name(err));
    session_finish(s, err, &why);
}

/* Signs the body as the exchange asks; `key` NULL leaves it unsigned. */
static err_t sign(struct device_session *s, EVP_PKEY *key, const char *operation, uint64_t sequence)
{
    s->signature[0] = 0;
    if (key == NULL) {
        return ERR_OK;
    }
    uint8_t signature[DEVICE_SIGNATURE_MAX];
    size_t len = 0;
    struct device_message message = {s->exchange, s->device->uid, operation, sequence,
                                     buf_span(&s->body)};
    err_t err = device_sign(key, &message, signature, &len);
    return err != ERR_OK ? err
                         : device_signature_format(sequence, span_of(signature, len), s->signature);
}

static err_t build_bootstrap(struct device_session *s, uint64_t sequence)
{
    struct device *d = s->device;
    EVP_PKEY *key = NULL;
    err_t err = device_new_key(d, "", &key);
    if (err == ERR_OK) {
        err = device_write_bootstrap(d, key, session_wall_ms(s), &s->body);
    }
    return err != ERR_OK ? err : sign(s, d->rot, "", sequence);
}

static err_t build_heartbeat(struct device_session *s, uint64_t sequence)
{
    err_t err = device_heartbeat_sent(s->device);
    if (err == ERR_OK) {
        err = device_write_heartbeat(s->device, sequence, &s->body);
    }
    return err != ERR_OK ? err : sign(s, NULL, "", sequence);
}

static err_t build_pickup(struct device_session *s, uint64_t sequence)
{
    EVP_PKEY *key = NULL;
    err_t err = s->new_key ? device_new_key(s->device, s->operation, &key) : ERR_OK;
    if (err == ERR_OK) {
        err = device_write_pickup(s->device, s->operation, key, &s->body);
    }
    return err != ERR_OK ? err : sign(s, s->device->rot, s->operation, sequence);
}

static err_t build_confirm(struct device_session *s, uint64_t sequence)
{
    struct device *d = s->device;
    EVP_PKEY *key = device_current_key(d);
    if (key == NULL) {
        return ERR_CORRUPT;
    }
    err_t err = device_write_confirm(d->state.operation, device_current_serial(d), key,
                                     session_wall_ms(s), &s->body);
    return err != ERR_OK ? err : sign(s, key, d->state.operation, sequence);
}

void session_open(struct device_session *s, enum device_exchange exchange)
{
    static err_t (*const builders[DEVICE_EXCHANGE_COUNT])(struct device_session *, uint64_t) = {
        [DEVICE_BOOTSTRAP] = build_bootstrap,
        [DEVICE_HEARTBEAT] = build_heartbeat,
        [DEVICE_PICKUP] = build_pickup,
        [DEVICE_CONFIRM] = build_confirm,
    };
    s->exchange = exchange;
    s->failures = 0;
    s->ready_mono_ms = session_mono_ms(s);
    buf_clear(&s->body);
    uint64_t sequence = 0;
    err_t err = device_next_sequence(s->device, &sequence);
    if (err == ERR_OK) {
        err = builders[exchange](s, sequence);
    }
    if (err != ERR_OK) {
        session_finish_storage(s, err);
    }
}

err_t session_check_hold(struct device *d, struct fault *fault)
{
    int64_t hold_ms = 0;
    err_t err = device_heartbeat_hold_ms(d, &hold_ms);
    if (err != ERR_OK) {
        return fault_set(fault, err, "storage", "", "the device's state cannot be stored");
    }
    return hold_ms == 0 ? ERR_OK
                        : fault_set(fault, ERR_BUSY, "too_early", "",
                                    "the next heartbeat is allowed in %lld s",
                                    (long long)(hold_ms + 999) / 1000);
}

err_t device_session_begin(struct device_session *s, struct device *d, int64_t bound_ms,
                           struct fault *fault)
{
    enum device_exchange first = DEVICE_HEARTBEAT;
    if (d->state.stage == DEVICE_STAGE_CONFIRM) {
        first = DEVICE_CONFIRM;
    } else if (device_needs_bootstrap(d)) {
        first = DEVICE_BOOTSTRAP;
    } else {
        err_t err = session_check_hold(d, fault);
        if (err != ERR_OK) {
            return err;
        }
    }
    *s = (struct device_session){.device = d, .opening = first == DEVICE_CONFIRM};
    s->body = BUF_INIT(DEVICE_REQUEST_MAX);
    s->deadline_mono_ms = session_mono_ms(s) + bound_ms;
    session_open(s, first);
    return ERR_OK;
}

void device_session_end(struct device_session *s)
{
    buf_deinit(&s->body);
}

enum device_step device_session_step(struct device_session *s,
                                     struct device_http_request *ret_request, int64_t *ret_wait_ms)
{
    if (s->done) {
        return DEVICE_STEP_DONE;
    }
    int64_t wait = s->ready_mono_ms - session_mono_ms(s);
    if (wait > 0) {
        *ret_wait_ms = wait;
        return DEVICE_STEP_WAIT;
    }
    *ret_request = (struct device_http_request){
        .path = device_exchange_path(s->exchange),
        .signature = s->signature,
        .body = buf_span(&s->body),
    };
    return DEVICE_STEP_SEND;
}
