/*
 * Signatures of Standard Webhooks 1.0: HMAC-SHA256 over "<id>.<timestamp>.<body>", one for each
 * secret of the webhook, so that a receiver can change its secret without missing anything. Pure,
 * any thread.
 */
#ifndef WEBHOOK_NOTIFIER_SIGNATURE_H
#define WEBHOOK_NOTIFIER_SIGNATURE_H

#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"

#define SIGNATURE_SECRETS_MAX     4
#define SIGNATURE_SECRET_MIN      24 /* bytes */
#define SIGNATURE_SECRET_MAX      64
#define SIGNATURE_HEADER_MAX      256 /* bytes of the header's value */
#define SIGNATURE_SECRET_TEXT_MAX 512

struct signing_secrets {
    struct {
        uint8_t bytes[SIGNATURE_SECRET_MAX];
        size_t len;
    } keys[SIGNATURE_SECRETS_MAX];
    size_t count;
};

/* "whsec_<base64>", several separated by one space, the newest first. ERR_INVALID: not that form;
 * *ret is wiped. Wipe it with signing_secrets_wipe. */
err_t signing_secrets_parse(struct span text, struct signing_secrets *ret) MUST_USE;
void signing_secrets_wipe(struct signing_secrets *secrets);

/* Appends the value of webhook-signature. ERR_TOO_LARGE as buf_append. `id` has no dots. */
err_t signature_header(const struct signing_secrets *secrets, const char *id, int64_t timestamp_s,
                       struct span body, struct buf *to) MUST_USE;

#endif
