/*
 * How close the signing kernel comes to the bare signature: same-key renewals of a P-256 device
 * under a P-256 CA on one core, against what `openssl speed ecdsap256` does (EVP_PKEY_sign over a
 * ready digest), and against OpenSSL's X.509 builder making the same certificates. The three take
 * turns in short slices so that a busy machine slows them alike; processor time of this thread is
 * counted, as openssl speed counts it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include "ca_cert.h"
#include "common/cert_view.h"
#include "common/clock.h"
#include "keystore_backend.h"

CLEANUP_DEFINE(X509 *, X509_free);
CLEANUP_DEFINE(X509_NAME *, X509_NAME_free);
CLEANUP_DEFINE(BIGNUM *, BN_free);

#define ROUNDS   25
#define SLICE_S  0.05
#define YEAR_S   (INT64_C(365) * 86400)
#define BACKDATE 300

struct bench {
    struct keystore *keys;
    struct kernel_signer *signer;
    struct issuer_template *template;
    struct cert_request request;
    struct cert_out first; /* the certificate that is renewed; the request borrows from it */
    struct cert_out out;
    EVP_PKEY *reference_key;
    EVP_PKEY_CTX *reference;
    X509 *ca;
};

/* A bench that cannot do its work has nothing to say. */
static void demand(bool holds, const char *what)
{
    if (!holds) {
        (void)fprintf(stderr, "bench_signing_kernel: %s failed\n", what);
        abort();
    }
}

static void renew(struct bench *b)
{
    demand(kernel_issue(b->template, b->signer, &b->request, &b->out, NULL) == ERR_OK, "renewal");
}

static void sign_digest(struct bench *b)
{
    uint8_t digest[20] = {1};
    uint8_t signature[KEY_SIGNATURE_MAX];
    size_t len = sizeof signature;
    demand(EVP_PKEY_sign(b->reference, signature, &len, digest, sizeof digest) == 1, "signature");
}

static void add_extension(X509 *certificate, X509V3_CTX *ctx, int nid, const char *value)
{
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, ctx, nid, value);
    demand(extension != NULL && X509_add_ext(certificate, extension, -1) == 1, "extension");
    X509_EXTENSION_free(extension);
}

/* The same certificate as a program would make it that knows OpenSSL's manual. */
static void build(struct bench *b)
{
    uint8_t serial[KERNEL_SERIAL_SIZE];
    uint8_t *der = NULL;
    const uint8_t *subject = b->request.subject.ptr;
    const uint8_t *spki = b->request.spki.ptr;
    CLEANUP(X509_free) X509 *certificate = X509_new();
    CLEANUP(X509_NAME_free)
    X509_NAME *name = d2i_X509_NAME(NULL, &subject, (long)b->request.subject.len);
    CLEANUP(EVP_PKEY_free) EVP_PKEY *key = d2i_PUBKEY(NULL, &spki, (long)b->request.spki.len);
    demand(RAND_bytes(serial, sizeof serial) == 1, "serial");
    CLEANUP(BN_free) BIGNUM *number = BN_bin2bn(serial, sizeof serial, NULL);
    time_t now = (time_t)(b->request.now_ms / 1000);
    demand(X509_set_version(certificate, X509_VERSION_3) == 1 &&
               BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate)) != NULL &&
               X509_set_issuer_name(certificate, X509_get_subject_name(b->ca)) == 1 &&
               ASN1_TIME_set(X509_getm_notBefore(certificate), now - BACKDATE) != NULL &&
               ASN1_TIME_set(X509_getm_notAfter(certificate), now + (time_t)YEAR_S) != NULL &&
               X509_set_subject_name(certificate, name) == 1 &&
               X509_set_pubkey(certificate, key) == 1,
           "fields");
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, b->ca, certificate, NULL, NULL, 0);
    add_extension(certificate, &ctx, NID_basic_constraints, "critical,CA:FALSE");
    add_extension(certificate, &ctx, NID_ext_key_usage, "clientAuth");
    add_extension(certificate, &ctx, NID_authority_key_identifier, "keyid");
    add_extension(certificate, &ctx, NID_key_usage, "critical,digitalSignature");
    add_extension(certificate, &ctx, NID_subject_key_identifier, "hash");
    demand(X509_sign(certificate, b->reference_key, EVP_sha256()) > 0, "X509_sign");
    demand(i2d_X509(certificate, &der) > 0, "i2d_X509");
    OPENSSL_free(der);
}

static double thread_seconds(void)
{
    struct timespec t;
    demand(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t) == 0, "clock_gettime");
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static struct contender {
    void (*once)(struct bench *b);
    unsigned batch; /* between two looks at the clock */
    double seconds;
    double count;
} contenders[] = {{renew, 100, 0, 0}, {sign_digest, 100, 0, 0}, {build, 10, 0, 0}};
enum { KERNEL, BARE, BUILDER, CONTENDERS };

