#include "common/log.h"

#include <cjson/cJSON.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "test_support.h"

/* The log writes into a pipe; take_line reads back what one call wrote. */
struct fixture {
    int ends[2];
    struct clock_test clock;
};

static void start(const struct fixture *f, enum log_level level, const char *topics)
{
    log_init(&(struct log_options){.service = "ca-signer",
                                   .instance = "ca-signer-0",
                                   .level = level,
                                   .debug_topics = topics,
                                   .clock = &f->clock.clock,
                                   .fd = f->ends[1]});
}

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);
    *state = f;
    if (pipe2(f->ends, O_CLOEXEC | O_NONBLOCK) != 0) {
        return -1;
    }
    clock_test_init(&f->clock, 0);
    start(f, LOG_LEVEL_INFO, NULL);
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    (void)close(f->ends[0]);
    (void)close(f->ends[1]);
    free(f);
    return 0;
}

static const char *take_text(struct fixture *f)
{
    static char line[65536];
    ssize_t n = read(f->ends[0], line, sizeof line - 1);
    line[n > 0 ? n : 0] = 0;
    return line;
}

/* Exactly one line, parsed; the caller deletes it. */
static cJSON *take_line(struct fixture *f)
{
    const char *line = take_text(f);
    size_t len = strlen(line);
    assert_true(len > 0);
    assert_true(len <= LOG_LINE_MAX);
    assert_ptr_equal(strchr(line, '\n'), line + len - 1);
    cJSON *object = cJSON_Parse(line);
    assert_non_null(object);
    return object;
}

static void test_a_line_has_its_fields_in_order(void **state)
{
    struct fixture *f = *state;
    struct log_context ctx = {.domain = "acme", .device = "0011223344556677", .request = ""};
    log_info(&ctx, "issued", LOG_STR("serial", "0a"), LOG_INT("n", -5), LOG_UINT("u", UINT64_MAX),
             LOG_BOOL("ok", true), LOG_DOUBLE("share", 0.25), LOG_ERR("error", ERR_BUSY));
    assert_string_equal(
        take_text(f), "{\"time\":\"1970-01-01T00:00:00.000Z\",\"level\":\"info\","
                      "\"service\":\"ca-signer\",\"instance\":\"ca-signer-0\",\"event\":\"issued\","
                      "\"domain\":\"acme\",\"device\":\"0011223344556677\",\"serial\":\"0a\","
                      "\"n\":-5,\"u\":18446744073709551615,\"ok\":true,\"share\":0.25,"
                      "\"error\":\"busy\"}\n");
}

static void test_a_line_without_fields(void **state)
{
    log_error(NULL, "stopped");
    cJSON *line = take_line(*state);
    assert_string_equal(cJSON_GetObjectItem(line, "event")->valuestring, "stopped");
    cJSON_Delete(line);
}

static int evaluated;
static int evaluate(void)
{
    return ++evaluated;
}

static void test_arguments_wait_for_the_level(void **state)
{
    struct fixture *f = *state;
    start(f, LOG_LEVEL_ERROR, "");
    evaluated = 0;
    log_info(NULL, "quiet", LOG_INT("n", evaluate()));
    log_debug("kafka", NULL, "quiet", LOG_INT("n", evaluate()));
    log_limited(LOG_LEVEL_WARN, NULL, "quiet", LOG_INT("n", evaluate()));
    assert_int_equal(evaluated, 0);
    assert_string_equal(take_text(f), "");
}

static void test_debug_topics_are_switched_singly(void **state)
{
    struct fixture *f = *state;
    start(f, LOG_LEVEL_INFO, "kafka,view");
    log_debug("kaf", NULL, "no");
    log_debug("redis", NULL, "no");
    log_debug("view,", NULL, "no");
    assert_string_equal(take_text(f), "");
    log_debug("view", NULL, "yes");
    cJSON_Delete(take_line(f));
    log_debug("kafka", NULL, "yes");
    cJSON_Delete(take_line(f));
    start(f, LOG_LEVEL_DEBUG, "");
    log_debug("redis", NULL, "yes");
    cJSON_Delete(take_line(f));
}

