/*
 * test_metrics.c - series and the two pages made of them.
 */
#include "check.h"

#include "base/metrics.h"

#include <pthread.h>

static void assert_page_has(struct metrics *metrics, const char *lines)
{
    struct buffer page;
    buffer_init(&page, 1 << 20);
    metrics_print(metrics, &page);
    buffer_byte(&page, '\0');
    assert_false(page.failed);
    if (strstr(page.at, lines) == NULL)
        fail_msg("the page lacks:\n%s\nit is:\n%s", lines, page.at);
    buffer_free(&page);
}

static void test_series(void **state)
{
    (void)state;
    struct metrics *metrics = metrics_create();
    struct series *paid = metrics_series(metrics, METRIC_EVENTS, "payment.charge", "done");
    assert_ptr_equal(metrics_series(metrics, METRIC_EVENTS, "payment.charge", "done"), paid);
    struct series *dead = metrics_series(metrics, METRIC_EVENTS, "payment.charge", "dead");
    assert_ptr_not_equal(dead, paid);
    assert_ptr_equal(metrics_series(metrics, METRIC_STORE_UP, "ignored", "too"),
                     metrics_series(metrics, METRIC_STORE_UP, NULL, ""));
    series_add(paid, 2);
    series_add(paid, 3);
    struct series *up = metrics_series(metrics, METRIC_STORE_UP, NULL, NULL);
    series_set(up, 5);
    series_set(up, 1);
    assert_int_equal(series_value(paid), 5);
    assert_page_has(metrics, "# HELP sluice_events_total Events that ended, by handler and recorded outcome.");
    assert_page_has(metrics, "# TYPE sluice_events_total counter\n"
                             "sluice_events_total{handler=\"payment.charge\",outcome=\"done\"} 5\n"
                             "sluice_events_total{handler=\"payment.charge\",outcome=\"dead\"} 0\n");
    assert_page_has(metrics, "# TYPE sluice_store_up gauge\nsluice_store_up 1\n");
    metrics_destroy(metrics);
    metrics_destroy(NULL);
}

static void test_escapes(void **state)
{
    (void)state;
    struct metrics *metrics = metrics_create();
    series_add(metrics_series(metrics, METRIC_BUILD_INFO, "a\"b\\c\nd", NULL), 1);
    assert_page_has(metrics, "sluice_build_info{version=\"a\\\"b\\\\c\\nd\"} 1\n");
    metrics_destroy(metrics);
}

static void test_histogram(void **state)
{
    (void)state;
    struct metrics *metrics = metrics_create();
    struct series *events = metrics_series(metrics, METRIC_BATCH_EVENTS, "g", NULL);
    static const double values[] = {1, 1.5, 2, 3, 10000, 10001};
    for (size_t i = 0; i < 6; i++)
        series_observe(events, values[i]);
    assert_int_equal(series_value(events), 6);
    assert_page_has(metrics, "# TYPE sluice_batch_events histogram\n"
                             "sluice_batch_events_bucket{group=\"g\",le=\"1\"} 1\n"
                             "sluice_batch_events_bucket{group=\"g\",le=\"2\"} 3\n"
                             "sluice_batch_events_bucket{group=\"g\",le=\"5\"} 4\n");
    assert_page_has(metrics, "sluice_batch_events_bucket{group=\"g\",le=\"10000\"} 5\n"
                             "sluice_batch_events_bucket{group=\"g\",le=\"+Inf\"} 6\n"
                             "sluice_batch_events_sum{group=\"g\"} 20008.5\n"
                             "sluice_batch_events_count{group=\"g\"} 6\n");
    metrics_destroy(metrics);
}

struct bump {
    struct metrics *metrics;
    struct series *seconds;
};

static void *bump_many(void *context)
{
    struct bump *bump = context;
    struct series *events = metrics_series(bump->metrics, METRIC_BATCHES, "g", NULL);
    for (int i = 0; i < 10000; i++) {
        series_add(events, 1);
        series_observe(bump->seconds, 0.5);
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    struct bump bump = {.metrics = metrics_create()};
    bump.seconds = metrics_series(bump.metrics, METRIC_BATCH_SECONDS, "g", NULL);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, bump_many, &bump), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_page_has(bump.metrics, "sluice_batches_total{group=\"g\"} 40000\n");
    assert_page_has(bump.metrics,
                    "sluice_batch_seconds_sum{group=\"g\"} 20000\nsluice_batch_seconds_count{group=\"g\"} 40000\n");
    metrics_destroy(bump.metrics);
}

/* Every metric of the enum has a row in the reference, with a name of our own and a sentence. */
static void test_reference(void **state)
{
    (void)state;
    struct buffer page;
    buffer_init(&page, 1 << 20);
    metrics_print_reference(&page);
    buffer_byte(&page, '\0');
    int rows = 0;
    for (char *line = strstr(page.at, "| `sluice_"); line != NULL; line = strstr(line + 1, "\n| `sluice_"))
        rows++;
    assert_int_equal(rows, METRIC_COUNT);
    assert_non_null(strstr(page.at, "| `sluice_requests_total` | counter | requests | `route`, `code` | "));
    assert_null(strstr(page.at, "(null)"));
    buffer_free(&page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_series),  cmocka_unit_test(test_escapes),   cmocka_unit_test(test_histogram),
        cmocka_unit_test(test_threads), cmocka_unit_test(test_reference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
