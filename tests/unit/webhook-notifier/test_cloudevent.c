/* From binary mode to the document a webhook receives. */
#include "cloudevent.h"
#include "test_support.h"

struct headers {
    const char *rows[16][2];
};
#define GOOD_ROWS                                                                                  \
    {"ce_specversion", "1.0"}, {"ce_id", "e-1"}, {"ce_source", "/fleetseal/d"},                    \
    {                                                                                              \
        "ce_type", "io.fleetseal.x.v1"                                                             \
    }

static bool find_header(const void *ctx, const char *name, struct span *ret)
{
    const struct headers *h = ctx;
    for (size_t i = 0; i < 16 && h->rows[i][0] != NULL; i++) {
        if (strcmp(h->rows[i][0], name) == 0) {
            *ret = span_str(h->rows[i][1]);
            return true;
        }
    }
    return false;
}

static err_t decode(const struct headers *headers, const char *value, struct cloudevent *ret,
                    struct fault *fault)
{
    const struct cloudevent_source source = {find_header, headers, span_str(value)};
    return cloudevent_decode(&source, ret, fault);
}

static void refuses(void **state)
{
    (void)state;
    static char long_id[200];
    memset(long_id, 'x', sizeof long_id - 1);
    const struct {
        struct headers headers;
        const char *value;
        err_t result;
        const char *field;
    } rows[] = {
        {{{{"ce_id", "e-1"}}}, "{}", ERR_INVALID, "ce_specversion"},
        {{{{"ce_specversion", "1.0"}, {"ce_id", ""}}}, "{}", ERR_INVALID, "ce_id"},
        {{{{"ce_specversion", "1.0"}, {"ce_id", "e"}, {"ce_source", "s"}}},
         "{}",
         ERR_INVALID,
         "ce_type"},
        {{{{"ce_specversion", "0.3"}, {"ce_id", "e"}, {"ce_source", "s"}, {"ce_type", "t"}}},
         "{}",
         ERR_UNSUPPORTED,
         "ce_specversion"},
        {{{{"ce_specversion", "1.0"}, {"ce_id", long_id}}}, "{}", ERR_TOO_LARGE, "ce_id"},
        {{{GOOD_ROWS, {"ce_subject", "\xff\xfe"}}}, "{}", ERR_INVALID, "ce_subject"},
        {{{GOOD_ROWS, {"ce_domain", "longer than any UUID in the whole world"}}},
         "{}",
         ERR_TOO_LARGE,
         "ce_domain"},
        {{{GOOD_ROWS, {"content-type", "text/plain"}}}, "x", ERR_UNSUPPORTED, "content-type"},
        {{{GOOD_ROWS, {"content-type", "application/cloudevents+json"}}},
         "{}",
         ERR_UNSUPPORTED,
         "content-type"},
        {{{GOOD_ROWS}}, "{\"a\":", ERR_INVALID, ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct cloudevent event = {0};
        struct fault fault = {0};
        assert_err(decode(&rows[i].headers, rows[i].value, &event, &fault), rows[i].result);
        assert_string_equal(fault.field, rows[i].field);
        assert_null(event.json);
    }
}

static void makes_the_document(void **state)
{
    (void)state;
    static const struct headers headers = {{GOOD_ROWS,
                                            {"ce_subject", "0123456789abcdef"},
                                            {"ce_time", "2026-11-21T06:00:01.456Z"},
                                            {"ce_domain", "f2ff8386-0a4d-4203-988e-d1a22ba1f212"},
                                            {"ce_sequence", "00000000000000000042"},
                                            {"content-type", "application/json"}}};
    CLEANUP(cloudevent_deinit) struct cloudevent event = {0};
    CLEANUP_BUF struct buf text = BUF_INIT(4096);
    assert_ok(decode(&headers, "{\"a\":[1,2.5]}", &event, NULL));
    assert_string_equal(event.id, "e-1");
    assert_string_equal(event.type, "io.fleetseal.x.v1");
    assert_string_equal(event.domain, "f2ff8386-0a4d-4203-988e-d1a22ba1f212");
    assert_ok(json_encode(event.json, &text));
    assert_span(buf_span(&text),
                "{\"specversion\":\"1.0\",\"id\":\"e-1\",\"source\":\"/fleetseal/d\","
                "\"type\":\"io.fleetseal.x.v1\",\"subject\":\"0123456789abcdef\","
                "\"time\":\"2026-11-21T06:00:01.456Z\",\"sequence\":\"00000000000000000042\","
                "\"domain\":\"f2ff8386-0a4d-4203-988e-d1a22ba1f212\","
                "\"datacontenttype\":\"application/json\",\"data\":{\"a\":[1,2.5]}}");
}

static void an_event_needs_neither_data_nor_domain(void **state)
{
    (void)state;
    static const struct headers headers = {{GOOD_ROWS}};
    CLEANUP(cloudevent_deinit) struct cloudevent event = {0};
    assert_ok(decode(&headers, "", &event, NULL));
    assert_string_equal(event.domain, "");
    assert_null(cJSON_GetObjectItemCaseSensitive(event.json, "data"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses),
        cmocka_unit_test(makes_the_document),
        cmocka_unit_test(an_event_needs_neither_data_nor_domain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
