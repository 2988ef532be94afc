#include "signature.h"

#include <inttypes.h>
#include <openssl/crypto.h>

#include "common/digest.h"
#include "common/id.h"

#define PREFIX     "whsec_"
#define PREFIX_LEN (sizeof PREFIX - 1)
#define HEAD_MAX   256 /* id and timestamp */

void signing_secrets_wipe(struct signing_secrets *secrets)
{
    OPENSSL_cleanse(secrets, sizeof *secrets);
}

static err_t parse_one(struct span text, struct signing_secrets *ret)
{
    if (ret->count == SIGNATURE_SECRETS_MAX || text.len <= PREFIX_LEN ||
        memcmp(text.ptr, PREFIX, PREFIX_LEN) != 0) {
        return ERR_INVALID;
    }
    struct span encoded = span_of(text.ptr + PREFIX_LEN, text.len - PREFIX_LEN);
    size_t len = 0;
    err_t e = base64_decode(encoded, BASE64_STANDARD, ret->keys[ret->count].bytes,
                            SIGNATURE_SECRET_MAX, &len);
    if (e != ERR_OK || len < SIGNATURE_SECRET_MIN) {
        return ERR_INVALID;
    }
    ret->keys[ret->count++].len = len;
    return ERR_OK;
}

err_t signing_secrets_parse(struct span text, struct signing_secrets *ret)
{
    *ret = (struct signing_secrets){0};
    err_t e = ERR_OK;
    size_t from = 0;
    while (e == ERR_OK && from <= text.len) {
        const uint8_t *space =
            from < text.len ? memchr(text.ptr + from, ' ', text.len - from) : NULL;
        size_t until = space != NULL ? (size_t)(space - text.ptr) : text.len;
        e = parse_one(span_of(text.ptr + from, until - from), ret);
        from = until + 1;
    }
    if (e != ERR_OK) {
        signing_secrets_wipe(ret);
    }
    return e;
}

err_t signature_header(const struct signing_secrets *secrets, const char *id, int64_t timestamp_s,
                       struct span body, struct buf *to)
{
    CLEANUP_BUF struct buf content = BUF_INIT(HEAD_MAX + body.len);
    (void)buf_printf(&content, "%s.%" PRId64 ".", id, timestamp_s);
    (void)buf_append_span(&content, body);
    if (!buf_ok(&content)) {
        return ERR_TOO_LARGE;
    }
    for (size_t i = 0; i < secrets->count; i++) {
        struct span key = span_of(secrets->keys[i].bytes, secrets->keys[i].len);
        struct digest mac = digest_hmac_sha256(key, buf_span(&content));
        (void)buf_append_str(to, i > 0 ? " v1," : "v1,");
        (void)base64_append(to, digest_span(&mac), BASE64_STANDARD);
    }
    return buf_ok(to) ? ERR_OK : ERR_TOO_LARGE;
}
