/* What would break a user: a catalogue with a slip that is silently taken, and a topic made with
 * the wrong settings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "catalog.h"

#define SETTINGS                                                                                   \
    "\"settings\":{\"state\":{\"cleanup.policy\":\"compact\"},\"dlq\":{\"cleanup.policy\":"        \
    "\"delete\"}}"
#define REST "\"partition_key\":\"k\",\"record_key\":\"k\",\"holds\":\"h\""
#define TOPIC(members)                                                                             \
    "{\"format\":1,\"partitions\":12," SETTINGS ",\"topics\":[{" members "," REST "}]}"
#define GOOD "\"name\":\"fleetseal.a.state\",\"settings\":\"state\""

struct refusal {
    const char *text;
    const char *field;
    const char *says;
};

static const struct refusal refusals[] = {
    {"", "", "not one JSON object"},
    {"[]", "", "not one JSON object"},
    {"{} {}", "", "not one JSON object"},
    {"{\"format\":1", "", "not one JSON object"},
    {"{\"version\":1}", "version", "not a known field"},
    {"{\"format\":2}", "format", "1..1"},
    {"{\"format\":\"1\"}", "format", "whole number"},
    {"{\"format\":1}", "partitions", "1..1024"},
    {"{\"format\":1,\"partitions\":0}", "partitions", "1..1024"},
    {"{\"format\":1,\"partitions\":1025}", "partitions", "1..1024"},
    {"{\"format\":1,\"partitions\":1.5}", "partitions", "whole number"},
    {"{\"format\":1,\"partitions\":1}", "settings", "object of named settings"},
    {"{\"format\":1,\"partitions\":1,\"settings\":{}}", "settings", "object of named settings"},
    {"{\"format\":1,\"partitions\":1,\"settings\":{\"a\":1}}", "settings.a", "object of texts"},
    {"{\"format\":1,\"partitions\":1,\"settings\":{\"a\":{\"retention.ms\":1}}}",
     "settings.a.retention.ms", "text"},
    {"{\"format\":1,\"partitions\":1,\"settings\":{\"a\":{\"retention.ms\":\"1\"}}}",
     "settings.a.cleanup.policy", "missing"},
    {"{\"format\":1,\"partitions\":1,\"settings\":{\"a\":{\"x\":\"1\",\"x\":\"1\"}}}",
     "settings.a.x", "twice"},
    {"{\"format\":1,\"partitions\":1," SETTINGS "}", "topics", "at least one"},
    {"{\"format\":1,\"partitions\":1," SETTINGS ",\"topics\":[]}", "topics", "at least one"},
    {"{\"format\":1,\"partitions\":1," SETTINGS ",\"topics\":[7]}", "topics[0].", "object"},
    {TOPIC("\"settings\":\"state\""), "topics[0].name", "not empty"},
    {TOPIC("\"name\":\"fleetseal.a\""), "topics[0].settings", "not empty"},
    {TOPIC(GOOD ",\"partitions\":3"), "topics[0].partitions", "not a known field"},
    {TOPIC(GOOD ",\"dlq\":1"), "topics[0].dlq", "true or false"},
    {TOPIC(GOOD ",\"state\":\"yes\""), "topics[0].state", "true or false"},
    {TOPIC("\"name\":\"other.a\",\"settings\":\"state\""), "topics[0].name", "fleetseal."},
    {TOPIC("\"name\":\"fleetseal.\",\"settings\":\"state\""), "topics[0].name", "lower-case"},
    {TOPIC("\"name\":\"fleetseal.A\",\"settings\":\"state\""), "topics[0].name", "lower-case"},
    {TOPIC("\"name\":\"fleetseal.a_b\",\"settings\":\"state\""), "topics[0].name", "lower-case"},
    {TOPIC("\"name\":\"fleetseal.a\",\"settings\":\"none\""), "topics[0].settings", "do not exist"},
    {TOPIC("\"name\":\"fleetseal.a\",\"settings\":\"dlq\",\"state\":true"), "topics[0].settings",
     "compact"},
    {TOPIC(GOOD "," REST "},{" GOOD), "topics[1].name", "twice"},
    /* a topic that is called like another one's dead letters */
    {TOPIC(GOOD ",\"dlq\":true," REST "},{\"name\":\"fleetseal.a.state.dlq\",\"settings\":\"dlq\""),
     "topics[1].name", "twice"},
};

