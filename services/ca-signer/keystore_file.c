#include "common/seal.h"
#include "keystore_backend.h"

/*
 * A sealed key is PKCS#8 under common/seal.h; this product's name for the purpose, the owner and
 * the hash of the public key are its associated data, each behind its length.
 */
#define PURPOSE   "fleetseal-ca-key-v1"
#define PKCS8_MAX 4096
#define OWNER_MAX 128 /* bytes of each text */

static void append_part(struct buf *to, struct span part)
{
    (void)buf_append_byte(to, (uint8_t)part.len);
    (void)buf_append_span(to, part);
}

static err_t associated_data(const struct key_owner *owner, struct span key_hash, struct buf *to)
{
    if (owner->domain.len > OWNER_MAX || owner->ca.len > OWNER_MAX ||
        key_hash.len != KEY_HASH_SIZE) {
        return ERR_CORRUPT;
    }
    append_part(to, span_str(PURPOSE));
    append_part(to, owner->domain);
    append_part(to, owner->ca);
    append_part(to, key_hash);
    return buf_ok(to) ? ERR_OK : ERR_INTERNAL;
}

static err_t seal_key(const struct seal_kek *kek, const struct key_owner *owner, EVP_PKEY *key,
                      const struct key_facts *facts, struct buf *to)
{
    CLEANUP_BUF struct buf aad = BUF_INIT(SEAL_AAD_MAX);
    CLEANUP_BUF struct buf pkcs8 = BUF_INIT_SECRET(PKCS8_MAX);
    uint8_t hash[KEY_HASH_SIZE];
    err_t e = key_hash_of(span_of(facts->spki, facts->spki_len), hash);
    if (e == ERR_OK) {
        e = associated_data(owner, span_of(hash, sizeof hash), &aad);
    }
    if (e == ERR_OK) {
        e = evp_to_pkcs8(key, &pkcs8);
    }
    return e == ERR_OK ? seal(kek, buf_span(&aad), buf_span(&pkcs8), to) : e;
}

static err_t file_generate(void *self, const struct key_owner *owner, enum key_algorithm algorithm,
                           struct key_facts *ret, struct buf *ret_sealed)
{
    CLEANUP(EVP_PKEY_free) EVP_PKEY *key = NULL;
    struct key_facts facts;
    err_t e = evp_generate(algorithm, &key);
    if (e == ERR_OK) {
        e = evp_facts(key, &facts);
    }
    if (e == ERR_OK) {
        e = seal_key(self, owner, key, &facts, ret_sealed);
    }
    if (e == ERR_OK) {
        *ret = facts;
        ret->material = TAKE(key);
    }
    return e;
}

static err_t file_load(void *self, const struct key_owner *owner, struct span key_hash,
                       struct span sealed, struct key_facts *ret)
{
    CLEANUP_BUF struct buf aad = BUF_INIT(SEAL_AAD_MAX);
    CLEANUP_BUF struct buf pkcs8 = BUF_INIT_SECRET(PKCS8_MAX);
    CLEANUP(EVP_PKEY_free) EVP_PKEY *key = NULL;
    struct key_facts facts;
    err_t e = associated_data(owner, key_hash, &aad);
    if (e == ERR_OK) {
        e = unseal(self, buf_span(&aad), sealed, &pkcs8);
    }
    if (e == ERR_OK) {
        e = evp_from_pkcs8(buf_span(&pkcs8), &key);
    }
    if (e == ERR_OK) {
        e = evp_facts(key, &facts);
    }
    if (e == ERR_OK) {
        *ret = facts;
        ret->material = TAKE(key);
    }
    return e == ERR_ABSENT ? ERR_UNAVAILABLE : e;
}

static void file_destroy(void *self)
{
    seal_kek_free(self);
}

static const struct keystore_backend file = {
    .generate = file_generate,
    .load = file_load,
    .material_free = evp_material_free,
    .session_new = evp_session_new,
    .sign = evp_sign,
    .session_free = evp_session_free,
    .destroy = file_destroy,
};

err_t keystore_file_new(const char *kek_path, struct keystore **ret, struct fault *fault)
{
    struct seal_kek *kek = NULL;
    err_t e = seal_kek_read(kek_path, &kek, fault);
    if (e == ERR_OK) {
        *ret = keystore_new(&file, kek);
    }
    return e;
}
