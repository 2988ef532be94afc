#include "evidence.h"

#include <openssl/bn.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include "common/cleanup.h"
#include "common/digest.h"
#include "common/json.h"
#include "proto/device_protocol.h"
#include "proto/device_request.h"

CLEANUP_DEFINE(X509 *, X509_free);
CLEANUP_DEFINE(EVP_MD_CTX *, EVP_MD_CTX_free);
CLEANUP_DEFINE(BIGNUM *, BN_free);

#define CODE "evidence_invalid"

static err_t take_certificate(const struct ledger_install *install, X509 **ret, struct fault *fault)
{
    const unsigned char *at = install->certificate;
    CLEANUP(X509_free) X509 *certificate = d2i_X509(NULL, &at, (long)install->certificate_len);
    if (certificate == NULL || at != install->certificate + install->certificate_len) {
        return fault_set(fault, ERR_INVALID, CODE, "certificate", "is not one DER certificate");
    }
    CLEANUP(BN_free) BIGNUM *serial = ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate), NULL);
    uint8_t bytes[CERTIFICATE_SERIAL];
    if (serial == NULL || BN_bn2binpad(serial, bytes, sizeof bytes) != (int)sizeof bytes ||
        memcmp(bytes, install->serial, sizeof bytes) != 0) {
        return fault_set(fault, ERR_INVALID, CODE, "serial", "is not that of the certificate");
    }
    *ret = TAKE(certificate);
    return ERR_OK;
}

/* What the device signed must speak of this serial. Read by the same table as ca-signer reads it,
 * so that a spelling which proves the installation there is charged here. */
static err_t take_payload(const struct ledger_install *install, char ret_operation[UUID_TEXT_SIZE],
                          struct fault *fault)
{
    const struct json_limits limits = {LEDGER_PAYLOAD_MAX, 4, 64};
    struct device_confirm_payload payload;
    err_t e =
        codec_decode_text(&device_confirm_payload_table, CODEC_KEEP,
                          span_of(install->confirmation.payload, install->confirmation.payload_len),
                          &limits, &payload, fault);
    if (e != ERR_OK) {
        return fault_set(fault, ERR_INVALID, CODE, "confirmation.payload",
                         "is not a confirmation of a device");
    }
    bool same = memcmp(payload.serial, install->serial, sizeof payload.serial) == 0;
    uuid_format(&payload.operation, ret_operation);
    codec_free(&device_confirm_payload_table, &payload);
    return same ? ERR_OK
                : fault_set(fault, ERR_INVALID, CODE, "confirmation.payload",
                            "confirms another certificate than this one");
}

static err_t check_signature(const struct ledger_install *install, X509 *certificate,
                             const char *signed_bytes, size_t len, struct fault *fault)
{
    EVP_PKEY *key = X509_get0_pubkey(certificate);
    CLEANUP(EVP_MD_CTX_free) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    if (key == NULL || ctx == NULL) {
        return fault_set(fault, ERR_INVALID, CODE, "certificate", "has no key that can be read");
    }
    const EVP_MD *digest = EVP_PKEY_is_a(key, "ED25519") ? NULL : EVP_sha256();
    if (EVP_DigestVerifyInit(ctx, NULL, digest, NULL, key) != 1) {
        return fault_set(fault, ERR_INVALID, CODE, "certificate", "has a key that cannot sign");
    }
    if (EVP_DigestVerify(ctx, install->confirmation.signature, install->confirmation.signature_len,
                         (const unsigned char *)signed_bytes, len) != 1) {
        return fault_set(fault, ERR_INVALID, CODE, "confirmation.signature",
                         "was not made by the certificate's key");
    }
    return ERR_OK;
}

err_t evidence_check(const struct ledger_install *install, struct fault *fault)
{
    CLEANUP(X509_free) X509 *certificate = NULL;
    char operation[UUID_TEXT_SIZE];
    char bytes[DEVICE_SIGNED_SIZE];
    size_t len = 0;
    err_t e = take_certificate(install, &certificate, fault);
    if (e == ERR_OK) {
        e = take_payload(install, operation, fault);
    }
    if (e != ERR_OK) {
        return e;
    }
    const struct device_message message = {
        .exchange = DEVICE_CONFIRM,
        .uid = install->uid,
        .operation = operation,
        .sequence = (uint64_t)install->confirmation.sequence,
        .payload = span_of(install->confirmation.payload, install->confirmation.payload_len)};
    if (device_signed_bytes(&message, bytes, &len) != ERR_OK) {
        return fault_set(fault, ERR_INVALID, CODE, "confirmation.payload",
                         "names no operation that could have been signed");
    }
    return check_signature(install, certificate, bytes, len, fault);
}

void evidence_hash(const struct ledger_install *install, uint8_t out[32])
{
    struct digest d = digest_sha256(
        span_of(install->confirmation.signature, install->confirmation.signature_len));
    memcpy(out, d.bytes, sizeof d.bytes);
}
