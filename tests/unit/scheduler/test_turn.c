/* Everybody has a turn, however long the list of another is. */
#include "test_support.h"
#include "turn.h"

static struct turn turn(int32_t partition, uint8_t order)
{
    return (struct turn){partition, {.bytes = {order}}};
}

static void goes_round(void **state)
{
    (void)state;
    const struct turn turns[] = {turn(0, 1), turn(0, 2), turn(3, 3)};
    size_t at = turn_after(turns, 3, &(struct turn){.partition = -1});
    for (size_t i = 0; i < 7; i++) {
        assert_int_equal(at, i % 3);
        at = turn_after(turns, 3, &turns[at]);
    }
}

static void goes_on_where_one_was_done(void **state)
{
    (void)state;
    const struct turn turns[] = {turn(0, 1), turn(2, 2), turn(5, 3)};
    const struct turn gone[] = {turn(0, 9), turn(1, 9), turn(2, 9), turn(4, 9), turn(6, 9)};
    const size_t expected[] = {1, 1, 2, 2, 0};
    for (size_t i = 0; i < sizeof gone / sizeof gone[0]; i++) {
        assert_int_equal(turn_after(turns, 3, &gone[i]), expected[i]);
    }
}

/* A stream of orders that end with their first turn keeps no other partition waiting. */
static void short_ones_do_not_hold_the_turn(void **state)
{
    (void)state;
    const struct turn turns[] = {turn(7, 1), turn(7, 3), turn(8, 4)};
    const struct turn ended = turn(7, 2);
    assert_int_equal(turn_after(turns, 3, &ended), 2);
    assert_int_equal(turn_after(turns, 3, &turns[2]), 0);
    assert_int_equal(turn_after(turns, 2, &ended), 0);
    assert_int_equal(turn_after(NULL, 0, &ended), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(goes_round),
        cmocka_unit_test(goes_on_where_one_was_done),
        cmocka_unit_test(short_ones_do_not_hold_the_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
