#include "kernel_internal.h"

#include <openssl/err.h>
#include <openssl/evp.h>

#include "common/id.h"
#include "name.h"

/* Keys a thread keeps ready to sign. Preparing one costs a sixth of a P-256 signature, so a batch
 * over more CAs than this still signs at nearly full speed. */
#define SESSIONS_MAX 16

struct kernel_signer {
    EVP_MD *sha256;
    EVP_MD_CTX *hash;
    struct {
        struct ca_key *key; /* borrowed from the session, which holds it */
        struct key_session *session;
    } slots[SESSIONS_MAX];
    unsigned next_slot;
};

struct kernel_signer *kernel_signer_new(void)
{
    struct kernel_signer *signer = xcalloc(1, sizeof *signer);
    signer->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    signer->hash = EVP_MD_CTX_new();
    return signer;
}

void kernel_signer_free(struct kernel_signer *signer)
{
    if (signer == NULL) {
        return;
    }
    for (unsigned i = 0; i < SESSIONS_MAX; i++) {
        key_session_free(signer->slots[i].session);
    }
    EVP_MD_CTX_free(signer->hash);
    EVP_MD_free(signer->sha256);
    free(signer);
}

static err_t session_for(struct kernel_signer *signer, struct ca_key *key, struct key_session **ret)
{
    for (unsigned i = 0; i < SESSIONS_MAX; i++) {
        if (signer->slots[i].key == key) {
            *ret = signer->slots[i].session;
            return ERR_OK;
        }
    }
    struct key_session *session = NULL;
    err_t e = key_session_new(key, &session);
    if (e != ERR_OK) {
        return e;
    }
    unsigned slot = signer->next_slot++ % SESSIONS_MAX;
    key_session_free(signer->slots[slot].session);
    signer->slots[slot].key = key;
    signer->slots[slot].session = session;
    *ret = session;
    return ERR_OK;
}

void kernel_serial(uint8_t serial[KERNEL_SERIAL_SIZE])
{
    do {
        random_bytes(serial, KERNEL_SERIAL_SIZE);
    } while (serial[0] == 0);
}

err_t kernel_key_id(struct kernel_signer *signer, struct span key, uint8_t ret[KEY_ID_SIZE])
{
    uint8_t digest[32];
    if (signer->sha256 == NULL || signer->hash == NULL ||
        EVP_DigestInit_ex2(signer->hash, signer->sha256, NULL) != 1 ||
        EVP_DigestUpdate(signer->hash, key.ptr, key.len) != 1 ||
        EVP_DigestFinal_ex(signer->hash, digest, NULL) != 1) {
        ERR_clear_error();
        return ERR_INTERNAL;
    }
    memcpy(ret, digest, KEY_ID_SIZE);
    return ERR_OK;
}

void kernel_put_tbs(struct der_out *out, size_t mark, const struct tbs_parts *parts)
{
    static const uint8_t version_3[] = {DER_CONTEXT_CONSTRUCTED | 0, 3, DER_INTEGER, 1, 2};
    der_wrap(out, DER_SEQUENCE, mark);
    der_wrap(out, DER_CONTEXT_CONSTRUCTED | 3, mark);
    der_put(out, parts->spki);
    der_put(out, parts->subject);
    size_t validity = der_mark(out);
    cert_time_put(out, parts->not_after_s);
    cert_time_put(out, parts->not_before_s);
    der_wrap(out, DER_SEQUENCE, validity);
    der_put(out, parts->issuer);
    der_put(out, parts->algorithm);
    der_put_unsigned(out, parts->serial);
    der_put(out, span_of(version_3, sizeof version_3));
    der_wrap(out, DER_SEQUENCE, mark);
}

struct der_out kernel_begin(struct cert_out *out)
{
    return der_out_of(out->buffer, sizeof out->buffer - KERNEL_TAIL_MAX);
}

err_t kernel_finish(struct kernel_signer *signer, struct ca_key *key, struct span algorithm,
                    struct der_out *tbs, struct cert_out *out)
{
    uint8_t signature[KEY_SIGNATURE_MAX];
    size_t signature_len = 0;
    struct key_session *session = NULL;
    err_t e = session_for(signer, key, &session);
    if (e == ERR_OK) {
        e = key_session_sign(session, der_written(tbs), signature, &signature_len);
    }
    if (e != ERR_OK) {
        return e;
    }
    uint8_t tail_bytes[KERNEL_TAIL_MAX];
    struct der_out tail = der_out_of(tail_bytes, sizeof tail_bytes);
    der_put_bit_string(&tail, span_of(signature, signature_len));
    der_put(&tail, algorithm);
    struct span rest = der_written(&tail);
    memcpy(out->buffer + tbs->end, rest.ptr, rest.len);
    size_t end = tbs->end + rest.len;
    der_wrap(tbs, DER_SEQUENCE, end);
    if (tail.overflow || tbs->overflow) {
        return ERR_INTERNAL;
    }
    out->start = tbs->pos;
    out->len = end - tbs->pos;
    return ERR_OK;
}

