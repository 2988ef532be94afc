#include "common/metrics.h"

#include <math.h>
#include <pthread.h>

#include "test_support.h"

static void assert_exposition(struct metrics *m, const char *expected)
{
    CLEANUP_BUF struct buf out = BUF_INIT(65536);
    assert_ok(metrics_write(m, &out));
    assert_span(buf_span(&out), expected);
}

static void test_nothing_registered_is_an_empty_page(void **state)
{
    (void)state;
    CLEANUP(metrics_free) struct metrics *m = metrics_new();
    assert_exposition(m, "");
}

static void test_series_of_a_name_stand_together(void **state)
{
    (void)state;
    CLEANUP(metrics_free) struct metrics *m = metrics_new();
    struct metric *ok =
        metrics_counter(m, "requests_total", "Requests.", METRIC_LABELS({"code", "200"}));
    struct metric *depth = metrics_gauge(m, "depth", "Queue\\depth\nnow.", METRIC_NO_LABELS);
    struct metric *bad = metrics_counter(m, "requests_total", "Requests.",
                                         METRIC_LABELS({"code", "4\"\\\n"}, {"door", "api"}));
    metric_inc(ok);
    metric_add(bad, 41);
    metric_set(depth, -3);
    assert_exposition(m, "# HELP requests_total Requests.\n"
                         "# TYPE requests_total counter\n"
                         "requests_total{code=\"200\"} 1\n"
                         "requests_total{code=\"4\\\"\\\\\\n\",door=\"api\"} 41\n"
                         "# HELP depth Queue\\\\depth\\nnow.\n"
                         "# TYPE depth gauge\n"
                         "depth -3\n");
}

static void test_histogram_buckets_are_cumulative(void **state)
{
    (void)state;
    CLEANUP(metrics_free) struct metrics *m = metrics_new();
    static const double bounds[] = {0.01, 1};
    struct metric_histogram *h =
        metrics_histogram(m, "took_seconds", "Time.", METRIC_LABELS({"x", "y"}), bounds, 2);
    metric_observe(h, 0.01);
    metric_observe(h, 0.5);
    metric_observe(h, 2.25);
    metric_observe(h, -1);
    metric_observe(h, NAN);
    assert_exposition(m, "# HELP took_seconds Time.\n"
                         "# TYPE took_seconds histogram\n"
                         "took_seconds_bucket{x=\"y\",le=\"0.01\"} 3\n"
                         "took_seconds_bucket{x=\"y\",le=\"1\"} 4\n"
                         "took_seconds_bucket{x=\"y\",le=\"+Inf\"} 5\n"
                         "took_seconds_sum{x=\"y\"} 2.760000\n"
                         "took_seconds_count{x=\"y\"} 5\n");
}

static double read_seven(void *arg)
{
    return *(double *)arg;
}

static void test_gauges_may_be_asked_at_scrape(void **state)
{
    (void)state;
    CLEANUP(metrics_free) struct metrics *m = metrics_new();
    double value = 0.5;
    metrics_gauge_read(m, "asked", "Asked.", METRIC_NO_LABELS, read_seven, &value);
    value = 7.25;
    assert_exposition(m, "# HELP asked Asked.\n# TYPE asked gauge\nasked 7.25\n");
}

static void *count_up(void *arg)
{
    for (int i = 0; i < 10000; i++) {
        metric_inc(arg);
    }
    return NULL;
}

static void test_threads_lose_no_count(void **state)
{
    (void)state;
    CLEANUP(metrics_free) struct metrics *m = metrics_new();
    struct metric *c = metrics_counter(m, "n_total", "N.", METRIC_NO_LABELS);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, count_up, c), 0);
    }
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(metric_get(c), 40000);
}

static void test_process_metrics_are_alive(void **state)
{
    (void)state;
    CLEANUP(metrics_free) struct metrics *m = metrics_new();
    metrics_add_process(m, "test");
    CLEANUP_BUF struct buf out = BUF_INIT(65536);
    assert_ok(metrics_write(m, &out));
    const char *rss = strstr(buf_cstr(&out), "\nprocess_resident_memory_bytes ");
    assert_non_null(rss);
    assert_true(strtod(strchr(rss, ' '), NULL) > 100000);
    const char *fds = strstr(buf_cstr(&out), "\nprocess_open_fds ");
    assert_non_null(fds);
    assert_true(strtod(strchr(fds, ' '), NULL) >= 3);
}

static void test_a_full_buffer_is_told(void **state)
{
    (void)state;
    CLEANUP(metrics_free) struct metrics *m = metrics_new();
    (void)metrics_counter(m, "n_total", "N.", METRIC_NO_LABELS);
    CLEANUP_BUF struct buf out = BUF_INIT(10);
    assert_err(metrics_write(m, &out), ERR_TOO_LARGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_registered_is_an_empty_page),
        cmocka_unit_test(test_series_of_a_name_stand_together),
        cmocka_unit_test(test_histogram_buckets_are_cumulative),
        cmocka_unit_test(test_gauges_may_be_asked_at_scrape),
        cmocka_unit_test(test_threads_lose_no_count),
        cmocka_unit_test(test_process_metrics_are_alive),
        cmocka_unit_test(test_a_full_buffer_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
