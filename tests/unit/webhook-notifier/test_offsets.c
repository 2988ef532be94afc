/* What may be committed: never an offset that is not finished, whatever the order. */
#include "offsets.h"
#include "test_support.h"

#define MANY 1000

static void nothing_is_committed_beyond_what_is_open(void **state)
{
    (void)state;
    struct offsets o;
    offsets_init(&o, 10);
    assert_int_equal(offsets_commit_point(&o), 10);
    for (int64_t i = 10; i < 15; i++) {
        offsets_take(&o, i);
    }
    offsets_done(&o, 11);
    offsets_done(&o, 14);
    assert_int_equal(offsets_commit_point(&o), 10);
    offsets_done(&o, 10);
    assert_int_equal(offsets_commit_point(&o), 12);
    offsets_done(&o, 13);
    assert_int_equal(offsets_commit_point(&o), 12);
    offsets_done(&o, 12);
    assert_int_equal(offsets_commit_point(&o), 15);
    offsets_deinit(&o);
}

static void strangers_change_nothing(void **state)
{
    (void)state;
    struct offsets o;
    offsets_init(&o, 10);
    offsets_done(&o, 10);
    offsets_take(&o, 12);
    offsets_done(&o, 11);
    offsets_done(&o, 13);
    assert_int_equal(offsets_commit_point(&o), 12);
    offsets_take(&o, 12); /* a second time */
    offsets_done(&o, 12);
    assert_int_equal(offsets_commit_point(&o), 13);
    offsets_take(&o, 12); /* finished before */
    assert_int_equal(offsets_commit_point(&o), 13);
    offsets_deinit(&o);
}

/* Markers of transactions leave gaps. */
static void gaps_are_crossed(void **state)
{
    (void)state;
    struct offsets o;
    offsets_init(&o, 0);
    offsets_take(&o, 3);
    offsets_take(&o, 9);
    offsets_done(&o, 3);
    assert_int_equal(offsets_commit_point(&o), 9);
    offsets_done(&o, 9);
    assert_int_equal(offsets_commit_point(&o), 10);
    offsets_deinit(&o);
}

static void a_rewind_forgets_what_comes_again(void **state)
{
    (void)state;
    struct offsets o;
    offsets_init(&o, 0);
    for (int64_t i = 0; i < 10; i++) {
        offsets_take(&o, i);
    }
    offsets_done(&o, 7);
    offsets_rewind(&o, 4);
    for (int64_t i = 0; i < 4; i++) {
        offsets_done(&o, i);
    }
    assert_int_equal(offsets_commit_point(&o), 4);
    offsets_take(&o, 4);
    assert_int_equal(offsets_commit_point(&o), 4);
    offsets_done(&o, 4);
    assert_int_equal(offsets_commit_point(&o), 5);
    offsets_deinit(&o);
}

static void any_order_of_many(void **state)
{
    (void)state;
    struct offsets o;
    offsets_init(&o, 0);
    for (int64_t i = 0; i < MANY; i++) {
        offsets_take(&o, i);
        if (i % 3 == 0) {
            offsets_done(&o, i);
        }
    }
    assert_int_equal(offsets_commit_point(&o), 1);
    for (int64_t i = MANY - 1; i > 0; i--) {
        assert_int_equal(offsets_commit_point(&o), 1);
        if (i % 3 != 0) {
            offsets_done(&o, i);
        }
    }
    assert_int_equal(offsets_commit_point(&o), MANY);
    offsets_deinit(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_committed_beyond_what_is_open),
        cmocka_unit_test(strangers_change_nothing),
        cmocka_unit_test(gaps_are_crossed),
        cmocka_unit_test(a_rewind_forgets_what_comes_again),
        cmocka_unit_test(any_order_of_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
