#include "keys.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/param_build.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

CLEANUP_DEFINE(OSSL_PARAM_BLD *, OSSL_PARAM_BLD_free);
CLEANUP_DEFINE(OSSL_PARAM *, OSSL_PARAM_free);
CLEANUP_DEFINE(EVP_PKEY_CTX *, EVP_PKEY_CTX_free);

#define POINT_SIZE 65

static const uint8_t spki_prefix[BENCH_SPKI_SIZE - POINT_SIZE] = {
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01,
    0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00};

struct bench_keys {
    EC_GROUP *group;
    BN_CTX *numbers;
    BIGNUM *secret;
    EC_POINT *point;
};

void bench_demand(bool holds, const char *what)
{
    if (!holds) {
        (void)fprintf(stderr, "bench: %s failed\n", what);
        abort();
    }
}

struct bench_keys *bench_keys_new(uint32_t number)
{
    uint8_t base[32];
    struct bench_keys *k = xcalloc(1, sizeof *k);
    memset(base, 0x5a, sizeof base);
    k->group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
    k->numbers = BN_CTX_new();
    k->secret = BN_bin2bn(base, sizeof base, NULL);
    k->point = EC_POINT_new(k->group);
    bench_demand(BN_add_word(k->secret, number) == 1 &&
                     EC_POINT_mul(k->group, k->point, k->secret, NULL, NULL, k->numbers) == 1,
                 "key");
    return k;
}

void bench_keys_free(struct bench_keys *keys)
{
    if (keys != NULL) {
        EC_POINT_free(keys->point);
        BN_free(keys->secret);
        BN_CTX_free(keys->numbers);
        EC_GROUP_free(keys->group);
        free(keys);
    }
}

void bench_keys_public(struct bench_keys *keys, uint8_t spki[BENCH_SPKI_SIZE],
                       char uid[DEVICE_UID_SIZE])
{
    uint8_t bytes[DEVICE_UID_BYTES];
    memcpy(spki, spki_prefix, sizeof spki_prefix);
    bench_demand(EC_POINT_point2oct(keys->group, keys->point, POINT_CONVERSION_UNCOMPRESSED,
                                    spki + sizeof spki_prefix, POINT_SIZE,
                                    keys->numbers) == POINT_SIZE,
                 "public key");
    device_uid_of_key(span_of(spki, BENCH_SPKI_SIZE), bytes);
    device_uid_text(bytes, uid);
}

EVP_PKEY *bench_keys_pair(struct bench_keys *keys)
{
    uint8_t point[POINT_SIZE];
    EVP_PKEY *pair = NULL;
    CLEANUP(OSSL_PARAM_BLD_free) OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    CLEANUP(EVP_PKEY_CTX_free) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    size_t len = EC_POINT_point2oct(keys->group, keys->point, POINT_CONVERSION_UNCOMPRESSED, point,
                                    sizeof point, keys->numbers);
    bench_demand(
        len == POINT_SIZE &&
            OSSL_PARAM_BLD_push_utf8_string(build, OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0) ==
                1 &&
            OSSL_PARAM_BLD_push_octet_string(build, OSSL_PKEY_PARAM_PUB_KEY, point, len) == 1 &&
            OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_PRIV_KEY, keys->secret) == 1,
        "key parameters");
    CLEANUP(OSSL_PARAM_free) OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(build);
    bench_demand(EVP_PKEY_fromdata_init(ctx) == 1 &&
                     EVP_PKEY_fromdata(ctx, &pair, EVP_PKEY_KEYPAIR, params) == 1,
                 "key pair");
    return pair;
}

void bench_keys_next(struct bench_keys *keys)
{
    bench_demand(BN_add_word(keys->secret, 1) == 1 &&
                     EC_POINT_add(keys->group, keys->point, keys->point,
                                  EC_GROUP_get0_generator(keys->group), keys->numbers) == 1,
                 "next key");
}
