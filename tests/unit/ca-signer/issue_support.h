/*
 * What the tests of ca-signer share: CAs and device keys of every kind, made once per program, and
 * the eyes of OpenSSL on what was issued.
 */
#ifndef TEST_CA_SIGNER_ISSUE_SUPPORT_H
#define TEST_CA_SIGNER_ISSUE_SUPPORT_H

#include "test_support.h"

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "ca_cert.h"
#include "keystore_backend.h"

CLEANUP_DEFINE(X509 *, X509_free);
CLEANUP_DEFINE(X509_REQ *, X509_REQ_free);
CLEANUP_DEFINE(X509_STORE *, X509_STORE_free);
CLEANUP_DEFINE(X509_STORE_CTX *, X509_STORE_CTX_free);
CLEANUP_DEFINE(BIO *, BIO_free_all);

#define DAY_S  INT64_C(86400)
#define YEAR_S (365 * DAY_S)
#define NOW_MS INT64_C(1795239000000) /* 2026-11-21 */

static struct keystore_fake_script script;
static struct keystore *keys;
static struct kernel_signer *signer;

/* A CA and its template, in the order of enum key_algorithm. */
struct test_ca {
    struct ca_key *key;
    struct cert_out certificate;
    struct issuer_template *template;
};
static struct test_ca cas[KEY_ALGORITHM_COUNT];

struct test_device {
    EVP_PKEY *key;
    uint8_t *spki;
    size_t spki_len;
};
enum { DEVICE_P256, DEVICE_P384, DEVICE_ED25519, DEVICE_RSA, DEVICE_COUNT };
static struct test_device devices[DEVICE_COUNT];
static uint8_t subject_bytes[256];
static struct span subject;

static inline struct ca_request root_request(const char *name)
{
    return (struct ca_request){
        .now_ms = NOW_MS,
        .validity_s = 10 * YEAR_S,
        .backdate_s = 300,
        .subject = {.common_name = span_str(name), .organization = span_str("Fleetseal tests")},
        .path_length = -1,
    };
}

static inline struct ca_key *make_key(enum key_algorithm algorithm)
{
    struct key_owner owner = {span_str("domain"), span_str("ca")};
    CLEANUP_BUF struct buf sealed = BUF_INIT(KEY_SEALED_MAX);
    struct ca_key *key = NULL;
    assert_ok(keystore_generate(keys, &owner, algorithm, &key, &sealed));
    return key;
}

static inline struct issuer_template *make_template(struct ca_key *key, struct span certificate)
{
    struct issuer_options options = {.certificate = certificate, .key = key};
    struct issuer_template *template = NULL;
    struct fault fault = {.text = ""};
    if (issuer_template_new(&options, &template, &fault) != ERR_OK) {
        fail_msg("template: %s", fault.text);
    }
    return template;
}

static inline void device_init(struct test_device *device, EVP_PKEY *key)
{
    assert_non_null(key);
    device->key = key;
    int len = i2d_PUBKEY(key, &device->spki);
    assert_true(len > 0);
    device->spki_len = (size_t)len;
}

static inline int issue_setup(void **state)
{
    (void)state;
    keys = keystore_fake_new(&script);
    signer = kernel_signer_new();
    for (unsigned i = 0; i < KEY_ALGORITHM_COUNT; i++) {
        char name[64];
        (void)snprintf(name, sizeof name, "Test CA %s", key_algorithm_name(i));
        struct ca_request request = root_request(name);
        cas[i].key = make_key(i);
        assert_ok(ca_cert_root(cas[i].key, signer, &request, &cas[i].certificate, NULL));
        cas[i].template = make_template(cas[i].key, cert_out_der(&cas[i].certificate));
    }
    device_init(&devices[DEVICE_P256], EVP_EC_gen("P-256"));
    device_init(&devices[DEVICE_P384], EVP_EC_gen("P-384"));
    device_init(&devices[DEVICE_ED25519], EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"));
    device_init(&devices[DEVICE_RSA], EVP_RSA_gen(2048));
    struct der_out name = der_out_of(subject_bytes, sizeof subject_bytes);
    struct name_fields fields = {.common_name = span_str("00a1b2c3d4e5f607"),
                                 .serial_number = span_str("SN-2026-0001")};
    assert_ok(name_build(&fields, &name, NULL));
    subject = der_written(&name);
    return 0;
}

static inline int issue_teardown(void **state)
{
    (void)state;
    kernel_signer_free(signer);
    for (unsigned i = 0; i < KEY_ALGORITHM_COUNT; i++) {
        issuer_template_free(cas[i].template);
        ca_key_unref(cas[i].key);
    }
    for (unsigned i = 0; i < DEVICE_COUNT; i++) {
        EVP_PKEY_free(devices[i].key);
        OPENSSL_free(devices[i].spki);
    }
    keystore_free(keys);
    return 0;
}

static inline struct cert_request device_request(const struct test_device *device)
{
    return (struct cert_request){
        .now_ms = NOW_MS,
        .validity_s = YEAR_S,
        .backdate_s = 300,
        .subject = subject,
        .spki = span_of(device->spki, device->spki_len),
    };
}

static inline void issue_ok(const struct issuer_template *template,
                            const struct cert_request *request, struct cert_out *out)
{
    struct fault fault = {.text = ""};
    err_t e = kernel_issue(template, signer, request, out, &fault);
    if (e != ERR_OK) {
        fail_msg("kernel_issue: %s, %s: %s", err_name(e), fault.code, fault.text);
    }
}

static inline X509 *x509_of(struct span der)
{
    const uint8_t *at = der.ptr;
    X509 *certificate = d2i_X509(NULL, &at, (long)der.len);
    assert_non_null(certificate);
    assert_ptr_equal(at, der.ptr + der.len);
    return certificate;
}

/* X509_V_OK or the error of OpenSSL's strict verification of `leaf` at `at_s`, with at most one
 * intermediate. */
static inline int verify_chain(struct span leaf, struct span root, struct span middle, int64_t at_s)
{
    CLEANUP(X509_free) X509 *leaf_cert = x509_of(leaf);
    CLEANUP(X509_free) X509 *root_cert = x509_of(root);
    CLEANUP(X509_free) X509 *middle_cert = middle.len > 0 ? x509_of(middle) : NULL;
    CLEANUP(X509_STORE_free) X509_STORE *store = X509_STORE_new();
    CLEANUP(X509_STORE_CTX_free) X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    STACK_OF(X509) *untrusted = sk_X509_new_null();
    if (middle_cert != NULL) {
        assert_true(sk_X509_push(untrusted, middle_cert) > 0);
    }
    assert_int_equal(X509_STORE_add_cert(store, root_cert), 1);
    assert_int_equal(X509_STORE_CTX_init(ctx, store, leaf_cert, untrusted), 1);
    X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(ctx);
    assert_int_equal(X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_X509_STRICT |
                                                            X509_V_FLAG_CHECK_SS_SIGNATURE),
                     1);
    X509_VERIFY_PARAM_set_time(param, at_s);
    (void)X509_verify_cert(ctx);
    int verdict = X509_STORE_CTX_get_error(ctx);
    sk_X509_free(untrusted);
    return verdict;
}

static inline void assert_verifies(struct span leaf, struct span root, struct span middle,
                                   int64_t at_s)
{
    int verdict = verify_chain(leaf, root, middle, at_s);
    if (verdict != X509_V_OK) {
        fail_msg("chain: %s", X509_verify_cert_error_string(verdict));
    }
}

#endif
