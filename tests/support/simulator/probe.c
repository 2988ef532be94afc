#include "probe.h"

#include "device/wire.h"

#define BIT(probe) (1u << (probe))

static enum probe next_probe(const struct options *o, const struct sim *s)
{
    if (o->probe_forged && (s->probes_done & BIT(PROBE_FORGED)) == 0) {
        return PROBE_FORGED;
    }
    if (o->probe_wrong_serial && (s->probes_done & BIT(PROBE_WRONG_SERIAL)) == 0) {
        return PROBE_WRONG_SERIAL;
    }
    return PROBE_NONE;
}

/* Signs the probe's body with the sequence number of the request it takes the place of. */
static err_t sign(struct sim *s, EVP_PKEY *key, const char *honest_signature)
{
    uint8_t signature[DEVICE_SIGNATURE_MAX];
    size_t len = 0;
    uint64_t sequence = 0;
    err_t err = device_signature_parse(span_str(honest_signature), &sequence, signature, &len);
    if (err != ERR_OK) {
        return err;
    }
    struct device_message message = {DEVICE_CONFIRM, s->device->uid, s->device->state.operation,
                                     sequence, buf_span(&s->probe_body)};
    err = device_sign(key, &message, signature, &len);
    return err != ERR_OK
               ? err
               : device_signature_format(sequence, span_of(signature, len), s->probe_signature);
}

/* The honest body, but signed by a key that no certificate was issued for. */
static err_t forge(struct sim *s, const struct device_http_request *honest)
{
    CLEANUP(EVP_PKEY_free) EVP_PKEY *stranger = NULL;
    err_t err = device_key_generate(&stranger);
    if (err == ERR_OK) {
        err = buf_append_span(&s->probe_body, honest->body);
    }
    return err != ERR_OK ? err : sign(s, stranger, honest->signature);
}

/* The right key says that it installed something it was never given. */
static err_t mislead(struct sim *s, const struct device_http_request *honest)
{
    char serial[DEVICE_CERT_SERIAL_MAX + 1];
    memcpy(serial, device_current_serial(s->device), sizeof serial);
    serial[0] = serial[0] == '1' ? '2' : '1';
    EVP_PKEY *key = device_current_key(s->device);
    err_t err = device_write_confirm(s->device->state.operation, serial, key,
                                     clock_now_ms(&clock_system), &s->probe_body);
    return err != ERR_OK ? err : sign(s, key, honest->signature);
}

err_t probe_before(struct loop *l, struct sim *s, struct device_http_request *request)
{
    if (s->session.exchange != DEVICE_CONFIRM) {
        s->probe = PROBE_NONE;
        s->probes_done = 0;
        return ERR_OK;
    }
    if (s->probe == PROBE_NONE) {
        s->probe = next_probe(l->options, s);
        if (s->probe == PROBE_NONE) {
            return ERR_OK;
        }
        buf_clear(&s->probe_body);
        err_t err = s->probe == PROBE_FORGED ? forge(s, request) : mislead(s, request);
        if (err != ERR_OK) {
            return err;
        }
    }
    if (s->probe != PROBE_REPLAY) { /* a replay is the session's own request again */
        request->body = buf_span(&s->probe_body);
        request->signature = s->probe_signature;
    }
    return ERR_OK;
}

static bool undecided(int status)
{
    return status == 202 || status == 429 || status >= 500;
}

static void judge(struct loop *l, struct sim *s, const struct device_http_answer *answer)
{
    bool accepted = answer->status == 200;
    bool same = answer->status == s->first_answer.status &&
                span_eq(buf_span(&answer->body), buf_span(&s->first_answer.body));
    switch (s->probe) {
    case PROBE_FORGED:
        tally_add(accepted ? &l->tally->forged_accepted : &l->tally->forged_refused);
        break;
    case PROBE_WRONG_SERIAL:
        tally_add(accepted ? &l->tally->wrong_serial_accepted : &l->tally->wrong_serial_refused);
        break;
    case PROBE_REPLAY:
        tally_add(same ? &l->tally->replays_same : &l->tally->replays_other);
        break;
    case PROBE_NONE:
        break;
    }
    s->probes_done |= BIT(s->probe);
    s->probe = PROBE_NONE;
}

/* Keeps the answer until the replay's is there. */
static void start_replay(struct sim *s, const struct device_http_answer *answer)
{
    s->probe = PROBE_REPLAY;
    buf_clear(&s->first_answer.body);
    s->first_answer.status = answer->status;
    s->first_answer.retry_after_s = -1;
    (void)buf_append_span(&s->first_answer.body, buf_span(&answer->body));
}

bool probe_answer(struct loop *l, struct sim *s, const struct device_http_answer **answer)
{
    bool replayed = s->probe == PROBE_REPLAY;
    if (s->session.exchange != DEVICE_CONFIRM) {
        return false;
    }
    if (s->probe != PROBE_NONE) {
        if (undecided((*answer)->status)) { /* the session waits, then the probe goes out again */
            return false;
        }
        judge(l, s, *answer);
        *answer = replayed ? &s->first_answer : *answer;
        return !replayed;
    }
    if ((*answer)->status == 200 && l->options->probe_replay) {
        start_replay(s, *answer);
        return true;
    }
    return false;
}
