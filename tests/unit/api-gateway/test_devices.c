/*
 * Filters of device lists, and the shapes of a device. What would break a user: a device that a
 * filter hides, an expired certificate shown as installed.
 */
#include "test_support.h"

#include <stdio.h>

#include "common/json.h"
#include "devices.h"

#define NOW INT64_C(1795000000000)

static struct device a_device(void)
{
    struct device d = {.type = "device.v1",
                       .uid = "00112233445566aa",
                       .state = DEVICE_ACTIVE,
                       .profile = "0000010123456789abcdef",
                       .serial = "SN-4711",
                       .model = "meter",
                       .registered_at_ms = NOW,
                       .settings = {604800, 300}};
    d.certificate.installed_at_ms = NOW;
    d.certificate.not_after_ms = NOW + 1000;
    memset(d.certificate.ca.bytes, 7, sizeof d.certificate.ca.bytes);
    return d;
}

static void test_filters(void **state)
{
    (void)state;
    struct uuid other = {{1}};
    struct uuid same;
    memset(same.bytes, 7, sizeof same.bytes);
    const struct {
        struct devices_filter filter;
        bool with, without; /* a certificate */
    } cases[] = {
        {{0}, true, true},
        {{.with_certificate = true}, true, false},
        {{.has_state = true, .state = DEVICE_ACTIVE}, true, true},
        {{.has_state = true, .state = DEVICE_SUSPENDED}, false, false},
        {{.ca = same}, true, false},
        {{.ca = other}, false, false},
        {{.profile = "0000010123456789abcdef"}, true, true},
        {{.profile = "0000010123456789abcdeg"}, false, false},
        {{.expires_after_ms = NOW + 1000}, true, false},
        {{.expires_after_ms = NOW + 1001}, false, false},
        {{.expires_before_ms = NOW + 1000}, false, false},
        {{.expires_before_ms = NOW + 1001}, true, false},
        {{.search = "566AA"}, true, true},
        {{.search = "sn-47"}, true, true},
        {{.search = "METER"}, true, true},
        {{.search = "nothing"}, false, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct device d = a_device();
        assert_int_equal(devices_match(&d, &cases[i].filter), cases[i].with);
        d.certificate = (struct device_certificate){0};
        assert_int_equal(devices_match(&d, &cases[i].filter), cases[i].without);
    }
}

static void test_status(void **state)
{
    (void)state;
    struct device d = a_device();
    assert_string_equal(devices_certificate_status(&d, NOW), "installed");
    assert_string_equal(devices_certificate_status(&d, NOW + 999), "installed");
    assert_string_equal(devices_certificate_status(&d, NOW + 1000), "expired");
    d.certificate.revoked_at_ms = NOW;
    assert_string_equal(devices_certificate_status(&d, NOW), "revoked");
}

static void test_what_is_not_there_is_not_shown(void **state)
{
    (void)state;
    struct device d = a_device();
    d.certificate = (struct device_certificate){0};
    d.profile[0] = '\0';
    CLEANUP_JSON cJSON *json = devices_show(&d);
    static const char *const absent[] = {"Certificate", "Operation", "DeviceProfileUID",
                                         "ActivatedAt", "Reason"};
    for (size_t i = 0; i < sizeof absent / sizeof absent[0]; i++) {
        assert_false(cJSON_HasObjectItem(json, absent[i]));
    }
    assert_string_equal(cJSON_GetObjectItem(json, "HeartbeatInterval")->valuestring, "7d");
}

static void test_uid_in_either_case(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "001122334455667", "00112233445566778",
                                      "001122334455667g", "0011 23344556677"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(devices_uid_rule(bad[i]));
    }
    char uid[] = "00AABBCCddeeff11";
    assert_true(devices_uid_rule(uid));
    devices_lower(uid);
    assert_string_equal(uid, "00aabbccddeeff11");
}

static void test_limits(void **state)
{
    (void)state;
    static const struct {
        bool given;
        int64_t limit;
        size_t effective;
    } cases[] = {{false, 0, 50},   {true, -1, 2},      {true, 0, 2},       {true, 2, 2},
                 {true, 999, 999}, {true, 1000, 1000}, {true, 1001, 1000}, {true, INT32_MAX, 1000}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(api_limit(cases[i].given, cases[i].limit), cases[i].effective);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_filters),
        cmocka_unit_test(test_status),
        cmocka_unit_test(test_what_is_not_there_is_not_shown),
        cmocka_unit_test(test_uid_in_either_case),
        cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
