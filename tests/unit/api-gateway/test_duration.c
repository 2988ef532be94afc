/*
 * Durations of the API. What would break a user: "10" taken as ten of something, a number that
 * overflows into a short validity.
 */
#include "test_support.h"

#include "duration.h"

static void test_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "d",
                                      "10",
                                      "0d",
                                      "-1d",
                                      "1.5d",
                                      "1w",
                                      "1dd",
                                      " 1d",
                                      "1d ",
                                      "1D",
                                      "+1d",
                                      "1001y",
                                      "999999999999999999999d",
                                      "999999999999y"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        int64_t s = -7;
        assert_err(duration_parse(bad[i], &s), ERR_INVALID);
        assert_int_equal(s, -7);
    }
}

static void test_read_and_written(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t seconds;
        const char *written;
    } cases[] = {
        {"1s", 1, "1s"},
        {"90s", 90, "90s"},
        {"120s", 120, "2m"},
        {"36h", 129600, "36h"},
        {"48h", 172800, "2d"},
        {"365d", 31536000, "365d"},
        {"10y", 315360000, "3650d"},
        {"1000y", INT64_C(31536000000), "365000d"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t s = 0;
        char text[DURATION_TEXT_SIZE];
        assert_ok(duration_parse(cases[i].text, &s));
        assert_int_equal(s, cases[i].seconds);
        duration_format(s, text);
        assert_string_equal(text, cases[i].written);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_refused),
                                       cmocka_unit_test(test_read_and_written)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
