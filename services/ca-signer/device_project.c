#include "device_project.h"

#include <string.h>

/* Reason of a device that is left alone until its owner orders. */
#define STUCK "stuck"

bool device_is_due(const struct device *d, int64_t *ret_ms)
{
    const struct device_certificate *c = &d->certificate;
    if (d->state != DEVICE_ACTIVE || !device_has_certificate(d) || device_has_operation(d) ||
        c->revoked_at_ms != 0 || strcmp(d->reason, STUCK) == 0) {
        return false;
    }
    *ret_ms = device_due_ms(d->uid, c->not_before_ms, c->not_after_ms);
    return true;
}

/* Names are "n:<16 bytes of the domain>" and "due:<16 bytes of the CA>". */
static err_t add_index(struct view_record *to, const char *prefix, const struct uuid *id,
                       double score)
{
    CLEANUP_BUF struct buf name = BUF_INIT(32);
    (void)buf_append_str(&name, prefix);
    (void)buf_append_span(&name, uuid_span(id));
    return view_record_index(to, buf_span(&name), (struct span){0}, score);
}

err_t device_project(struct span record_key, struct span value, struct view_record *to)
{
    CLEANUP(device_free) struct device *d = NULL;
    err_t e = device_decode(value, &d, NULL);
    if (e != ERR_OK) {
        return e == ERR_UNSUPPORTED ? e : ERR_CORRUPT;
    }
    uint8_t key[DEVICE_UID_LEN / 2];
    if (!span_eq(span_str(d->uid), record_key) || device_view_key(record_key, key) != ERR_OK) {
        return ERR_CORRUPT;
    }
    e = buf_append(&to->key, key, sizeof key);
    if (e == ERR_OK) {
        e = device_pack(d, &to->payload);
    }
    if (e == ERR_OK && !uuid_is_zero(&d->domain)) {
        e = add_index(to, "n:", &d->domain, 0);
    }
    int64_t due_ms = 0;
    if (e == ERR_OK && device_is_due(d, &due_ms)) {
        int64_t due_s = due_ms / 1000;
        e = add_index(to, "due:", &d->certificate.ca, (double)due_s);
    }
    return e;
}
