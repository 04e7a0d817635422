#include "lib/base/counters.h"

#include "lib/base/mem.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include <cmocka.h>

static const struct counter_desc table[] = {
    {"offshoot_requests_total", "", "Requests answered.", COUNTER_TOTAL},
    {"offshoot_refusals_total", "reason=\"removed\"", "Refusals | by \\ reason.\nAll.",
        COUNTER_TOTAL},
    {"offshoot_refusals_total", "reason=\"unknown\"", "Refusals | by \\ reason.\nAll.",
        COUNTER_TOTAL},
    {"offshoot_connections", "", "Open connections.", COUNTER_GAUGE},
};
#define NTABLE (sizeof(table) / sizeof(table[0]))

static void text_grows_and_stays_terminated(void **state)
{
    (void)state;
    struct text t = {0};
    for (int i = 0; i < 1000; i++)
        text_fmt(&t, "%03d", i);
    text_add(&t, STR("end"));
    text_add(&t, (struct str){0});
    assert_int_equal(t.failed, 0);
    assert_int_equal(t.n, 3003);
    assert_int_equal(strlen(t.p), 3003);
    assert_memory_equal(t.p + 2997, "999end", 6);
    text_release(&t);
    assert_null(t.p);
}

static void text_takes_a_piece_that_just_fits_and_one_byte_more(void **state)
{
    (void)state;
    for (size_t n = 250; n < 260; n++) {
        char big[300];
        struct text added = {0}, formatted = {0};
        memset(big, 'x', sizeof(big));
        text_add(&added, str_of(big, n));
        text_fmt(&formatted, "%.*s", (int)n, big);
        assert_int_equal(strlen(added.p), n);
        assert_int_equal(strlen(formatted.p), n);
        text_release(&added);
        text_release(&formatted);
    }
}

static void text_keeps_its_first_failure(void **state)
{
    (void)state;
    for (unsigned long nth = 1; nth <= 3; nth++) {
        struct text t = {0};
        mem_fail_nth(nth);
        for (int i = 0; i < 100; i++)
            text_fmt(&t, "%s", "ten bytes.");
        assert_int_equal(t.failed, -ENOMEM);
        size_t n = t.n;
        assert_true(n < 1000);
        mem_fail_nth(0);
        text_add(&t, STR("later"));
        assert_int_equal(t.n, n);
        text_release(&t);
    }
}

static void check_json(struct str in, const char *expected)
{
    struct text t = {0};
    text_json(&t, in);
    text_add(&t, STR("")); /* so that p is never NULL */
    assert_string_equal(t.p, expected);
    text_release(&t);
}

static void json_escapes_what_json_demands(void **state)
{
    (void)state;
    check_json(STR(""), "");
    check_json(STR("plain"), "plain");
    check_json(STR("\"\\\b\f\n\r\t"), "\\\"\\\\\\b\\f\\n\\r\\t");
    check_json(STR("a\0b\x1f\x7f"), "a\\u0000b\\u001f\\u007f");
    check_json(STR("é€😀"), "é€😀");
}

static void json_escapes_what_terminals_and_yaml_take_amiss(void **state)
{
    (void)state;
    check_json(STR("\xc2\x80\xc2\x9f\xc2\xa0"), "\\u0080\\u009f\xc2\xa0");
    check_json(STR("\xe2\x80\xa8|\xe2\x80\xa9|\xe2\x80\xaa"), "\\u2028|\\u2029|\xe2\x80\xaa");
    check_json(STR("\xef\xbb\xbf\xef\xbf\xbe\xef\xbf\xbf\xef\xbf\xbd"),
        "\\ufeff\\ufffe\\uffff\xef\xbf\xbd");
}

static void json_replaces_invalid_utf8(void **state)
{
    (void)state;
    check_json(STR("a\xff"
                   "b"),
        "a\xef\xbf\xbd"
        "b");
    check_json(STR("\xc3"), "\xef\xbf\xbd");
    check_json(STR("x\xe2\x82"), "x\xef\xbf\xbd\xef\xbf\xbd");
    check_json(STR("\xed\xa0\x80"), "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
}

static void prometheus_heads_each_family_once_and_adds_the_sets_up(void **state)
{
    (void)state;
    static counter_cell a[NTABLE], b[NTABLE];
    const counter_cell *sets[] = {a, b};
    struct text t = {0};
    counter_add(&a[0], 3);
    counter_inc(&b[0]);
    counter_inc(&a[1]);
    counter_add(&b[2], 7);
    counter_add(&a[3], 5);
    counter_sub(&b[3], 2); /* opened by one worker, closed by another */
    counters_prometheus(&t, table, NTABLE, sets, 2);
    assert_string_equal(t.p, "# HELP offshoot_requests_total Requests answered.\n"
                             "# TYPE offshoot_requests_total counter\n"
                             "offshoot_requests_total 4\n"
                             "# HELP offshoot_refusals_total Refusals | by \\\\ reason.\\nAll.\n"
                             "# TYPE offshoot_refusals_total counter\n"
                             "offshoot_refusals_total{reason=\"removed\"} 1\n"
                             "offshoot_refusals_total{reason=\"unknown\"} 7\n"
                             "# HELP offshoot_connections Open connections.\n"
                             "# TYPE offshoot_connections gauge\n"
                             "offshoot_connections 3\n");
    text_release(&t);
}

static void a_gauge_caught_between_two_writers_is_not_huge(void **state)
{
    (void)state;
    struct text t = {0};
    counter_cell one[1] = {0};
    const counter_cell *gauge[] = {one};
    counter_sub(&one[0], 1);
    counters_prometheus(&t, table + 3, 1, gauge, 1);
    assert_non_null(strstr(t.p, "offshoot_connections 0\n"));
    text_release(&t);
}

static void markdown_has_one_row_a_counter(void **state)
{
    (void)state;
    struct text t = {0};
    counters_markdown(&t, table, NTABLE);
    assert_string_equal(t.p, "| Counter | Labels | Kind | Meaning |\n"
                             "|---|---|---|---|\n"
                             "| `offshoot_requests_total` | | total | Requests answered. |\n"
                             "| `offshoot_refusals_total` | `reason=\"removed\"` | total | "
                             "Refusals \\| by \\ reason. All. |\n"
                             "| `offshoot_refusals_total` | `reason=\"unknown\"` | total | "
                             "Refusals \\| by \\ reason. All. |\n"
                             "| `offshoot_connections` | | gauge | Open connections. |\n");
    text_release(&t);
}

static int nothing_lives(void **state)
{
    (void)state;
    return mem_live() == 0 ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_grows_and_stays_terminated),
        cmocka_unit_test(text_takes_a_piece_that_just_fits_and_one_byte_more),
        cmocka_unit_test(text_keeps_its_first_failure),
        cmocka_unit_test(json_escapes_what_json_demands),
        cmocka_unit_test(json_escapes_what_terminals_and_yaml_take_amiss),
        cmocka_unit_test(json_replaces_invalid_utf8),
        cmocka_unit_test(prometheus_heads_each_family_once_and_adds_the_sets_up),
        cmocka_unit_test(a_gauge_caught_between_two_writers_is_not_huge),
        cmocka_unit_test(markdown_has_one_row_a_counter),
    };
    return cmocka_run_group_tests(tests, NULL, nothing_lives);
}
