#include "signature.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include "keystore_backend.h"
#include "spki.h"

err_t signature_verify(struct span spki, struct span message, struct span signature)
{
    struct spki parsed;
    err_t e = spki_parse(spki, &parsed, NULL);
    if (e != ERR_OK) {
        return e;
    }
    const uint8_t *at = spki.ptr;
    CLEANUP(EVP_PKEY_free) EVP_PKEY *key = d2i_PUBKEY(NULL, &at, (long)spki.len);
    CLEANUP(EVP_MD_CTX_free) EVP_MD_CTX *md = EVP_MD_CTX_new();
    if (key == NULL || md == NULL) {
        ERR_clear_error();
        return ERR_INVALID;
    }
    const EVP_MD *digest = parsed.kind == KEY_KIND_ED25519 ? NULL : EVP_sha256();
    bool good = EVP_DigestVerifyInit(md, NULL, digest, NULL, key) == 1 &&
                EVP_DigestVerify(md, signature.ptr, signature.len, message.ptr, message.len) == 1;
    ERR_clear_error();
    return good ? ERR_OK : ERR_UNAUTHORIZED;
}
