/* Not twice in a short while, but again after it. */
#include "recent.h"
#include "test_support.h"

static void remembers_for_its_time(void **state)
{
    (void)state;
    struct recent *r = xcalloc(1, sizeof *r);
    assert_false(recent_seen(r, 42, 1000, 2000));
    assert_true(recent_seen(r, 42, 1999, 3000));
    assert_false(recent_seen(r, 42, 2000, 3000));
    assert_true(recent_seen(r, 42, 2500, 3000));
    assert_false(recent_seen(r, 43, 2500, 3000));
    free(r);
}

static void what_is_sent_again_waits_longer(void **state)
{
    (void)state;
    struct recent *r = xcalloc(1, sizeof *r);
    const struct recent_pauses pauses = {1000, 3500};
    int64_t now = 5000;
    static const int64_t waits[] = {1000, 2000, 3500, 3500};
    for (size_t i = 0; i < sizeof waits / sizeof waits[0]; i++) {
        assert_false(recent_seen(r, 42, now, now + 1000));
        recent_sent(r, 42, now, &pauses);
        assert_true(recent_seen(r, 42, now + waits[i] - 1, now + 9999));
        now += waits[i];
    }
    /* looked at and not sent: as long as said */
    assert_false(recent_seen(r, 42, now, now + 1000));
    assert_false(recent_seen(r, 42, now + 1000, now + 2000));
    recent_sent(r, 43, now, &pauses); /* never noted, or forgotten: nothing to do */
    assert_false(recent_seen(r, 43, now, now + 1000));
    free(r);
}

static void stays_bounded_and_forgets_the_oldest(void **state)
{
    (void)state;
    struct recent *r = xcalloc(1, sizeof *r);
    for (uint64_t key = 1; key <= 4 * RECENT_SLOTS; key++) {
        (void)recent_seen(r, key, 0, (int64_t)key);
    }
    assert_true(recent_seen(r, 4 * RECENT_SLOTS, 0, 1));
    free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(remembers_for_its_time),
        cmocka_unit_test(what_is_sent_again_waits_longer),
        cmocka_unit_test(stays_bounded_and_forgets_the_oldest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
