#include "device/device.h"

#include <stdio.h>

#include "common/id.h"
#include "device_internal.h"

/* Numbers reserved by one write of the state file. */
#define SEQUENCE_BLOCK 64

#define HEARTBEAT_INTERVAL_S (INT64_C(7) * 24 * 3600)
#define FLOOD_INTERVAL_S     300

err_t device_commit(struct device *d, const struct device_state *next)
{
    if (d->options.read_only) {
        return ERR_FORBIDDEN;
    }
    err_t err = device_state_save(d->storage, next);
    if (err == ERR_OK) {
        d->state = *next;
    }
    return err;
}

/* A new identity is made only where there is no sign of an older one. */
static err_t make_identity(struct device *d)
{
    struct device_state state;
    if (d->options.read_only) {
        return ERR_ABSENT;
    }
    if (device_state_load(d->storage, &state) != ERR_ABSENT) {
        return ERR_CORRUPT;
    }
    CLEANUP(EVP_PKEY_free) EVP_PKEY *key = NULL;
    err_t err = device_key_generate(&key);
    if (err != ERR_OK) {
        return err;
    }
    CLEANUP_BUF struct buf pem = BUF_INIT_SECRET(DEVICE_KEY_PEM_MAX);
    err = device_key_write(key, &pem);
    if (err == ERR_OK) {
        err = storage_replace(d->storage, DEVICE_ROT_FILE, buf_span(&pem));
    }
    if (err == ERR_OK) {
        d->rot = TAKE(key);
    }
    return err;
}

static err_t load_identity(struct device *d)
{
    err_t err = ERR_OK;
    if (d->options.rot_key != NULL) {
        (void)EVP_PKEY_up_ref(d->options.rot_key);
        d->rot = d->options.rot_key;
    } else {
        CLEANUP_BUF struct buf pem = BUF_INIT_SECRET(DEVICE_KEY_PEM_MAX);
        err = storage_read(d->storage, DEVICE_ROT_FILE, &pem);
        if (err == ERR_OK) {
            err = device_key_read(buf_span(&pem), &d->rot);
        } else if (err == ERR_ABSENT) {
            err = make_identity(d);
        }
    }
    return err != ERR_OK ? err : device_key_uid(d->rot, d->uid);
}

err_t device_tls_certificate(struct device *d, X509 **ret)
{
    err_t err = ERR_OK;
    if (d->rot_certificate == NULL) {
        err = device_rot_certificate(d->rot, d->uid, &d->rot_certificate);
    }
    if (err == ERR_OK) {
        *ret = d->rot_certificate;
    }
    return err;
}

static err_t fresh_state(struct device *d)
{
    if (d->options.read_only) {
        return ERR_OK; /* an identity that was never used: there is nothing more to see */
    }
    uint8_t nonce[DEVICE_NONCE_BYTES];
    random_bytes(nonce, sizeof nonce);
    struct device_state next = {
        .sequence_reserved = 1,
        .heartbeat_interval_s = HEARTBEAT_INTERVAL_S,
        .flood_interval_s = FLOOD_INTERVAL_S,
    };
    hex_format(span_of(nonce, sizeof nonce), next.install_nonce);
    return device_commit(d, &next);
}

static err_t load_state(struct device *d)
{
    err_t err = device_state_load(d->storage, &d->state);
    if (err == ERR_ABSENT) {
        err = fresh_state(d);
    }
    d->sequence_next = d->state.sequence_reserved;
    return err;
}

/* "<profile> <serial>\n"; the serial may be empty. */
static err_t load_sealed(struct device *d)
{
    CLEANUP_BUF struct buf text = BUF_INIT(128);
    err_t err = storage_read(d->storage, DEVICE_SEALED_FILE, &text);
    if (err != ERR_OK) {
        return err == ERR_ABSENT ? ERR_OK : err;
    }
    struct span s = buf_span(&text);
    if (s.len < DEVICE_PROFILE_LEN + 2 || s.ptr[DEVICE_PROFILE_LEN] != ' ' ||
        s.ptr[s.len - 1] != '\n') {
        return ERR_CORRUPT;
    }
    struct span profile = span_of(s.ptr, DEVICE_PROFILE_LEN);
    struct span serial = span_of(s.ptr + DEVICE_PROFILE_LEN + 1, s.len - DEVICE_PROFILE_LEN - 2);
    if (!device_profile_valid(profile) || (serial.len > 0 && !device_serial_valid(serial))) {
        return ERR_CORRUPT;
    }
    memcpy(d->profile, profile.ptr, profile.len);
    memcpy(d->serial, serial.ptr, serial.len);
    return ERR_OK;
}

static const struct {
    err_t (*run)(struct device *d);
    const char *what;
} open_steps[] = {
    {load_identity, "the root-of-trust key"},
    {load_state, "the state file"},
    {load_sealed, "the sealed profile"},
    {device_slots_recover, "key and certificate"},
};

err_t device_open(struct storage *storage, const struct device_options *options,
                  struct device **ret, struct fault *fault)
{
    CLEANUP(device_free) struct device *d = xcalloc(1, sizeof *d);
    d->storage = storage;
    d->options = *options;
    d->sent_mono_ms = -1;
    for (size_t i = 0; i < sizeof open_steps / sizeof open_steps[0]; i++) {
        err_t err = open_steps[i].run(d);
        if (err != ERR_OK) {
            return fault_set(fault, err, "device_state", "", "%s: %s", open_steps[i].what,
                             err == ERR_CORRUPT ? "damaged, or not from this device"
                                                : err_name(err));
        }
    }
    *ret = TAKE(d);
    return ERR_OK;
}

