/*
 * CA and certificate records. What would break a user: a CA whose settings change by being written
 * and read, a key record taken for a CA, private bookkeeping shown at a door, a request that says
 * more than it means.
 */
#include "test_support.h"

#include <stdio.h>

#include "common/json.h"
#include "proto/ca.h"
#include "proto/certificate.h"

#define CA_JSON                                                                                    \
    "{\"type\":\"ca.v1\",\"id\":\"0f8fad5b-d9cb-469f-a165-70867728950e\","                         \
    "\"domain\":\"7c9e6679-7425-40de-944b-e07fc1f90ae7\",\"name\":\"Plant\",\"kind\":\"root\","    \
    "\"subject\":{\"common_name\":\"Plant Root\",\"organization\":\"Example\",\"country\":\"CH\"}" \
    ",\"key_algorithm\":\"EC-P256\",\"certificate\":\"MAA=\","                                     \
    "\"not_before\":\"2026-11-21T06:00:00.000Z\",\"not_after\":\"2036-11-21T06:00:00.000Z\","      \
    "\"device_validity_s\":31536000,\"automatic_renewal\":true,\"renew_ahead_s\":2592000,"         \
    "\"key_usage\":[\"digitalSignature\"],\"extended_key_usage\":[\"clientAuth\"],"                \
    "\"state\":\"active\",\"created_at\":\"2026-11-21T06:00:00.000Z\",\"request_hash\":\"ab\","    \
    "\"requests\":[{\"id\":\"0f8fad5b-d9cb-469f-a165-70867728950e\",\"hash\":\"ab\","              \
    "\"at\":\"2026-11-21T06:00:00.000Z\",\"status\":200}],"                                        \
    "\"updated_at\":\"2026-11-21T06:00:00.000Z\",\"of_a_later_version\":[1,2]}"

static void test_foreign_records_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        err_t expected;
    } table[] = {
        {"", ERR_INVALID},
        {"{}", ERR_INVALID},
        {"{\"type\":\"ca.v2\"}", ERR_UNSUPPORTED},
        {"{\"type\":\"ca-key.v1\"}", ERR_UNSUPPORTED},
        {"{\"type\":\"ca.v1\"}", ERR_INVALID},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct ca *ca = NULL;
        struct fault fault;
        assert_err(ca_decode(span_str(table[i].json), &ca, &fault), table[i].expected);
        assert_null(ca);
    }
}

static void test_record_survives(void **state)
{
    (void)state;
    CLEANUP(ca_free) struct ca *ca = NULL;
    struct fault fault;
    assert_ok(ca_decode(span_str(CA_JSON), &ca, &fault));
    CLEANUP(ca_free) struct ca *copy = ca_copy(ca);
    CLEANUP_BUF struct buf json = BUF_INIT(CA_RECORD_MAX);
    assert_ok(ca_encode(copy, &json));
    assert_string_equal(buf_cstr(&json), CA_JSON);
}

static void test_public_part_has_no_bookkeeping(void **state)
{
    (void)state;
    CLEANUP(ca_free) struct ca *ca = NULL;
    assert_ok(ca_decode(span_str(CA_JSON), &ca, NULL));
    CLEANUP_JSON cJSON *shown = ca_public(ca);
    assert_null(cJSON_GetObjectItemCaseSensitive(shown, "requests"));
    assert_null(cJSON_GetObjectItemCaseSensitive(shown, "request_hash"));
    assert_non_null(cJSON_GetObjectItemCaseSensitive(shown, "certificate"));
}

static void test_requests_are_strict(void **state)
{
    (void)state;
    static const struct {
        const struct codec_table *table;
        const char *json;
        const char *field;
    } bad[] = {
        {&ca_create_table, "{}", "name"},
        {&ca_create_table, "{\"name\":\"\",\"subject\":{}}", "name"},
        {&ca_create_table, "{\"name\":\"a\",\"subject\":{}}", "subject.common_name"},
        {&ca_create_table,
         "{\"name\":\"a\",\"subject\":{\"common_name\":\"c\",\"country\":\"CHE\"}}",
         "subject.country"},
        {&ca_create_table, "{\"name\":\"a\",\"subject\":{\"common_name\":\"c\"},\"validity_s\":0}",
         "validity_s"},
        {&ca_create_table,
         "{\"name\":\"a\",\"subject\":{\"common_name\":\"c\"},\"validity_s\":9,"
         "\"device_validity_s\":9,\"key_usage\":[\"keyCertSign\"]}",
         "key_usage[0]"},
        {&ca_create_table,
         "{\"name\":\"a\",\"subject\":{\"common_name\":\"c\"},\"validity_s\":9,"
         "\"device_validity_s\":9,\"surprise\":1}",
         "surprise"},
        {&ca_update_table, "{\"name\":\"a\"}", "id"},
        {&ca_update_table, "{\"id\":\"0f8fad5b-d9cb-469f-a165-70867728950e\",\"renew_ahead_s\":0}",
         "renew_ahead_s"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        union {
            struct ca_create create;
            struct ca_update update;
        } out;
        struct fault fault = {0};
        struct json_limits limits = JSON_LIMITS_DEFAULT;
        assert_err(codec_decode_text(bad[i].table, CODEC_STRICT, span_str(bad[i].json), &limits,
                                     &out, &fault),
                   ERR_INVALID);
        assert_string_equal(fault.field, bad[i].field);
    }
}

static void test_update_tells_absent_from_zero(void **state)
{
    (void)state;
    struct ca_update u;
    struct json_limits limits = JSON_LIMITS_DEFAULT;
    const char *json =
        "{\"id\":\"0f8fad5b-d9cb-469f-a165-70867728950e\",\"automatic_renewal\":false}";
    assert_ok(codec_decode_text(&ca_update_table, CODEC_STRICT, span_str(json), &limits, &u, NULL));
    assert_true(u.has_automatic_renewal);
    assert_false(u.automatic_renewal);
    assert_false(u.has_name || u.has_device_validity || u.has_renew_ahead);
}

static void test_certificate_keys(void **state)
{
    (void)state;
    struct uuid ca;
    assert_ok(uuid_parse(span_str("0f8fad5b-d9cb-469f-a165-70867728950e"), &ca));
    uint8_t serial[CERTIFICATE_SERIAL] = {0x12, 0x34, [15] = 0xff};
    char key[CERTIFICATE_KEY_SIZE];
    certificate_key(&ca, serial, key);
    assert_string_equal(key,
                        "0f8fad5b-d9cb-469f-a165-70867728950e/123400000000000000000000000000ff");
    certificate_status_key(&ca, serial, key);
    assert_string_equal(
        key, "0f8fad5b-d9cb-469f-a165-70867728950e/123400000000000000000000000000ff/status");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_foreign_records_are_refused),
        cmocka_unit_test(test_requests_are_strict),
        cmocka_unit_test(test_record_survives),
        cmocka_unit_test(test_public_part_has_no_bookkeeping),
        cmocka_unit_test(test_update_tells_absent_from_zero),
        cmocka_unit_test(test_certificate_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
