/*
 * Access keys. The secret is made here and shown once; the owner stores its hash.
 */
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>

#include "calls.h"
#include "write.h"

#define SECRET_CHARS 32 /* letters and digits: 190 bits */

struct create_body {
    API_BODY_HEAD;
    char name[REGISTRY_NAME_MAX + 1];
};
static const struct codec_field create_fields[] = {
    API_DOMAIN_ROW(struct create_body),
    {CODEC_STR(struct create_body, name, "Name", CODEC_REQUIRED, 1), API_LINE},
};
static const struct codec_table create_table = CODEC_TABLE(struct create_body, create_fields);

static const struct codec_field revoke_fields[] = API_NAMED_FIELDS("APIKey");
static const struct codec_table revoke_table = CODEC_TABLE(struct api_named_body, revoke_fields);

static cJSON *show_key(const struct registry_access_key *k)
{
    cJSON *json = cJSON_CreateObject();
    (void)cJSON_AddStringToObject(json, "APIKey", k->id);
    (void)cJSON_AddStringToObject(json, "DomainUID", k->domain);
    (void)cJSON_AddStringToObject(json, "Name", k->name);
    (void)cJSON_AddStringToObject(json, "Status",
                                  codec_name_of(registry_key_status_names, (int)k->status));
    api_add_time(json, "CreatedAt", k->created_at);
    api_add_time(json, "RevokedAt", k->revoked_at);
    return json;
}

static cJSON *show_result(const cJSON *result, const cJSON *asked)
{
    (void)asked;
    CLEANUP(registry_record_free)
    struct registry_record *r = registry_from_result(REGISTRY_ACCESS_KEY, result);
    return r != NULL ? show_key(&r->of.access_key) : NULL;
}

/* Uniform over letters and digits: bytes beyond the last whole multiple of 62 are thrown away. */
static void make_secret(char out[SECRET_CHARS + 1])
{
    static const char alphabet[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    size_t n = 0;
    while (n < SECRET_CHARS) {
        uint8_t byte = 0;
        random_bytes(&byte, sizeof byte);
        if (byte < 248) {
            out[n++] = alphabet[byte % 62];
        }
    }
    out[SECRET_CHARS] = '\0';
}

static void create(struct exchange *x)
{
    const struct create_body *body = x->body;
    struct ask ask;
    struct uuid id;
    if (!write_begin(x, REGISTRY_REQUEST_KEY_CREATE, &ask, &id)) {
        return;
    }
    struct registry_key_create request = {0};
    registry_api_key(x->domain, &id, request.id);
    memcpy(request.name, body->name, sizeof request.name);
    ask.extra = (struct ask_extra){.name = "APISecret", .proof_name = "secret_hash"};
    make_secret(ask.extra.value);
    CLEANUP_BUF struct buf proof = BUF_INIT(sizeof ask.extra.proof);
    struct span secret = span_str(ask.extra.value);
    if (EVP_Digest(secret.ptr, secret.len, request.secret_hash, NULL, EVP_sha256(), NULL) != 1 ||
        base64_append(&proof, span_of(request.secret_hash, 32), BASE64_STANDARD) != ERR_OK) {
        OPENSSL_cleanse(&ask.extra, sizeof ask.extra);
        api_fault(x, ERR_INTERNAL, NULL);
        return;
    }
    (void)snprintf(ask.extra.proof, sizeof ask.extra.proof, "%s", buf_cstr(&proof));
    ask_one(x, &ask, &id, write_body(&registry_key_create_table, &request));
    ask.deadline_ms = ASK_SECRET_DEADLINE_MS;
    ask_send(x, &ask);
}

static void revoke(struct exchange *x)
{
    const struct api_named_body *body = x->body;
    struct ask ask;
    struct uuid id;
    if (!write_begin(x, REGISTRY_REQUEST_KEY_REVOKE, &ask, &id)) {
        return;
    }
    struct registry_target request = {0};
    memcpy(request.id, body->uid, sizeof request.id);
    ask_one(x, &ask, &id, write_body(&registry_target_table, &request));
    ask_send(x, &ask);
}

static cJSON *show_row(struct exchange *x, const struct registry_record *r)
{
    cJSON *json = show_key(&r->of.access_key);
    char key[80];
    (void)snprintf(key, sizeof key, "g:t:used:%s", r->of.access_key.id);
    const struct span keys[] = {span_str(key)};
    struct span value[1] = {{0}};
    CLEANUP_BUF struct buf arena = BUF_INIT(64);
    int64_t used_ms = 0;
    if (views_read(x->redis, keys, 1, &arena, value) == ERR_OK && value[0].ptr != NULL) {
        for (size_t i = 0; i < value[0].len && i < 15; i++) {
            used_ms = used_ms * 10 + (value[0].ptr[i] - '0');
        }
    }
    api_add_time(json, "LastUsedAt", used_ms);
    return json;
}

static void list(struct exchange *x)
{
    registry_list(x, REGISTRY_ACCESS_KEY, show_row);
}

const struct api_call calls_access_key[] = {
    {.path = "/v1/accesskey/create",
     .access = API_DOMAIN,
     .write = true,
     .body = &create_table,
     API_SMALL,
     .serve = create,
     .show = show_result},
    {.path = "/v1/accesskey/revoke",
     .access = API_DOMAIN,
     .write = true,
     .body = &revoke_table,
     API_SMALL,
     .serve = revoke,
     .show = show_result},
    {.path = "/v1/accesskey/list",
     .access = API_DOMAIN,
     .body = &api_page_table,
     API_SMALL,
     .serve = list},
    {0},
};
