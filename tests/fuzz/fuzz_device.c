/*
 * Targets: device_http_feed, device_http_end, device_json_parse and its readers, device_read_*,
 * device_state_decode: what a device reads from a server, and its state.
 * Promises: no input crashes or leaks; an answer fed in one piece and byte by byte gives the same;
 * what a state file says is written back as the same text.
 */
#include "device/json.h"
#include "device/wire.h"
#include "fuzz.h"

/* The stage reached, or -1 for an error; `r` holds what was read. */
static int feed(struct device_http_reader *r, struct span bytes, size_t step)
{
    device_http_reader_init(r);
    while (bytes.len > 0 && r->stage != DEVICE_HTTP_DONE) {
        size_t n = bytes.len < step ? bytes.len : step;
        size_t used = 0;
        if (device_http_feed(r, span_of(bytes.ptr, n), &used) != ERR_OK) {
            return -1;
        }
        FUZZ_MUST(used <= n);
        bytes = span_of(bytes.ptr + used, bytes.len - used);
    }
    return (int)r->stage;
}

static void check_http(struct span input)
{
    struct device_http_reader whole;
    struct device_http_reader single;
    int at_once = feed(&whole, input, input.len);
    int by_bytes = feed(&single, input, 1);
    FUZZ_MUST(at_once == by_bytes);
    if (at_once >= 0) {
        FUZZ_MUST(whole.answer.status == single.answer.status);
        FUZZ_MUST(whole.answer.retry_after_s == single.answer.retry_after_s);
        FUZZ_MUST(span_eq(buf_span(&whole.answer.body), buf_span(&single.answer.body)));
        FUZZ_MUST(whole.answer.body.len <= DEVICE_ANSWER_MAX);
        FUZZ_MUST(device_http_end(&whole) == device_http_end(&single));
    }
    device_http_reader_deinit(&whole);
    device_http_reader_deinit(&single);
}

static void check_json(struct span input)
{
    struct device_json doc;
    char text[64];
    if (device_json_parse(&doc, input) != ERR_OK) {
        return;
    }
    FUZZ_MUST(doc.count >= 1 && doc.count <= DEVICE_JSON_VALUES);
    FUZZ_MUST(doc.values[0].next == doc.count);
    for (unsigned i = 0; i < doc.count; i++) {
        int64_t number = 0;
        FUZZ_MUST(doc.values[i].next > i && doc.values[i].next <= doc.count);
        if (device_json_text(&doc.values[i], text, sizeof text) == ERR_OK) {
            FUZZ_MUST(strlen(text) < sizeof text);
        }
        if (device_json_integer(&doc.values[i], -5, 5, &number) == ERR_OK) {
            FUZZ_MUST(number >= -5 && number <= 5);
        }
    }
}

static void check_answers(struct span input)
{
    struct device_bootstrap_answer bootstrap;
    struct device_heartbeat_answer heartbeat;
    struct device_delivery delivery;
    struct fault fault = {.code = ""};
    if (device_read_bootstrap(input, &bootstrap, &fault) == ERR_OK) {
        FUZZ_MUST(bootstrap.standing != DEVICE_STANDING_NEW);
        device_bootstrap_answer_deinit(&bootstrap);
    }
    if (device_read_heartbeat(input, &heartbeat, &fault) == ERR_OK) {
        FUZZ_MUST(!heartbeat.work || strlen(heartbeat.operation) == DEVICE_OPERATION_SIZE - 1);
    }
    if (device_read_pickup(input, &delivery, &fault) == ERR_OK) {
        struct device_grant grant = device_delivery_grant(&delivery);
        FUZZ_MUST(grant.certificate.chain_count >= 1);
        device_delivery_deinit(&delivery);
    }
    if (device_read_confirm(input, "op", "1f", &fault) == ERR_OK) {
        FUZZ_MUST(input.len > 0);
    }
    device_read_error(500, input, &fault);
}

static void check_state(struct span input)
{
    struct device_state state;
    if (device_state_decode(input, &state) == ERR_OK) {
        CLEANUP_BUF struct buf text = BUF_INIT((size_t)16 * 1024);
        FUZZ_MUST(device_state_encode(&state, &text) == ERR_OK);
        FUZZ_MUST(span_eq(buf_span(&text), input));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span input = span_of(data, size);
    check_http(input);
    check_json(input);
    check_answers(input);
    check_state(input);
    return 0;
}
