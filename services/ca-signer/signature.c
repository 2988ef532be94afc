#include "signature.h"

#include <openssl/err.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <stdlib.h>

#include "keystore_backend.h"

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

bool signature_holds(const struct spki *key, const char *digest, struct span message,
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
