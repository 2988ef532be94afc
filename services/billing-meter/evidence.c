#include "evidence.h"

#include "common/cert_view.h"
#include "common/digest.h"
#include "common/json.h"
#include "common/signature.h"
#include "proto/device_protocol.h"
#include "proto/device_request.h"

#define CODE "evidence_invalid"

static struct span without_zeros(struct span bytes)
{
    while (bytes.len > 0 && bytes.ptr[0] == 0) {
        bytes = span_of(bytes.ptr + 1, bytes.len - 1);
    }
    return bytes;
}

/* `integer`: a DER INTEGER's contents. */
static bool same_serial(struct span integer, const uint8_t serial[CERTIFICATE_SERIAL])
{
    bool negative = integer.len > 0 && (integer.ptr[0] & 0x80) != 0;
    return !negative &&
           span_eq(without_zeros(integer), without_zeros(span_of(serial, CERTIFICATE_SERIAL)));
}

static err_t take_certificate(const struct ledger_install *install, struct cert_view *ret,
                              struct fault *fault)
{
    if (!cert_parse(span_of(install->certificate, install->certificate_len), ret)) {
        return fault_set(fault, ERR_INVALID, CODE, "certificate", "is not one DER certificate");
    }
    if (!same_serial(ret->fields.serial, install->serial)) {
        return fault_set(fault, ERR_INVALID, CODE, "serial", "is not that of the certificate");
    }
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

static err_t check_signature(const struct ledger_install *install, struct span spki,
                             struct span signed_bytes, struct fault *fault)
{
    const struct ledger_confirmation *c = &install->confirmation;
    err_t e = signature_verify(spki, signed_bytes, span_of(c->signature, c->signature_len));
    if (e == ERR_UNAUTHORIZED) {
        return fault_set(fault, ERR_INVALID, CODE, "confirmation.signature",
                         "was not made by the certificate's key");
    }
    return e == ERR_OK ? e
                       : fault_set(fault, ERR_INVALID, CODE, "certificate",
                                   "has a key of a kind that is not issued");
}

err_t evidence_check(const struct ledger_install *install, struct fault *fault)
{
    struct cert_view certificate;
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
    return check_signature(install, certificate.fields.spki, span_of(bytes, len), fault);
}

void evidence_hash(const struct ledger_install *install, uint8_t out[32])
{
    struct digest d = digest_sha256(
        span_of(install->confirmation.signature, install->confirmation.signature_len));
    memcpy(out, d.bytes, sizeof d.bytes);
}
