#include "caller.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <stdio.h>

#include "common/partition.h"
#include "common/ratelimit.h"
#include "proto/topics.h"
#include "token.h"

#define RECORD_MAX 65536u
#define BEARER     "Bearer "

static void digest(struct span text, uint8_t out[32])
{
    if (EVP_Digest(text.ptr, text.len, out, NULL, EVP_sha256(), NULL) != 1) {
        random_bytes(out, 32); /* equals nothing */
    }
}

/* Digests are compared, so that not even the length of the token is told by the time taken. */
static bool is_operator(const struct door *door, struct span text)
{
    const struct config_secret *token = &door->config->operator_token;
    uint8_t given[32];
    uint8_t wanted[32];
    digest(text, given);
    digest(span_of(token->value, token->len), wanted);
    return token->len > 0 &&
           constant_time_eq(span_of(given, sizeof given), span_of(wanted, sizeof wanted));
}

static err_t refuse(struct fault *fault, const char *text)
{
    return fault_set(fault, ERR_UNAUTHORIZED, "invalid_auth", "", "%s", text);
}

static err_t read_key(const struct door *door, struct redis *redis, const char *domain,
                      const char *api_key, struct registry_record **ret)
{
    char key[REGISTRY_KEY_SIZE];
    registry_key(domain, REGISTRY_ACCESS_KEY, api_key, key);
    CLEANUP_BUF struct buf payload = BUF_INIT(RECORD_MAX);
    err_t err =
        views_get(redis, VIEW_REGISTRY, api_partition(door, domain), span_str(key), &payload);
    return err != ERR_OK ? err
                         : registry_record_decode(REGISTRY_ACCESS_KEY, buf_span(&payload), ret);
}

err_t caller_key_active(const struct door *door, struct redis *redis, const char *domain,
                        const char *api_key)
{
    CLEANUP(registry_record_free) struct registry_record *key = NULL;
    err_t err = read_key(door, redis, domain, api_key, &key);
    if (err != ERR_OK) {
        return err == ERR_ABSENT ? ERR_UNAUTHORIZED : err;
    }
    return key->of.access_key.status == REGISTRY_KEY_ACTIVE ? ERR_OK : ERR_UNAUTHORIZED;
}

/* The domain of an APIKey, by the alias index of the partition that the key itself names. */
static err_t find_domain(const struct door *door, struct redis *redis, const char *api_key,
                         char ret_domain[UUID_TEXT_SIZE])
{
    uint32_t hash = 0;
    char prefix[REGISTRY_ALIAS_SIZE];
    if (registry_api_key_hint(api_key, &hash) != ERR_OK) {
        return ERR_ABSENT;
    }
    registry_alias_key(api_key, prefix);
    const struct views_range range = {
        .letter = VIEW_REGISTRY,
        .index = span_str("alias"),
        .partition = (int32_t)(hash % (uint32_t)views_partitions(door->views)),
        .prefix = span_str(prefix),
        .limit = 1,
    };
    CLEANUP(views_members_deinit) struct views_members members = {0};
    err_t err = views_list(door->views, redis, &range, &members);
    if (err != ERR_OK || members.count == 0) {
        return err != ERR_OK ? err : ERR_ABSENT;
    }
    struct span domain;
    struct span id;
    enum registry_kind kind = REGISTRY_DOMAIN;
    const struct views_member *m = &members.items[0];
    err = registry_key_parse(span_of(m->bytes + strlen(prefix), m->len - strlen(prefix)), &domain,
                             &kind, &id);
    if (err == ERR_OK) {
        memcpy(ret_domain, domain.ptr, domain.len);
        ret_domain[domain.len] = '\0';
    }
    return err == ERR_OK ? ERR_OK : ERR_CORRUPT;
}

err_t caller_login(const struct door *door, struct redis *redis, const char *api_key,
                   const char *secret, char ret_domain[UUID_TEXT_SIZE], struct fault *fault)
{
    CLEANUP(registry_record_free) struct registry_record *key = NULL;
    char domain[UUID_TEXT_SIZE] = "";
    err_t err = find_domain(door, redis, api_key, domain);
    if (err == ERR_OK) {
        err = read_key(door, redis, domain, api_key, &key);
    }
    if (err != ERR_OK && err != ERR_ABSENT) {
        return err;
    }
    /* The same work and the same words whether the key or the secret is wrong. */
    static const uint8_t nothing[32];
    uint8_t given[32];
    digest(span_str(secret), given);
    const uint8_t *wanted = key != NULL ? key->of.access_key.secret_hash : nothing;
    bool right = constant_time_eq(span_of(given, sizeof given), span_of(wanted, sizeof given));
    if (!right || key == NULL || key->of.access_key.status != REGISTRY_KEY_ACTIVE) {
        return refuse(fault, "unknown or revoked APIKey, or wrong APISecret");
    }
    memcpy(ret_domain, domain, sizeof domain);
    return ERR_OK;
}

