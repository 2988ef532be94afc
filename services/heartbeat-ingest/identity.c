#include "identity.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include "common/cleanup.h"

CLEANUP_DEFINE(X509 *, X509_free);
CLEANUP_DEFINE(X509_STORE_CTX *, X509_STORE_CTX_free);
static inline void chain_free(STACK_OF(X509) * chain)
{
    sk_X509_pop_free(chain, X509_free);
}
CLEANUP_DEFINE(STACK_OF(X509) *, chain_free);

#define CODE "client_certificate_invalid"

struct identity_rules {
    X509_STORE *manufacturers; /* NULL: only self-signed certificates */
};

err_t identity_rules_new(const char *manufacturers_file, struct identity_rules **ret,
                         struct fault *fault)
{
    CLEANUP(identity_rules_free) struct identity_rules *rules = xcalloc(1, sizeof *rules);
    if (manufacturers_file[0] != 0) {
        rules->manufacturers = X509_STORE_new();
        if (rules->manufacturers == NULL ||
            X509_STORE_load_file(rules->manufacturers, manufacturers_file) != 1) {
            ERR_clear_error();
            return fault_set(fault, ERR_INVALID, "file_invalid", "device.manufacturers_file",
                             "%s: no PEM certificates in it", manufacturers_file);
        }
    }
    *ret = TAKE(rules);
    return ERR_OK;
}

void identity_rules_free(struct identity_rules *rules)
{
    if (rules != NULL) {
        X509_STORE_free(rules->manufacturers);
        free(rules);
    }
}

static err_t parse(struct span der, X509 **ret, struct fault *fault)
{
    const unsigned char *at = der.ptr;
    X509 *certificate = d2i_X509(NULL, &at, (long)der.len);
    if (certificate == NULL || at != der.ptr + der.len) {
        X509_free(certificate);
        ERR_clear_error();
        return fault_set(fault, ERR_UNAUTHORIZED, CODE, "",
                         "the client certificate cannot be read");
    }
    *ret = certificate;
    return ERR_OK;
}

static bool comes_from_manufacturer(const struct identity_rules *rules, X509 *leaf,
                                    STACK_OF(X509) * above)
{
    CLEANUP(X509_STORE_CTX_free) X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    bool ok = rules->manufacturers != NULL && ctx != NULL &&
              X509_STORE_CTX_init(ctx, rules->manufacturers, leaf, above) == 1 &&
              X509_STORE_CTX_set_purpose(ctx, X509_PURPOSE_SSL_CLIENT) == 1;
    if (ok) {
        /* The key is the identity: a device outlives the certificate of its factory, and must be
         * able to call in then. */
        X509_STORE_CTX_set_flags(ctx, X509_V_FLAG_NO_CHECK_TIME);
        ok = X509_verify_cert(ctx) == 1;
    }
    ERR_clear_error();
    return ok;
}

static bool is_self_signed(X509 *leaf)
{
    bool ok = X509_self_signed(leaf, 1) == 1;
    ERR_clear_error();
    return ok;
}

static err_t take_key(X509 *leaf, struct identity *identity, struct fault *fault)
{
    EVP_PKEY *key = X509_get0_pubkey(leaf);
    char group[32] = "";
    if (key == NULL || !EVP_PKEY_is_a(key, "EC") ||
        EVP_PKEY_get_group_name(key, group, sizeof group, NULL) != 1 ||
        strcmp(group, "prime256v1") != 0) {
        ERR_clear_error();
        return fault_set(fault, ERR_UNAUTHORIZED, CODE, "",
                         "the root-of-trust key must be EC P-256");
    }
    int len = i2d_PUBKEY(key, NULL);
    if (len <= 0 || (size_t)len > sizeof identity->spki) {
        return fault_set(fault, ERR_UNAUTHORIZED, CODE, "",
                         "the root-of-trust key cannot be encoded");
    }
    unsigned char *to = identity->spki;
    identity->spki_len = (size_t)i2d_PUBKEY(key, &to);
    device_uid_of_key(span_of(identity->spki, identity->spki_len), identity->uid);
    device_uid_text(identity->uid, identity->uid_text);
    return ERR_OK;
}

err_t identity_of_chain(const struct identity_rules *rules, const struct span *chain, size_t count,
                        struct identity **ret, struct fault *fault)
{
    CLEANUP(X509_free) X509 *leaf = NULL;
    CLEANUP(chain_free) STACK_OF(X509) *above = sk_X509_new_null();
    CLEANUP_FREE struct identity *identity = xcalloc(1, sizeof *identity);
    err_t e = parse(chain[0], &leaf, fault);
    for (size_t i = 1; i < count && e == ERR_OK; i++) {
        X509 *certificate = NULL;
        e = parse(chain[i], &certificate, fault);
        if (e == ERR_OK && sk_X509_push(above, certificate) <= 0) {
            X509_free(certificate);
            e = ERR_INTERNAL;
        }
    }
    if (e == ERR_OK && !is_self_signed(leaf) && !comes_from_manufacturer(rules, leaf, above)) {
        e = fault_set(fault, ERR_UNAUTHORIZED, CODE, "",
                      "the client certificate must be self-signed by the root-of-trust key or come "
                      "from a known manufacturer");
    }
    if (e == ERR_OK) {
        e = take_key(leaf, identity, fault);
    }
    if (e == ERR_OK) {
        *ret = TAKE(identity);
    }
    return e;
}
