/*
 * Writes certificates of every kind the product issues, for other people's tools to look at:
 *
 *     issue_samples FOLDER
 *
 * For each CA algorithm <algorithm>.root.pem, <algorithm>.ca.pem (an intermediate) and devices
 * <algorithm>.<what>.pem. FOLDER/chains has a line "leaf root [intermediate]" for each certificate,
 * names of files, in the order they were made.
 */
#include <stdio.h>
#include <stdlib.h>

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "ca_cert.h"
#include "common/clock.h"
#include "common/id.h"
#include "keystore_backend.h"

#define DAY_S      INT64_C(86400)
#define YEAR_S     (365 * DAY_S)
#define YEAR_2050  INT64_C(2524608000)
#define BACKDATE_S 300

static void close_file(FILE *file)
{
    (void)fclose(file);
}
CLEANUP_DEFINE(FILE *, close_file);

struct studio {
    const char *folder;
    FILE *chains;
    struct keystore *keys;
    struct kernel_signer *signer;
    int64_t now_ms;
};

/* A sample that cannot be made is a failure of the whole run. */
static void demand(bool holds, const char *what)
{
    if (!holds) {
        (void)fprintf(stderr, "issue_samples: %s failed\n", what);
        abort();
    }
}

static void write_pem(const struct studio *s, const char *name, struct span der)
{
    CLEANUP_FREE char *path = xasprintf("%s/%s.pem", s->folder, name);
    CLEANUP(close_file) FILE *file = fopen(path, "we");
    demand(file != NULL && PEM_write(file, "CERTIFICATE", "", der.ptr, (long)der.len) > 0, path);
}

static void record(const struct studio *s, const char *leaf, const char *root, const char *middle)
{
    demand(fprintf(s->chains, "%s.pem %s.pem%s%s\n", leaf, root, middle != NULL ? " " : "",
                   middle != NULL ? middle : "") > 0,
           "chains");
}

static struct ca_key *make_ca_key(const struct studio *s, enum key_algorithm algorithm)
{
    struct key_owner owner = {span_str("samples"), span_str("ca")};
    CLEANUP_BUF struct buf sealed = BUF_INIT(KEY_SEALED_MAX);
    struct ca_key *key = NULL;
    demand(keystore_generate(s->keys, &owner, algorithm, &key, &sealed) == ERR_OK, "CA key");
    return key;
}

enum device_kind { DEVICE_P256, DEVICE_P384, DEVICE_ED25519, DEVICE_RSA, DEVICE_COUNT };
static const char *const device_names[] = {"p256", "p384", "ed25519", "rsa"};

static EVP_PKEY *make_device_key(enum device_kind kind)
{
    switch (kind) {
    case DEVICE_P256:
        return EVP_EC_gen("P-256");
    case DEVICE_P384:
        return EVP_EC_gen("P-384");
    case DEVICE_ED25519:
        return EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    default:
        return EVP_RSA_gen(2048);
    }
}

struct issuing {
    const char *name; /* of the file to be */
    const char *root;
    const char *middle;
    const struct issuer_template *template;
    enum device_kind device;
    int64_t now_ms;
    int64_t validity_s;
    struct span alt_names;
};

static void issue(const struct studio *s, const struct issuing *what)
{
    CLEANUP(EVP_PKEY_free) EVP_PKEY *key = make_device_key(what->device);
    uint8_t *spki = NULL;
    int spki_len = i2d_PUBKEY(key, &spki);
    uint8_t uid[8];
    char uid_text[HEX_LEN(sizeof uid) + 1];
    uint8_t subject[256];
    struct der_out name = der_out_of(subject, sizeof subject);
    random_bytes(uid, sizeof uid);
    hex_format(span_of(uid, sizeof uid), uid_text);
    struct name_fields fields = {.organization = span_str("Fleetseal samples"),
                                 .common_name = span_str(uid_text),
                                 .serial_number = span_str("SN-2026-0001")};
    demand(spki_len > 0 && name_build(&fields, &name, NULL) == ERR_OK, "device");
    struct cert_request request = {.now_ms = what->now_ms,
                                   .validity_s = what->validity_s,
                                   .backdate_s = BACKDATE_S,
                                   .subject = der_written(&name),
                                   .spki = span_of(spki, (size_t)spki_len),
                                   .alt_names = what->alt_names};
    struct cert_out out;
    struct fault fault = {.text = ""};
    err_t e = kernel_issue(what->template, s->signer, &request, &out, &fault);
    demand(e == ERR_OK, fault.text);
    OPENSSL_free(spki);
    write_pem(s, what->name, cert_out_der(&out));
    record(s, what->name, what->root, what->middle);
}

static struct ca_request ca_request(const struct studio *s, const char *name)
{
    return (struct ca_request){
        .now_ms = s->now_ms,
        .validity_s = 40 * YEAR_S,
        .backdate_s = BACKDATE_S,
        .subject = {.country = span_str("DE"),
                    .organization = span_str("Fleetseal samples"),
                    .organizational_unit = span_str("Feldger\xc3\xa4te"),
                    .common_name = span_str(name)},
        .path_length = -1,
    };
}

