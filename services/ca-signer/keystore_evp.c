#include "keystore_backend.h"

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/rsa.h>

/*
 * Measured with OpenSSL 3.0 on P-256: EVP_PKEY_sign on a context that was initialised once, over a
 * digest made with a fetched EVP_MD, costs the bare signature plus the hash; EVP_DigestSign sets
 * itself up for each message and takes half as long again. Ed25519 exists only as EVP_DigestSign.
 */
struct evp_session {
    EVP_PKEY *key; /* borrowed: the session's ca_key keeps it */
    EVP_PKEY_CTX *sign;
    EVP_MD *hash;
    EVP_MD_CTX *hash_ctx;
};

/* Translates what OpenSSL reports into our one error, leaving its queue empty. */
static err_t failed(void)
{
    ERR_clear_error();
    return ERR_INTERNAL;
}

err_t evp_generate(enum key_algorithm algorithm, EVP_PKEY **ret)
{
    EVP_PKEY *key = NULL;
    switch (algorithm) {
    case KEY_ALGORITHM_EC_P256:
        key = EVP_EC_gen("P-256");
        break;
    case KEY_ALGORITHM_EC_P384:
        key = EVP_EC_gen("P-384");
        break;
    case KEY_ALGORITHM_ED25519:
        key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
        break;
    case KEY_ALGORITHM_RSA_2048:
        key = EVP_RSA_gen(2048);
        break;
    case KEY_ALGORITHM_RSA_3072:
        key = EVP_RSA_gen(3072);
        break;
    case KEY_ALGORITHM_RSA_4096:
        key = EVP_RSA_gen(4096);
        break;
    case KEY_ALGORITHM_COUNT:
        break;
    }
    if (key == NULL) {
        return failed();
    }
    *ret = key;
    return ERR_OK;
}

static err_t algorithm_of(const struct spki *spki, enum key_algorithm *ret)
{
    switch (spki->kind) {
    case KEY_KIND_EC_P256:
        *ret = KEY_ALGORITHM_EC_P256;
        return ERR_OK;
    case KEY_KIND_EC_P384:
        *ret = KEY_ALGORITHM_EC_P384;
        return ERR_OK;
    case KEY_KIND_ED25519:
        *ret = KEY_ALGORITHM_ED25519;
        return ERR_OK;
    default:
        break;
    }
    if (spki->bits != 2048 && spki->bits != 3072 && spki->bits != 4096) {
        return ERR_UNSUPPORTED;
    }
    *ret = KEY_ALGORITHM_RSA_2048 + (spki->bits - 2048) / 1024;
    return ERR_OK;
}

err_t evp_facts(EVP_PKEY *key, struct key_facts *ret)
{
    struct key_facts facts = {0};
    int len = i2d_PUBKEY(key, NULL);
    if (len <= 0 || (size_t)len > sizeof facts.spki) {
        return failed();
    }
    uint8_t *end = facts.spki;
    if (i2d_PUBKEY(key, &end) != len) {
        return failed();
    }
    facts.spki_len = (size_t)len;
    struct spki spki;
    err_t e = spki_parse(span_of(facts.spki, facts.spki_len), &spki, NULL);
    if (e == ERR_OK) {
        e = algorithm_of(&spki, &facts.algorithm);
    }
    if (e == ERR_OK) {
        *ret = facts;
    }
    return e;
}

err_t evp_to_pkcs8(EVP_PKEY *key, struct buf *to)
{
    CLEANUP(PKCS8_PRIV_KEY_INFO_free) PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(key);
    int len = info != NULL ? i2d_PKCS8_PRIV_KEY_INFO(info, NULL) : -1;
    if (len <= 0) {
        return failed();
    }
    uint8_t *at = buf_reserve(to, (size_t)len);
    if (at == NULL) {
        return ERR_TOO_LARGE;
    }
    if (i2d_PKCS8_PRIV_KEY_INFO(info, &at) != len) {
        return failed();
    }
    to->len += (size_t)len;
    return ERR_OK;
}

