#include "csr.h"

#include "common/der.h"
#include "common/signature.h"
#include "keystore_backend.h"

#define FIELD "csr"

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
    e = signature_verify_by(&csr.key, parts.algorithm, parts.info, parts.signature);
    if (e == ERR_UNSUPPORTED) {
        return fault_set(fault, e, "unsupported_signature", FIELD,
                         "the request must be signed with ECDSA or RSA PKCS #1 over SHA-256, "
                         "SHA-384 or SHA-512, or with Ed25519, by the key it carries");
    }
    if (e != ERR_OK) {
        return fault_set(fault, ERR_INVALID, "invalid_csr", FIELD,
                         "the signature was not made with the key of the request");
    }
    e = key_hash_of(csr.key.der, csr.key_hash);
    if (e == ERR_OK) {
        *ret = csr;
    }
    return e;
}
