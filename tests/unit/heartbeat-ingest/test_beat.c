/* Heartbeats: bodies that are refused, when to come again, and which work is handed out. */
#include "beat.h"
#include "test_support.h"

static void refuses_bad_bodies(void **state)
{
    (void)state;
    static const struct {
        const char *body, *field;
    } rows[] = {
        {"", ""},
        {"[]", ""},
        {"{}", "sequence"},
        {"{\"sequence\":7}", "sequence"},
        {"{\"sequence\":\"0\"}", "sequence"},
        {"{\"sequence\":\"-1\"}", "sequence"},
        {"{\"sequence\":\"9007199254740992\"}", "sequence"},
        {"{\"sequence\":\"1\",\"token\":\"?\"}", "token"},
        {"{\"sequence\":\"1\",\"installed\":\"00\"}", "installed"},
        {"{\"sequence\":\"1\",\"colour\":\"red\"}", "colour"},
        {"{\"sequence\":\"1\",\"result\":{}}", "result.operation"},
        {"{\"sequence\":\"1\",\"result\":{\"operation\":\"11111111-2222-4333-8444-555555555555\","
         "\"status\":\"fine\",\"reason\":\"x\"}}",
         "result.status"},
    };
    const struct json_limits limits = {BEAT_BODY_MAX, 4, 32};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct beat_request request;
        struct fault fault = {0};
        assert_err(codec_decode_text(&beat_request_table, CODEC_STRICT, span_str(rows[i].body),
                                     &limits, &request, &fault),
                   ERR_INVALID);
        assert_string_equal(fault.field, rows[i].field);
    }
}

static void says_when_to_come_back(void **state)
{
    (void)state;
    static const struct {
        int64_t last, now;
        uint32_t flood_s, expected;
    } rows[] = {
        {1000000, 1000000, 300, 300}, {1000000, 1299001, 300, 1}, {1000000, 1150000, 300, 150},
        {1000000, 9999999, 300, 1},   {9000000, 1000, 300, 300},  {0, 0, 0, 1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct heartbeat_guard guard = {.time_ms = rows[i].last, .flood_s = rows[i].flood_s};
        assert_int_equal(beat_retry_after(&guard, rows[i].now), rows[i].expected);
    }
}

static void spreads_the_next_call(void **state)
{
    (void)state;
    for (uint32_t random = 0; random < 1000; random += 7) {
        int64_t next = beat_next_s(604800, random * UINT32_C(4294967));
        assert_true(next <= 604800 && next >= 604800 - 60480);
    }
    assert_int_equal(beat_next_s(5, 12345), 5);
}

static void guard_survives_its_bytes(void **state)
{
    (void)state;
    const struct heartbeat_guard guard = {
        INT64_C(1796083199123), INT64_C(9007199254740991), {1, 2, 3, 4, 5, 6, 7, 255}, 86400};
    uint8_t bytes[HEARTBEAT_GUARD_BYTES];
    struct heartbeat_guard back;
    heartbeat_guard_encode(&guard, bytes);
    assert_ok(heartbeat_guard_decode(span_of(bytes, sizeof bytes), &back));
    assert_int_equal(back.time_ms, guard.time_ms);
    assert_int_equal(back.sequence, guard.sequence);
    assert_memory_equal(back.accepted, guard.accepted, sizeof guard.accepted);
    assert_int_equal(back.flood_s, guard.flood_s);
    assert_err(heartbeat_guard_decode(span_of(bytes, sizeof bytes - 1), &back), ERR_CORRUPT);
}

static void hands_out_only_what_can_be_done(void **state)
{
    (void)state;
    static const struct {
        enum device_state device;
        enum operation_state operation;
        bool work;
    } rows[] = {
        {DEVICE_ACTIVE, OPERATION_QUEUED, true},     {DEVICE_ACTIVE, OPERATION_AWAITING_KEY, true},
        {DEVICE_ACTIVE, OPERATION_ISSUED, true},     {DEVICE_ACTIVE, OPERATION_INSTALLED, false},
        {DEVICE_ACTIVE, OPERATION_FAILED, false},    {DEVICE_ACTIVE, OPERATION_CANCELLED, false},
        {DEVICE_SUSPENDED, OPERATION_QUEUED, false}, {DEVICE_ALLOCATED, OPERATION_QUEUED, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct device *d = xcalloc(1, sizeof *d);
        d->state = rows[i].device;
        d->operation.id.bytes[0] = 1;
        d->operation.state = rows[i].operation;
        assert_int_equal(beat_work(d) != NULL, rows[i].work);
        free(d);
    }
}

static void answers_in_json(void **state)
{
    (void)state;
    struct device *d = xcalloc(1, sizeof *d);
    uint8_t token[RATCHET_TOKEN_BYTES] = {0};
    CLEANUP_BUF struct buf answer = BUF_INIT(BEAT_ANSWER_MAX);
    CLEANUP_JSON cJSON *json = NULL;
    d->state = DEVICE_ACTIVE;
    d->operation =
        (struct device_operation){.id = {{1}}, .kind = OPERATION_UPDATE, .state = OPERATION_QUEUED};
    d->settings = (struct device_settings){604800, 300};
    assert_ok(beat_answer(d, 600000, token, &answer));
    assert_ok(json_decode(buf_span(&answer), &JSON_LIMITS_DEFAULT, &json, NULL));
    assert_true(cJSON_IsTrue(json_find(json, "work.new_key")));
    assert_string_equal(json_find(json, "work.kind")->valuestring, "update");
    free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_bad_bodies),
        cmocka_unit_test(says_when_to_come_back),
        cmocka_unit_test(spreads_the_next_call),
        cmocka_unit_test(guard_survives_its_bytes),
        cmocka_unit_test(hands_out_only_what_can_be_done),
        cmocka_unit_test(answers_in_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