static void test_hostile_bytes_stay_inside_their_string(void **state)
{
    log_warn(NULL, "hostile", LOG_SPAN("name", span_of("a\"}\n{\"x\":\xff\0z", 12)));
    cJSON *line = take_line(*state);
    assert_string_equal(cJSON_GetObjectItem(line, "name")->valuestring, "a\"}\n{\"x\":\\xff");
    assert_null(cJSON_GetObjectItem(line, "x"));
    cJSON_Delete(line);
}

static void test_long_values_are_cut_between_characters(void **state)
{
    char text[LOG_VALUE_MAX + 10];
    memset(text, 'x', sizeof text);
    text[LOG_VALUE_MAX - 1] = (char)0xc3;
    text[LOG_VALUE_MAX] = (char)0xa9;
    log_info(NULL, "long", LOG_SPAN("text", span_of(text, sizeof text)));
    cJSON *line = take_line(*state);
    assert_int_equal(strlen(cJSON_GetObjectItem(line, "text")->valuestring), LOG_VALUE_MAX - 1);
    assert_true(cJSON_IsTrue(cJSON_GetObjectItem(line, "truncated")));
    cJSON_Delete(line);
}

static void test_fields_that_do_not_fit_are_left_out_whole(void **state)
{
    char text[LOG_VALUE_MAX];
    memset(text, 1, sizeof text); /* each byte takes six in the line */
    struct span s = span_of(text, sizeof text);
    log_info(NULL, "big", LOG_SPAN("lost", s), LOG_INT("kept", 7));
    cJSON *line = take_line(*state);
    assert_null(cJSON_GetObjectItem(line, "lost"));
    assert_int_equal(cJSON_GetObjectItem(line, "kept")->valueint, 7);
    assert_true(cJSON_IsTrue(cJSON_GetObjectItem(line, "truncated")));
    cJSON_Delete(line);
}

static void limited(void)
{
    log_limited(LOG_LEVEL_WARN, NULL, "again");
}

static void test_repeats_are_limited_and_counted(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < LOG_LIMIT_LINES; i++) {
        limited();
        cJSON_Delete(take_line(f));
    }
    for (int i = 0; i < 3; i++) {
        limited();
        assert_string_equal(take_text(f), "");
    }
    clock_test_advance(&f->clock, LOG_LIMIT_MS);
    limited();
    cJSON *line = take_line(f);
    assert_int_equal(cJSON_GetObjectItem(line, "dropped")->valueint, 3);
    cJSON_Delete(line);
    limited();
    line = take_line(f);
    assert_null(cJSON_GetObjectItem(line, "dropped"));
    cJSON_Delete(line);
}

static void test_infinite_numbers_are_null(void **state)
{
    log_info(NULL, "odd", LOG_DOUBLE("d", 1e308 * 10));
    cJSON *line = take_line(*state);
    assert_true(cJSON_IsNull(cJSON_GetObjectItem(line, "d")));
    cJSON_Delete(line);
}

static void *write_some(void *arg)
{
    (void)arg;
    for (int i = 0; i < 40; i++) {
        log_info(NULL, "threaded", LOG_INT("i", i));
    }
    return NULL;
}

static void test_lines_of_threads_do_not_mix(void **state)
{
    struct fixture *f = *state;
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, write_some, NULL), 0);
    }
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    const char *text = take_text(f);
    int lines = 0;
    for (const char *end; (end = strchr(text, '\n')) != NULL; text = end + 1) {
        cJSON *object = cJSON_ParseWithLength(text, (size_t)(end - text));
        assert_non_null(object);
        cJSON_Delete(object);
        lines++;
    }
    assert_int_equal(lines, 160);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_line_has_its_fields_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_line_without_fields, setup, teardown),
        cmocka_unit_test_setup_teardown(test_arguments_wait_for_the_level, setup, teardown),
        cmocka_unit_test_setup_teardown(test_debug_topics_are_switched_singly, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hostile_bytes_stay_inside_their_string, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_long_values_are_cut_between_characters, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_fields_that_do_not_fit_are_left_out_whole, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_repeats_are_limited_and_counted, setup, teardown),
        cmocka_unit_test_setup_teardown(test_infinite_numbers_are_null, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lines_of_threads_do_not_mix, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
