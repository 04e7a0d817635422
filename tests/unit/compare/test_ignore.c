#include "lib/compare/compare.h"
#include "tests/unit/compare/replies.h"

static bool one(const char *pattern, const char *path, enum diff_kind kind)
{
    struct err e = {0};
    struct ignore *i = ignore_new(&pattern, 1, &e);
    assert_non_null(i);
    bool ret = ignore_matches(i, str_c(path), kind);
    ignore_free(i);
    return ret;
}

static void a_star_is_one_name_two_are_any_text(void **state)
{
    (void)state;
    assert_true(one("header.etag", "header.etag", DIFF_VALUE));
    assert_false(one("header.etag", "header.etags", DIFF_VALUE));
    assert_false(one("header.etag", "header.eta", DIFF_VALUE));
    assert_true(one("header.*", "header.etag", DIFF_VALUE));
    assert_false(one("header.*", "header.set-cookie.s", DIFF_VALUE));
    assert_true(one("header.**", "header.set-cookie.s.path", DIFF_VALUE));
    assert_true(one("body.items[].*", "body.items[].id", DIFF_VALUE));
    assert_false(one("body.*.id", "body.items[].id", DIFF_VALUE));
    assert_true(one("body.**.id", "body.items[].id", DIFF_VALUE));
    assert_true(one("**.id", "body.items[].id", DIFF_VALUE));
    assert_true(one("**", "", DIFF_VALUE));
    assert_true(one("body.a**", "body.a", DIFF_VALUE));
    assert_true(one("body.prices{*}.x", "body.prices{*}.x", DIFF_VALUE));
    assert_false(one("body.*.x", "body{*}.x", DIFF_VALUE));
    assert_true(one("*a*b*", "xxaxxbxx", DIFF_VALUE));
    assert_false(one("*a*b*", "xxaxx.bxx", DIFF_VALUE));
    assert_true(one("**a*b", "a.ab", DIFF_VALUE));
    assert_true(one("a***b", "a.x.b", DIFF_VALUE));
    assert_false(one("*", "a.b", DIFF_VALUE));
}

static void a_kind_may_stand_behind_it(void **state)
{
    (void)state;
    assert_true(one("body.a:missing", "body.a", DIFF_MISSING));
    assert_false(one("body.a:missing", "body.a", DIFF_VALUE));
    assert_true(one("body.a:order", "body.a", DIFF_ORDER));
    assert_true(one("body.a:*", "body.a:b", DIFF_ORDER));
    assert_true(one(":value", ":value", DIFF_TYPE));
}

static void bad_patterns_are_named(void **state)
{
    (void)state;
    struct err e = {0};
    const char *empty[] = {"a", ""};
    assert_null(ignore_new(empty, 2, &e));
    assert_string_equal(e.text, "a pattern of a path is empty");
    char longest[514];
    memset(longest, 'a', 513);
    longest[512] = '\0';
    const char *one_of_them = longest;
    struct ignore *i = ignore_new(&one_of_them, 1, &e);
    assert_non_null(i);
    ignore_free(i);
    longest[512] = 'a';
    longest[513] = '\0';
    assert_null(ignore_new(&one_of_them, 1, &e));
    assert_non_null(strstr(e.text, "more than 512 bytes in the pattern 'aaaa"));
    const char *many[1001];
    for (size_t k = 0; k < 1001; k++)
        many[k] = "x";
    assert_null(ignore_new(many, 1001, &e));
    i = ignore_new(many, 1000, &e);
    assert_non_null(i);
    ignore_free(i);
    i = ignore_new(NULL, 0, &e);
    assert_false(ignore_matches(i, STR("status"), DIFF_VALUE));
    ignore_free(i);
    assert_false(ignore_matches(NULL, STR("status"), DIFF_VALUE));
}

static void refused(const char *pattern, const char *why)
{
    struct err e = {0};
    assert_null(ignore_new(&pattern, 1, &e));
    assert_string_equal(e.text, why);
}

static void a_word_behind_the_colon_that_is_no_kind_is_refused(void **state)
{
    (void)state;
    refused("body.x:vaule", "no kind 'vaule' in the pattern 'body.x:vaule', did you mean 'value'? "
                            "(value, type, missing, extra, length, order)");
    refused("body.x:Value", "no kind 'Value' in the pattern 'body.x:Value', did you mean 'value'? "
                            "(value, type, missing, extra, length, order)");
    refused("body.[\"a:b\"]:something", "no kind 'something' in the pattern "
                                        "'body.[\"a:b\"]:something' (value, type, missing, extra, "
                                        "length, order)");
    assert_true(one("body.[\"a:b\"]", "body.[\"a:b\"]", DIFF_VALUE));
    assert_true(one("body.[\"a:b\"]:value", "body.[\"a:b\"]", DIFF_VALUE));
    assert_true(one("body.[\"a:**", "body.[\"a:b\"]", DIFF_VALUE));
    assert_true(one("header.[\"x:y\"]", "header.[\"x:y\"]", DIFF_VALUE));
    assert_true(one("body.**:1", "body.a:1", DIFF_VALUE));
}

/* Backtracking would not end. */
static void many_stars_take_no_time(void **state)
{
    (void)state;
    char pattern[513] = "", path[513];
    for (size_t i = 0; i + 2 < 512; i += 2)
        memcpy(pattern + i, "*a", 3);
    memset(path, 'a', 512);
    path[512] = '\0';
    assert_true(one(pattern, path, DIFF_VALUE));
    path[511] = 'b';
    assert_false(one(pattern, path, DIFF_VALUE));
}

static void what_is_ignored_is_not_told(void **state)
{
    (void)state;
    const char *patterns[] = {"body.at:value", "header.**"};
    struct err e;
    struct compare_rules rules = {.limits = COMPARE_LIMITS_DEFAULT};
    struct ignore *i = ignore_new(patterns, 2, &e);
    rules.ignore = i;
    rules.limits.differences = 1;
    struct made a, b;
    make_reply(&a, 200, "content-type: application/json\netag: 1", STR("{\"at\":1,\"b\":1}"), "");
    make_reply(&b, 200, "content-type: application/json\netag: 2", STR("{\"at\":2,\"b\":2}"), "");
    assert_replies(&a, &b, &rules, "body.b value 1|2\n");
    make_reply(&b, 200, "content-type: application/json", STR("{\"b\":1}"), "");
    assert_replies(&a, &b, &rules, "body.at missing 1|\n");
    ignore_free(i);
}

static void memory_that_runs_out_is_told(void **state)
{
    (void)state;
    const char *patterns[] = {"a", "b"};
    for (unsigned long n = 1; n <= 3; n++) {
        struct err e = {0};
        mem_fail_nth(n);
        assert_null(ignore_new(patterns, 2, &e));
        mem_fail_nth(0);
        assert_string_equal(e.text, "out of memory");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_star_is_one_name_two_are_any_text),
        cmocka_unit_test(a_kind_may_stand_behind_it),
        cmocka_unit_test(bad_patterns_are_named),
        cmocka_unit_test(a_word_behind_the_colon_that_is_no_kind_is_refused),
        cmocka_unit_test(many_stars_take_no_time),
        cmocka_unit_test(what_is_ignored_is_not_told),
        cmocka_unit_test(memory_that_runs_out_is_told),
    };
    return unit_run(tests);
}
