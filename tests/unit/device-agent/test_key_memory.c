/* No copy of a private key stays behind in memory that was given back. */
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>

#include "device/identity.h"
#include "test_support.h"

#define SCALAR_LEN 32
#define POINT_LEN  65

/* The private number as it is written and as OpenSSL computes with it; looked for in what is freed.
 */
static uint8_t scalar[2][SCALAR_LEN];
static bool looking;
static unsigned found;

struct block {
    _Alignas(max_align_t) size_t len;
};

static void *counted_malloc(size_t len, const char *file, int line)
{
    (void)file;
    (void)line;
    struct block *b = malloc(sizeof *b + len);
    if (b == NULL) {
        return NULL;
    }
    b->len = len;
    return b + 1;
}

static void searching_free(void *ptr, const char *file, int line)
{
    (void)file;
    (void)line;
    if (ptr == NULL) {
        return;
    }
    struct block *b = (struct block *)ptr - 1;
    for (size_t i = 0; looking && i < 2; i++) {
        found += memmem(ptr, b->len, scalar[i], SCALAR_LEN) != NULL;
    }
    free(b);
}

static void *moving_realloc(void *ptr, size_t len, const char *file, int line)
{
    void *fresh = counted_malloc(len, file, line);
    if (ptr != NULL && fresh != NULL) {
        size_t old = ((struct block *)ptr - 1)->len;
        memcpy(fresh, ptr, old < len ? old : len);
        searching_free(ptr, file, line);
    }
    return fresh;
}

static void take_apart(const EVP_PKEY *key, uint8_t point[POINT_LEN])
{
    BIGNUM *number = NULL;
    size_t len = 0;
    assert_int_equal(EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_PRIV_KEY, &number), 1);
    assert_int_equal(BN_bn2binpad(number, scalar[0], SCALAR_LEN), SCALAR_LEN);
    assert_int_equal(BN_bn2lebinpad(number, scalar[1], SCALAR_LEN), SCALAR_LEN);
    BN_clear_free(number);
    assert_int_equal(
        EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, point, POINT_LEN, &len), 1);
    assert_int_equal(len, POINT_LEN);
}

static void test_nothing_stays_behind(void **state)
{
    (void)state;
    uint8_t point[POINT_LEN];
    EVP_PKEY *key = NULL;
    EVP_PKEY *again = NULL;
    CLEANUP_BUF struct buf pem = BUF_INIT_SECRET(DEVICE_KEY_PEM_MAX);
    assert_ok(device_key_generate(&key));
    take_apart(key, point);
    looking = true;
    assert_ok(device_key_assemble(scalar[0], point, &again));
    assert_int_equal(found, 0);
    EVP_PKEY_free(again);
    assert_int_equal(found, 0);
    assert_ok(device_key_write(key, &pem));
    assert_ok(device_key_read(buf_span(&pem), &again));
    assert_int_equal(EVP_PKEY_eq(key, again), 1);
    EVP_PKEY_free(again);
    EVP_PKEY_free(key);
    assert_int_equal(found, 0);
    looking = false;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_nothing_stays_behind)};
    if (CRYPTO_set_mem_functions(counted_malloc, moving_realloc, searching_free) != 1) {
        return 1; /* too late: OpenSSL has memory of its own already */
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
