/*
 * Targets: csr_check, cert_parse, lint_tbs, issuer_template_new, name_problem, name_alt_problem,
 * spki_parse, kernel_issue. The first byte of the input chooses one.
 * Promises: no input crashes or leaks; what lint lets pass OpenSSL can read; whatever subject and
 * alternative names are asked for, a certificate that comes out holds exactly these.
 */
#include <openssl/ec.h>
#include <openssl/x509.h>

#include "ca_cert.h"
#include "common/cert_view.h"
#include "common/oid.h"
#include "csr.h"
#include "fuzz.h"
#include "lint.h"

#define NOW_MS INT64_C(1795239000000)

/* Made at the first input and kept: the pointers stay reachable until the process ends. */
static struct keystore_fake_script script;
static struct kernel_signer *signer;
static struct ca_key *ca_key;
static struct issuer_template *template;
static struct cert_out root;
static uint8_t *spki;
static int spki_len;

static void setup(void)
{
    struct keystore *keys = keystore_fake_new(&script);
    struct key_owner owner = {span_str("domain"), span_str("ca")};
    CLEANUP_BUF struct buf sealed = BUF_INIT(KEY_SEALED_MAX);
    struct ca_request request = {.now_ms = NOW_MS,
                                 .validity_s = 1000000,
                                 .path_length = -1,
                                 .subject = {.common_name = span_str("Fuzz CA")}};
    EVP_PKEY *device = EVP_EC_gen("P-256");
    spki_len = i2d_PUBKEY(device, &spki);
    EVP_PKEY_free(device);
    signer = kernel_signer_new();
    FUZZ_MUST(spki_len > 0);
    FUZZ_MUST(keystore_generate(keys, &owner, KEY_ALGORITHM_EC_P256, &ca_key, &sealed) == ERR_OK);
    FUZZ_MUST(ca_cert_root(ca_key, signer, &request, &root, NULL) == ERR_OK);
    struct issuer_options options = {.certificate = cert_out_der(&root), .key = ca_key};
    FUZZ_MUST(issuer_template_new(&options, &template, NULL) == ERR_OK);
}

static bool openssl_reads(struct span der)
{
    const uint8_t *at = der.ptr;
    X509 *certificate = d2i_X509(NULL, &at, (long)der.len);
    X509_free(certificate);
    return certificate != NULL && at == der.ptr + der.len;
}

/* A profile that agrees with the certificate in all that is not about form. */
static void check_lint(struct span der, enum lint_kind kind)
{
    struct cert_view view;
    struct extension_view id;
    if (!cert_parse(der, &view)) {
        return;
    }
    struct lint_profile profile = {
        .kind = kind,
        .issuer = view.fields.issuer,
        .signature_algorithm = view.fields.signature,
        .issuer_not_before_s = CERT_TIME_MIN_S,
        .issuer_not_after_s = CERT_TIME_MAX_S,
        .subject = view.fields.subject,
        .spki = view.fields.spki,
    };
    if (extension_find(view.fields.extensions, OID(OID_SUBJECT_KEY_ID), &id) && id.value.len > 2) {
        profile.key_id = span_of(id.value.ptr + 2, id.value.len - 2);
        profile.issuer_key_id = profile.key_id;
    }
    /* Issuer and the outer algorithm come from the CA, so lint compares them and no more. */
    if (lint_tbs(view.tbs, &profile) == LINT_PASSED && name_problem(view.fields.issuer) == NULL &&
        span_eq(view.algorithm, view.fields.signature) && der_canonical(view.algorithm)) {
        FUZZ_MUST(openssl_reads(der));
    }
}

static void check_template(struct span der)
{
    struct issuer_options options = {.certificate = der, .key = ca_key};
    struct issuer_template *made = NULL;
    struct fault fault;
    if (issuer_template_new(&options, &made, &fault) == ERR_OK) {
        issuer_template_free(made);
    }
}

static void check_issue(struct span subject, struct span alt_names)
{
    struct cert_request request = {.now_ms = NOW_MS,
                                   .validity_s = 1000,
                                   .subject = subject,
                                   .spki = span_of(spki, (size_t)spki_len),
                                   .alt_names = alt_names};
    struct cert_out out;
    struct fault fault;
    struct cert_view view;
    struct extension_view names;
    if (kernel_issue(template, signer, &request, &out, &fault) != ERR_OK) {
        return;
    }
    FUZZ_MUST(openssl_reads(cert_out_der(&out)));
    FUZZ_MUST(cert_parse(cert_out_der(&out), &view));
    FUZZ_MUST(span_eq(view.fields.subject, subject));
    bool found = extension_find(view.fields.extensions, OID(OID_SUBJECT_ALT_NAME), &names);
    FUZZ_MUST(found == (alt_names.len > 0) && (!found || span_eq(names.value, alt_names)));
}

static void check_values(struct span input)
{
    struct csr csr;
    struct spki key;
    struct fault fault;
    if (csr_check(input, &csr, &fault) == ERR_OK) {
        FUZZ_MUST(spki_parse(csr.key.der, &key, NULL) == ERR_OK);
    }
    if (spki_parse(input, &key, &fault) == ERR_OK) {
        FUZZ_MUST(der_canonical(input));
    }
    if (name_problem(input) == NULL) {
        FUZZ_MUST(name_alt_problem(input) != NULL); /* no bytes are both */
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t plain_name[] = "\x30\x0c\x31\x0a\x30\x08\x06\x03\x55\x04\x03\x0c\x01x";
    static const struct span none;
    if (template == NULL) {
        setup();
    }
    if (size == 0) {
        return 0;
    }
    struct span input = span_of(data + 1, size - 1);
    switch (data[0] % 6) {
    case 0:
        check_values(input);
        break;
    case 1:
    case 2:
    case 3:
        check_lint(input, data[0] % 6 - 1);
        check_template(input);
        break;
    case 4:
        check_issue(input, none);
        break;
    default:
        check_issue(span_of(plain_name, sizeof plain_name - 1), input);
        break;
    }
    return 0;
}
