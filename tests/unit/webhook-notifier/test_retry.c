/* When a delivery comes again: never too early for who asked to wait, never for ever. */
#include "retry.h"
#include "test_support.h"

#include "common/clock.h"

#define DAY_MS  INT64_C(86400000)
#define NOW_MS  INT64_C(1795000000000)
#define DEFAULT "5s,1m,5m,30m,2h,6h"

static struct retry_plan plan_of(const char *text)
{
    struct retry_plan plan;
    assert_ok(retry_plan_parse(text, DAY_MS, &plan));
    return plan;
}

static void refuses_malformed_plans(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        ",",
        "5s,",
        ",5s",
        "5",
        "s",
        "0s",
        "05s",
        "-5s",
        "5 s",
        "5s,5s",
        "1m,5s",
        "60s,1m",
        "5d",
        "5S",
        "1s,,2s",
        "99999999999999999999s",
        "200h",
        "1s,2s,3s,4s,5s,6s,7s,8s,9s,10s,11s,12s,13s",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct retry_plan plan;
        if (retry_plan_parse(texts[i], DAY_MS, &plan) != ERR_INVALID) {
            fail_msg("\"%s\" is taken for a plan", texts[i]);
        }
    }
}

static void names_the_topics(void **state)
{
    (void)state;
    struct retry_plan plan = plan_of(DEFAULT);
    static const int64_t delays[] = {5000, 60000, 300000, 1800000, 7200000, 21600000};
    assert_int_equal(plan.count, 6);
    for (size_t i = 0; i < plan.count; i++) {
        assert_int_equal(plan.tiers[i].delay_ms, delays[i]);
    }
    assert_string_equal(plan.tiers[0].topic, "fleetseal.webhook.retry.5s");
    assert_string_equal(plan.tiers[5].topic, "fleetseal.webhook.retry.6h");
}

static void gives_up_only_after_its_time(void **state)
{
    (void)state;
    struct retry_plan plan = plan_of(DEFAULT);
    int64_t last_chance = NOW_MS - DAY_MS + 21600000 + 2160000;
    assert_true(retry_choose(&plan, 9, 0, true, NOW_MS - DAY_MS, NOW_MS).give_up);
    assert_false(retry_choose(&plan, 9, 0, false, NOW_MS - 9 * DAY_MS, NOW_MS).give_up);
    assert_false(retry_choose(&plan, 9, 0, true, last_chance, NOW_MS).give_up);
    assert_false(retry_choose(&plan, 1, 0, true, NOW_MS, NOW_MS).give_up);
}

static void climbs_the_tiers(void **state)
{
    (void)state;
    struct retry_plan plan = plan_of(DEFAULT);
    static const struct {
        int32_t round;
        int64_t wait_ms;
        size_t tier;
    } rows[] = {
        {1, 0, 0},    {2, 0, 1},       {6, 0, 5},       {7, 0, 5},           {INT32_MAX, 0, 5},
        {0, 0, 0},    {1, 5000, 0},    {1, 5001, 1},    {1, 60000, 1},       {1, 90000, 2},
        {3, 1000, 2}, {1, 7200000, 4}, {1, 7200001, 5}, {1, 31536000000, 5},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct retry_choice c =
            retry_choose(&plan, rows[i].round, rows[i].wait_ms, true, NOW_MS, NOW_MS);
        assert_int_equal(c.tier, rows[i].tier);
        int64_t delay_ms = plan.tiers[c.tier].delay_ms;
        assert_true(c.due_ms >= NOW_MS + delay_ms);
        assert_true(c.due_ms < NOW_MS + delay_ms + delay_ms / 10);
    }
}

/* What has no room comes back when its endpoint can have taken what it has. */
static void overflow_goes_to_the_tier_that_is_long_enough(void **state)
{
    (void)state;
    struct retry_plan plan = plan_of(DEFAULT);
    static const struct {
        size_t waiting;
        int64_t took_ms;
        size_t tier;
    } rows[] = {{2000, 0, 0}, {0, 15000, 0}, {3, 3000, 0}, {2000, 100, 1}, {2000, 14000, 2}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int64_t wait_ms = retry_work_off_ms(rows[i].waiting, rows[i].took_ms, 4);
        assert_int_equal(retry_choose(&plan, 1, wait_ms, false, NOW_MS, NOW_MS).tier, rows[i].tier);
    }
}

