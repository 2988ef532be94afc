/* Memory follows the endpoints in use: one that failed before it was deleted is forgotten, too. */
#include "endpoint.h"
#include "test_support.h"

#define MINUTE INT64_C(60000)

static void those_in_use_stay(void **state)
{
    (void)state;
    CLEANUP(endpoints_free) struct endpoints *t = endpoints_new(NULL, NULL);
    struct endpoint *e = endpoints_get(t, "a", "d", 0);
    assert_ptr_equal(endpoints_get(t, "a", "d", 0), e);
    e->in_flight = 1;
    endpoints_forget_idle(t, 100 * MINUTE, 0);
    assert_int_equal(endpoints_count(t), 1);
    e->in_flight = 0;
    endpoints_forget_idle(t, 9 * MINUTE, 0);
    assert_int_equal(endpoints_count(t), 1);
    endpoints_forget_idle(t, 11 * MINUTE, 0);
    assert_int_equal(endpoints_count(t), 0);
}

static void failing_ones_are_kept_while_a_delivery_may_come_back(void **state)
{
    (void)state;
    CLEANUP(endpoints_free) struct endpoints *t = endpoints_new(NULL, NULL);
    struct endpoint *e = endpoints_get(t, "a", "d", 0);
    e->active = true;
    e->failing_since = 1;
    endpoints_forget_idle(t, 11 * MINUTE, 700 * MINUTE);
    assert_int_equal(endpoints_count(t), 1);
    endpoints_forget_idle(t, 701 * MINUTE, 700 * MINUTE);
    assert_int_equal(endpoints_count(t), 0);
}

static void failing_ones_that_are_gone_are_forgotten(void **state)
{
    (void)state;
    CLEANUP(endpoints_free) struct endpoints *t = endpoints_new(NULL, NULL);
    endpoints_get(t, "a", "d", 0)->failing_since = 1;
    endpoints_forget_idle(t, 11 * MINUTE, 700 * MINUTE);
    assert_int_equal(endpoints_count(t), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(those_in_use_stay),
        cmocka_unit_test(failing_ones_are_kept_while_a_delivery_may_come_back),
        cmocka_unit_test(failing_ones_that_are_gone_are_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