static struct issuer_template *template_of(struct ca_key *key, struct span certificate,
                                           bool everything)
{
    struct issuer_options options = {.certificate = certificate, .key = key};
    if (everything) {
        options.extended_key_usage = EXTENDED_CLIENT_AUTH | EXTENDED_SERVER_AUTH;
        options.crl_uri = span_str("http://crl.samples.example/ca/17.crl");
        options.policies[0] = span_of("\x2b\x06\x01\x04\x01\x83\xbb\x17\x01", 9);
        options.policy_count = 1;
    }
    struct issuer_template *template = NULL;
    demand(issuer_template_new(&options, &template, NULL) == ERR_OK, "template");
    return template;
}

/* One device of each kind under the root, then one that straddles 2050. */
static void issue_under_root(const struct studio *s, const char *algorithm, const char *root,
                             const struct issuer_template *template)
{
    for (unsigned kind = 0; kind < DEVICE_COUNT; kind++) {
        CLEANUP_FREE char *name = xasprintf("%s.%s", algorithm, device_names[kind]);
        struct issuing what = {.name = name,
                               .root = root,
                               .template = template,
                               .device = kind,
                               .now_ms = s->now_ms,
                               .validity_s = YEAR_S};
        issue(s, &what);
    }
    CLEANUP_FREE char *name = xasprintf("%s.2050", algorithm);
    struct issuing what = {.name = name,
                           .root = root,
                           .template = template,
                           .device = DEVICE_P256,
                           .now_ms = s->now_ms,
                           .validity_s = YEAR_2050 - s->now_ms / 1000};
    issue(s, &what);
}

/* Under the intermediate: every extension there is. */
static void issue_with_everything(const struct studio *s, const char *algorithm, const char *root,
                                  const char *middle, const struct issuer_template *template)
{
    uint8_t alt_bytes[256];
    struct der_out alt = der_out_of(alt_bytes, sizeof alt_bytes);
    const struct alt_name names[] = {
        {ALT_NAME_DNS, span_str("pump-7.plant.example")},
        {ALT_NAME_URI, span_str("https://plant.example/pump/7")},
        {ALT_NAME_IP, span_of("\x0a\x00\x00\x07", 4)},
    };
    demand(name_build_alt(names, 3, &alt, NULL) == ERR_OK, "alternative names");
    CLEANUP_FREE char *name = xasprintf("%s.everything", algorithm);
    CLEANUP_FREE char *middle_file = xasprintf("%s.pem", middle);
    struct issuing what = {.name = name,
                           .root = root,
                           .middle = middle_file,
                           .template = template,
                           .device = DEVICE_P256,
                           .now_ms = s->now_ms,
                           .validity_s = 90 * DAY_S,
                           .alt_names = der_written(&alt)};
    issue(s, &what);
}

static void make_family(const struct studio *s, enum key_algorithm algorithm)
{
    const char *family = key_algorithm_name(algorithm);
    CLEANUP(ca_key_unref) struct ca_key *root_key = make_ca_key(s, algorithm);
    CLEANUP(ca_key_unref) struct ca_key *middle_key = make_ca_key(s, algorithm);
    CLEANUP_FREE char *root = xasprintf("%s.root", family);
    CLEANUP_FREE char *middle = xasprintf("%s.ca", family);
    struct cert_out root_cert;
    struct cert_out middle_cert;
    struct ca_request request = ca_request(s, root);
    demand(ca_cert_root(root_key, s->signer, &request, &root_cert, NULL) == ERR_OK, "root");
    write_pem(s, root, cert_out_der(&root_cert));
    record(s, root, root, NULL);
    CLEANUP(issuer_template_free)
    struct issuer_template *plain = template_of(root_key, cert_out_der(&root_cert), false);
    issue_under_root(s, family, root, plain);

    request = ca_request(s, middle);
    request.path_length = 0;
    request.digital_signature = true;
    request.crl_uri = span_str("http://crl.samples.example/root.crl");
    demand(ca_cert_intermediate(plain, middle_key, s->signer, &request, &middle_cert, NULL) ==
               ERR_OK,
           "intermediate");
    write_pem(s, middle, cert_out_der(&middle_cert));
    record(s, middle, root, NULL);
    CLEANUP(issuer_template_free)
    struct issuer_template *full = template_of(middle_key, cert_out_der(&middle_cert), true);
    issue_with_everything(s, family, root, middle, full);
}

int main(int argc, char **argv)
{
    struct keystore_fake_script script = {.generate = ERR_OK};
    if (argc != 2) {
        (void)fprintf(stderr, "usage: issue_samples FOLDER\n");
        return 64;
    }
    CLEANUP_FREE char *path = xasprintf("%s/chains", argv[1]);
    CLEANUP(close_file) FILE *chains = fopen(path, "we");
    demand(chains != NULL, path);
    CLEANUP(keystore_free) struct keystore *keys = keystore_fake_new(&script);
    CLEANUP(kernel_signer_free) struct kernel_signer *signer = kernel_signer_new();
    struct studio studio = {argv[1], chains, keys, signer, clock_now_ms(&clock_system)};
    for (unsigned algorithm = 0; algorithm < KEY_ALGORITHM_COUNT; algorithm++) {
        make_family(&studio, algorithm);
    }
    return 0;
}
