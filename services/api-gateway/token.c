#include "token.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "common/codec.h"
#include "common/json.h"

#define MAC_LEN    32
#define HEADER     "{\"alg\":\"HS256\",\"typ\":\"JWT\"}"
#define ISSUER     "fleetseal"
#define CLAIMS_MAX 512
#define LEEWAY_S   60 /* a replica's clock may be ahead of another's */

static const struct codec_name kind_names[] = {
    {TOKEN_ACCESS, "access"}, {TOKEN_REFRESH, "refresh"}, {0}};

struct claims {
    char iss[16];
    char sub[UUID_TEXT_SIZE];
    char dom[UUID_TEXT_SIZE];
    enum token_kind typ;
    int64_t iat, exp;
    char jti[UUID_TEXT_SIZE];
};
static const struct codec_field claims_fields[] = {
    {CODEC_STR(struct claims, iss, "iss", CODEC_REQUIRED, 1)},
    {CODEC_STR(struct claims, sub, "sub", CODEC_REQUIRED, UUID_TEXT_SIZE - 1)},
    {CODEC_STR(struct claims, dom, "dom", CODEC_REQUIRED, UUID_TEXT_SIZE - 1)},
    {CODEC_ENUM(struct claims, typ, "token_use", CODEC_REQUIRED, kind_names)},
    {CODEC_I64(struct claims, iat, "iat", CODEC_REQUIRED, 0, JSON_INTEGER_MAX)},
    {CODEC_I64(struct claims, exp, "exp", CODEC_REQUIRED, 0, JSON_INTEGER_MAX)},
    {CODEC_STR(struct claims, jti, "jti", CODEC_REQUIRED, UUID_TEXT_SIZE - 1)},
};
static const struct codec_table claims_table = CODEC_TABLE(struct claims, claims_fields);

static void mac(struct span key, struct span text, uint8_t out[MAC_LEN])
{
    unsigned len = MAC_LEN;
    if (HMAC(EVP_sha256(), key.ptr, (int)key.len, text.ptr, text.len, out, &len) == NULL) {
        random_bytes(out, MAC_LEN); /* matches nothing */
    }
}

err_t token_make(struct span key, enum token_kind kind, const char *api_key, const char *domain,
                 int64_t now_ms, struct buf *to)
{
    struct claims c = {.iss = ISSUER, .typ = kind, .iat = now_ms / 1000};
    c.exp = c.iat + (kind == TOKEN_ACCESS ? TOKEN_ACCESS_S : TOKEN_REFRESH_S);
    memcpy(c.sub, api_key, sizeof c.sub);
    memcpy(c.dom, domain, sizeof c.dom);
    struct uuid id = uuid_v4();
    uuid_format(&id, c.jti);
    CLEANUP_BUF struct buf claims = BUF_INIT(CLAIMS_MAX);
    err_t err = codec_encode(&claims_table, &c, &claims);
    if (err != ERR_OK) {
        return err;
    }
    size_t start = to->len;
    (void)base64_append(to, span_str(HEADER), BASE64_URL);
    (void)buf_append_byte(to, '.');
    (void)base64_append(to, buf_span(&claims), BASE64_URL);
    if (!buf_ok(to)) {
        return ERR_TOO_LARGE;
    }
    uint8_t signature[MAC_LEN];
    mac(key, span_of(to->ptr + start, to->len - start), signature);
    (void)buf_append_byte(to, '.');
    (void)base64_append(to, span_of(signature, sizeof signature), BASE64_URL);
    return buf_ok(to) ? ERR_OK : ERR_TOO_LARGE;
}

/* Splits at the first '.'; false when there is none. */
static bool cut(struct span *text, struct span *ret_part)
{
    const uint8_t *dot = text->len > 0 ? memchr(text->ptr, '.', text->len) : NULL;
    if (dot == NULL) {
        return false;
    }
    *ret_part = span_of(text->ptr, (size_t)(dot - text->ptr));
    *text = span_of(dot + 1, text->len - ret_part->len - 1);
    return true;
}

static err_t refuse(struct fault *fault)
{
    return fault_set(fault, ERR_UNAUTHORIZED, "invalid_auth", "",
                     "the token is not valid; get a new one from /v1/authenticate");
}

/* Signature first: nothing of a forged token is parsed. */
static err_t read_claims(struct span key, struct span text, struct claims *ret)
{
    struct span rest = text;
    struct span header;
    struct span payload;
    if (text.len > TOKEN_TEXT_MAX || !cut(&rest, &header) || !cut(&rest, &payload)) {
        return ERR_UNAUTHORIZED;
    }
    uint8_t expected[MAC_LEN];
    uint8_t given[MAC_LEN];
    size_t len = 0;
    mac(key, span_of(text.ptr, header.len + 1 + payload.len), expected);
    if (base64_decode(rest, BASE64_URL, given, sizeof given, &len) != ERR_OK ||
        !constant_time_eq(span_of(expected, sizeof expected), span_of(given, len))) {
        return ERR_UNAUTHORIZED;
    }
    CLEANUP_BUF struct buf own_header = BUF_INIT(64);
    err_t err = base64_append(&own_header, span_str(HEADER), BASE64_URL);
    uint8_t claims[CLAIMS_MAX];
    /* only our own header: no other algorithm is ever considered */
    if (err != ERR_OK || !span_eq(header, buf_span(&own_header)) ||
        base64_decode(payload, BASE64_URL, claims, sizeof claims, &len) != ERR_OK) {
        return ERR_UNAUTHORIZED;
    }
    return codec_decode_text(&claims_table, CODEC_KEEP, span_of(claims, len), &JSON_LIMITS_DEFAULT,
                             ret, NULL);
}

err_t token_check(struct span key, struct span text, enum token_kind kind, int64_t now_ms,
                  struct token *ret, struct fault *fault)
{
    struct claims c;
    int64_t now_s = now_ms / 1000;
    if (read_claims(key, text, &c) != ERR_OK || strcmp(c.iss, ISSUER) != 0 || c.typ != kind ||
        c.iat > now_s + LEEWAY_S) {
        return refuse(fault);
    }
    if (c.exp <= now_s) {
        return fault_set(fault, ERR_UNAUTHORIZED, "token_expired", "",
                         kind == TOKEN_ACCESS
                             ? "the token has expired; renew it at /v1/authenticate/refresh"
                             : "the refresh token has expired; log in at /v1/authenticate");
    }
    *ret = (struct token){.kind = kind, .issued_s = c.iat, .expires_s = c.exp};
    memcpy(ret->api_key, c.sub, sizeof ret->api_key);
    memcpy(ret->domain, c.dom, sizeof ret->domain);
    return ERR_OK;
}
