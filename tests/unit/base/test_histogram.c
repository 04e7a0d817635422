/* Histograms: which bucket counts a duration, what Prometheus is told, where a quantile lies. */
#include "lib/base/histogram.h"
#include "tests/unit/unit.h"
#include <stdlib.h>

static void a_bucket_ends_where_the_next_begins(void **state)
{
    (void)state;
    assert_int_equal(histogram_bucket(0), 0);
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        assert_int_equal(histogram_bucket(histogram_edge(i) - 1), i);
        assert_int_equal(histogram_bucket(histogram_edge(i)), i + 1);
    }
    assert_int_equal(histogram_bucket(UINT64_MAX), HISTOGRAM_BUCKETS);
    assert_int_equal(histogram_edge(0), 64);
    assert_int_equal(histogram_edge(HISTOGRAM_BUCKETS - 1), 134217728);
}

static void every_duration_is_counted_once_and_summed(void **state)
{
    (void)state;
    static counter_cell cells[HISTOGRAM_CELLS];
    uint64_t plain[HISTOGRAM_CELLS], sum = 0;
    for (uint64_t us = 1; us < 400000000; us = us * 3 + 1) {
        histogram_observe(cells, us);
        sum += us;
    }
    for (unsigned i = 0; i < HISTOGRAM_CELLS; i++)
        plain[i] = counter_get(&cells[i]);
    assert_int_equal(histogram_count(plain), 18);
    assert_int_equal(plain[HISTOGRAM_SUM], sum);
    assert_int_equal(plain[HISTOGRAM_BUCKETS], 1); /* 193 s */
}

static const char *word(unsigned i)
{
    return i ? "second" : "first";
}

static const struct counter_family families[] = {
    {0, 2, "offshoot_x_total", "kind", word, "Plain."}};
static const struct counter_family histograms[] = {
    {3, 2, "offshoot_stage_seconds", "stage", word, "How long | it took."}};
static const struct counter_single singles[] = {
    {2, {"offshoot_now", "", "A gauge.", COUNTER_GAUGE}}};
#define CELLS (3 + 2 * HISTOGRAM_CELLS)
static const struct counter_parts parts = {families, 1, singles, 1, histograms, 1};

static void prometheus_gets_cumulative_buckets_of_all_sets(void **state)
{
    (void)state;
    static counter_cell a[CELLS], b[CELLS];
    const counter_cell *sets[] = {a, b};
    const struct counter_desc *table = counters_table(&parts, CELLS);
    struct text t = {0};
    assert_non_null(table);
    histogram_observe(a + 3, 63);
    histogram_observe(b + 3, 64);
    histogram_observe(b + 3, 2000000);
    histogram_observe(a + 3, 200000000);
    counters_prometheus(&t, table, CELLS, sets, 2);
    const char *from =
        strstr(t.p, "# HELP offshoot_stage_seconds How long | it took.\n"
                    "# TYPE offshoot_stage_seconds histogram\n"
                    "offshoot_stage_seconds_bucket{stage=\"first\",le=\"0.000064\"} 1\n"
                    "offshoot_stage_seconds_bucket{stage=\"first\",le=\"0.000128\"} 2\n");
    assert_non_null(from);
    assert_non_null(strstr(from, "{stage=\"first\",le=\"1.048576\"} 2\n"));
    assert_non_null(strstr(from, "{stage=\"first\",le=\"2.097152\"} 3\n"));
    assert_non_null(strstr(from, "{stage=\"first\",le=\"134.217728\"} 3\n"
                                 "offshoot_stage_seconds_bucket{stage=\"first\",le=\"+Inf\"} 4\n"
                                 "offshoot_stage_seconds_sum{stage=\"first\"} 202.000127\n"
                                 "offshoot_stage_seconds_count{stage=\"first\"} 4\n"
                                 "offshoot_stage_seconds_bucket{stage=\"second\",le="));
    assert_null(strstr(from + 10, "# HELP"));
    assert_non_null(strstr(from, "offshoot_stage_seconds_sum{stage=\"second\"} 0\n"));
    text_release(&t);
    counters_markdown(&t, table, CELLS);
    assert_non_null(strstr(t.p, "| `offshoot_stage_seconds` | `stage=\"first\"` | histogram | "
                                "How long \\| it took. |\n| `offshoot_stage_seconds` | "
                                "`stage=\"second\"` | histogram |"));
    text_release(&t);
    counters_table_free(table);
}

static void a_table_without_memory_is_none(void **state)
{
    (void)state;
    for (unsigned long nth = 1; nth <= 2; nth++) {
        mem_fail_nth(nth);
        assert_null(counters_table(&parts, CELLS));
        mem_fail_nth(0);
    }
}

static uint64_t quantile(const char *values, double share)
{
    static counter_cell cells[HISTOGRAM_CELLS];
    uint64_t plain[HISTOGRAM_CELLS];
    char *end;
    memset(cells, 0, sizeof cells);
    for (const char *p = values; *p; p = end + (*end == ' '))
        histogram_observe(cells, strtoull(p, &end, 10));
    for (unsigned i = 0; i < HISTOGRAM_CELLS; i++)
        plain[i] = counter_get(&cells[i]);
    return histogram_quantile(plain, share);
}

static void quantiles_lie_in_the_right_bucket(void **state)
{
    (void)state;
    assert_int_equal(quantile("", 0.5), 0);
    assert_int_equal(quantile("10", 0.5), 32);  /* the middle of the first */
    assert_int_equal(quantile("100", 0.5), 96); /* of the second */
    assert_int_equal(quantile("100 100 100 100", 0.25), 80);
    assert_int_equal(quantile("10 10 10 10 10 10 10 10 10 1000", 0.9), 64);
    uint64_t high = quantile("10 10 10 10 10 10 10 10 10 1000", 0.99);
    assert_true(high > 512 && high <= 1024);
    assert_int_equal(quantile("10 900000000", 0.99), 134217728); /* beyond the last edge */
    assert_int_equal(quantile("10", 0), 0);
    assert_int_equal(quantile("10", 1), 64);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bucket_ends_where_the_next_begins),
        cmocka_unit_test(every_duration_is_counted_once_and_summed),
        cmocka_unit_test(prometheus_gets_cumulative_buckets_of_all_sets),
        cmocka_unit_test(a_table_without_memory_is_none),
        cmocka_unit_test(quantiles_lie_in_the_right_bucket),
    };
    return unit_run(tests);
}
