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
        cmocka_unit_test(stays_bounded_and_forgets_the_oldest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
