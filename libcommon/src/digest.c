#include "common/digest.h"

#include <limits.h>
#include <openssl/hmac.h>
#include <pthread.h>
#include <stdio.h>

#include "digest_internal.h"

CLEANUP_DEFINE(EVP_MD_CTX *, EVP_MD_CTX_free);

static void must(int ok)
{
    if (ok != 1) {
        (void)fputs("{\"level\":\"fatal\",\"event\":\"digest_unavailable\"}\n", stderr);
        abort();
    }
}

static EVP_MD *sha1;
static EVP_MD *sha256;

static void fetch(void)
{
    sha1 = EVP_MD_fetch(NULL, "SHA1", NULL);
    sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    must(sha1 != NULL && sha256 != NULL);
}

static void fetch_once(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, fetch);
}

const EVP_MD *digest_md_sha1(void)
{
    fetch_once();
    return sha1;
}

const EVP_MD *digest_md_sha256(void)
{
    fetch_once();
    return sha256;
}

struct digest digest_sha256_parts(const struct span *parts, size_t count)
{
    CLEANUP(EVP_MD_CTX_free) EVP_MD_CTX *hash = EVP_MD_CTX_new();
    must(hash != NULL && EVP_DigestInit_ex(hash, digest_md_sha256(), NULL) == 1);
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
    must(HMAC(digest_md_sha256(), key.len > 0 ? (const void *)key.ptr : "", (int)key.len, data.ptr,
              data.len, d.bytes, &len) != NULL);
    return d;
}
