/* What a device takes from an answer; test_session.c has the answers that are malformed. */
#include "device/wire.h"

#include "test_support.h"

#define DAY  INT64_C(86400)
#define YEAR (366 * DAY)

/* Whoever has taken the server over cannot send its devices to sleep for years. */
static void test_settings_keep_their_limits(void **state)
{
    (void)state;
    static const struct {
        const char *heartbeat, *flood, *next;
        int64_t expected[3];
    } rows[] = {
        {"604800", "300", "3600", {604800, 300, 3600}},
        {"0", "0", "0", {0, 0, 0}},
        {"31622400", "86400", "31622400", {YEAR, DAY, YEAR}},
        {"31622401", "86401", "31622401", {YEAR, DAY, YEAR}},
        {"316224000", "316224000", "316224000", {YEAR, DAY, YEAR}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        CLEANUP_BUF struct buf body = BUF_INIT(DEVICE_ANSWER_MAX);
        struct device_bootstrap_answer bootstrap;
        struct device_heartbeat_answer heartbeat;
        assert_ok(buf_printf(&body,
                             "{\"state\":\"active\",\"settings\":{\"heartbeat_interval_s\":%s,"
                             "\"flood_interval_s\":%s},\"next_heartbeat_s\":%s}",
                             rows[i].heartbeat, rows[i].flood, rows[i].next));
        assert_ok(device_read_bootstrap(buf_span(&body), &bootstrap, NULL));
        assert_ok(device_read_heartbeat(buf_span(&body), &heartbeat, NULL));
        const struct device_settings *both[] = {&bootstrap.settings, &heartbeat.settings};
        for (size_t k = 0; k < 2; k++) {
            assert_int_equal(both[k]->heartbeat_interval_s, rows[i].expected[0]);
            assert_int_equal(both[k]->flood_interval_s, rows[i].expected[1]);
            assert_int_equal(both[k]->next_heartbeat_s, rows[i].expected[2]);
        }
        device_bootstrap_answer_deinit(&bootstrap);
    }
}

static void test_settings_may_be_absent(void **state)
{
    (void)state;
    struct device_heartbeat_answer a;
    assert_ok(device_read_heartbeat(span_str("{}"), &a, NULL));
    assert_int_equal(a.settings.heartbeat_interval_s, -1);
    assert_int_equal(a.settings.flood_interval_s, -1);
    assert_int_equal(a.settings.next_heartbeat_s, -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_settings_keep_their_limits),
        cmocka_unit_test(test_settings_may_be_absent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
