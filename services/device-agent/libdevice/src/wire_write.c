#include "common/id.h"
#include "common/text.h"
#include "device/wire.h"

static void add_name(struct buf *to, const char *name)
{
    bool first = to->len == 0 || to->ptr[to->len - 1] == '{';
    (void)buf_printf(to, "%s\"%s\":", first ? "" : ",", name);
}

/* Leaves the member out where there is no value. */
static void add_text(struct buf *to, const char *name, const char *value)
{
    if (value != NULL && value[0] != 0) {
        add_name(to, name);
        (void)text_append_json(to, span_str(value));
    }
}

static void add_base64(struct buf *to, const char *name, struct span bytes)
{
    add_name(to, name);
    (void)buf_append_byte(to, '"');
    (void)base64_append(to, bytes, BASE64_STANDARD);
    (void)buf_append_byte(to, '"');
}

static void add_time(struct buf *to, int64_t now_ms)
{
    char text[TIME_TEXT_SIZE];
    time_format(now_ms, text);
    add_text(to, "time", text);
}

static err_t finish(struct buf *to)
{
    (void)buf_append_byte(to, '}');
    return buf_ok(to) ? ERR_OK : ERR_TOO_LARGE;
}

static err_t add_csr(struct buf *to, EVP_PKEY *key, const char *uid)
{
    CLEANUP_BUF struct buf der = BUF_INIT(DEVICE_CERT_MAX);
    err_t err = device_csr(key, uid, &der);
    if (err == ERR_OK) {
        add_base64(to, "csr", buf_span(&der));
    }
    return err;
}

err_t device_write_bootstrap(const struct device *d, EVP_PKEY *key, int64_t now_ms, struct buf *to)
{
    uint8_t nonce[DEVICE_NONCE_BYTES];
    size_t nonce_len = 0;
    if (hex_decode(span_str(d->state.install_nonce), nonce, sizeof nonce, &nonce_len) != ERR_OK ||
        nonce_len != sizeof nonce) {
        return ERR_CORRUPT;
    }
    (void)buf_append_byte(to, '{');
    add_text(to, "uid", d->uid);
    add_text(to, "profile", d->profile);
    add_text(to, "serial", d->serial);
    add_base64(to, "install_nonce", span_of(nonce, sizeof nonce));
    err_t err = key != NULL ? add_csr(to, key, d->uid) : ERR_OK;
    if (err != ERR_OK) {
        return err;
    }
    add_text(to, "model", d->options.model);
    add_text(to, "firmware", d->options.firmware);
    add_text(to, "agent", d->options.agent);
    add_time(to, now_ms);
    return finish(to);
}

err_t device_write_heartbeat(const struct device *d, uint64_t sequence, struct buf *to)
{
    (void)buf_printf(to, "{\"sequence\":\"%llu\"", (unsigned long long)sequence);
    add_text(to, "token", d->state.token);
    add_text(to, "installed", device_current_serial(d));
    if (d->state.failed_operation[0] != 0) {
        (void)buf_append_str(to, ",\"result\":{");
        add_text(to, "operation", d->state.failed_operation);
        add_text(to, "status", "failed");
        add_text(to, "reason", d->state.failed_reason);
        (void)buf_append_byte(to, '}');
    }
    return finish(to);
}

err_t device_write_pickup(const struct device *d, const char *operation, EVP_PKEY *new_key,
                          struct buf *to)
{
    (void)buf_append_byte(to, '{');
    add_text(to, "operation", operation);
    err_t err = new_key != NULL ? add_csr(to, new_key, d->uid) : ERR_OK;
    return err != ERR_OK ? err : finish(to);
}

err_t device_write_confirm(const char *operation, const char *serial, const EVP_PKEY *key,
                           int64_t now_ms, struct buf *to)
{
    CLEANUP_BUF struct buf spki = BUF_INIT(DEVICE_SPKI_MAX);
    err_t err = device_key_spki(key, &spki);
    if (err != ERR_OK) {
        return err;
    }
    (void)buf_append_byte(to, '{');
    add_text(to, "operation", operation);
    add_text(to, "serial", serial);
    add_time(to, now_ms);
    add_base64(to, "key", buf_span(&spki));
    return finish(to);
}
