#include "device/identity.h"

#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>

#include "common/id.h"

CLEANUP_DEFINE(BIO *, BIO_free_all);
CLEANUP_DEFINE(X509_REQ *, X509_REQ_free);
CLEANUP_DEFINE(EVP_MD_CTX *, EVP_MD_CTX_free);
CLEANUP_DEFINE(EVP_PKEY_CTX *, EVP_PKEY_CTX_free);
CLEANUP_DEFINE(OSSL_PARAM_BLD *, OSSL_PARAM_BLD_free);
CLEANUP_DEFINE(OSSL_PARAM *, OSSL_PARAM_free);
CLEANUP_DEFINE(BIGNUM *, BN_clear_free);
CLEANUP_DEFINE(unsigned char *, OPENSSL_free);

static err_t crypto(err_t err)
{
    ERR_clear_error();
    return err;
}

err_t device_key_generate(EVP_PKEY **ret)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    if (key == NULL) {
        return crypto(ERR_INTERNAL);
    }
    *ret = key;
    return ERR_OK;
}

/*
 * A P-256 key's encodings are constants around its numbers. OpenSSL 3.0 takes a millisecond to find
 * its general encoders and decoders, longer than all the cryptography of a renewal, so these two
 * forms are put together and taken apart here; any other form goes the general way.
 */
static const uint8_t spki_head[] = {0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48,
                                    0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
                                    0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00};
static const uint8_t private_head[] = {0x30, 0x81, 0x87, 0x02, 0x01, 0x00, 0x30, 0x13, 0x06,
                                       0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06,
                                       0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07,
                                       0x04, 0x6d, 0x30, 0x6b, 0x02, 0x01, 0x01, 0x04, 0x20};
static const uint8_t private_middle[] = {0xa1, 0x44, 0x03, 0x42, 0x00};
#define SCALAR_LEN  32
#define POINT_LEN   65
#define PRIVATE_LEN (sizeof private_head + SCALAR_LEN + sizeof private_middle + POINT_LEN)
#define LINE_BYTES  48 /* of a PEM line */
#define PEM_BEGIN   "-----BEGIN PRIVATE KEY-----\n"
#define PEM_END     "-----END PRIVATE KEY-----\n"

static bool is_p256(const EVP_PKEY *key)
{
    char group[32] = "";
    return EVP_PKEY_get_group_name(key, group, sizeof group, NULL) == 1 &&
           strcmp(group, "prime256v1") == 0;
}

static bool public_point(const EVP_PKEY *key, uint8_t out[POINT_LEN])
{
    size_t len = 0;
    return EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, out, POINT_LEN, &len) ==
               1 &&
           len == POINT_LEN && out[0] == 0x04;
}

static err_t private_der(const EVP_PKEY *key, uint8_t out[PRIVATE_LEN])
{
    CLEANUP(BN_clear_free) BIGNUM *scalar = NULL;
    uint8_t *at = out + sizeof private_head;
    if (!is_p256(key) || EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_PRIV_KEY, &scalar) != 1 ||
        BN_bn2binpad(scalar, at, SCALAR_LEN) != SCALAR_LEN ||
        !public_point(key, at + SCALAR_LEN + sizeof private_middle)) {
        return crypto(ERR_INTERNAL);
    }
    memcpy(out, private_head, sizeof private_head);
    memcpy(at + SCALAR_LEN, private_middle, sizeof private_middle);
    return ERR_OK;
}

err_t device_key_write(const EVP_PKEY *key, struct buf *pem)
{
    uint8_t der[PRIVATE_LEN];
    err_t err = private_der(key, der);
    if (err == ERR_OK) {
        (void)buf_append_str(pem, PEM_BEGIN);
        for (size_t i = 0; i < sizeof der; i += LINE_BYTES) {
            size_t len = sizeof der - i < LINE_BYTES ? sizeof der - i : LINE_BYTES;
            (void)base64_append(pem, span_of(der + i, len), BASE64_STANDARD);
            (void)buf_append_byte(pem, '\n');
        }
        (void)buf_append_str(pem, PEM_END);
        err = buf_ok(pem) ? ERR_OK : ERR_TOO_LARGE;
    }
    explicit_bzero(der, sizeof der);
    return err;
}

