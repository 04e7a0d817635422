/* Tables and cleaned texts: what reaches a terminal. */
#include "ctl/object.h"
#include "ctl/table.h"
#include "tests/unit/unit.h"
#include <errno.h>

static void assert_clean(const char *in, const char *want)
{
    struct text t = {0};
    text_clean(&t, str_c(in));
    assert_str(str_of(t.p, t.n), want);
    text_release(&t);
}

static void harmless_text_stays_as_it_is(void **state)
{
    (void)state;
    assert_clean("", "");
    assert_clean("PR #42: \"cart\" <b>", "PR #42: \"cart\" <b>");
    assert_clean("Gr\xc3\xbc\xc3\x9f"
                 "e \xe2\x82\xac \xf0\x9f\x99\x82",
        "Gr\xc3\xbc\xc3\x9f"
        "e \xe2\x82\xac \xf0\x9f\x99\x82");
}

static void what_a_terminal_obeys_is_replaced(void **state)
{
    (void)state;
    assert_clean("a\x1b[31mb\n\t\x7f", "a?[31mb???");
    assert_clean("\xc2\x9b"
                 "31m\xc2\x80\xc2\xa0",
        "?31m?\xc2\xa0");
    assert_clean("\xe2\x80\xae"
                 "txt\xe2\x80\xaa\xe2\x81\xa6\xe2\x81\xa9\xe2\x80\xa8",
        "?txt????");
    assert_clean("\xe2\x80\xa6\xe2\x80\xaf", "\xe2\x80\xa6\xe2\x80\xaf");
}

static void torn_characters_do_no_harm(void **state)
{
    (void)state;
    assert_clean("\xc2", "\xc2");
    assert_clean("\xe2\x80", "\xe2\x80");
    assert_clean("\xe2", "\xe2");
}

static void columns_are_aligned_by_characters(void **state)
{
    (void)state;
    struct table t = {.columns = 3};
    struct text out = {0};
    table_add(&t, STR("NODE"));
    table_add(&t, STR("EPOCH"));
    table_add(&t, STR("TEXT"));
    table_add(&t, STR("gr\xc3\xbc\xc3\x9f"
                      "e"));
    table_number(&t, 7);
    table_add(&t, STR("a\nb"));
    table_add(&t, STR(""));
    table_number(&t, 18446744073709551615u);
    table_add(&t, STR(""));
    table_write(&t, &out);
    assert_str(str_of(out.p, out.n), "NODE   EPOCH                 TEXT\n"
                                     "gr\xc3\xbc\xc3\x9f"
                                     "e  7                     a?b\n"
                                     "-      18446744073709551615  -\n");
    text_release(&out);
}

static void an_empty_table_is_nothing(void **state)
{
    (void)state;
    struct table t = {.columns = 2};
    struct text out = {0};
    table_write(&t, &out);
    assert_int_equal(out.n, 0);
    assert_int_equal(out.failed, 0);
    text_release(&out);
}

static void memory_that_is_out_is_told_by_the_text(void **state)
{
    (void)state;
    unsigned long n = 1;
    for (bool failed = true; failed; n++) {
        struct table t = {.columns = 2};
        struct text out = {0};
        mem_fail_nth(n);
        for (unsigned i = 0; i < 200; i++)
            table_add(&t, STR("a cell"));
        table_write(&t, &out);
        mem_fail_nth(0);
        failed = out.failed == -ENOMEM;
        text_release(&out);
        assert_true(n < 100);
    }
    assert_true(n > 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(harmless_text_stays_as_it_is),
        cmocka_unit_test(what_a_terminal_obeys_is_replaced),
        cmocka_unit_test(torn_characters_do_no_harm),
        cmocka_unit_test(columns_are_aligned_by_characters),
        cmocka_unit_test(an_empty_table_is_nothing),
        cmocka_unit_test(memory_that_is_out_is_told_by_the_text),
    };
    return unit_run(tests);
}
