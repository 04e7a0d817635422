#include "lib/base/str.h"
#include "tests/unit/unit.h"

static void equality_goes_by_length_and_bytes(void **state)
{
    (void)state;
    assert_true(str_eq(STR(""), str_of(NULL, 0)));
    assert_true(str_eq(STR("a\0b"), str_of("a\0b", 3)));
    assert_false(str_eq(STR("a\0b"), STR("a\0c")));
    assert_false(str_eq(STR("ab"), STR("abc")));
    assert_true(str_eq(str_c(NULL), STR("")));
}

static void order_puts_a_prefix_first(void **state)
{
    (void)state;
    assert_true(str_cmp(STR("ab"), STR("abc")) < 0);
    assert_true(str_cmp(STR("b"), STR("abc")) > 0);
    assert_true(str_cmp(STR("\x80"), STR("a")) > 0);
    assert_int_equal(str_cmp(STR(""), str_of(NULL, 0)), 0);
}

static void prefixes_suffixes_and_positions(void **state)
{
    (void)state;
    assert_true(str_starts(STR("abc"), STR("ab")));
    assert_true(str_starts(STR(""), STR("")));
    assert_false(str_starts(STR("a"), STR("ab")));
    assert_true(str_ends(STR("abc"), STR("bc")));
    assert_false(str_ends(STR("c"), STR("bc")));
    assert_int_equal(str_find(STR("a:b:c"), ':'), 1);
    assert_int_equal(str_find(STR("abc"), ':'), 3);
    assert_int_equal(str_find(str_of(NULL, 0), ':'), 0);
    assert_str(str_from(STR("abc"), 1), "bc");
    assert_str(str_from(STR("abc"), 3), "");
}

static void equality_without_case_is_ascii_only(void **state)
{
    (void)state;
    assert_true(str_ieq(STR("CaRt-1"), STR("cArT-1")));
    assert_true(str_ieq(STR(""), str_of(NULL, 0)));
    assert_false(str_ieq(STR("a"), STR("ab")));
    assert_false(str_ieq(STR("@"), STR("`"))); /* one bit apart, as letters are */
    assert_false(str_ieq(STR("["), STR("{")));
    assert_false(str_ieq(STR("\xc3\x84"), STR("\xc3\xa4")));
}

static void trim_takes_spaces_and_tabs_only(void **state)
{
    (void)state;
    assert_str(str_trim(STR(" \t a b\t ")), "a b");
    assert_str(str_trim(STR("a")), "a");
    assert_str(str_trim(STR(" \t ")), "");
    assert_str(str_trim(STR("")), "");
    assert_str(str_trim(str_of(NULL, 0)), "");
    assert_str(str_trim(STR("\na\r")), "\na\r");
}

static void distance_counts_edits_and_swaps(void **state)
{
    (void)state;
    assert_int_equal(str_distance(STR(""), STR(""), 3), 0);
    assert_int_equal(str_distance(STR("cart"), STR("cart"), 3), 0);
    assert_int_equal(str_distance(STR("cart"), STR("crat"), 3), 1);
    assert_int_equal(str_distance(STR("cart"), STR("cat"), 3), 1);
    assert_int_equal(str_distance(STR("cart"), STR("carts"), 3), 1);
    assert_int_equal(str_distance(STR("cart"), STR("bart"), 3), 1);
    assert_int_equal(str_distance(STR("kitten"), STR("sitting"), 3), 3);
    assert_int_equal(str_distance(STR("ca"), STR("abc"), 5), 3); /* no edit inside a swap */
    assert_int_equal(str_distance(STR(""), STR("abc"), 3), 3);
    assert_int_equal(str_distance(STR("abc"), STR(""), 3), 3);
}

static void distance_stops_at_the_cap(void **state)
{
    (void)state;
    assert_int_equal(str_distance(STR("abcd"), STR("wxyz"), 4), 4);
    assert_int_equal(str_distance(STR("abcd"), STR("wxyz"), 3), 4);
    assert_int_equal(str_distance(STR("a"), STR("b"), 0), 1);
    assert_int_equal(str_distance(STR("a"), STR("a"), 0), 0);
}

static void distance_of_long_strings_is_never_near(void **state)
{
    (void)state;
    char text[65];
    memset(text, 'a', sizeof(text));
    assert_int_equal(str_distance(str_of(text, 64), str_of(text, 64), 3), 0);
    assert_int_equal(str_distance(str_of(text, 65), str_of(text, 65), 3), 4);
    assert_int_equal(str_distance(str_of(text, 64), str_of(text, 65), 3), 4);
    assert_int_equal(str_distance(str_of(text, 65), str_of(text, 64), 3), 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equality_goes_by_length_and_bytes),
        cmocka_unit_test(order_puts_a_prefix_first),
        cmocka_unit_test(prefixes_suffixes_and_positions),
        cmocka_unit_test(equality_without_case_is_ascii_only),
        cmocka_unit_test(trim_takes_spaces_and_tabs_only),
        cmocka_unit_test(distance_counts_edits_and_swaps),
        cmocka_unit_test(distance_stops_at_the_cap),
        cmocka_unit_test(distance_of_long_strings_is_never_near),
    };
    return unit_run(tests);
}
