/* Who may reach the log: every combination of what is known, and when a refused one comes back. */
#include "test_support.h"
#include "vouch.h"

static void judges_every_combination(void **state)
{
    (void)state;
    static const struct {
        struct vouch_facts facts;
        enum vouch_verdict expected;
    } rows[] = {
        /* what is there is believed, whatever else is missing */
        {{true, true, true, VOUCH_BUDGET_UNASKED}, VOUCH_KNOWN},
        {{true, false, true, VOUCH_BUDGET_UNASKED}, VOUCH_KNOWN},
        {{false, true, true, VOUCH_BUDGET_UNASKED}, VOUCH_KNOWN},
        {{true, false, false, VOUCH_BUDGET_UNASKED}, VOUCH_KNOWN},
        {{false, true, false, VOUCH_BUDGET_UNASKED}, VOUCH_KNOWN},
        {{true, true, false, VOUCH_BUDGET_SPENT}, VOUCH_KNOWN},
        /* what is absent is not believed while a view is being rebuilt */
        {{false, false, false, VOUCH_BUDGET_UNASKED}, VOUCH_REBUILD},
        {{false, false, false, VOUCH_BUDGET_SPENT}, VOUCH_REBUILD},
        {{false, false, false, VOUCH_BUDGET_GRANTED}, VOUCH_REBUILD},
        {{false, false, true, VOUCH_BUDGET_GRANTED}, VOUCH_ADMITTED},
        {{false, false, true, VOUCH_BUDGET_SPENT}, VOUCH_SIGHTED},
        /* nobody was asked: nothing is decided */
        {{false, false, true, VOUCH_BUDGET_UNASKED}, VOUCH_REBUILD},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(vouch_judge(&rows[i].facts), rows[i].expected);
    }
}

static void comes_back_behind_the_window(void **state)
{
    (void)state;
    static const struct {
        int64_t left_ms, window_ms;
        uint32_t low, high;
    } rows[] = {
        {1, 3600000, 2, 362},
        {1000, 3600000, 2, 362},
        {3600000, 3600000, 3601, 3961},
        {0, 3600000, 3601, 3961}, /* there is no window */
        {-2, 3600000, 3601, 3961},
        {7200000, 3600000, 3601, 3961}, /* one of older settings */
        {1000, 1000, 2, 2},
        {604800000, 604800000, 604801, 665281},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint32_t least = UINT32_MAX;
        uint32_t most = 0;
        for (uint64_t random = 0; random < 1000000; random += 37) {
            uint32_t s = vouch_retry_after(rows[i].left_ms, rows[i].window_ms, (uint32_t)random);
            least = s < least ? s : least;
            most = s > most ? s : most;
        }
        assert_int_equal(least, rows[i].low);
        assert_in_range(most, rows[i].high - rows[i].high / 1000, rows[i].high);
        assert_true((int64_t)least * 1000 > rows[i].left_ms || rows[i].left_ms > rows[i].window_ms);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(judges_every_combination),
        cmocka_unit_test(comes_back_behind_the_window),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
