#include "csr.h"

#include <openssl/err.h>

#include "der.h"
#include "keystore_backend.h"
#include "oid.h"
#include "signature.h"

#define FIELD "csr"

/* AlgorithmIdentifiers of accepted signatures, byte for byte. */
static const struct signature_kind {
    struct span algorithm;
    const char *digest; /* NULL: the algorithm brings its own */
    enum { FAMILY_EC, FAMILY_ED25519, FAMILY_RSA } family;
} signature_kinds[] = {
    {OID_INIT("\x30\x0a\x06\x08" OID_ECDSA_SHA256), "SHA256", FAMILY_EC},
    {OID_INIT("\x30\x0a\x06\x08" OID_ECDSA_SHA384), "SHA384", FAMILY_EC},
    {OID_INIT("\x30\x0a\x06\x08" OID_ECDSA_SHA512), "SHA512", FAMILY_EC},
    {OID_INIT("\x30\x05\x06\x03" OID_ED25519), NULL, FAMILY_ED25519},
    {OID_INIT("\x30\x0d\x06\x09" OID_RSA_SHA256 "\x05\x00"), "SHA256", FAMILY_RSA},
    {OID_INIT("\x30\x0d\x06\x09" OID_RSA_SHA384 "\x05\x00"), "SHA384", FAMILY_RSA},
    {OID_INIT("\x30\x0d\x06\x09" OID_RSA_SHA512 "\x05\x00"), "SHA512", FAMILY_RSA},
};

struct parts {
    struct span info; /* CertificationRequestInfo: what is signed */
    struct span spki;
    struct span algorithm;
    struct span signature;
};

static bool read_info(struct span info, struct span *ret_spki)
{
    struct der_item item;
    struct der_item spki;
    if (!der_read_tag(&info, DER_INTEGER, &item) || !span_eq(item.value, span_of("\0", 1)) ||
        !der_read_tag(&info, DER_SEQUENCE, &item) || !der_read_tag(&info, DER_SEQUENCE, &spki)) {
        return false;
    }
    *ret_spki = spki.whole;
    /* attributes: there, or left out as some encoders do */
    return info.len == 0 ||
           (der_read_tag(&info, DER_CONTEXT_CONSTRUCTED | 0, &item) && info.len == 0);
}

static bool read_request(struct span der, struct parts *ret)
{
    struct der_item outer;
    struct der_item info;
    struct der_item algorithm;
    struct der_item bits;
    if (!der_read_only(der, DER_SEQUENCE, &outer) ||
        !der_read_tag(&outer.value, DER_SEQUENCE, &info) ||
        !der_read_tag(&outer.value, DER_SEQUENCE, &algorithm) ||
        !der_read_only(outer.value, DER_BIT_STRING, &bits) || bits.value.len < 2 ||
        bits.value.ptr[0] != 0 || !read_info(info.value, &ret->spki)) {
        return false;
    }
    ret->info = info.whole;
    ret->algorithm = algorithm.whole;
    ret->signature = span_of(bits.value.ptr + 1, bits.value.len - 1);
    return true;
}

static int family_of(enum key_kind kind)
{
    switch (kind) {
    case KEY_KIND_ED25519:
        return FAMILY_ED25519;
    case KEY_KIND_RSA:
        return FAMILY_RSA;
    default:
        return FAMILY_EC;
    }
}

static const struct signature_kind *find_signature(struct span algorithm, enum key_kind kind)
{
    for (size_t i = 0; i < sizeof signature_kinds / sizeof signature_kinds[0]; i++) {
        if ((int)signature_kinds[i].family == family_of(kind) &&
            span_eq(signature_kinds[i].algorithm, algorithm)) {
            return &signature_kinds[i];
        }
    }
    return NULL;
}

err_t csr_check(struct span der, struct csr *ret, struct fault *fault)
{
    struct parts parts;
    struct csr csr;
    if (der.len > CSR_MAX) {
        return fault_set(fault, ERR_TOO_LARGE, "invalid_csr", FIELD,
                         "a certificate request may have %d bytes, this one has %zu", CSR_MAX,
                         der.len);
    }
    if (!read_request(der, &parts)) {
        return fault_set(fault, ERR_INVALID, "invalid_csr", FIELD,
                         "not a PKCS #10 certificate request in DER");
    }
    err_t e = spki_parse(parts.spki, &csr.key, fault);
    if (e == ERR_OK) {
        e = spki_check_factors(&csr.key, fault);
    }
    if (e != ERR_OK) {
        return e;
    }
    const struct signature_kind *kind = find_signature(parts.algorithm, csr.key.kind);
    if (kind == NULL) {
        return fault_set(fault, ERR_UNSUPPORTED, "unsupported_signature", FIELD,
                         "the request must be signed with ECDSA or RSA PKCS #1 over SHA-256, "
                         "SHA-384 or SHA-512, or with Ed25519, by the key it carries");
    }
    if (!signature_holds(&csr.key, kind->digest, parts.info, parts.signature)) {
        return fault_set(fault, ERR_INVALID, "invalid_csr", FIELD,
                         "the signature was not made with the key of the request");
    }
    e = key_hash_of(csr.key.der, csr.key_hash);
    if (e == ERR_OK) {
        *ret = csr;
    }
    return e;
}
