#include "common/digest.h"

#include <limits.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>

CLEANUP_DEFINE(EVP_MD_CTX *, EVP_MD_CTX_free);

static void must(int ok)
{
    if (ok != 1) {
        (void)fputs("{\"level\":\"fatal\",\"event\":\"digest_unavailable\"}\n", stderr);
        abort();
    }
}

struct digest digest_sha256_parts(const struct span *parts, size_t count)
{
    CLEANUP(EVP_MD_CTX_free) EVP_MD_CTX *hash = EVP_MD_CTX_new();
    must(hash != NULL && EVP_DigestInit_ex(hash, EVP_sha256(), NULL) == 1);
    for (size_t i = 0; i < count; i++) {
        must(EVP_DigestUpdate(hash, parts[i].ptr, parts[i].len));
    }
    struct digest d;
    must(EVP_DigestFinal_ex(hash, d.bytes, NULL));
    return d;
}

struct digest digest_sha256(struct span data)
{
    return digest_sha256_parts(&data, 1);
}

struct digest digest_hmac_sha256(struct span key, struct span data)
{
    struct digest d;
    unsigned len = 0;
    must(key.len <= INT_MAX);
    /* OpenSSL takes a NULL key for "the one of the last call", also of length 0. */
    must(HMAC(EVP_sha256(), key.len > 0 ? (const void *)key.ptr : "", (int)key.len, data.ptr,
              data.len, d.bytes, &len) != NULL);
    return d;
}