static void test_refuses_with_rule_and_field(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        struct catalog c = {.partitions = -1};
        struct fault f = {0};
        err_t e = catalog_parse(span_str(refusals[i].text), &c, &f);
        if (e != ERR_INVALID || strcmp(f.field, refusals[i].field) != 0 ||
            !strstr(f.text, refusals[i].says)) {
            fail_msg("%s\n  gave %s, field '%s', '%s'", refusals[i].text, err_name(e), f.field,
                     f.text);
        }
        assert_int_equal(c.partitions, -1);
    }
}

static void test_refuses_too_much(void **state)
{
    (void)state;
    CLEANUP_FREE char *text = xcalloc(1, CATALOG_MAX_BYTES + 2);
    memset(text, ' ', (size_t)CATALOG_MAX_BYTES + 1);
    struct catalog c = {0};
    struct fault f = {0};
    assert_int_equal(catalog_parse(span_str(text), &c, &f), ERR_TOO_LARGE);
}

static void test_refuses_a_dead_letter_topic_without_settings(void **state)
{
    (void)state;
    struct catalog c = {0};
    struct fault f = {0};
    const char *text =
        "{\"format\":1,\"partitions\":1,\"settings\":{\"state\":{\"cleanup.policy\":\"compact\"}},"
        "\"topics\":[{" GOOD ",\"dlq\":true," REST "}]}";
    assert_int_equal(catalog_parse(span_str(text), &c, &f), ERR_INVALID);
    assert_non_null(strstr(f.text, "'dlq'"));
}

static void test_a_topic_is_followed_by_its_dead_letters(void **state)
{
    (void)state;
    CLEANUP(catalog_deinit) struct catalog c = {0};
    struct fault f = {0};
    assert_int_equal(
        catalog_parse(span_str(TOPIC(GOOD ",\"dlq\":true,\"state\":true") "\n"), &c, &f), ERR_OK);
    assert_int_equal(c.partitions, 12);
    assert_int_equal(c.topics_count, 2);
    assert_string_equal(c.topics[0].name, "fleetseal.a.state");
    assert_true(c.topics[0].state);
    assert_string_equal(catalog_setting(c.topics[0].settings, "cleanup.policy"), "compact");
    assert_null(catalog_setting(c.topics[0].settings, "retention.ms"));
    assert_string_equal(c.topics[1].name, "fleetseal.a.state.dlq");
    assert_false(c.topics[1].state);
    assert_string_equal(catalog_setting(c.topics[1].settings, "cleanup.policy"), "delete");
}

/* The promises that hang on a setting: what invoices are computed from never ends, what views are
 * built from is kept. */
static void test_the_real_catalogue(void **state)
{
    (void)state;
    static const char *const for_ever[] = {"fleetseal.ledger.requests", "fleetseal.billing.events"};
    static const char *const states[] = {"fleetseal.registry.state", "fleetseal.ca.state",
                                         "fleetseal.device.state", "fleetseal.order.state",
                                         "fleetseal.ledger.state"};
    CLEANUP_BUF struct buf text = BUF_INIT(CATALOG_MAX_BYTES);
    CLEANUP(catalog_deinit) struct catalog c = {0};
    struct fault f = {0};
    FILE *file = fopen("proto/topics.json", "re");
    assert_non_null(file);
    text.len = fread(buf_reserve(&text, CATALOG_MAX_BYTES), 1, CATALOG_MAX_BYTES, file);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(catalog_parse(buf_span(&text), &c, &f), ERR_OK);
    for (size_t i = 0; i < sizeof(for_ever) / sizeof(for_ever[0]); i++) {
        const struct catalog_topic *t = catalog_topic(&c, for_ever[i]);
        assert_non_null(t);
        assert_string_equal(catalog_setting(t->settings, "retention.ms"), "-1");
        assert_string_equal(catalog_setting(t->settings, "retention.bytes"), "-1");
    }
    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
        const struct catalog_topic *t = catalog_topic(&c, states[i]);
        assert_non_null(t);
        assert_true(t->state);
    }
    assert_non_null(catalog_topic(&c, "fleetseal.device.requests.dlq"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refuses_with_rule_and_field),
        cmocka_unit_test(test_refuses_too_much),
        cmocka_unit_test(test_refuses_a_dead_letter_topic_without_settings),
        cmocka_unit_test(test_a_topic_is_followed_by_its_dead_letters),
        cmocka_unit_test(test_the_real_catalogue),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
