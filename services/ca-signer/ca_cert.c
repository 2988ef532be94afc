#include "ca_cert.h"

#include "common/cert_view.h"
#include "kernel_internal.h"

/* Both kinds of CA certificate, told apart by who issues. */
struct ca_making {
    enum lint_kind kind;
    struct ca_key *issuer_key;
    struct span issuer;
    struct span issuer_key_id;
    int64_t issuer_not_before_s;
    int64_t issuer_not_after_s;
    struct span spki;
    int path_length;
};

static err_t decide_times(const struct ca_making *m, const struct ca_request *r,
                          struct cert_out *out, struct fault *fault)
{
    if (r->validity_s < 1 || r->validity_s > CERT_TIME_MAX_S || r->backdate_s < 0 ||
        r->backdate_s > CERT_TIME_MAX_S) {
        return fault_set(fault, ERR_INVALID, "validation_error", "Validity",
                         "the validity must be at least one second");
    }
    int64_t now = r->now_ms / 1000;
    int64_t from = now - r->backdate_s;
    int64_t to = now + r->validity_s;
    if (to > CERT_TIME_MAX_S || from < CERT_TIME_MIN_S) {
        return fault_set(fault, ERR_INVALID, "validation_error", "Validity",
                         "the validity must end by the year 9999");
    }
    from = from < m->issuer_not_before_s ? m->issuer_not_before_s : from;
    out->clipped = to > m->issuer_not_after_s;
    to = out->clipped ? m->issuer_not_after_s : to;
    out->not_before_ms = from * 1000;
    out->not_after_ms = to * 1000;
    return ERR_OK;
}

static void put_extensions(struct der_out *tbs, const struct ca_making *m,
                           const struct ca_request *r, struct span key_id)
{
    if (r->crl_uri.len > 0) {
        extension_put_crl_point(tbs, r->crl_uri);
    }
    extension_put_authority_key_id(tbs, m->issuer_key_id.len > 0 ? m->issuer_key_id : key_id);
    extension_put_subject_key_id(tbs, key_id);
    extension_put_key_usage(tbs, USAGE_CERT_SIGN | USAGE_CRL_SIGN |
                                     (r->digital_signature ? USAGE_DIGITAL_SIGNATURE : 0u));
    extension_put_basic_constraints(tbs, true, m->path_length);
}

static enum lint_rule lint_ca(const struct ca_making *m, const struct tbs_parts *parts,
                              struct span key_id, struct span tbs)
{
    struct lint_profile profile = {
        .kind = m->kind,
        .issuer = parts->issuer,
        .issuer_key_id = m->issuer_key_id.len > 0 ? m->issuer_key_id : key_id,
        .signature_algorithm = parts->algorithm,
        .issuer_not_before_s = m->issuer_not_before_s,
        .issuer_not_after_s = m->issuer_not_after_s,
        .subject = parts->subject,
        .spki = parts->spki,
        .key_id = key_id,
    };
    return lint_tbs(tbs, &profile);
}

static err_t assemble(const struct ca_making *m, struct kernel_signer *signer,
                      const struct ca_request *r, struct span subject, struct cert_out *out,
                      struct fault *fault)
{
    struct spki key;
    uint8_t key_id_bytes[KEY_ID_SIZE] = {0};
    struct span key_id = span_of(key_id_bytes, sizeof key_id_bytes);
    err_t e = spki_parse(m->spki, &key, fault);
    if (e == ERR_OK) {
        e = kernel_key_id(signer, key.key, key_id_bytes);
    }
    if (e != ERR_OK) {
        return e;
    }
    struct tbs_parts parts = {
        .serial = span_of(out->serial, sizeof out->serial),
        .algorithm = key_algorithm_signature(ca_key_algorithm(m->issuer_key)),
        .issuer = m->kind == LINT_ROOT ? subject : m->issuer,
        .not_before_s = out->not_before_ms / 1000,
        .not_after_s = out->not_after_ms / 1000,
        .subject = subject,
        .spki = m->spki,
    };
    struct der_out tbs = kernel_begin(out);
    size_t mark = der_mark(&tbs);
    kernel_serial(out->serial);
    put_extensions(&tbs, m, r, key_id);
    kernel_put_tbs(&tbs, mark, &parts);
    enum lint_rule rule = lint_ca(m, &parts, key_id, der_written(&tbs));
    if (tbs.overflow || rule != LINT_PASSED) {
        return lint_fault(tbs.overflow ? LINT_SIZE : rule, fault);
    }
    return kernel_finish(signer, m->issuer_key, parts.algorithm, &tbs, out);
}

static err_t make(const struct ca_making *m, struct kernel_signer *signer,
                  const struct ca_request *r, struct cert_out *out, struct fault *fault)
{
    uint8_t subject[NAME_MAX_BYTES];
    struct der_out name = der_out_of(subject, sizeof subject);
    out->start = out->len = 0;
    if (r->crl_uri.len > CRL_URI_MAX) {
        return fault_set(fault, ERR_INVALID, "validation_error", "CRL",
                         "the CRL address may have %d bytes", CRL_URI_MAX);
    }
    if (m->path_length > CA_PATH_LENGTH_MAX) {
        return fault_set(fault, ERR_INVALID, "validation_error", "PathLength",
                         "PathLength must be 0 to %d", CA_PATH_LENGTH_MAX);
    }
    err_t e = name_build(&r->subject, &name, fault);
    if (e == ERR_OK) {
        e = decide_times(m, r, out, fault);
    }
    return e == ERR_OK ? assemble(m, signer, r, der_written(&name), out, fault) : e;
}

err_t ca_cert_root(struct ca_key *key, struct kernel_signer *signer,
                   const struct ca_request *request, struct cert_out *out, struct fault *fault)
{
    struct ca_making m = {
        .kind = LINT_ROOT,
        .issuer_key = key,
        .issuer_not_before_s = CERT_TIME_MIN_S,
        .issuer_not_after_s = CERT_TIME_MAX_S,
        .spki = ca_key_public(key),
        .path_length = request->path_length,
    };
    return make(&m, signer, request, out, fault);
}

/* The path length below a parent: one less than its own at most. */
static err_t fit_path_length(int parent, int wanted, int *ret, struct fault *fault)
{
    if (parent < 0) {
        *ret = wanted;
        return ERR_OK;
    }
    if (parent == 0) {
        return fault_set(fault, ERR_CONFLICT, "path_length", "",
                         "the issuing CA allows no CA below it (path length 0)");
    }
    if (wanted >= parent) {
        return fault_set(fault, ERR_INVALID, "validation_error", "PathLength",
                         "PathLength must be 0 to %d under this CA", parent - 1);
    }
    *ret = wanted < 0 ? parent - 1 : wanted;
    return ERR_OK;
}

err_t ca_cert_intermediate(const struct issuer_template *parent, struct ca_key *key,
                           struct kernel_signer *signer, const struct ca_request *request,
                           struct cert_out *out, struct fault *fault)
{
    struct ca_making m = {
        .kind = LINT_INTERMEDIATE,
        .issuer_key = parent->key,
        .issuer = parent->subject,
        .issuer_key_id = parent->key_id,
        .issuer_not_before_s = parent->not_before_s,
        .issuer_not_after_s = parent->not_after_s,
        .spki = ca_key_public(key),
    };
    err_t e = fit_path_length(parent->path_length, request->path_length, &m.path_length, fault);
    if (e == ERR_OK) {
        e = kernel_check_issuer(parent, request->now_ms / 1000, fault);
    }
    return e == ERR_OK ? make(&m, signer, request, out, fault) : e;
}
