#include "device/state.h"

#include <stdio.h>

#include "test_support.h"

static struct device_state example(void)
{
    struct device_state s = {
        .sequence_reserved = UINT64_MAX,
        .install_nonce = "000102030405060708090a0b0c0d0e0f",
        .standing = DEVICE_STANDING_ACTIVE,
        .standing_reason = "none",
        .domain = "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
        .profile_reported = "000000abcdefghijklmnOP",
        .last_error = "two words",
        .heartbeat_interval_s = 604800,
        .flood_interval_s = 300,
        .heartbeat_sent_ms = 1795239000123,
        .hold_from_ms = -5,
        .hold_ms = 300000,
        .next_heartbeat_ms = INT64_MIN + 1,
        .token = "AAECAw==",
        .current = DEVICE_SLOT_B,
        .stage = DEVICE_STAGE_CONFIRM,
        .operation = "6ba7b810-9dad-11d1-80b4-00c04fd430c9",
        .failed_reason = "wrong_key: not ours",
    };
    (void)snprintf(s.pair[DEVICE_SLOT_A].serial, sizeof s.pair[0].serial, "0a");
    (void)snprintf(s.pair[DEVICE_SLOT_B].serial, sizeof s.pair[0].serial, "0b");
    (void)snprintf(s.pair[DEVICE_SLOT_B].key_hash, sizeof s.pair[0].key_hash, "%064d", 7);
    return s;
}

static void test_round_trip(void **state)
{
    (void)state;
    const struct device_state rows[] = {example(), {.sequence_reserved = 0}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        CLEANUP_BUF struct buf text = BUF_INIT(8192);
        struct device_state back;
        memset(&back, 0xee, sizeof back);
        assert_ok(device_state_encode(&rows[i], &text));
        assert_ok(device_state_decode(buf_span(&text), &back));
        CLEANUP_BUF struct buf again = BUF_INIT(8192);
        assert_ok(device_state_encode(&back, &again));
        assert_true(span_eq(buf_span(&text), buf_span(&again)));
        assert_true(back.sequence_reserved == rows[i].sequence_reserved);
        assert_true(back.hold_from_ms == rows[i].hold_from_ms);
        assert_int_equal(back.current, rows[i].current);
        assert_string_equal(back.last_error, rows[i].last_error);
        assert_string_equal(back.pair[DEVICE_SLOT_B].key_hash,
                            rows[i].pair[DEVICE_SLOT_B].key_hash);
    }
}

/* A reason from outside cannot forge a line. */
static void test_line_breaks_are_blanks(void **state)
{
    (void)state;
    struct device_state s = {.last_error = "x\ncurrent b\r\n"};
    CLEANUP_BUF struct buf text = BUF_INIT(8192);
    assert_ok(device_state_encode(&s, &text));
    struct device_state back;
    assert_ok(device_state_decode(buf_span(&text), &back));
    assert_string_equal(back.last_error, "x current b  ");
    assert_int_equal(back.current, DEVICE_SLOT_NONE);
}

static void test_damage_is_seen(void **state)
{
    (void)state;
    struct device_state s = example();
    CLEANUP_BUF struct buf text = BUF_INIT(8192);
    assert_ok(device_state_encode(&s, &text));
    struct device_state untouched = {.sequence_reserved = 42};
    for (size_t len = 0; len < text.len; len++) {
        assert_err(device_state_decode(span_of(text.ptr, len), &untouched), ERR_CORRUPT);
    }
    for (size_t i = 0; i < text.len; i++) {
        text.ptr[i] ^= 1;
        err_t err = device_state_decode(buf_span(&text), &untouched);
        assert_true(err == ERR_CORRUPT || err == ERR_UNSUPPORTED);
        text.ptr[i] ^= 1;
    }
    assert_ok(buf_append_byte(&text, '\n'));
    assert_err(device_state_decode(buf_span(&text), &untouched), ERR_CORRUPT);
    assert_true(untouched.sequence_reserved == 42);
    assert_err(device_state_decode(span_str("fleetseal-device-state 2\nwhatever\n"), &untouched),
               ERR_UNSUPPORTED);
}

static void test_words(void **state)
{
    (void)state;
    enum device_standing found = DEVICE_STANDING_NEW;
    for (unsigned i = 0; i < DEVICE_STANDING_COUNT; i++) {
        const char *name = device_standing_name((enum device_standing)i);
        assert_true(device_standing_find(span_str(name), &found));
        assert_int_equal(found, i);
    }
    assert_false(device_standing_find(span_str("Active"), &found));
    assert_false(device_standing_find(span_str(""), &found));
}

static void test_storage(void **state)
{
    (void)state;
    CLEANUP(storage_free) struct storage *storage = storage_new_memory();
    struct device_state s = example();
    struct device_state back = {.sequence_reserved = 42};
    assert_err(device_state_load(storage, &back), ERR_ABSENT);
    assert_true(back.sequence_reserved == 42);
    assert_ok(device_state_save(storage, &s));
    assert_ok(device_state_load(storage, &back));
    assert_string_equal(back.operation, s.operation);
    uint8_t *big = xcalloc(20000, 1);
    assert_ok(storage_replace(storage, DEVICE_STATE_FILE, span_of(big, 20000)));
    free(big);
    assert_err(device_state_load(storage, &back), ERR_CORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),     cmocka_unit_test(test_line_breaks_are_blanks),
        cmocka_unit_test(test_damage_is_seen), cmocka_unit_test(test_words),
        cmocka_unit_test(test_storage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
