#include "common/signature.h"

#include <openssl/err.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <stdlib.h>

#include "common/cleanup.h"
#include "common/oid.h"

CLEANUP_DEFINE(EVP_PKEY *, EVP_PKEY_free);
CLEANUP_DEFINE(EVP_MD_CTX *, EVP_MD_CTX_free);

/* AlgorithmIdentifiers of accepted signatures, byte for byte. */
static const struct algorithm {
    struct span identifier;
    const char *digest; /* NULL: the algorithm brings its own */
    enum { FAMILY_EC, FAMILY_ED25519, FAMILY_RSA } family;
} algorithms[] = {
    {OID_INIT("\x30\x0a\x06\x08" OID_ECDSA_SHA256), "SHA256", FAMILY_EC},
    {OID_INIT("\x30\x0a\x06\x08" OID_ECDSA_SHA384), "SHA384", FAMILY_EC},
    {OID_INIT("\x30\x0a\x06\x08" OID_ECDSA_SHA512), "SHA512", FAMILY_EC},
    {OID_INIT("\x30\x05\x06\x03" OID_ED25519), NULL, FAMILY_ED25519},
    {OID_INIT("\x30\x0d\x06\x09" OID_RSA_SHA256 "\x05\x00"), "SHA256", FAMILY_RSA},
    {OID_INIT("\x30\x0d\x06\x09" OID_RSA_SHA384 "\x05\x00"), "SHA384", FAMILY_RSA},
    {OID_INIT("\x30\x0d\x06\x09" OID_RSA_SHA512 "\x05\x00"), "SHA512", FAMILY_RSA},
};

static int family_of(enum key_kind kind)
{
    switch (kind) {
    case KEY_KIND_ED25519:
        return FAMILY_ED25519;
    case KEY_KIND_RSA:
        return FAMILY_RSA;
    default:
        return FAMILY_EC;
    }
}

static const struct algorithm *find_algorithm(struct span identifier, enum key_kind kind)
{
    for (size_t i = 0; i < sizeof algorithms / sizeof algorithms[0]; i++) {
        if ((int)algorithms[i].family == family_of(kind) &&
            span_eq(algorithms[i].identifier, identifier)) {
            return &algorithms[i];
        }
    }
    return NULL;
}

/* ---- the P-256 key object of the calling thread ---- */

static pthread_key_t slot;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void end(void *key)
{
    EVP_PKEY_free(key);
}

static void make_slot(void)
{
    if (pthread_key_create(&slot, end) != 0) {
        abort(); /* the process has a handful of them */
    }
}

/* Borrowed until the next call of the same thread; NULL when the point is not on the curve. */
static EVP_PKEY *p256_key(struct span point)
{
    (void)pthread_once(&once, make_slot);
    EVP_PKEY *key = pthread_getspecific(slot);
    if (key == NULL) {
        key = EVP_EC_gen("P-256");
        if (key == NULL || pthread_setspecific(slot, key) != 0) {
            abort(); /* out of memory */
        }
    }
    return EVP_PKEY_set1_encoded_public_key(key, point.ptr, point.len) == 1 ? key : NULL;
}

static bool holds(EVP_PKEY *key, const char *digest, struct span message, struct span signature)
{
    CLEANUP(EVP_MD_CTX_free) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    return key != NULL && ctx != NULL &&
           EVP_DigestVerifyInit_ex(ctx, NULL, digest, NULL, NULL, key, NULL) == 1 &&
           EVP_DigestVerify(ctx, signature.ptr, signature.len, message.ptr, message.len) == 1;
}

static bool signature_holds(const struct spki *key, const char *digest, struct span message,
                            struct span signature)
{
    bool good = false;
    if (key->kind == KEY_KIND_EC_P256) {
        good = holds(p256_key(key->key), digest, message, signature);
    } else {
        const uint8_t *at = key->der.ptr;
        CLEANUP(EVP_PKEY_free) EVP_PKEY *decoded = d2i_PUBKEY(NULL, &at, (long)key->der.len);
        good = holds(decoded, digest, message, signature);
    }
    ERR_clear_error();
    return good;
}

err_t signature_verify_by(const struct spki *key, struct span algorithm, struct span message,
                          struct span signature)
{
    const struct algorithm *a = find_algorithm(algorithm, key->kind);
    if (a == NULL) {
        return ERR_UNSUPPORTED;
    }
    return signature_holds(key, a->digest, message, signature) ? ERR_OK : ERR_UNAUTHORIZED;
}

err_t signature_verify(struct span spki, struct span message, struct span signature)
{
    struct spki key;
    err_t e = spki_parse(spki, &key, NULL);
    if (e != ERR_OK) {
        return e;
    }
    const char *digest = key.kind == KEY_KIND_ED25519 ? NULL : "SHA256";
    return signature_holds(&key, digest, message, signature) ? ERR_OK : ERR_UNAUTHORIZED;
}
