/*
 * Sweeping stored results. What would break a user: results that come faster than they go; an owner
 * that is flooded with what it has not come to.
 */
#include "sweep_pace.h"
#include "test_support.h"

static void a_batch_is_waited_for(void **state)
{
    (void)state;
    struct sweep_asked asked = {0};
    struct span member = span_str("d/request/1");
    assert_false(sweep_is_waiting(&asked, member, 1000));
    sweep_note(&asked, member, 1000);
    assert_true(sweep_is_waiting(&asked, member, 1001));
    assert_false(sweep_is_waiting(&asked, span_str("d/request/2"), 1001));
    /* it may have been lost */
    assert_true(sweep_is_waiting(&asked, member, 1000 + SWEEP_EVERY_MS - 1));
    assert_false(sweep_is_waiting(&asked, member, 1000 + SWEEP_EVERY_MS));
}

static void a_member_that_is_no_key_stops_nothing(void **state)
{
    (void)state;
    struct sweep_asked asked = {0};
    char text[2 * REGISTRY_KEY_SIZE];
    memset(text, 'x', sizeof text);
    sweep_note(&asked, span_of(text, sizeof text), 1000);
    assert_false(sweep_is_waiting(&asked, span_of(text, sizeof text), 1001));
}

static void it_goes_on_while_there_is_more(void **state)
{
    (void)state;
    assert_true(sweep_pause_ms(false) == SWEEP_EVERY_MS);
    assert_true(sweep_pause_ms(true) <= 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_batch_is_waited_for),
        cmocka_unit_test(a_member_that_is_no_key_stops_nothing),
        cmocka_unit_test(it_goes_on_while_there_is_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
