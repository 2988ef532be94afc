/*
 * Targets: device_request_decode, device_request_verify, device_decide (with what was decoded),
 * ca_command_decode, ca_decide, device_decode, device_unpack. The first byte of the input chooses
 * one; the rest is a record's value. Promises: no input crashes or leaks; a device that was read is
 * written and read to the same bytes; no request that is not signed moves a device that nobody has
 * seen.
 */
#include "ca_decide.h"
#include "device_decide.h"
#include "fuzz.h"

#define NOW_MS INT64_C(1795239000000)
#define UID    "0123456789abcdef"
#define CA     "0f8fad5b-d9cb-469f-a165-70867728950e"

static void device_request(struct span value)
{
    CLEANUP(device_request_free) struct device_request *r = NULL;
    struct fault fault;
    if (device_request_decode(span_str(UID), value, &r, &fault) != ERR_OK) {
        FUZZ_MUST(fault.text[0] != 0);
        return;
    }
    device_request_verify(r);
    device_decide(NULL, r, NOW_MS);
    FUZZ_MUST(r->outcome.state == NULL || r->proof.refusal == REFUSAL_NONE);
    FUZZ_MUST(!r->outcome.sign && !r->outcome.install.billable);
}

static void ca_command(struct span value)
{
    CLEANUP(ca_command_free) struct ca_command *c = NULL;
    struct fault fault;
    if (ca_command_decode(span_str(CA), value, &c, &fault) == ERR_OK) {
        ca_decide(NULL, c, NOW_MS);
        FUZZ_MUST(c->outcome.state == NULL);
    }
}

static void device_record(struct span value)
{
    CLEANUP(device_free) struct device *read = NULL;
    CLEANUP(device_free) struct device *again = NULL;
    CLEANUP_BUF struct buf packed = BUF_INIT(DEVICE_PACKED_MAX);
    CLEANUP_BUF struct buf first = BUF_INIT(2 * (size_t)DEVICE_RECORD_MAX);
    CLEANUP_BUF struct buf second = BUF_INIT(2 * (size_t)DEVICE_RECORD_MAX);
    if (device_decode(value, &read, NULL) != ERR_OK || device_pack(read, &packed) != ERR_OK) {
        return;
    }
    FUZZ_MUST(device_unpack(span_str(read->uid), buf_span(&packed), &again) == ERR_OK);
    FUZZ_MUST(device_encode(read, &first) == ERR_OK && device_encode(again, &second) == ERR_OK);
    FUZZ_MUST(span_eq(buf_span(&first), buf_span(&second)));
}

static void packed_device(struct span value)
{
    CLEANUP(device_free) struct device *whole = NULL;
    CLEANUP(device_free) struct device *bare = NULL;
    err_t e = device_unpack(span_str(UID), value, &whole);
    FUZZ_MUST(e == ERR_OK || e == ERR_CORRUPT);
    /* Without computing keys it reads whatever reads with them. */
    FUZZ_MUST(device_unpack_bare(span_str(UID), value, &bare) == ERR_OK || e != ERR_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const targets[])(struct span) = {device_request, ca_command, device_record,
                                                   packed_device};
    if (size > 0) {
        targets[data[0] % (sizeof targets / sizeof targets[0])](span_of(data + 1, size - 1));
    }
    return 0;
}
