/*
 * The registry's part of the contract: identifiers that lead to their partition, and records that
 * survive being written and read. What would break a user: a profile UID that no door can find, a
 * record of a newer version read as an older one.
 */
#include "test_support.h"

#include "common/partition.h"
#include "proto/registry.h"

#define DOMAIN "0f8fad5b-d9cb-469f-a165-70867728950e"

static void test_profile_uid_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "0000000000000000000000000", /* long */
        "000000000000000000000",     /* 21 */
        "00000000000000000000-0",
        "0000000000000000000 00",
        "zzzzzz0000000000000000", /* 62^6 - 1 is beyond 32 bits */
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        uint32_t hash = 7;
        assert_err(registry_profile_hint(bad[i], &hash), ERR_INVALID);
        assert_int_equal(hash, 7);
    }
}

static void test_profile_uid_leads_to_its_domain(void **state)
{
    (void)state;
    static const char *const domains[] = {DOMAIN, "ffffffff-ffff-4fff-bfff-ffffffffffff", "a", ""};
    uint8_t random[REGISTRY_PROFILE_RANDOM];
    for (unsigned fill = 0; fill < 256; fill += 51) {
        memset(random, (int)fill, sizeof random);
        for (size_t i = 0; i < sizeof domains / sizeof domains[0]; i++) {
            char uid[REGISTRY_PROFILE_SIZE];
            registry_profile_uid(domains[i], random, uid);
            assert_int_equal(strlen(uid), 22);
            uint32_t hash = 0;
            assert_ok(registry_profile_hint(uid, &hash));
            assert_int_equal(hash, stable_hash(span_str(domains[i])));
        }
    }
}

static void test_profile_uid_uses_all_its_randomness(void **state)
{
    (void)state;
    uint8_t random[REGISTRY_PROFILE_RANDOM] = {0};
    char base[REGISTRY_PROFILE_SIZE];
    registry_profile_uid(DOMAIN, random, base);
    for (size_t i = 0; i < sizeof random; i++) {
        char other[REGISTRY_PROFILE_SIZE];
        random[i] = 1;
        registry_profile_uid(DOMAIN, random, other);
        random[i] = 0;
        assert_string_not_equal(base, other);
    }
}

static void test_api_key_leads_to_its_domain(void **state)
{
    (void)state;
    uint32_t hash = 0;
    assert_err(registry_api_key_hint("not-a-uuid", &hash), ERR_INVALID);
    struct uuid base = uuid_v4();
    char key[UUID_TEXT_SIZE];
    registry_api_key(DOMAIN, &base, key);
    assert_ok(registry_api_key_hint(key, &hash));
    assert_int_equal(hash, stable_hash(span_str(DOMAIN)));
    char text[UUID_TEXT_SIZE];
    uuid_format(&base, text);
    assert_string_equal(key + 8, text + 8);
}

static void test_keys(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "/",
        DOMAIN,
        DOMAIN "/profile",
        DOMAIN "/profile/",
        DOMAIN "/dragon/x",
        "short/profile/x",
    };
    struct span domain;
    struct span id;
    enum registry_kind kind = REGISTRY_KIND_COUNT;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_err(registry_key_parse(span_str(bad[i]), &domain, &kind, &id), ERR_INVALID);
    }
    for (int k = 0; k < REGISTRY_KIND_COUNT; k++) {
        char key[REGISTRY_KEY_SIZE];
        registry_key(DOMAIN, (enum registry_kind)k, "00112233445566ff", key);
        assert_ok(registry_key_parse(span_str(key), &domain, &kind, &id));
        assert_int_equal(kind, k);
        assert_span(domain, DOMAIN);
        assert_span(id, "00112233445566ff");
    }
}

static const char profile_json[] =
    "{\"type\":\"profile.v1\",\"uid\":\"0000010123456789abcdef\",\"domain\":\"" DOMAIN
    "\",\"name\":\"meters\",\"ca\":\"" DOMAIN "\",\"heartbeat_interval_s\":604800,\"flood_interval_"
    "s\":300,\"whitelist\":\"on\",\"key_algorithm\":"
    "\"EC-P256\",\"features\":{\"zero_touch\":true,\"data_protection\":false,\"chip_to_chip\":"
    "false},"
    "\"created_at\":\"2026-11-21T05:30:00.000Z\",\"updated_at\":\"2026-11-21T05:30:00.000Z\","
    "\"later\":{\"version\":2}}";

static void test_record_round_trip_keeps_unknown_fields(void **state)
{
    (void)state;
    CLEANUP(registry_record_free) struct registry_record *r = NULL;
    assert_ok(registry_record_decode(REGISTRY_PROFILE, span_str(profile_json), &r));
    assert_int_equal(r->of.profile.whitelist, REGISTRY_WHITELIST_ON);
    assert_true(r->of.profile.features.zero_touch);
    CLEANUP(registry_record_free) struct registry_record *copy = registry_record_copy(r);
    CLEANUP_BUF struct buf out = BUF_INIT(4096);
    assert_ok(registry_record_encode(copy, &out));
    assert_span(buf_span(&out), profile_json);
}

static void test_record_refused(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        err_t err;
    } cases[] = {
        {"", ERR_CORRUPT},
        {"[]", ERR_CORRUPT},
        {"{}", ERR_CORRUPT},
        {"{\"type\":7}", ERR_CORRUPT},
        {"{\"type\":\"profile.v2\"}", ERR_UNSUPPORTED},
        {"{\"type\":\"profile.v10\"}", ERR_UNSUPPORTED},
        {"{\"type\":\"profile.v1\"}", ERR_CORRUPT}, /* fields missing */
        {"{\"type\":\"domain.v1\"}", ERR_CORRUPT},  /* another kind's record */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct registry_record *r = NULL;
        assert_err(registry_record_decode(REGISTRY_PROFILE, span_str(cases[i].json), &r),
                   cases[i].err);
        assert_null(r);
    }
}

static void test_webhook_wants(void **state)
{
    (void)state;
    struct registry_webhook w = {
        .events_count = 2,
        .events = {"io.fleetseal.certificate.renewed.v1", "io.fleetseal.device.*"}};
    assert_true(registry_webhook_wants(&w, "io.fleetseal.certificate.renewed.v1"));
    assert_false(registry_webhook_wants(&w, "io.fleetseal.certificate.renewed.v10"));
    assert_false(registry_webhook_wants(&w, "io.fleetseal.certificate.renewed"));
    assert_true(registry_webhook_wants(&w, "io.fleetseal.device.activated.v1"));
    assert_false(registry_webhook_wants(&w, "io.fleetseal.devices.activated.v1"));
    w = (struct registry_webhook){.events_count = 1, .events = {"*"}};
    assert_true(registry_webhook_wants(&w, "anything"));
    w.events_count = 0;
    assert_false(registry_webhook_wants(&w, "anything"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_profile_uid_refused),
        cmocka_unit_test(test_profile_uid_leads_to_its_domain),
        cmocka_unit_test(test_profile_uid_uses_all_its_randomness),
        cmocka_unit_test(test_api_key_leads_to_its_domain),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_record_round_trip_keeps_unknown_fields),
        cmocka_unit_test(test_record_refused),
        cmocka_unit_test(test_webhook_wants),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
