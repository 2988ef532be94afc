#include "common/clock.h"
#include "test_support.h"

static const struct {
    int64_t ms;
    const char *text;
} pairs[] = {
    {0, "1970-01-01T00:00:00.000Z"},
    {-1, "1969-12-31T23:59:59.999Z"},
    {951782400000, "2000-02-29T00:00:00.000Z"},
    {951868800000, "2000-03-01T00:00:00.000Z"},
    {1795239000123, "2026-11-21T05:30:00.123Z"},
    {4107542399999, "2100-02-28T23:59:59.999Z"},
    {4107542400000, "2100-03-01T00:00:00.000Z"},
    {TIME_MIN_MS, "0000-01-01T00:00:00.000Z"},
    {TIME_MAX_MS, "9999-12-31T23:59:59.999Z"},
};

static void test_format_and_parse_are_inverse(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        char text[TIME_TEXT_SIZE];
        time_format(pairs[i].ms, text);
        assert_string_equal(text, pairs[i].text);
        int64_t ms = 42;
        assert_ok(time_parse(span_str(pairs[i].text), &ms));
        assert_int_equal(ms, pairs[i].ms);
    }
}

static void test_format_clamps_what_cannot_be_written(void **state)
{
    (void)state;
    char text[TIME_TEXT_SIZE];
    time_format(INT64_MAX, text);
    assert_string_equal(text, "9999-12-31T23:59:59.999Z");
    time_format(INT64_MIN, text);
    assert_string_equal(text, "0000-01-01T00:00:00.000Z");
}

static void test_parse_takes_whole_seconds(void **state)
{
    (void)state;
    int64_t ms = 0;
    assert_ok(time_parse(span_str("1970-01-01T00:01:00Z"), &ms));
    assert_int_equal(ms, 60000);
}

static void test_parse_refuses(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "2026-11-21",
        "2026-11-21T05:30:00",
        "2026-11-21T05:30:00+00:00",
        "2026-11-21T05:30:00.1Z",
        "2026-11-21T05:30:00.1234Z",
        "2026-11-21t05:30:00.000Z",
        "2026-11-21T05:30:00.000z",
        "2026-11-21 05:30:00.000Z",
        "2026-13-01T00:00:00.000Z",
        "2026-00-01T00:00:00.000Z",
        "2026-01-00T00:00:00.000Z",
        "2026-01-32T00:00:00.000Z",
        "2026-02-29T00:00:00.000Z",
        "2100-02-29T00:00:00.000Z",
        "2026-01-01T24:00:00.000Z",
        "2026-01-01T00:60:00.000Z",
        "2016-12-31T23:59:60.000Z",
        "+026-01-01T00:00:00.000Z",
        "2026-01-01T00:00:00.000ZZ",
        "2026-01-01T00:00:00.00 Z",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        int64_t ms = 42;
        assert_err(time_parse(span_str(bad[i]), &ms), ERR_INVALID);
        assert_int_equal(ms, 42);
    }
}

static void test_dates_survive_every_day_of_four_centuries(void **state)
{
    (void)state;
    for (int64_t day = -146097; day <= 146097; day++) {
        int64_t year = 0;
        int month = 0;
        int of_month = 0;
        time_date_from_days(day, &year, &month, &of_month);
        assert_in_range(month, 1, 12);
        assert_in_range(of_month, 1, 31);
        assert_int_equal(time_days_from_date(year, month, of_month), day);
    }
}

static void test_clock_moves_only_when_told(void **state)
{
    (void)state;
    struct clock_test t;
    clock_test_init(&t, 5000);
    assert_int_equal(clock_now_ms(&t.clock), 5000);
    int64_t mono = clock_mono_ms(&t.clock);
    clock_test_advance(&t, 250);
    assert_int_equal(clock_now_ms(&t.clock), 5250);
    assert_int_equal(clock_mono_ms(&t.clock), mono + 250);
    clock_test_step(&t, 100);
    assert_int_equal(clock_now_ms(&t.clock), 100);
    assert_int_equal(clock_mono_ms(&t.clock), mono + 250);
}

static void test_system_clock_is_alive(void **state)
{
    (void)state;
    assert_true(clock_now_ms(&clock_system) > INT64_C(1700000000000));
    int64_t before = clock_mono_ms(&clock_system);
    assert_true(clock_mono_ms(&clock_system) >= before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_format_and_parse_are_inverse),
        cmocka_unit_test(test_format_clamps_what_cannot_be_written),
        cmocka_unit_test(test_parse_takes_whole_seconds),
        cmocka_unit_test(test_parse_refuses),
        cmocka_unit_test(test_dates_survive_every_day_of_four_centuries),
        cmocka_unit_test(test_clock_moves_only_when_told),
        cmocka_unit_test(test_system_clock_is_alive),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