/* What is written later is never due earlier, or the head of a partition would hold it up. */
static void a_tier_stays_in_order(void **state)
{
    (void)state;
    struct retry_plan plan = plan_of("1s,2s");
    int64_t last = 0;
    for (int64_t t = 0; t < 2000; t += 7) {
        struct retry_choice c = retry_choose(&plan, 1, 0, true, NOW_MS, NOW_MS + t);
        assert_true(c.due_ms >= last);
        last = c.due_ms;
    }
}

static void reads_retry_after(void **state)
{
    (void)state;
    /* NOW_MS is 2026-11-18T11:06:40Z */
    static const struct {
        const char *value;
        err_t result;
        int64_t wait_ms;
    } rows[] = {
        {"", ERR_INVALID, 0},
        {"-1", ERR_INVALID, 0},
        {"1.5", ERR_INVALID, 0},
        {"10 ", ERR_INVALID, 0},
        {"10x", ERR_INVALID, 0},
        {"soon", ERR_INVALID, 0},
        {"0", ERR_OK, 0},
        {"120", ERR_OK, 120000},
        {"99999999999999999999", ERR_OK, INT64_C(31536000000)},
        {"Wed, 18 Nov 2026 11:07:40 GMT", ERR_OK, 60000},
        {"Wed, 18 Nov 2026 11:06:40 GMT", ERR_OK, 0},
        {"Wed, 18 Nov 2020 11:06:40 GMT", ERR_OK, 0},
    };
    char text[TIME_TEXT_SIZE];
    time_format(NOW_MS, text);
    assert_string_equal(text, "2026-11-18T11:06:40.000Z");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int64_t wait_ms = -1;
        err_t e = retry_after_parse(rows[i].value, NOW_MS, &wait_ms);
        if (e != rows[i].result || (e == ERR_OK && wait_ms != rows[i].wait_ms)) {
            fail_msg("\"%s\": %s, %lld ms", rows[i].value, err_name(e), (long long)wait_ms);
        }
    }
}

static void judges_answers(void **state)
{
    (void)state;
    static const struct {
        long status;
        enum answer answer;
    } rows[] = {
        {0, ANSWER_FAILED},      {100, ANSWER_FAILED},    {199, ANSWER_FAILED},
        {200, ANSWER_DELIVERED}, {204, ANSWER_DELIVERED}, {299, ANSWER_DELIVERED},
        {300, ANSWER_FAILED},    {302, ANSWER_FAILED},    {400, ANSWER_FAILED},
        {404, ANSWER_FAILED},    {410, ANSWER_GONE},      {429, ANSWER_THROTTLED},
        {500, ANSWER_FAILED},    {503, ANSWER_THROTTLED}, {599, ANSWER_FAILED},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(answer_of(rows[i].status), rows[i].answer);
    }
}

/* What is further away than this was not written by us, or by a clock that has been set back since.
 */
static void nothing_is_due_later_than_its_tier_allows(void **state)
{
    (void)state;
    struct retry_plan plan;
    assert_ok(retry_plan_parse("5ms,7s,61m", DAY_MS, &plan));
    for (size_t tier = 0; tier < plan.count; tier++) {
        int64_t delay_ms = plan.tiers[tier].delay_ms;
        for (int64_t t = 0; t < 2 * delay_ms; t += delay_ms / 50 + 1) {
            int64_t now_ms = NOW_MS + t;
            struct retry_choice c =
                retry_choose(&plan, (int32_t)tier + 1, 0, false, NOW_MS, now_ms);
            assert_int_equal(c.tier, tier);
            assert_in_range(c.due_ms - now_ms, delay_ms, retry_longest_wait(&plan.tiers[tier]));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_malformed_plans),
        cmocka_unit_test(names_the_topics),
        cmocka_unit_test(gives_up_only_after_its_time),
        cmocka_unit_test(climbs_the_tiers),
        cmocka_unit_test(overflow_goes_to_the_tier_that_is_long_enough),
        cmocka_unit_test(a_tier_stays_in_order),
        cmocka_unit_test(reads_retry_after),
        cmocka_unit_test(judges_answers),
        cmocka_unit_test(nothing_is_due_later_than_its_tier_allows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