/* The form that device_key_write makes; false for any other. */
static bool unwrap_pem(struct span pem, uint8_t der[PRIVATE_LEN])
{
    size_t head = strlen(PEM_BEGIN);
    size_t tail = strlen(PEM_END);
    if (pem.len < head + tail || memcmp(pem.ptr, PEM_BEGIN, head) != 0 ||
        memcmp(pem.ptr + pem.len - tail, PEM_END, tail) != 0) {
        return false;
    }
    size_t done = 0;
    const uint8_t *at = pem.ptr + head;
    const uint8_t *end = pem.ptr + pem.len - tail;
    while (at < end) {
        const uint8_t *line_end = memchr(at, '\n', (size_t)(end - at));
        size_t len = 0;
        if (line_end == NULL || base64_decode(span_of(at, (size_t)(line_end - at)), BASE64_STANDARD,
                                              der + done, PRIVATE_LEN - done, &len) != ERR_OK) {
            return false;
        }
        done += len;
        at = line_end + 1;
    }
    return done == PRIVATE_LEN && memcmp(der, private_head, sizeof private_head) == 0 &&
           memcmp(der + sizeof private_head + SCALAR_LEN, private_middle, sizeof private_middle) ==
               0;
}

err_t device_key_assemble(const uint8_t scalar[SCALAR_LEN], const uint8_t point[POINT_LEN],
                          EVP_PKEY **ret)
{
    CLEANUP(OSSL_PARAM_BLD_free) OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    /* What is built from a secure number is wiped when it is freed, also without a secure heap. */
    CLEANUP(BN_clear_free) BIGNUM *number = BN_secure_new();
    CLEANUP(EVP_PKEY_CTX_free) EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    CLEANUP(OSSL_PARAM_free) OSSL_PARAM *params = NULL;
    if (build == NULL || number == NULL || context == NULL ||
        BN_bin2bn(scalar, SCALAR_LEN, number) == NULL ||
        OSSL_PARAM_BLD_push_utf8_string(build, OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0) != 1 ||
        OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_PRIV_KEY, number) != 1 ||
        OSSL_PARAM_BLD_push_octet_string(build, OSSL_PKEY_PARAM_PUB_KEY, point, POINT_LEN) != 1) {
        return crypto(ERR_INTERNAL);
    }
    EVP_PKEY *key = NULL;
    params = OSSL_PARAM_BLD_to_param(build);
    if (params == NULL || EVP_PKEY_fromdata_init(context) != 1 ||
        EVP_PKEY_fromdata(context, &key, EVP_PKEY_KEYPAIR, params) != 1) {
        return crypto(ERR_CORRUPT);
    }
    *ret = key;
    return ERR_OK;
}

/* Without it OpenSSL would ask a person at the terminal. */
/* NOLINTNEXTLINE(readability-non-const-parameter): the signature is OpenSSL's */
static int no_password(char *buf, int size, int rwflag, void *userdata)
{
    (void)buf;
    (void)size;
    (void)rwflag;
    (void)userdata;
    return -1;
}

static err_t read_any_form(struct span pem, EVP_PKEY **ret)
{
    CLEANUP(BIO_free_all) BIO *bio = BIO_new_mem_buf(pem.ptr, (int)pem.len);
    CLEANUP(EVP_PKEY_free)
    EVP_PKEY *key = bio != NULL ? PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL) : NULL;
    if (key == NULL || !is_p256(key)) {
        return crypto(ERR_CORRUPT);
    }
    *ret = TAKE(key);
    return ERR_OK;
}

err_t device_key_read(struct span pem, EVP_PKEY **ret)
{
    uint8_t der[PRIVATE_LEN];
    if (pem.len == 0 || pem.len > DEVICE_KEY_PEM_MAX) {
        return ERR_CORRUPT;
    }
    const uint8_t *scalar = der + sizeof private_head;
    err_t err = unwrap_pem(pem, der)
                    ? device_key_assemble(scalar, scalar + SCALAR_LEN + sizeof private_middle, ret)
                    : read_any_form(pem, ret);
    explicit_bzero(der, sizeof der);
    return err;
}

