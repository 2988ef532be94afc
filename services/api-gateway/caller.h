/*
 * Who calls, and how often: credentials and their rates, judged when the headers are there, before
 * a byte of a body is kept. Any server thread.
 */
#ifndef API_GATEWAY_CALLER_H
#define API_GATEWAY_CALLER_H

#include "api.h"

/*
 * Reads Authorization (with or without "Bearer "): the operator's token, or an access token whose
 * key is still active. ERR_UNAUTHORIZED: "invalid_auth" or "token_expired"; ERR_UNAVAILABLE: the
 * key cannot be looked up now.
 */
err_t caller_authenticate(const struct door *door, const struct http_request *req,
                          struct caller *ret, struct fault *fault) MUST_USE;
/* The access key of a login: ERR_UNAUTHORIZED, whether the key is unknown, revoked or the secret
 * wrong. `ret_domain` is its domain. */
err_t caller_login(const struct door *door, struct redis *redis, const char *api_key,
                   const char *secret, char ret_domain[UUID_TEXT_SIZE],
                   struct fault *fault) MUST_USE;
/* ERR_OK while the key exists and is active. */
err_t caller_key_active(const struct door *door, struct redis *redis, const char *domain,
                        const char *api_key) MUST_USE;

/* Token buckets by name (credential or address), a fixed number of them: the one unused longest
 * makes room. Thread-safe. */
struct caller_rates;
struct caller_rates *caller_rates_new(int64_t per_second, int64_t burst)
    __attribute__((returns_nonnull));
void caller_rates_free(struct caller_rates *r);
/* False: too many; *ret_wait_s is when to come back. */
bool caller_rates_take(struct caller_rates *r, const char *name, int64_t now_ms,
                       uint32_t *ret_wait_s);

#endif
