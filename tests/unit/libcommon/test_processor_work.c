/*
 * What an app sees of a request, and the queue in which requests wait. What would break a user: a
 * request lost or overtaken when the queue grows or takes some back, an entity numbered twice.
 */
#include <stdio.h>

#include "test_support.h"

#include "../../../libcommon/src/processor_internal.h"

CLEANUP_DEFINE(struct work *, work_free);
CLEANUP_DEFINE_EMBEDDED(struct backlog, backlog_deinit);

static const struct processor_app app = {.name = "test"};
static struct processor processor = {.app = &app};

static struct work *work_at(int64_t offset)
{
    struct kafka_message message = {.topic = "t", .offset = offset};
    return work_new(&processor, &message);
}

static void assert_next(struct backlog *b, int64_t offset)
{
    assert_non_null(backlog_peek(b));
    struct work *w = backlog_pop(b);
    assert_int_equal(work_source(w)->offset, offset);
    work_free(w);
}

static void test_order_survives_growth_and_wrapping(void **state)
{
    (void)state;
    CLEANUP(backlog_deinit) struct backlog b = {0};
    int64_t in = 0;
    int64_t out = 0;
    for (int round = 1; round < 60; round++) {
        for (int i = 0; i < 3 * round; i++) {
            backlog_push(&b, work_at(in++));
        }
        for (int i = 0; i < 2 * round; i++) {
            assert_next(&b, out++);
        }
    }
    assert_int_equal(b.len, in - out);
    for (unsigned i = 0; i < b.len; i++) {
        assert_int_equal(work_source(backlog_at(&b, i))->offset, out + i);
    }
    while (out < in) {
        assert_next(&b, out++);
    }
    assert_null(backlog_peek(&b));
    assert_null(backlog_pop(&b));
}

/* Large requests must not fill the memory where as many small ones are fine. */
static void test_a_backlog_is_long_in_number_or_in_bytes(void **state)
{
    (void)state;
    CLEANUP(backlog_deinit) struct backlog b = {0};
    const unsigned batch = 10;
    const size_t many = (size_t)1 << 30;
    for (int64_t i = 0; i < PROC_BACKLOG_BATCHES * batch; i++) {
        backlog_push(&b, work_at(i));
    }
    assert_false(backlog_is_long(&b, false, batch, many));
    assert_true(backlog_is_long(&b, true, batch, many));
    backlog_push_front(&b, work_at(-1));
    assert_true(backlog_is_long(&b, false, batch, many));

    const size_t bytes = b.bytes;
    assert_true(bytes >= b.len * sizeof(struct work));
    assert_false(backlog_is_long(&b, false, 1000, bytes));
    assert_true(backlog_is_long(&b, false, 1000, bytes - 1));
    assert_false(backlog_is_long(&b, true, 1000, 2 * bytes));
    assert_true(backlog_is_long(&b, true, 1000, 2 * bytes - 2));
    static uint8_t value[1000];
    struct work *large = work_at(1000);
    large->message.value = span_of(value, sizeof value);
    backlog_push(&b, large);
    assert_int_equal(b.bytes, bytes + sizeof *large + sizeof value);
    while (b.len > 0) {
        work_free(backlog_pop(&b));
    }
    assert_int_equal(b.bytes, 0);
}

/* A round that is given back: backwards to the front, also into a full and into an empty ring. */
static void test_given_back_requests_stand_in_front(void **state)
{
    (void)state;
    for (int64_t waiting = 0; waiting <= 600; waiting += 256) {
        CLEANUP(backlog_deinit) struct backlog b = {0};
        for (int64_t i = 0; i < waiting; i++) {
            backlog_push(&b, work_at(100 + i));
        }
        for (int64_t i = 99; i >= 0; i--) {
            backlog_push_front(&b, work_at(i));
        }
        for (int64_t i = 0; i < 100 + waiting; i++) {
            assert_next(&b, i);
        }
    }
}

static void test_the_same_key_is_the_same_entity(void **state)
{
    (void)state;
    CLEANUP(work_free) struct work *w = work_at(0);
    unsigned first = 9;
    unsigned second = 9;
    unsigned again = 9;
    assert_ok(work_need(w, span_str("a"), &first));
    assert_ok(work_need(w, span_str("b"), &second));
    assert_ok(work_need(w, span_str("a"), &again));
    assert_int_equal(first, 0);
    assert_int_equal(second, 1);
    assert_int_equal(again, 0);
}

static void test_needs_are_bounded(void **state)
{
    (void)state;
    char longest[VIEW_KEY_MAX + 1];
    memset(longest, 'k', sizeof longest);
    CLEANUP(work_free) struct work *w = work_at(0);
    unsigned index = 0;
    assert_err(work_need(w, span_str(""), &index), ERR_TOO_LARGE);
    assert_err(work_need(w, span_of((const uint8_t *)longest, sizeof longest), &index),
               ERR_TOO_LARGE);
    assert_ok(work_need(w, span_of((const uint8_t *)longest, VIEW_KEY_MAX), &index));
    for (int i = 1; i < WORK_ENTITIES_MAX; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "%d", i);
        assert_ok(work_need(w, span_str(key), &index));
    }
    assert_err(work_need(w, span_str("one more"), &index), ERR_TOO_LARGE);
    assert_ok(work_need(w, span_str("1"), &index));
    assert_int_equal(index, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_survives_growth_and_wrapping),
        cmocka_unit_test(test_a_backlog_is_long_in_number_or_in_bytes),
        cmocka_unit_test(test_given_back_requests_stand_in_front),
        cmocka_unit_test(test_the_same_key_is_the_same_entity),
        cmocka_unit_test(test_needs_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