err_t evp_from_pkcs8(struct span der, EVP_PKEY **ret)
{
    const uint8_t *at = der.ptr;
    CLEANUP(PKCS8_PRIV_KEY_INFO_free)
    PKCS8_PRIV_KEY_INFO *info = d2i_PKCS8_PRIV_KEY_INFO(NULL, &at, (long)der.len);
    if (info == NULL || at != der.ptr + der.len) {
        ERR_clear_error();
        return ERR_CORRUPT;
    }
    EVP_PKEY *key = EVP_PKCS82PKEY(info);
    if (key == NULL) {
        ERR_clear_error();
        return ERR_CORRUPT;
    }
    *ret = key;
    return ERR_OK;
}

void evp_material_free(void *material)
{
    EVP_PKEY_free(material); /* OpenSSL wipes private parts */
}

static int prepare_sign(struct evp_session *s, enum key_algorithm algorithm)
{
    s->hash = EVP_MD_fetch(NULL, algorithm == KEY_ALGORITHM_EC_P384 ? "SHA384" : "SHA256", NULL);
    s->sign = EVP_PKEY_CTX_new_from_pkey(NULL, s->key, NULL);
    if (s->hash == NULL || s->sign == NULL || EVP_PKEY_sign_init(s->sign) <= 0) {
        return 0;
    }
    if (algorithm == KEY_ALGORITHM_EC_P256 || algorithm == KEY_ALGORITHM_EC_P384) {
        return 1;
    }
    return EVP_PKEY_CTX_set_rsa_padding(s->sign, RSA_PKCS1_PADDING) > 0 &&
           EVP_PKEY_CTX_set_signature_md(s->sign, s->hash) > 0;
}

err_t evp_session_new(void *self, void *material, enum key_algorithm algorithm, void **ret)
{
    (void)self;
    struct evp_session *s = xcalloc(1, sizeof *s);
    s->key = material;
    s->hash_ctx = EVP_MD_CTX_new();
    if (s->hash_ctx == NULL ||
        (algorithm != KEY_ALGORITHM_ED25519 && !prepare_sign(s, algorithm))) {
        evp_session_free(s);
        return failed();
    }
    *ret = s;
    return ERR_OK;
}

static int sign_whole(struct evp_session *s, struct span message, uint8_t *signature, size_t *len)
{
    return EVP_MD_CTX_reset(s->hash_ctx) > 0 &&
           EVP_DigestSignInit_ex(s->hash_ctx, NULL, NULL, NULL, NULL, s->key, NULL) > 0 &&
           EVP_DigestSign(s->hash_ctx, signature, len, message.ptr, message.len) > 0;
}

static int sign_digest(struct evp_session *s, struct span message, uint8_t *signature, size_t *len)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned digest_len = 0;
    return EVP_DigestInit_ex2(s->hash_ctx, s->hash, NULL) > 0 &&
           EVP_DigestUpdate(s->hash_ctx, message.ptr, message.len) > 0 &&
           EVP_DigestFinal_ex(s->hash_ctx, digest, &digest_len) > 0 &&
           EVP_PKEY_sign(s->sign, signature, len, digest, digest_len) > 0;
}

err_t evp_sign(void *self, void *session, struct span message, uint8_t *signature, size_t *ret_len)
{
    (void)self;
    struct evp_session *s = session;
    size_t len = KEY_SIGNATURE_MAX;
    int ok = s->sign != NULL ? sign_digest(s, message, signature, &len)
                             : sign_whole(s, message, signature, &len);
    if (ok <= 0) {
        return failed();
    }
    *ret_len = len;
    return ERR_OK;
}

void evp_session_free(void *session)
{
    struct evp_session *s = session;
    EVP_PKEY_CTX_free(s->sign);
    EVP_MD_CTX_free(s->hash_ctx);
    EVP_MD_free(s->hash);
    free(s);
}

err_t key_hash_of(struct span spki, uint8_t ret[KEY_HASH_SIZE])
{
    return EVP_Digest(spki.ptr, spki.len, ret, NULL, EVP_sha256(), NULL) == 1 ? ERR_OK : failed();
}