err_t kernel_check_issuer(const struct issuer_template *t, int64_t now_s, struct fault *fault)
{
    if (now_s < t->not_before_s) {
        return fault_set(fault, ERR_CONFLICT, "issuer_not_yet_valid", "",
                         "the CA is not valid yet: check the clock of the server");
    }
    if (now_s >= t->not_after_s) {
        return fault_set(fault, ERR_CONFLICT, "issuer_expired", "",
                         "the CA has expired: move its devices to another CA");
    }
    return ERR_OK;
}

static err_t decide_validity(const struct issuer_template *t, const struct cert_request *r,
                             struct cert_out *out, struct fault *fault)
{
    if (r->validity_s < 1 || r->validity_s > CERT_TIME_MAX_S || r->backdate_s < 0 ||
        r->backdate_s > CERT_TIME_MAX_S) {
        return fault_set(fault, ERR_INVALID, "validation_error", "validity",
                         "the validity must be at least one second and end by the year 9999");
    }
    int64_t now = r->now_ms / 1000;
    err_t e = kernel_check_issuer(t, now, fault);
    if (e != ERR_OK) {
        return e;
    }
    int64_t from = now - r->backdate_s;
    from = from < t->not_before_s ? t->not_before_s : from;
    int64_t to = now + r->validity_s;
    out->clipped = to > t->not_after_s;
    to = out->clipped ? t->not_after_s : to;
    out->not_before_ms = from * 1000;
    out->not_after_ms = to * 1000;
    return ERR_OK;
}

static err_t check_sizes(const struct issuer_template *t, const struct cert_request *r,
                         enum key_kind kind, struct fault *fault)
{
    if (r->subject.len > NAME_MAX_BYTES || r->alt_names.len > NAME_MAX_BYTES) {
        return fault_set(fault, ERR_INVALID, "validation_error", "subject",
                         "subject and alternative names may have %d bytes each", NAME_MAX_BYTES);
    }
    if (t->key_usage[kind].len == 0) {
        return fault_set(fault, ERR_UNSUPPORTED, "unsupported_key", "public_key",
                         "the key usage of this CA leaves nothing that a key of kind %s can do",
                         key_kind_name(kind));
    }
    return ERR_OK;
}

static void put_certificate(const struct issuer_template *t, const struct cert_request *r,
                            enum key_kind kind, struct span key_id, const struct cert_out *to,
                            struct der_out *out)
{
    size_t mark = der_mark(out);
    if (r->alt_names.len > 0) {
        extension_put_alt_names(out, r->alt_names);
    }
    extension_put_subject_key_id(out, key_id);
    der_put(out, t->key_usage[kind]);
    der_put(out, t->extensions);
    struct tbs_parts parts = {
        .serial = span_of(to->serial, sizeof to->serial),
        .algorithm = t->algorithm,
        .issuer = t->subject,
        .not_before_s = to->not_before_ms / 1000,
        .not_after_s = to->not_after_ms / 1000,
        .subject = r->subject,
        .spki = r->spki,
    };
    kernel_put_tbs(out, mark, &parts);
}

static enum lint_rule lint_certificate(const struct issuer_template *t,
                                       const struct cert_request *r, struct span key_id,
                                       struct span tbs)
{
    struct lint_profile profile = {
        .kind = LINT_DEVICE,
        .issuer = t->subject,
        .issuer_key_id = t->key_id,
        .signature_algorithm = t->algorithm,
        .issuer_not_before_s = t->not_before_s,
        .issuer_not_after_s = t->not_after_s,
        .subject = r->subject,
        .spki = r->spki,
        .key_id = key_id,
    };
    return lint_tbs(tbs, &profile);
}

err_t kernel_issue(const struct issuer_template *template, struct kernel_signer *signer,
                   const struct cert_request *request, struct cert_out *out, struct fault *fault)
{
    struct spki key;
    uint8_t key_id[KEY_ID_SIZE] = {0};
    out->start = out->len = 0;
    err_t e = spki_parse(request->spki, &key, fault);
    if (e == ERR_OK) {
        e = check_sizes(template, request, key.kind, fault);
    }
    if (e == ERR_OK) {
        e = decide_validity(template, request, out, fault);
    }
    if (e == ERR_OK) {
        e = kernel_key_id(signer, key.key, key_id);
    }
    if (e != ERR_OK) {
        return e;
    }
    struct span id = span_of(key_id, sizeof key_id);
    struct der_out tbs = kernel_begin(out);
    kernel_serial(out->serial);
    put_certificate(template, request, key.kind, id, out, &tbs);
    enum lint_rule rule =
        tbs.overflow ? LINT_SIZE : lint_certificate(template, request, id, der_written(&tbs));
    if (rule != LINT_PASSED) {
        return lint_fault(rule, fault);
    }
    return kernel_finish(signer, template->key, template->algorithm, &tbs, out);
}
