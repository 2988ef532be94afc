/* Standard Webhooks: would a receiver's library take it, and is nothing else taken for a secret? */
#include "signature.h"
#include "test_support.h"

#define SECRET "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
#define ID     "msg_p5jXN8AQM9LWM0D4loKWxJek"
#define BODY   "{\"test\": 2432232314}"
/* The vector that the libraries of Standard Webhooks are tested with. */
#define TIME_S    1614265330
#define SIGNATURE "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="

static void refuses_what_is_no_secret(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "whsec_",
        "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLa==",
        "whsec_!!!!9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_"
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        SECRET " ",
        " " SECRET,
        SECRET "  " SECRET,
        SECRET " " SECRET " " SECRET " " SECRET " " SECRET,
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct signing_secrets secrets;
        struct signing_secrets wiped = {0};
        assert_err(signing_secrets_parse(span_str(texts[i]), &secrets), ERR_INVALID);
        assert_memory_equal(&secrets, &wiped, sizeof secrets);
    }
}

static void signs_as_published(void **state)
{
    (void)state;
    struct signing_secrets secrets;
    CLEANUP_BUF struct buf header = BUF_INIT(SIGNATURE_HEADER_MAX);
    assert_ok(signing_secrets_parse(span_str(SECRET), &secrets));
    assert_ok(signature_header(&secrets, ID, TIME_S, span_str(BODY), &header));
    assert_span(buf_span(&header), SIGNATURE);
}

static void covers_id_time_and_body(void **state)
{
    (void)state;
    static const struct {
        const char *id;
        int64_t time_s;
        const char *body;
    } others[] = {{ID "x", TIME_S, BODY}, {ID, TIME_S + 1, BODY}, {ID, TIME_S, BODY " "}};
    struct signing_secrets secrets;
    assert_ok(signing_secrets_parse(span_str(SECRET), &secrets));
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        CLEANUP_BUF struct buf header = BUF_INIT(SIGNATURE_HEADER_MAX);
        assert_ok(signature_header(&secrets, others[i].id, others[i].time_s,
                                   span_str(others[i].body), &header));
        assert_string_not_equal(buf_cstr(&header), SIGNATURE);
    }
}

static void signs_with_each_secret_of_a_rotation(void **state)
{
    (void)state;
    struct signing_secrets secrets;
    CLEANUP_BUF struct buf header = BUF_INIT(SIGNATURE_HEADER_MAX);
    assert_ok(signing_secrets_parse(span_str("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA " SECRET),
                                    &secrets));
    assert_int_equal(secrets.count, 2);
    assert_ok(signature_header(&secrets, ID, TIME_S, span_str(BODY), &header));
    const char *second = strchr(buf_cstr(&header), ' ');
    assert_non_null(second);
    assert_string_equal(second + 1, SIGNATURE);
    assert_int_equal(strncmp(buf_cstr(&header), "v1,", 3), 0);
}

static void a_header_without_room_is_an_error(void **state)
{
    (void)state;
    struct signing_secrets secrets;
    CLEANUP_BUF struct buf header = BUF_INIT(20);
    assert_ok(signing_secrets_parse(span_str(SECRET), &secrets));
    assert_err(signature_header(&secrets, ID, TIME_S, span_str(BODY), &header), ERR_TOO_LARGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_what_is_no_secret),
        cmocka_unit_test(signs_as_published),
        cmocka_unit_test(covers_id_time_and_body),
        cmocka_unit_test(signs_with_each_secret_of_a_rotation),
        cmocka_unit_test(a_header_without_room_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
