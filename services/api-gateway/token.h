/*
 * Access and refresh tokens: JWTs signed with HMAC-SHA-256 under a key that all replicas of the
 * gateway share. Nothing is stored: a token is believed for its life, but the access key it names
 * is looked up on every call, so that revoking the key ends its tokens at once. Pure functions, any
 * thread.
 */
#ifndef API_GATEWAY_TOKEN_H
#define API_GATEWAY_TOKEN_H

#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"
#include "common/id.h"

#define TOKEN_KEY_MIN   32 /* bytes of the signing key */
#define TOKEN_TEXT_MAX  1024
#define TOKEN_ACCESS_S  3600
#define TOKEN_REFRESH_S (30 * 86400)

enum token_kind { TOKEN_ACCESS, TOKEN_REFRESH };

struct token {
    enum token_kind kind;
    char api_key[UUID_TEXT_SIZE];
    char domain[UUID_TEXT_SIZE];
    int64_t issued_s, expires_s; /* unix seconds */
};

/* Appends the text of a token that starts now. ERR_TOO_LARGE as buf_append. */
err_t token_make(struct span key, enum token_kind kind, const char *api_key, const char *domain,
                 int64_t now_ms, struct buf *to);
/*
 * Checks form, algorithm, signature (in constant time), kind and times. ERR_UNAUTHORIZED with
 * `fault`: "invalid_auth", or "token_expired" when only its time is over.
 */
err_t token_check(struct span key, struct span text, enum token_kind kind, int64_t now_ms,
                  struct token *ret, struct fault *fault) MUST_USE;

#endif
