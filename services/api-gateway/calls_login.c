/*
 * Logging in: APIKey and APISecret, or a refresh token, for an access token.
 */
#include <stdio.h>

#include "caller.h"
#include "calls.h"
#include "common/log.h"
#include "token.h"

struct login_body {
    API_BODY_HEAD;
    char api_key[65];
    char api_secret[129];
};
static const struct codec_field login_fields[] = {
    {CODEC_STR(struct login_body, api_key, "APIKey", CODEC_REQUIRED, 1)},
    {CODEC_STR(struct login_body, api_secret, "APISecret", CODEC_REQUIRED, 1)},
};
static const struct codec_table login_table = CODEC_TABLE(struct login_body, login_fields);

struct refresh_body {
    API_BODY_HEAD;
    char refresh_token[TOKEN_TEXT_MAX + 1];
};
static const struct codec_field refresh_fields[] = {
    {CODEC_STR(struct refresh_body, refresh_token, "RefreshToken", CODEC_REQUIRED, 1)},
};
static const struct codec_table refresh_table = CODEC_TABLE(struct refresh_body, refresh_fields);

static void reply_tokens(struct exchange *x, const char *api_key, const char *domain)
{
    x->caller->kind = CALLER_ACCESS_KEY; /* for the audit line */
    memcpy(x->caller->id, api_key, sizeof x->caller->id);
    memcpy(x->caller->domain, domain, sizeof x->caller->domain);
    const struct config_secret *key = &x->door->config->token_key;
    struct span secret = span_of(key->value, key->len);
    CLEANUP_BUF struct buf access = BUF_INIT_SECRET(TOKEN_TEXT_MAX);
    CLEANUP_BUF struct buf refresh = BUF_INIT_SECRET(TOKEN_TEXT_MAX);
    err_t err = token_make(secret, TOKEN_ACCESS, api_key, domain, x->now_ms, &access);
    if (err == ERR_OK) {
        err = token_make(secret, TOKEN_REFRESH, api_key, domain, x->now_ms, &refresh);
    }
    if (err != ERR_OK) {
        api_fault(x, err, NULL);
        return;
    }
    cJSON *json = cJSON_CreateObject();
    (void)cJSON_AddStringToObject(json, "AuthToken", buf_cstr(&access));
    (void)cJSON_AddStringToObject(json, "RefreshToken", buf_cstr(&refresh));
    (void)cJSON_AddNumberToObject(json, "ExpiresIn", TOKEN_ACCESS_S);
    (void)cJSON_AddStringToObject(json, "DomainUID", domain);
    api_reply(x, 200, json);
}

static void failed(struct exchange *x, err_t err, const struct fault *fault)
{
    if (err == ERR_UNAUTHORIZED) {
        api_fault(x, err, fault);
    } else {
        api_view_failed(x, err, "APIKey", "access key", "");
    }
}

/* A convenience for people ("is this key still used?"): may be lost, and a failure is no reason to
 * refuse a login. */
static void note_use(struct exchange *x, const char *api_key)
{
    char key[80];
    char now[24];
    (void)snprintf(key, sizeof key, "g:t:used:%s", api_key);
    (void)snprintf(now, sizeof now, "%lld", (long long)x->now_ms);
    err_t err = redis_command_str(x->redis, NULL, "SET", key, now, (char *)NULL);
    log_debug("login", NULL, "use_noted", LOG_ERR("error", err));
}

static void authenticate(struct exchange *x)
{
    const struct login_body *body = x->body;
    char domain[UUID_TEXT_SIZE];
    struct fault fault = {0};
    err_t err = caller_login(x->door, x->redis, body->api_key, body->api_secret, domain, &fault);
    if (err != ERR_OK) {
        failed(x, err, &fault);
        return;
    }
    note_use(x, body->api_key);
    reply_tokens(x, body->api_key, domain);
}

static void refresh(struct exchange *x)
{
    const struct refresh_body *body = x->body;
    const struct config_secret *key = &x->door->config->token_key;
    struct token token;
    struct fault fault = {0};
    err_t err = token_check(span_of(key->value, key->len), span_str(body->refresh_token),
                            TOKEN_REFRESH, x->now_ms, &token, &fault);
    if (err == ERR_OK) {
        err = caller_key_active(x->door, x->redis, token.domain, token.api_key);
        if (err == ERR_UNAUTHORIZED) {
            (void)fault_set(&fault, err, "invalid_auth", "",
                            "the access key of this token was revoked");
        }
    }
    if (err != ERR_OK) {
        failed(x, err, &fault);
        return;
    }
    note_use(x, token.api_key);
    reply_tokens(x, token.api_key, token.domain);
}

const struct api_call calls_login[] = {
    {.path = "/v1/authenticate",
     .access = API_PUBLIC,
     .body = &login_table,
     API_SMALL,
     .serve = authenticate},
    {.path = "/v1/authenticate/refresh",
     .access = API_PUBLIC,
     .body = &refresh_table,
     API_SMALL,
     .serve = refresh},
    {0},
};