err_t device_key_spki(const EVP_PKEY *key, struct buf *der)
{
    uint8_t point[POINT_LEN];
    if (is_p256(key) && public_point(key, point)) {
        (void)buf_append(der, spki_head, sizeof spki_head);
        return buf_append(der, point, sizeof point);
    }
    CLEANUP(OPENSSL_free) unsigned char *bytes = NULL;
    int len = i2d_PUBKEY(key, &bytes);
    return len > 0 ? buf_append(der, bytes, (size_t)len) : crypto(ERR_INTERNAL);
}

err_t device_key_uid(const EVP_PKEY *key, char out[DEVICE_UID_SIZE])
{
    CLEANUP_BUF struct buf spki = BUF_INIT(DEVICE_SPKI_MAX);
    err_t err = device_key_spki(key, &spki);
    if (err != ERR_OK) {
        return err;
    }
    uint8_t uid[DEVICE_UID_BYTES];
    device_uid_of_key(buf_span(&spki), uid);
    device_uid_text(uid, out);
    return ERR_OK;
}

static bool set_name(X509_NAME *name, const char *uid)
{
    return name != NULL && X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                                                      (const unsigned char *)uid, -1, -1, 0) == 1;
}

err_t device_rot_certificate(EVP_PKEY *key, const char *uid, X509 **ret)
{
    CLEANUP(X509_free) X509 *c = X509_new();
    if (c == NULL || X509_set_version(c, X509_VERSION_3) != 1 ||
        ASN1_INTEGER_set(X509_get_serialNumber(c), 1) != 1 ||
        !set_name(X509_get_subject_name(c), uid) || !set_name(X509_get_issuer_name(c), uid) ||
        ASN1_TIME_set_string_X509(X509_getm_notBefore(c), "19700101000000Z") != 1 ||
        ASN1_TIME_set_string_X509(X509_getm_notAfter(c), "99991231235959Z") != 1 ||
        X509_set_pubkey(c, key) != 1 || X509_sign(c, key, EVP_sha256()) <= 0) {
        return crypto(ERR_INTERNAL);
    }
    *ret = TAKE(c);
    return ERR_OK;
}

err_t device_csr(EVP_PKEY *key, const char *uid, struct buf *der)
{
    CLEANUP(X509_REQ_free) X509_REQ *request = X509_REQ_new();
    if (request == NULL || X509_REQ_set_version(request, 0) != 1 ||
        !set_name(X509_REQ_get_subject_name(request), uid) ||
        X509_REQ_set_pubkey(request, key) != 1 || X509_REQ_sign(request, key, EVP_sha256()) <= 0) {
        return crypto(ERR_INTERNAL);
    }
    CLEANUP(OPENSSL_free) unsigned char *bytes = NULL;
    int len = i2d_X509_REQ(request, &bytes);
    return len > 0 ? buf_append(der, bytes, (size_t)len) : crypto(ERR_INTERNAL);
}

err_t device_sign(EVP_PKEY *key, const struct device_message *message,
                  uint8_t signature[DEVICE_SIGNATURE_MAX], size_t *ret_len)
{
    char text[DEVICE_SIGNED_SIZE];
    size_t text_len = 0;
    err_t err = device_signed_bytes(message, text, &text_len);
    if (err != ERR_OK) {
        return err;
    }
    CLEANUP(EVP_MD_CTX_free) EVP_MD_CTX *context = EVP_MD_CTX_new();
    size_t len = DEVICE_SIGNATURE_MAX;
    if (context == NULL || EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, key) != 1 ||
        EVP_DigestSign(context, signature, &len, (const unsigned char *)text, text_len) != 1) {
        return crypto(ERR_INTERNAL);
    }
    *ret_len = len;
    return ERR_OK;
}