static void run_slice(struct bench *b, struct contender *c, bool counted)
{
    double start = thread_seconds();
    double spent = 0;
    unsigned done = 0;
    while (spent < SLICE_S) {
        for (unsigned i = 0; i < c->batch; i++) {
            c->once(b);
        }
        done += c->batch;
        spent = thread_seconds() - start;
    }
    if (counted) {
        c->seconds += spent;
        c->count += done;
    }
}

static void setup(struct bench *b, struct keystore_fake_script *script)
{
    struct key_owner owner = {span_str("bench"), span_str("ca")};
    CLEANUP_BUF struct buf sealed = BUF_INIT(KEY_SEALED_MAX);
    CLEANUP(ca_key_unref) struct ca_key *key = NULL;
    CLEANUP(EVP_PKEY_free) EVP_PKEY *device = EVP_EC_gen("P-256");
    uint8_t *spki = NULL;
    int spki_len = i2d_PUBKEY(device, &spki);
    uint8_t subject[128];
    struct der_out name = der_out_of(subject, sizeof subject);
    struct name_fields fields = {.common_name = span_str("00a1b2c3d4e5f607")};
    struct ca_request root = {.now_ms = clock_now_ms(&clock_system),
                              .validity_s = 10 * YEAR_S,
                              .backdate_s = BACKDATE,
                              .subject = {.common_name = span_str("Bench CA")},
                              .path_length = -1};
    b->keys = keystore_fake_new(script);
    b->signer = kernel_signer_new();
    demand(keystore_generate(b->keys, &owner, KEY_ALGORITHM_EC_P256, &key, &sealed) == ERR_OK &&
               ca_cert_root(key, b->signer, &root, &b->first, NULL) == ERR_OK,
           "CA");
    struct span certificate = cert_out_der(&b->first);
    struct issuer_options options = {.certificate = certificate, .key = key};
    const uint8_t *at = certificate.ptr;
    b->ca = d2i_X509(NULL, &at, (long)certificate.len);
    demand(issuer_template_new(&options, &b->template, NULL) == ERR_OK, "template");
    demand(name_build(&fields, &name, NULL) == ERR_OK && spki_len > 0, "subject and key");
    b->request = (struct cert_request){.now_ms = root.now_ms,
                                       .validity_s = YEAR_S,
                                       .backdate_s = BACKDATE,
                                       .subject = der_written(&name),
                                       .spki = span_of(spki, (size_t)spki_len)};
    demand(kernel_issue(b->template, b->signer, &b->request, &b->first, NULL) == ERR_OK, "issue");
    OPENSSL_free(spki);
    struct cert_view view;
    demand(cert_parse(cert_out_der(&b->first), &view), "parse");
    b->request.subject = view.fields.subject;
    b->request.spki = view.fields.spki;
    b->reference_key = EVP_EC_gen("P-256");
    b->reference = EVP_PKEY_CTX_new_from_pkey(NULL, b->reference_key, NULL);
    demand(EVP_PKEY_sign_init(b->reference) == 1, "reference");
}

static void teardown(struct bench *b)
{
    EVP_PKEY_CTX_free(b->reference);
    EVP_PKEY_free(b->reference_key);
    X509_free(b->ca);
    issuer_template_free(b->template);
    kernel_signer_free(b->signer);
    keystore_free(b->keys);
}

static void report(const char *name, const char *reference, double reference_rate)
{
    double rate = contenders[KERNEL].count / contenders[KERNEL].seconds;
    (void)printf("{\"name\":\"%s\",\"value\":%.0f,\"unit\":\"certificates/s\",\"reference\":\"%s\","
                 "\"reference_value\":%.0f,\"ratio\":%.3f}\n",
                 name, rate, reference, reference_rate, rate / reference_rate);
}

int main(void)
{
    struct keystore_fake_script script = {.generate = ERR_OK};
    struct bench b = {.keys = NULL};
    setup(&b, &script);
    for (unsigned round = 0; round <= ROUNDS; round++) { /* the first warms up */
        for (unsigned i = 0; i < CONTENDERS; i++) {
            run_slice(&b, &contenders[i], round > 0);
        }
    }
    report("signing_kernel", "EVP_PKEY_sign, as openssl speed ecdsap256",
           contenders[BARE].count / contenders[BARE].seconds);
    report("signing_kernel_vs_builder", "OpenSSL X509 builder, same certificate",
           contenders[BUILDER].count / contenders[BUILDER].seconds);
    teardown(&b);
    return 0;
}
