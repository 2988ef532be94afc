/*
 * What a kind of key store has to bring; included by keystore.c and the backends only. `self` is
 * the backend's own object, `material` what it keeps per opened key, `session` per thread and key.
 */
#ifndef CA_SIGNER_KEYSTORE_BACKEND_H
#define CA_SIGNER_KEYSTORE_BACKEND_H

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "keystore.h"

CLEANUP_DEFINE(EVP_PKEY *, EVP_PKEY_free);
CLEANUP_DEFINE(EVP_PKEY_CTX *, EVP_PKEY_CTX_free);
CLEANUP_DEFINE(EVP_MD_CTX *, EVP_MD_CTX_free);
CLEANUP_DEFINE(PKCS8_PRIV_KEY_INFO *, PKCS8_PRIV_KEY_INFO_free);

/* What generate and load hand back about a key. */
struct key_facts {
    void *material;
    enum key_algorithm algorithm;
    uint8_t spki[SPKI_MAX];
    size_t spki_len;
};

struct keystore_backend {
    /* Errors and their meaning as in keystore.h. Outputs are written on success only, except that
     * a partly filled `ret_sealed` is dropped by the caller. */
    err_t (*generate)(void *self, const struct key_owner *owner, enum key_algorithm algorithm,
                      struct key_facts *ret, struct buf *ret_sealed);
    err_t (*load)(void *self, const struct key_owner *owner, struct span key_hash,
                  struct span sealed, struct key_facts *ret);
    void (*material_free)(void *material);
    err_t (*session_new)(void *self, void *material, enum key_algorithm algorithm, void **ret);
    err_t (*sign)(void *self, void *session, struct span message, uint8_t *signature,
                  size_t *ret_len);
    void (*session_free)(void *session);
    void (*destroy)(void *self);
};
struct keystore *keystore_new(const struct keystore_backend *backend, void *self);

/*
 * Keys held by OpenSSL in this process: shared by the file backend and the fake. `material` is an
 * EVP_PKEY, `session` a struct evp_session.
 */
MUST_USE err_t evp_generate(enum key_algorithm algorithm, EVP_PKEY **ret);
/* Fills everything but `material`. ERR_UNSUPPORTED: not a key a CA may have. */
MUST_USE err_t evp_facts(EVP_PKEY *key, struct key_facts *ret);
/* PKCS#8 DER; `to` must be a secret buffer. */
MUST_USE err_t evp_to_pkcs8(EVP_PKEY *key, struct buf *to);
MUST_USE err_t evp_from_pkcs8(struct span der, EVP_PKEY **ret);
void evp_material_free(void *material);
err_t evp_session_new(void *self, void *material, enum key_algorithm algorithm, void **ret);
err_t evp_sign(void *self, void *session, struct span message, uint8_t *signature, size_t *ret_len);
void evp_session_free(void *session);

/* SHA-256, for hashes of keys. */
MUST_USE err_t key_hash_of(struct span spki, uint8_t ret[KEY_HASH_SIZE]);

#endif
