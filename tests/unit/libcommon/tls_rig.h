/*
 * Certificates made on the spot and a TLS client, for tests of servers with mutual TLS. Files go to
 * a fresh folder that tls_rig_end removes.
 */
#ifndef TLS_RIG_H
#define TLS_RIG_H

#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/id.h"
#include "http_wire.h"

struct tls_identity {
    EVP_PKEY *key;
    X509 *cert;
};

struct tls_rig {
    char folder[64];
    char cert_file[128];
    char key_file[128];
    char ticket_file[128];
    struct tls_identity ca;     /* of servers and clients */
    struct tls_identity server; /* for 127.0.0.1 */
    struct tls_identity client;
    struct tls_identity rogue; /* the client's name, signed by itself */
};

static inline void tls_add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    assert_non_null(extension);
    assert_int_equal(X509_add_ext(cert, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

/* Signed by `issuer`, or by itself when that is NULL. */
static inline struct tls_identity tls_identity_new(const char *name, const char *usage,
                                                   const struct tls_identity *issuer)
{
    struct tls_identity id = {EVP_EC_gen("P-256"), X509_new()};
    assert_non_null(id.key);
    const X509 *issuer_cert = issuer != NULL ? issuer->cert : id.cert;
    uint64_t serial = 0;
    random_bytes(&serial, sizeof serial);
    (void)X509_set_version(id.cert, 2);
    (void)ASN1_INTEGER_set_uint64(X509_get_serialNumber(id.cert), serial >> 1);
    (void)X509_gmtime_adj(X509_getm_notBefore(id.cert), -60);
    (void)X509_gmtime_adj(X509_getm_notAfter(id.cert), 3600);
    (void)X509_set_pubkey(id.cert, id.key);
    (void)X509_NAME_add_entry_by_txt(X509_get_subject_name(id.cert), "CN", MBSTRING_ASC,
                                     (const unsigned char *)name, -1, -1, 0);
    (void)X509_set_issuer_name(id.cert, X509_get_subject_name(issuer_cert));
    X509 *signer_cert = issuer != NULL ? issuer->cert : id.cert;
    if (usage == NULL) {
        tls_add_extension(id.cert, signer_cert, NID_basic_constraints, "critical,CA:TRUE");
        tls_add_extension(id.cert, signer_cert, NID_key_usage, "critical,keyCertSign,cRLSign");
    } else {
        tls_add_extension(id.cert, signer_cert, NID_key_usage, "critical,digitalSignature");
        tls_add_extension(id.cert, signer_cert, NID_ext_key_usage, usage);
        tls_add_extension(id.cert, signer_cert, NID_subject_alt_name, "IP:127.0.0.1");
    }
    assert_true(X509_sign(id.cert, issuer != NULL ? issuer->key : id.key, EVP_sha256()) > 0);
    return id;
}

static inline void tls_identity_free(struct tls_identity *id)
{
    EVP_PKEY_free(id->key);
    X509_free(id->cert);
}

/* Writes certificate and key of a server where the rig's server looks for them. */
static inline void tls_rig_write_server(const struct tls_rig *rig, const struct tls_identity *id)
{
    FILE *cert = fopen(rig->cert_file, "we");
    FILE *key = fopen(rig->key_file, "we");
    assert_true(cert != NULL && key != NULL);
    assert_int_equal(PEM_write_X509(cert, id->cert), 1);
    assert_int_equal(PEM_write_PrivateKey(key, id->key, NULL, NULL, 0, NULL, NULL), 1);
    assert_int_equal(fclose(cert), 0);
    assert_int_equal(fclose(key), 0);
}

static inline void tls_rig_write_ticket_key(const struct tls_rig *rig, size_t len)
{
    uint8_t key[128];
    random_bytes(key, sizeof key);
    const int fd = open(rig->ticket_file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0 && write(fd, key, len) == (ssize_t)len);
    (void)close(fd);
}

static inline void tls_rig_init(struct tls_rig *rig)
{
    (void)snprintf(rig->folder, sizeof rig->folder, "/tmp/tls-rig-XXXXXX");
    assert_non_null(mkdtemp(rig->folder));
    (void)snprintf(rig->cert_file, sizeof rig->cert_file, "%s/cert.pem", rig->folder);
    (void)snprintf(rig->key_file, sizeof rig->key_file, "%s/key.pem", rig->folder);
    (void)snprintf(rig->ticket_file, sizeof rig->ticket_file, "%s/ticket", rig->folder);
    rig->ca = tls_identity_new("test ca", NULL, NULL);
    rig->server = tls_identity_new("server", "serverAuth", &rig->ca);
    rig->client = tls_identity_new("device-1", "clientAuth", &rig->ca);
    rig->rogue = tls_identity_new("device-1", "clientAuth", NULL);
    tls_rig_write_server(rig, &rig->server);
    tls_rig_write_ticket_key(rig, 64);
}

static inline void tls_rig_end(struct tls_rig *rig)
{
    (void)unlink(rig->cert_file);
    (void)unlink(rig->key_file);
    (void)unlink(rig->ticket_file);
    (void)rmdir(rig->folder);
    tls_identity_free(&rig->ca);
    tls_identity_free(&rig->server);
    tls_identity_free(&rig->client);
    tls_identity_free(&rig->rogue);
}

/* A client of exactly one TLS version; `identity` may be NULL. */
static inline SSL_CTX *tls_client(const struct tls_rig *rig, int version,
                                  const struct tls_identity *identity)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    assert_non_null(ctx);
    (void)SSL_CTX_set_min_proto_version(ctx, version);
    (void)SSL_CTX_set_max_proto_version(ctx, version);
    assert_int_equal(X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), rig->ca.cert), 1);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    if (identity != NULL) {
        assert_int_equal(SSL_CTX_use_certificate(ctx, identity->cert), 1);
        assert_int_equal(SSL_CTX_use_PrivateKey(ctx, identity->key), 1);
    }
    return ctx;
}

/* False when the handshake fails; `session` (may be NULL) is offered for resumption. */
static inline bool tls_open(uint16_t port, SSL_CTX *ctx, SSL_SESSION *session, struct wire *ret)
{
    *ret = wire_open(port);
    ret->ssl = SSL_new(ctx);
    assert_non_null(ret->ssl);
    if (session != NULL) {
        assert_int_equal(SSL_set_session(ret->ssl, session), 1);
    }
    assert_int_equal(SSL_set_fd(ret->ssl, ret->fd), 1);
    ERR_clear_error();
    return SSL_connect(ret->ssl) == 1;
}

#endif