void device_free(struct device *d)
{
    if (d == NULL) {
        return;
    }
    for (int i = 0; i < DEVICE_SLOT_COUNT; i++) {
        EVP_PKEY_free(d->key[i]);
    }
    X509_free(d->rot_certificate);
    EVP_PKEY_free(d->rot);
    storage_free(d->storage);
    free(d);
}

err_t device_seal(struct device *d, const char *profile, const char *serial, struct fault *fault)
{
    serial = serial != NULL ? serial : "";
    if (!device_profile_valid(span_str(profile))) {
        return fault_set(fault, ERR_INVALID, "validation_error", "profile",
                         "a profile is %d letters and digits", DEVICE_PROFILE_LEN);
    }
    if (serial[0] != 0 && !device_serial_valid(span_str(serial))) {
        return fault_set(fault, ERR_INVALID, "validation_error", "serial",
                         "a serial is 1 to %d letters, digits, '.', '_' or '-'", DEVICE_SERIAL_MAX);
    }
    if (d->profile[0] != 0) {
        return fault_set(fault, ERR_EXISTS, "already_sealed", "profile",
                         "this device was sealed before; sealing is done once");
    }
    CLEANUP_BUF struct buf text = BUF_INIT(128);
    (void)buf_printf(&text, "%s %s\n", profile, serial);
    err_t err = storage_replace(d->storage, DEVICE_SEALED_FILE, buf_span(&text));
    if (err != ERR_OK) {
        return fault_set(fault, err, "storage", "", "the seal cannot be stored");
    }
    (void)snprintf(d->profile, sizeof d->profile, "%s", profile);
    (void)snprintf(d->serial, sizeof d->serial, "%s", serial);
    return ERR_OK;
}

bool device_needs_bootstrap(const struct device *d)
{
    const struct device_state *s = &d->state;
    bool sealed_since =
        s->standing == DEVICE_STANDING_REGISTERED && strcmp(d->profile, s->profile_reported) != 0;
    return s->standing == DEVICE_STANDING_NEW || sealed_since;
}

static err_t reserve(struct device *d, uint64_t upto)
{
    struct device_state next = d->state;
    next.sequence_reserved = upto;
    return device_commit(d, &next);
}

err_t device_next_sequence(struct device *d, uint64_t *ret)
{
    if (d->sequence_next >= d->state.sequence_reserved) {
        err_t err = reserve(d, d->sequence_next + SEQUENCE_BLOCK);
        if (err != ERR_OK) {
            return err;
        }
    }
    *ret = d->sequence_next++;
    return ERR_OK;
}

err_t device_skip_sequence(struct device *d, uint64_t count)
{
    d->sequence_next += count;
    return d->sequence_next > d->state.sequence_reserved
               ? reserve(d, d->sequence_next + SEQUENCE_BLOCK)
               : ERR_OK;
}

static int64_t flood_ms(const struct device *d)
{
    int64_t seconds =
        d->options.flood_override_s >= 0 ? d->options.flood_override_s : d->state.flood_interval_s;
    return seconds * 1000;
}

static err_t set_hold(struct device *d, int64_t from_ms, int64_t hold_ms)
{
    struct device_state next = d->state;
    next.hold_from_ms = from_ms;
    next.hold_ms = hold_ms;
    return device_commit(d, &next);
}

err_t device_heartbeat_hold_ms(struct device *d, int64_t *ret_ms)
{
    int64_t now = clock_now_ms(d->options.clock);
    if (d->state.hold_ms > 0 && now < d->state.hold_from_ms) {
        /* The clock went back: how much of the interval is over cannot be known. */
        err_t err = set_hold(d, now, d->state.hold_ms);
        if (err != ERR_OK) {
            return err;
        }
    }
    int64_t left = d->state.hold_ms > 0 ? d->state.hold_from_ms + d->state.hold_ms - now : 0;
    if (d->sent_mono_ms >= 0) {
        int64_t passed = clock_mono_ms(d->options.clock) - d->sent_mono_ms;
        int64_t left_mono = d->state.hold_ms - passed;
        left = left_mono > left ? left_mono : left;
    }
    *ret_ms = left > 0 ? left : 0;
    return ERR_OK;
}

err_t device_heartbeat_sent(struct device *d)
{
    struct device_state next = d->state;
    next.heartbeat_sent_ms = clock_now_ms(d->options.clock);
    next.hold_from_ms = next.heartbeat_sent_ms;
    next.hold_ms = flood_ms(d);
    err_t err = device_commit(d, &next);
    if (err == ERR_OK) {
        d->sent_mono_ms = clock_mono_ms(d->options.clock);
    }
    return err;
}

err_t device_heartbeat_defer(struct device *d, int64_t wait_ms)
{
    err_t err = set_hold(d, clock_now_ms(d->options.clock), wait_ms);
    if (err == ERR_OK) {
        d->sent_mono_ms = clock_mono_ms(d->options.clock);
    }
    return err;
}
