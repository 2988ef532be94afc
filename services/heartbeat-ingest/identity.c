#include "identity.h"

#include <openssl/err.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include "common/cert_view.h"
#include "common/cleanup.h"
#include "common/signature.h"

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

static err_t refuse(struct fault *fault, const char *text)
{
    return fault_set(fault, ERR_UNAUTHORIZED, CODE, "", "%s", text);
}

/* ---- a certificate of a manufacturer ---- */

static X509 *decode(struct span der)
{
    const unsigned char *at = der.ptr;
    return d2i_X509(NULL, &at, (long)der.len);
}

/* False also when one of them cannot be read: it helps nobody then. */
static bool decode_chain(const struct span *chain, size_t count, X509 **ret_leaf,
                         STACK_OF(X509) * above)
{
    *ret_leaf = decode(chain[0]);
    bool ok = *ret_leaf != NULL && above != NULL;
    for (size_t i = 1; i < count && ok; i++) {
        X509 *certificate = decode(chain[i]);
        ok = certificate != NULL && sk_X509_push(above, certificate) > 0;
        if (!ok) {
            X509_free(certificate);
        }
    }
    return ok;
}

static bool leads_to_manufacturer(const struct identity_rules *rules, X509 *leaf,
                                  STACK_OF(X509) * above)
{
    CLEANUP(X509_STORE_CTX_free) X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    if (ctx == NULL || X509_STORE_CTX_init(ctx, rules->manufacturers, leaf, above) != 1 ||
        X509_STORE_CTX_set_purpose(ctx, X509_PURPOSE_SSL_CLIENT) != 1) {
        return false;
    }
    /* The key is the identity: a device outlives the certificate of its factory, and must be able
     * to call in then. */
    X509_STORE_CTX_set_flags(ctx, X509_V_FLAG_NO_CHECK_TIME);
    return X509_verify_cert(ctx) == 1;
}

static bool comes_from_manufacturer(const struct identity_rules *rules, const struct span *chain,
                                    size_t count)
{
    if (rules->manufacturers == NULL) {
        return false;
    }
    CLEANUP(X509_free) X509 *leaf = NULL;
    CLEANUP(chain_free) STACK_OF(X509) *above = sk_X509_new_null();
    bool ok = decode_chain(chain, count, &leaf, above) && leads_to_manufacturer(rules, leaf, above);
    ERR_clear_error();
    return ok;
}

/* ---- a certificate of the device itself ---- */

/* Not by way of X509: decoding one costs OpenSSL 3.0 more than the check, and each connection pays
 * for it. */
static bool is_self_signed(const struct cert_view *leaf, const struct spki *key)
{
    return span_eq(leaf->fields.issuer, leaf->fields.subject) &&
           span_eq(leaf->fields.signature, leaf->algorithm) &&
           signature_verify_by(key, leaf->algorithm, leaf->tbs, leaf->signature) == ERR_OK;
}

static struct identity *identity_of_key(const struct spki *key)
{
    struct identity *identity = xcalloc(1, sizeof *identity);
    memcpy(identity->spki, key->der.ptr, key->der.len);
    identity->spki_len = key->der.len;
    device_uid_of_key(key->der, identity->uid);
    device_uid_text(identity->uid, identity->uid_text);
    return identity;
}

err_t identity_of_chain(const struct identity_rules *rules, const struct span *chain, size_t count,
                        struct identity **ret, struct fault *fault)
{
    struct cert_view leaf;
    struct spki key;
    if (!cert_parse(chain[0], &leaf)) {
        return refuse(fault, "the client certificate cannot be read");
    }
    if (spki_parse(leaf.fields.spki, &key, NULL) != ERR_OK || key.kind != KEY_KIND_EC_P256 ||
        key.der.len > sizeof(*ret)->spki) {
        return refuse(fault, "the root-of-trust key must be EC P-256");
    }
    if (!is_self_signed(&leaf, &key) && !comes_from_manufacturer(rules, chain, count)) {
        return refuse(fault, "the client certificate must be self-signed by the root-of-trust key "
                             "or come from a known manufacturer");
    }
    *ret = identity_of_key(&key);
    return ERR_OK;
}