static err_t check_token(const struct door *door, struct span text, struct caller *ret,
                         struct fault *fault)
{
    const struct config_secret *secret = &door->config->token_key;
    struct token token;
    err_t err = token_check(span_of(secret->value, secret->len), text, TOKEN_ACCESS,
                            clock_now_ms(door->clock), &token, fault);
    if (err != ERR_OK) {
        return err;
    }
    struct redis *redis = views_take(door->views);
    err = caller_key_active(door, redis, token.domain, token.api_key);
    views_give(door->views, redis);
    if (err == ERR_UNAUTHORIZED) {
        return refuse(fault, "the access key of this token was revoked");
    }
    if (err != ERR_OK) {
        return fault_set(fault, ERR_UNAVAILABLE, "view_rebuilding", "",
                         "the credential cannot be checked just now; try again");
    }
    ret->kind = CALLER_ACCESS_KEY;
    memcpy(ret->id, token.api_key, sizeof ret->id);
    memcpy(ret->domain, token.domain, sizeof ret->domain);
    return ERR_OK;
}

err_t caller_authenticate(const struct door *door, const struct http_request *req,
                          struct caller *ret, struct fault *fault)
{
    const char *header = http_request_header(req, "Authorization");
    if (header == NULL || header[0] == '\0') {
        return refuse(fault, "the header Authorization is missing; it takes Bearer and a token "
                             "from /v1/authenticate");
    }
    if (strncasecmp(header, BEARER, sizeof BEARER - 1) == 0) {
        header += sizeof BEARER - 1;
    }
    struct span text = span_str(header);
    if (is_operator(door, text)) {
        ret->kind = CALLER_OPERATOR;
        (void)snprintf(ret->id, sizeof ret->id, "operator");
        return ERR_OK;
    }
    return check_token(door, text, ret, fault);
}

/* ---- rates ---- */

#define BUCKETS 1024
#define WAYS    4 /* a name lives in one of these many neighbours of its place */

struct caller_rates {
    int64_t per_second, burst;
    pthread_mutex_t lock;
    struct bucket {
        char name[UUID_TEXT_SIZE + 16];
        struct ratelimit limit;
        int64_t used_ms;
    } buckets[BUCKETS];
};

struct caller_rates *caller_rates_new(int64_t per_second, int64_t burst)
{
    struct caller_rates *r = xcalloc(1, sizeof *r);
    r->per_second = per_second;
    r->burst = burst;
    (void)pthread_mutex_init(&r->lock, NULL);
    return r;
}

void caller_rates_free(struct caller_rates *r)
{
    if (r != NULL) {
        (void)pthread_mutex_destroy(&r->lock);
        free(r);
    }
}

static struct bucket *find_bucket(struct caller_rates *r, const char *name, int64_t now_ms)
{
    size_t home = stable_hash(span_str(name)) % BUCKETS;
    struct bucket *oldest = &r->buckets[home];
    for (size_t i = 0; i < WAYS; i++) {
        struct bucket *b = &r->buckets[(home + i) % BUCKETS];
        if (strncmp(b->name, name, sizeof b->name - 1) == 0 && b->name[0] != '\0') {
            return b;
        }
        if (b->used_ms < oldest->used_ms) {
            oldest = b;
        }
    }
    (void)snprintf(oldest->name, sizeof oldest->name, "%s", name);
    ratelimit_init(&oldest->limit, r->per_second, r->burst, now_ms);
    return oldest;
}

bool caller_rates_take(struct caller_rates *r, const char *name, int64_t now_ms,
                       uint32_t *ret_wait_s)
{
    int64_t wait_ms = 0;
    (void)pthread_mutex_lock(&r->lock);
    struct bucket *b = find_bucket(r, name, now_ms);
    b->used_ms = now_ms;
    bool passes = ratelimit_take(&b->limit, 1, now_ms, &wait_ms);
    (void)pthread_mutex_unlock(&r->lock);
    *ret_wait_s = passes ? 0 : (uint32_t)(wait_ms / 1000 + 1);
    return passes;
}
