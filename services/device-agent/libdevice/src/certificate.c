/* Certificates as the device judges, stores and shows them; the second half of identity.h. */
#include <limits.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <time.h>

#include "common/id.h"
#include "device/identity.h"

#define PEM_LINE_BYTES 48

CLEANUP_DEFINE(BIO *, BIO_free_all);
CLEANUP_DEFINE(X509_STORE *, X509_STORE_free);
CLEANUP_DEFINE(X509_STORE_CTX *, X509_STORE_CTX_free);

static void free_stack(STACK_OF(X509) * stack)
{
    sk_X509_pop_free(stack, X509_free);
}
CLEANUP_DEFINE(STACK_OF(X509) *, free_stack);

static err_t crypto(err_t err)
{
    ERR_clear_error();
    return err;
}

/* NULL unless the bytes are exactly one certificate. */
static X509 *parse_der(struct span der)
{
    const unsigned char *at = der.ptr;
    X509 *c = der.len > 0 && der.len <= DEVICE_CERT_MAX ? d2i_X509(NULL, &at, (long)der.len) : NULL;
    if (c != NULL && at != der.ptr + der.len) {
        X509_free(c);
        c = NULL;
    }
    return c;
}

static err_t serial_text(const X509 *c, char out[DEVICE_CERT_SERIAL_MAX + 1])
{
    const ASN1_INTEGER *serial = X509_get0_serialNumber(c);
    int len = ASN1_STRING_length(serial);
    if (len <= 0 || HEX_LEN(len) > DEVICE_CERT_SERIAL_MAX) {
        return ERR_INVALID;
    }
    hex_format(span_of(ASN1_STRING_get0_data(serial), (size_t)len), out);
    return ERR_OK;
}

/* Two texts of one number may differ in leading zeros only. */
static bool same_serial(const char *a, const char *b)
{
    return strcmp(a + strspn(a, "0"), b + strspn(b, "0")) == 0;
}

/* Self-signed certificates of the chain become anchors, the others stepping stones. */
static err_t sort_chain(const struct device_certificate *c, X509_STORE *anchors,
                        STACK_OF(X509) * others)
{
    for (size_t i = 0; i < c->chain_count; i++) {
        CLEANUP(X509_free) X509 *link = parse_der(c->chain[i]);
        if (link == NULL) {
            return ERR_INVALID;
        }
        if (X509_self_signed(link, 0) == 1) {
            if (X509_STORE_add_cert(anchors, link) != 1) {
                return ERR_INTERNAL;
            }
        } else if (sk_X509_push(others, link) > 0) {
            link = NULL; /* now the stack's */
        } else {
            return ERR_INTERNAL;
        }
    }
    return ERR_OK;
}

static err_t check_chain(const struct device_certificate *c, X509 *leaf)
{
    CLEANUP(X509_STORE_free) X509_STORE *anchors = X509_STORE_new();
    CLEANUP(free_stack) STACK_OF(X509) *others = sk_X509_new_null();
    CLEANUP(X509_STORE_CTX_free) X509_STORE_CTX *context = X509_STORE_CTX_new();
    if (anchors == NULL || others == NULL || context == NULL) {
        return ERR_INTERNAL;
    }
    err_t err = sort_chain(c, anchors, others);
    if (err != ERR_OK) {
        return err;
    }
    if (X509_STORE_CTX_init(context, anchors, leaf, others) != 1) {
        return ERR_INTERNAL;
    }
    X509_STORE_CTX_set_flags(context, X509_V_FLAG_NO_CHECK_TIME);
    return X509_verify_cert(context) == 1 ? ERR_OK : ERR_INVALID;
}

err_t device_certificate_check(const struct device_certificate *c, const EVP_PKEY *key,
                               struct fault *fault)
{
    CLEANUP(X509_free) X509 *leaf = parse_der(c->der);
    if (leaf == NULL) {
        return crypto(fault_set(fault, ERR_INVALID, "unparsable", "certificate",
                                "the certificate is not exactly one DER certificate"));
    }
    if (EVP_PKEY_eq(X509_get0_pubkey(leaf), key) != 1) {
        return crypto(fault_set(fault, ERR_INVALID, "wrong_key", "certificate",
                                "the certificate is not for this device's key"));
    }
    char serial[DEVICE_CERT_SERIAL_MAX + 1];
    if (serial_text(leaf, serial) != ERR_OK || !same_serial(serial, c->serial)) {
        return crypto(fault_set(fault, ERR_INVALID, "wrong_serial", "serial",
                                "the certificate does not have the serial that was named"));
    }
    if (c->chain_count > DEVICE_CHAIN_MAX || check_chain(c, leaf) != ERR_OK) {
        return crypto(fault_set(fault, ERR_INVALID, "bad_chain", "chain",
                                "the chain does not lead from the certificate to its anchor"));
    }
    return crypto(ERR_OK);
}

err_t device_certificate_pem(struct span der, struct buf *pem)
{
    (void)buf_append_str(pem, "-----BEGIN CERTIFICATE-----\n");
    while (der.len > 0) {
        size_t line = der.len < PEM_LINE_BYTES ? der.len : PEM_LINE_BYTES;
        (void)base64_append(pem, span_of(der.ptr, line), BASE64_STANDARD);
        (void)buf_append_byte(pem, '\n');
        der = span_of(der.ptr + line, der.len - line);
    }
    (void)buf_append_str(pem, "-----END CERTIFICATE-----\n");
    return buf_ok(pem) ? ERR_OK : ERR_TOO_LARGE;
}

err_t device_certificate_read(struct span pem, X509 **ret)
{
    if (pem.len == 0 || pem.len > INT_MAX) {
        return ERR_CORRUPT;
    }
    CLEANUP(BIO_free_all) BIO *bio = BIO_new_mem_buf(pem.ptr, (int)pem.len);
    X509 *c = bio != NULL ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
    if (c == NULL) {
        return crypto(ERR_CORRUPT);
    }
    *ret = c;
    return ERR_OK;
}

static err_t time_of(const ASN1_TIME *from, int64_t *ret_ms)
{
    struct tm broken;
    if (ASN1_TIME_to_tm(from, &broken) != 1) {
        return ERR_INVALID;
    }
    *ret_ms = (int64_t)timegm(&broken) * 1000;
    return ERR_OK;
}

static void name_text(const X509_NAME *name, char *out, size_t size)
{
    CLEANUP(BIO_free_all) BIO *bio = BIO_new(BIO_s_mem());
    int len = -1;
    if (bio != NULL && X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253) >= 0) {
        len = BIO_read(bio, out, (int)size - 1);
    }
    out[len > 0 ? len : 0] = 0;
}

err_t device_certificate_facts(X509 *certificate, struct device_certificate_facts *ret)
{
    struct device_certificate_facts facts = {.serial = ""};
    if (serial_text(certificate, facts.serial) != ERR_OK ||
        time_of(X509_get0_notBefore(certificate), &facts.not_before_ms) != ERR_OK ||
        time_of(X509_get0_notAfter(certificate), &facts.not_after_ms) != ERR_OK) {
        return crypto(ERR_INVALID);
    }
    name_text(X509_get_subject_name(certificate), facts.subject, sizeof facts.subject);
    name_text(X509_get_issuer_name(certificate), facts.issuer, sizeof facts.issuer);
    *ret = facts;
    return crypto(ERR_OK);
}
