/*
 * The digests, looked up once for the life of the process: OpenSSL 3 looks up EVP_sha256() and its
 * like anew at every use, under a lock, which costs as much as hashing a key. Internal to
 * libcommon; any thread.
 */
#ifndef COMMON_DIGEST_INTERNAL_H
#define COMMON_DIGEST_INTERNAL_H

#include <openssl/evp.h>

const EVP_MD *digest_md_sha1(void) __attribute__((returns_nonnull));
const EVP_MD *digest_md_sha256(void) __attribute__((returns_nonnull));

#endif
