/*
 * A small certificate authority for tests of the device library: issues certificates over a
 * device's key with OpenSSL's own builder. Header only.
 */
#ifndef SUPPORT_DEVICE_FIXTURE_H
#define SUPPORT_DEVICE_FIXTURE_H

#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "device/device.h"
#include "test_support.h"

struct fixture_ca {
    EVP_PKEY *key;
    X509 *certificate;
    struct buf der;
};

static inline void fixture_name(X509_NAME *name, const char *cn)
{
    assert_int_equal(
        X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)cn, -1, -1, 0),
        1);
}

static inline void fixture_to_der(X509 *c, struct buf *to)
{
    unsigned char *bytes = NULL;
    int len = i2d_X509(c, &bytes);
    assert_true(len > 0);
    assert_ok(buf_append(to, bytes, (size_t)len));
    OPENSSL_free(bytes);
}

static inline X509 *fixture_certificate(const char *subject, uint64_t serial, EVP_PKEY *key,
                                        X509 *issuer, EVP_PKEY *issuer_key, bool ca)
{
    X509 *c = X509_new();
    assert_non_null(c);
    assert_int_equal(X509_set_version(c, X509_VERSION_3), 1);
    assert_int_equal(ASN1_INTEGER_set_uint64(X509_get_serialNumber(c), serial), 1);
    fixture_name(X509_get_subject_name(c), subject);
    X509 *signer = issuer != NULL ? issuer : c;
    assert_int_equal(X509_set_issuer_name(c, X509_get_subject_name(signer)), 1);
    assert_non_null(X509_gmtime_adj(X509_getm_notBefore(c), -3600));
    assert_non_null(X509_gmtime_adj(X509_getm_notAfter(c), 86400));
    assert_int_equal(X509_set_pubkey(c, key), 1);
    X509V3_CTX context;
    X509V3_set_ctx(&context, signer, c, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &context, NID_basic_constraints,
                                            ca ? "critical,CA:TRUE" : "critical,CA:FALSE");
    assert_non_null(e);
    assert_int_equal(X509_add_ext(c, e, -1), 1);
    X509_EXTENSION_free(e);
    assert_true(X509_sign(c, issuer_key, EVP_sha256()) > 0);
    return c;
}

static inline struct fixture_ca fixture_ca_new(const char *name)
{
    struct fixture_ca ca = {.der = BUF_INIT(DEVICE_CERT_MAX)};
    assert_ok(device_key_generate(&ca.key));
    ca.certificate = fixture_certificate(name, 1, ca.key, NULL, ca.key, true);
    fixture_to_der(ca.certificate, &ca.der);
    return ca;
}

static inline void fixture_ca_free(struct fixture_ca *ca)
{
    EVP_PKEY_free(ca->key);
    X509_free(ca->certificate);
    buf_deinit(&ca->der);
}

/* Appends a certificate for `key` in DER; its serial in hex is 16 digits of `serial`. */
static inline void fixture_issue(const struct fixture_ca *ca, EVP_PKEY *key, uint64_t serial,
                                 struct buf *der)
{
    X509 *c = fixture_certificate("device", serial, key, ca->certificate, ca->key, false);
    fixture_to_der(c, der);
    X509_free(c);
}

/* Issues for `key` and installs into the device. */
static inline err_t fixture_install(const struct fixture_ca *ca, struct device *d, EVP_PKEY *key,
                                    const char *operation, uint64_t serial)
{
    CLEANUP_BUF struct buf der = BUF_INIT(DEVICE_CERT_MAX);
    fixture_issue(ca, key, serial, &der);
    char text[24];
    (void)snprintf(text, sizeof text, "%016llx", (unsigned long long)serial);
    struct span chain[1] = {buf_span(&ca->der)};
    struct device_grant grant = {operation, {buf_span(&der), chain, 1, text}};
    return device_install(d, &grant, NULL);
}

#endif
