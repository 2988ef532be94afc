/* The ratchet: forged tokens are refused, lost answers are forgiven, copies show. */
#include "ratchet.h"
#include "test_support.h"

static const struct ratchet_key key = {{1, 2, 3}};
static const uint8_t uid[DEVICE_UID_BYTES] = {9, 8, 7};
static const uint8_t zero[HEARTBEAT_NONCE_BYTES];

static void refuses_forgeries(void **state)
{
    (void)state;
    uint8_t token[RATCHET_TOKEN_BYTES];
    struct ratchet_token opened;
    ratchet_issue(&key, uid, zero, token);
    assert_ok(ratchet_open(&key, uid, span_of(token, sizeof token), &opened));
    for (size_t i = 0; i < sizeof token; i++) {
        token[i] ^= 0x40;
        assert_err(ratchet_open(&key, uid, span_of(token, sizeof token), &opened), ERR_INVALID);
        token[i] ^= 0x40;
    }
    const uint8_t other[DEVICE_UID_BYTES] = {9, 8, 6};
    assert_err(ratchet_open(&key, other, span_of(token, sizeof token), &opened), ERR_INVALID);
    const struct ratchet_key other_key = {{1, 2, 4}};
    assert_err(ratchet_open(&other_key, uid, span_of(token, sizeof token), &opened), ERR_INVALID);
    assert_err(ratchet_open(&key, uid, span_of(token, sizeof token - 1), &opened), ERR_INVALID);
    assert_err(ratchet_open(&key, uid, span_of(token, 0), &opened), ERR_INVALID);
}

/* What a device holds, and what the server accepts. */
struct side {
    uint8_t token[RATCHET_TOKEN_BYTES];
};

static enum ratchet_verdict call(struct side *device, uint8_t accepted[HEARTBEAT_NONCE_BYTES],
                                 bool answer_arrives)
{
    struct ratchet_token opened;
    assert_ok(ratchet_open(&key, uid, span_of(device->token, sizeof device->token), &opened));
    enum ratchet_verdict verdict = ratchet_judge(&opened, accepted);
    if (verdict != RATCHET_FORK) {
        memcpy(accepted, opened.nonce, HEARTBEAT_NONCE_BYTES);
    }
    if (answer_arrives) {
        ratchet_issue(&key, uid, accepted, device->token);
    }
    return verdict;
}

static void forgives_lost_answers(void **state)
{
    (void)state;
    struct side device;
    uint8_t accepted[HEARTBEAT_NONCE_BYTES] = {0};
    ratchet_issue(&key, uid, zero, device.token);
    assert_int_equal(call(&device, accepted, true), RATCHET_ADOPTED);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(call(&device, accepted, i % 3 != 0), RATCHET_FINE);
    }
}

static void shows_a_copy(void **state)
{
    (void)state;
    struct side device;
    uint8_t accepted[HEARTBEAT_NONCE_BYTES] = {0};
    ratchet_issue(&key, uid, zero, device.token);
    assert_int_equal(call(&device, accepted, true), RATCHET_ADOPTED);
    assert_int_equal(call(&device, accepted, true), RATCHET_FINE);
    struct side copy = device;
    assert_int_equal(call(&device, accepted, true), RATCHET_FINE);
    assert_int_equal(call(&device, accepted, true), RATCHET_FINE);
    assert_int_equal(call(&copy, accepted, true), RATCHET_FORK);
    assert_int_equal(call(&device, accepted, true), RATCHET_FINE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_forgeries),
        cmocka_unit_test(forgives_lost_answers),
        cmocka_unit_test(shows_a_copy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
