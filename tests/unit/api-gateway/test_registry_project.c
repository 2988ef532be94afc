/*
 * Registry records as the view holds them. What would break a user: a key that cannot log in
 * because its alias is missing, a stored result that shows up in lists or is never dropped, a
 * record of a newer version taken for an old one.
 */
#include "test_support.h"

#include "registry_owner.h"

#define DOMAIN  "0f8fad5b-d9cb-469f-a165-70867728950e"
#define ID      "11111111-1111-4111-8111-111111111111"
#define PROFILE "0000010123456789abcdef"
#define AT      "2026-11-21T05:30:00.000Z"

static err_t project(const char *key, const char *json, struct view_record *to)
{
    view_record_clear(to);
    return registry_project(NULL, span_str(key), span_str(json), to);
}

static void test_refused(void **state)
{
    (void)state;
    CLEANUP(view_record_deinit) struct view_record r;
    view_record_init(&r);
    assert_err(project("nonsense", "{}", &r), ERR_CORRUPT);
    assert_err(project(DOMAIN "/profile/" PROFILE, "{\"type\":\"profile.v2\"}", &r),
               ERR_UNSUPPORTED);
    assert_err(project(DOMAIN "/profile/" PROFILE, "{\"type\":\"domain.v1\"}", &r), ERR_CORRUPT);
    assert_err(project(DOMAIN "/profile/" PROFILE, "not json", &r), ERR_CORRUPT);
}

static void assert_index(const struct view_record *r, unsigned i, const char *name,
                         const char *member, double score)
{
    assert_true(i < r->index_count);
    assert_span(r->indexes[i].name, name);
    assert_span(r->indexes[i].member, member);
    assert_true(r->indexes[i].score == score);
}

static void test_indexes(void **state)
{
    (void)state;
    static const char profile[] =
        "{\"type\":\"profile.v1\",\"uid\":\"" PROFILE "\",\"domain\":\"" DOMAIN
        "\",\"name\":\"m\",\"ca\":\"" ID "\",\"heartbeat_interval_s\":3600,\"flood_interval_s\":0,"
        "\"whitelist\":\"on\",\"key_algorithm\":\"EC-P256\",\"features\":{},\"created_at\":\"" AT
        "\",\"updated_at\":\"" AT "\"}";
    static const char result[] =
        "{\"type\":\"request.v1\",\"id\":\"" ID "\",\"domain\":\"" DOMAIN
        "\",\"request_type\":\"t\",\"status\":200,\"at\":\"" AT
        "\",\"expires_at\":\"1970-01-01T00:01:40.999Z\",\"updated_at\":\"" AT "\"}";
    static const char domain[] =
        "{\"type\":\"domain.v1\",\"id\":\"" DOMAIN
        "\",\"name\":\"n\",\"account_type\":\"developer\",\"created_at\":\"" AT
        "\",\"limits\":{\"cas\":1,\"access_keys\":1},\"updated_at\":\"" AT "\"}";
    CLEANUP(view_record_deinit) struct view_record r;
    view_record_init(&r);
    assert_ok(project(DOMAIN "/profile/" PROFILE, profile, &r));
    assert_span(buf_span(&r.payload), profile);
    assert_span(buf_span(&r.key), DOMAIN "/profile/" PROFILE);
    assert_int_equal(r.index_count, 2);
    assert_index(&r, 0, "keys", DOMAIN "/profile/" PROFILE, 0);
    assert_index(&r, 1, "alias", "profile:" PROFILE "\n" DOMAIN "/profile/" PROFILE, 0);
    assert_ok(project(DOMAIN "/request/" ID, result, &r));
    assert_int_equal(r.index_count, 1);
    assert_index(&r, 0, "expire", DOMAIN "/request/" ID, 100);
    assert_ok(project(DOMAIN "/domain/" DOMAIN, domain, &r));
    assert_index(&r, 0, "keys", DOMAIN "/domain/" DOMAIN, 0);
    assert_index(&r, 1, "domains", DOMAIN, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_indexes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
