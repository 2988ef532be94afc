/*
 * Who gets the memory. What would break a user: others' endpoints that fill it and shut out theirs;
 * memory without a bound.
 */
#include "room.h"
#include "test_support.h"

static void up_to_the_limit_anybody_has_room(void **state)
{
    (void)state;
    const struct room limit = {100, 10000};
    assert_true(room_for(&(struct room){99, 9999}, &(struct room){99, 9999}, &limit, 1));
    assert_false(room_for(&(struct room){100, 0}, &(struct room){100, 0}, &limit, 1));
    assert_false(room_for(&(struct room){1, 10000}, &(struct room){1, 10000}, &limit, 1));
}

static void at_the_limit_who_holds_less_than_a_share(void **state)
{
    (void)state;
    const struct room limit = {100, 10000};
    const struct room full = {100, 10000};
    assert_true(room_for(&full, &(struct room){0}, &limit, 6));
    assert_true(room_for(&full, &(struct room){15, 1500}, &limit, 6));
    assert_false(room_for(&full, &(struct room){16, 1500}, &limit, 6));
    assert_false(room_for(&full, &(struct room){15, 1666}, &limit, 6));
    /* few large ones: bytes alone are scarce */
    assert_true(room_for(&(struct room){5, 10000}, &(struct room){30, 100}, &limit, 6));
    /* so many endpoints that a share is nothing */
    assert_true(room_for(&full, &(struct room){ROOM_FLOOR - 1, 0}, &limit, 1000000));
    assert_false(room_for(&full, &(struct room){ROOM_FLOOR, 0}, &limit, 1000000));
}

/* Everybody sends without end, one after the other (the worst order), and nothing is delivered. */
static struct room fill(const struct room *limit, size_t endpoints, size_t bytes, size_t least)
{
    struct room all = {0};
    for (size_t holders = 1; holders <= endpoints; holders++) {
        struct room mine = {0};
        while (room_for(&all, &mine, limit, holders)) {
            room_add(&mine, bytes);
            room_add(&all, bytes);
        }
        assert_true(mine.count >= least);
    }
    return all;
}

static void it_stays_bounded(void **state)
{
    (void)state;
    size_t endpoints = 1000;
    size_t floors = endpoints * ROOM_FLOOR;
    const struct room few = {100, 1000000};
    assert_in_range(fill(&few, endpoints, 10, ROOM_FLOOR).count, floors, 2 * few.count + floors);
    const struct room small = {1000000, 10000};
    assert_in_range(fill(&small, endpoints, 1000, 1).count, endpoints,
                    2 * small.bytes / 1000 + endpoints);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(up_to_the_limit_anybody_has_room),
        cmocka_unit_test(at_the_limit_who_holds_less_than_a_share),
        cmocka_unit_test(it_stays_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
