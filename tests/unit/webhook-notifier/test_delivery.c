/* What is taken in hand can always be put down again: a record that could not be written back is
 * refused when it comes, and a letter always fits into the dead letters. */
#include "dead_letter.h"
#include "delivery.h"
#include "test_support.h"

#define ID "01234567-89ab-4def-8123-456789abcdef"

static err_t take(const char *id, const char *more, const char *data, size_t times,
                  struct fault *fault)
{
    struct buf text = BUF_INIT(4 * WEBHOOK_DELIVERY_MAX);
    (void)buf_printf(&text,
                     "{\"type\":\"webhook-delivery.v1\",\"id\":\"%s\",\"webhook\":\"" ID
                     "\",\"domain\":\"" ID "\",\"event_id\":\"e\",\"event_type\":\"t\","
                     "\"created_at\":\"2026-01-01T00:00:00.000Z\"%s,\"event\":{\"data\":[",
                     id, more);
    for (size_t i = 0; i < times; i++) {
        (void)buf_printf(&text, "%s%s", i > 0 ? "," : "", data);
    }
    (void)buf_append_str(&text, "]}}");
    const struct kafka_message m = {.topic = "t", .value = buf_span(&text)};
    CLEANUP(delivery_free) struct delivery *d = NULL;
    *fault = (struct fault){0};
    err_t e = delivery_new(&m, (struct group_ticket){0}, &d, fault);
    buf_deinit(&text);
    return e;
}

static void ordinary_ones_are_taken(void **state)
{
    (void)state;
    struct fault fault;
    assert_ok(take(ID, "", "1", 3, &fault));
    assert_ok(take(ID, ",\"attempts\":1000000", "\"0123456789\"", 10000, &fault));
}

static void one_that_grows_beyond_the_limit_is_refused(void **state)
{
    (void)state;
    struct fault fault;
    assert_err(take(ID, "", "0.1", 18000, &fault), ERR_TOO_LARGE);
    assert_string_equal(fault.field, "event");
    assert_err(take(ID, "", "\"0123456789\"", 19000, &fault), ERR_TOO_LARGE);
}

static void counters_cannot_overflow(void **state)
{
    (void)state;
    struct fault fault;
    assert_err(take(ID, ",\"attempts\":2147483647", "1", 1, &fault), ERR_INVALID);
    assert_string_equal(fault.field, "attempts");
    assert_err(take(ID, ",\"deferred\":1000001", "1", 1, &fault), ERR_INVALID);
}

static void ids_are_ids(void **state)
{
    (void)state;
    struct fault fault;
    assert_err(take("01234567-89ab-4def-8123-456789a\\r\\nX:y", "", "1", 1, &fault), ERR_INVALID);
    assert_string_equal(fault.field, "id");
}

static void letters_are_cut(void **state)
{
    (void)state;
    struct buf value = BUF_INIT((size_t)2 * 1024 * 1024);
    memset(buf_reserve(&value, 1048000), 'x', 1048000);
    value.len = 1048000;
    const struct fault fault = {.code = "c", .field = "f", .text = "t"};
    const struct kafka_message m = {
        .topic = "source", .partition = 7, .offset = 42, .value = buf_span(&value)};
    struct dead_letter d;
    dead_letter_init(&d, "to", &m, ERR_INVALID, &fault);
    assert_int_equal(d.record.value.len, DEAD_LETTER_VALUE_KEPT);
    assert_int_equal(d.record.partition, 7);
    assert_string_equal(d.record.headers[7].name, "source-size");
    assert_span(d.record.headers[7].value, "1048000");
    assert_span(d.record.headers[6].value, "42");
    buf_deinit(&value);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ordinary_ones_are_taken),
        cmocka_unit_test(one_that_grows_beyond_the_limit_is_refused),
        cmocka_unit_test(counters_cannot_overflow),
        cmocka_unit_test(ids_are_ids),
        cmocka_unit_test(letters_are_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
