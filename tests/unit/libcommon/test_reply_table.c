/*
 * Requests waited for. What would break a user: the answer of one client delivered to another, a
 * delivery report of a finished request ending its successor, a request that never ends.
 */
#include "test_support.h"

#include "../../../libcommon/src/reply_table.h"

#define A "00000000-0000-4000-8000-00000000000a"
#define B "00000000-0000-4000-8000-00000000000b"

static int setup(void **state)
{
    struct reply_table *t = xcalloc(1, sizeof *t);
    reply_table_init(t, 3);
    *state = t;
    return 0;
}

static int teardown(void **state)
{
    reply_table_deinit(*state);
    free(*state);
    return 0;
}

static void test_full_table_refuses(void **state)
{
    struct reply_table *t = *state;
    for (int i = 0; i < 3; i++) {
        assert_non_null(reply_table_add(t, A, 10));
    }
    assert_null(reply_table_add(t, B, 10));
    reply_table_remove(t, reply_table_find(t, A));
    assert_non_null(reply_table_add(t, B, 10));
}

static void test_old_cookie_finds_nothing(void **state)
{
    struct reply_table *t = *state;
    struct reply_slot *first = reply_table_add(t, A, 10);
    uint64_t cookie = first->cookie;
    assert_ptr_equal(reply_table_at(t, cookie), first);
    reply_table_remove(t, first);
    assert_null(reply_table_at(t, cookie));
    struct reply_slot *second = reply_table_add(t, B, 10);
    assert_ptr_equal(second, first); /* the same memory, another life */
    assert_null(reply_table_at(t, cookie));
    assert_null(reply_table_at(t, 0));
    assert_null(reply_table_at(t, 4));
    assert_null(reply_table_at(t, UINT64_MAX));
}

static void test_several_wait_for_one_id(void **state)
{
    struct reply_table *t = *state;
    struct reply_slot *one = reply_table_add(t, A, 10);
    struct reply_slot *two = reply_table_add(t, A, 10);
    (void)reply_table_add(t, B, 10);
    assert_ptr_not_equal(one, two);
    reply_table_remove(t, reply_table_find(t, A));
    reply_table_remove(t, reply_table_find(t, A));
    assert_null(reply_table_find(t, A));
    assert_non_null(reply_table_find(t, B));
    assert_int_equal(t->used, 1);
}

static void test_deadline_needs_a_look_and_an_acknowledgement(void **state)
{
    struct reply_table *t = *state;
    struct reply_slot *slot = reply_table_add(t, A, 100);
    char ids[3][UUID_TEXT_SIZE];
    size_t position = 0;
    assert_false(reply_table_any_due(t, 99));
    assert_int_equal(reply_table_due(t, 99, &position, ids, 3), 0);
    position = 0;
    /* Looking everything up before the deadline is not the last look. */
    assert_int_equal(reply_table_due(t, INT64_MAX, &position, ids, 3), 1);
    assert_null(reply_table_expired(t, 100));
    position = 0;
    assert_true(reply_table_any_due(t, 100));
    assert_int_equal(reply_table_due(t, 100, &position, ids, 3), 1);
    assert_string_equal(ids[0], A);
    assert_null(reply_table_expired(t, 100)); /* Kafka has not said anything yet */
    slot->stored = true;
    assert_null(reply_table_expired(t, 99));
    assert_ptr_equal(reply_table_expired(t, 100), slot);
}

static void test_due_goes_on_where_it_ended(void **state)
{
    struct reply_table *t = *state;
    (void)reply_table_add(t, A, 1);
    (void)reply_table_add(t, B, 1);
    char ids[1][UUID_TEXT_SIZE];
    size_t position = 0;
    assert_int_equal(reply_table_due(t, 5, &position, ids, 1), 1);
    assert_string_equal(ids[0], A);
    assert_int_equal(reply_table_due(t, 5, &position, ids, 1), 1);
    assert_string_equal(ids[0], B);
    assert_int_equal(reply_table_due(t, 5, &position, ids, 1), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_full_table_refuses, setup, teardown),
        cmocka_unit_test_setup_teardown(test_old_cookie_finds_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_several_wait_for_one_id, setup, teardown),
        cmocka_unit_test_setup_teardown(test_deadline_needs_a_look_and_an_acknowledgement, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_due_goes_on_where_it_ended, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
