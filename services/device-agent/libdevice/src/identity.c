#include "device/identity.h"

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>

CLEANUP_DEFINE(BIO *, BIO_free_all);
CLEANUP_DEFINE(X509_REQ *, X509_REQ_free);
CLEANUP_DEFINE(EVP_MD_CTX *, EVP_MD_CTX_free);
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

static err_t append_bio(BIO *bio, struct buf *to)
{
    char *bytes = NULL;
    long len = BIO_get_mem_data(bio, &bytes);
    return len > 0 ? buf_append(to, bytes, (size_t)len) : ERR_INTERNAL;
}

err_t device_key_write(EVP_PKEY *key, struct buf *pem)
{
    CLEANUP(BIO_free_all) BIO *bio = BIO_new(BIO_s_secmem());
    if (bio == NULL || PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) != 1) {
        return crypto(ERR_INTERNAL);
    }
    return append_bio(bio, pem);
}

/* Without it OpenSSL would ask a person at the terminal. */
static int no_password(char *buf, int size, int rwflag, void *userdata)
{
    (void)buf;
    (void)size;
    (void)rwflag;
    (void)userdata;
    return -1;
}

err_t device_key_read(struct span pem, EVP_PKEY **ret)
{
    if (pem.len == 0 || pem.len > DEVICE_KEY_PEM_MAX) {
        return ERR_CORRUPT;
    }
    CLEANUP(BIO_free_all) BIO *bio = BIO_new_mem_buf(pem.ptr, (int)pem.len);
    CLEANUP(EVP_PKEY_free)
    EVP_PKEY *key = bio != NULL ? PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL) : NULL;
    char group[32] = "";
    if (key == NULL || EVP_PKEY_get_group_name(key, group, sizeof group, NULL) != 1 ||
        strcmp(group, "prime256v1") != 0) {
        return crypto(ERR_CORRUPT);
    }
    *ret = TAKE(key);
    return ERR_OK;
}

err_t device_key_spki(const EVP_PKEY *key, struct buf *der)
{
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
