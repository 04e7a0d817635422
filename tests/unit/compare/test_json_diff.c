#include "tests/unit/compare/replies.h"

static void equal_values_do_not_differ(void **state)
{
    (void)state;
    assert_json("{}", "{}", "");
    assert_json(
        "{\"a\":1,\"b\":[true,null,\"x\"]}", " { \"b\" : [ true , null , \"x\" ],\"a\":1}", "");
    assert_json("\"\\u00e9\\ud83d\\ude00\\/\\n\"", "\"\xc3\xa9\xf0\x9f\x98\x80/\\u000a\"", "");
    assert_json("\xef\xbb\xbf[1]", "[1]", "");
}

static void values_are_told_by_their_paths(void **state)
{
    (void)state;
    assert_json("{\"a\":1}", "{\"a\":2}", "body.a value 1|2\n");
    assert_json("{\"a\":{\"b-c\":\"x\"}}", "{\"a\":{\"b-c\":\"y\"}}", "body.a.b-c value x|y\n");
    assert_json("true", "false", "body value true|false\n");
    assert_json("[[1,2],[3]]", "[[1,2],[4]]", "body[][] value 3|4\n");
    assert_json("{\"a b\":1,\"\":1,\"q\\\"\":1}", "{\"a b\":2,\"\":2,\"q\\\"\":2}",
        "body.[\"\"] value 1|2\nbody.[\"a b\"] value 1|2\nbody.[\"q\\\"\"] value 1|2\n");
}

static void types_differ_before_values(void **state)
{
    (void)state;
    assert_json("{\"a\":1}", "{\"a\":\"1\"}", "body.a type 1|\"1\"\n");
    assert_json("{\"a\":null}", "{\"a\":false}", "body.a type null|false\n");
    assert_json("{\"a\":[]}", "{\"a\":{}}", "body.a type []|{}\n");
    assert_json("[]", "{}", "body type []|{}\n");
}

static void null_and_missing_are_two_things(void **state)
{
    (void)state;
    assert_json("{\"a\":null}", "{}", "body.a missing null|\n");
    assert_json("{}", "{\"a\":null}", "body.a extra |null\n");
    assert_json("{\"a\":null}", "{\"a\":1}", "body.a type null|1\n");
}

static void whole_numbers_are_exact_at_any_size(void **state)
{
    (void)state;
    assert_json(
        "9007199254740993", "9007199254740992", "body value 9007199254740993|9007199254740992\n");
    assert_json("123456789012345678901234567890", "123456789012345678901234567891",
        "body value 123456789012345678901234567890|123456789012345678901234567891\n");
    assert_json("1000000000000", "1000000000001", "body value 1000000000000|1000000000001\n");
    assert_json("[100,1.0,-0,0.5e1,12e2,0]", "[1e2,1,0,5,1200,0.0e9]", "");
    /* digits and powers of ten do not stand in for each other */
    assert_json("[9]", "[10000]", "body[] value 9|10000\n");
    assert_json("-1", "1", "body value -1|1\n");
    assert_json("1e400", "1e401", "body value 1e400|1e401\n");
}

static void other_numbers_are_near(void **state)
{
    (void)state;
    assert_json("0.3", "0.30000000000000004", "");
    assert_json("1.0000000001", "1", "");
    assert_json("1.00000001", "1", "!body value 1.00000001|1\n");
    assert_json("1.5", "1.500001", "body value 1.5|1.500001\n");
    assert_json("1.5e-400", "2.5e-400", "");
    assert_json("0.1", "-0.1", "body value 0.1|-0.1\n");
}

static void half_a_pair_is_itself(void **state)
{
    (void)state;
    assert_json("\"\\ud800x\"", "\"\\ud800x\"", "");
    assert_json("\"\\ud800\"", "\"\\ud801\"", "body value \\xed\\xa0\\x80|\\xed\\xa0\\x81\n");
    assert_json("\"\\udc00\\ud800\"", "\"\\ud800\\udc00\"",
        "body value \\xed\\xb0\\x80\\xed\\xa0\\x80|\xf0\x90\x80\x80\n");
}

static void of_equal_keys_the_last_counts(void **state)
{
    (void)state;
    assert_json("{\"a\":1,\"a\":2}", "{\"a\":2}", "");
    assert_json("{\"a\":1,\"a\":2}", "{\"a\":2,\"a\":1}", "body.a value 2|1\n");
    assert_json("{\"a\":1,\"\\u0061\":3,\"b\":0}", "{\"b\":0,\"a\":3}", "");
}

static void ids_as_keys_are_one_path(void **state)
{
    (void)state;
    assert_json("{\"p\":{\"17\":{\"x\":1},\"18\":{\"x\":1}}}",
        "{\"p\":{\"17\":{\"x\":2},\"18\":{\"x\":3}}}", "body.p{*}.x value 1|2\n");
    assert_json("{\"3f2a99c1-0000-4000-8000-0123456789ab\":1,\"total\":1}",
        "{\"3f2a99c1-0000-4000-8000-0123456789ab\":2,\"total\":2}",
        "body{*} value 1|2\nbody.total value 1|2\n");
    assert_json("{\"sku-1001\":1,\"sku-1002\":2}", "{\"sku-1001\":1}", "body{*} missing 2|\n");
    assert_json("{\"2026-12-01\":1,\"x@y.example\":1}", "{\"2026-12-01\":2,\"x@y.example\":1}",
        "body{*} value 1|2\n");
    assert_json("{\"sha256\":1,\"utf8\":1,\"address_1\":1,\"deadbeef\":1}",
        "{\"sha256\":2,\"utf8\":2,\"address_1\":2,\"deadbeef\":2}",
        "body.address_1 value 1|2\nbody.deadbeef value 1|2\nbody.sha256 value 1|2\n"
        "body.utf8 value 1|2\n");
}

/* What is below them is compared all the same. */
static void ids_that_are_new_each_time_are_paired(void **state)
{
    (void)state;
    assert_json("{\"3f2a99c1aa\":{\"x\":1}}", "{\"77dd01b2ff\":{\"x\":2}}",
        "body{*} value 3f2a99c1aa|77dd01b2ff\nbody{*}.x value 1|2\n");
    assert_json("{\"11\":1,\"12\":1}", "{\"13\":1}", "body{*} value 11|13\nbody{*} missing 1|\n");
    assert_json(
        "{\"11\":1,\"12\":1}", "{\"11\":1,\"13\":2}", "body{*} missing 1|\nbody{*} extra |2\n");
}

static void many_keys_of_one_type_are_a_map(void **state)
{
    (void)state;
    for (unsigned n = 64; n <= 65; n++) {
        struct text a = {0}, b = {0};
        for (unsigned i = 0; i < n; i++) {
            char k1 = (char)('a' + i % 26), k2 = (char)('a' + i / 26);
            text_fmt(&a, "%s\"%c%c\":1", i ? "," : "{", k1, k2);
            text_fmt(&b, "%s\"%c%c\":%u", i ? "," : "{", k1, k2, i == 0 ? 7u : 1u);
        }
        text_add(&a, STR("}"));
        text_add(&b, STR("}"));
        assert_json(a.p, b.p, n == 65 ? "body{*} value 1|7\n" : "body.aa value 1|7\n");
        text_release(&a);
        text_release(&b);
    }
}

static void what_is_no_json_is_text(void **state)
{
    (void)state;
    const char *broken[] = {"{", "[1,]", "{\"a\":1,}", "[1 2]", "01", "1.", "+1", "\"\t\"",
        "\"\\x\"", "nul", "[1]]", "\"\\u12g4\"", "{\"a\" 1}", "{1:2}", "[}", "-", "1e", "\"abc",
        "\"\\"};
    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
        char other[32];
        snprintf(other, sizeof(other), "%s !", broken[i]);
        struct made x, y;
        struct differences d;
        make_reply(&x, 200, "content-type: application/json", str_c(broken[i]), "");
        make_reply(&y, 200, "content-type: application/json", str_c(other), "");
        assert_int_equal(replies_compare(&x.reply, &y.reply, default_rules(), &d), 0);
        assert_int_equal(d.n, 1);
        assert_str(d.item[0].path, "body.text");
        assert_str(d.item[0].a, broken[i]);
        differences_release(&d);
        assert_json(broken[i], broken[i], "");
        make_reply(&x, 200, "content-type: application/json", STR("[]"), "");
        assert_int_equal(replies_compare(&x.reply, &y.reply, default_rules(), &d), 0);
        assert_int_equal(d.n, 1);
        assert_str(d.item[0].path, "body");
        assert_int_equal(d.item[0].kind, DIFF_TYPE);
        differences_release(&d);
    }
}

static void limits_make_bytes_of_it(void **state)
{
    (void)state;
    struct compare_rules rules = {.limits = COMPARE_LIMITS_DEFAULT};
    rules.limits.depth = 3;
    rules.limits.nodes = 6;
    assert_bodies_by(
        "application/json", STR("[[[1]]]"), STR("[[[2]]]"), &rules, "body[][][] value 1|2\n");
    assert_bodies_by("application/json", STR("[[[[]]]]"), STR("[[[1 ]]]"), &rules,
        "body.bytes value 8 bytes, sha256 de3132b0660d0664...|8 bytes, sha256 "
        "97b9ed42de0ae5ce...\n");
    assert_bodies_by(
        "application/json", STR("[1,2,3,4,5]"), STR("[1,2,3,4,6]"), &rules, "body[] value 5|6\n");
    assert_bodies_by("application/json", STR("[1,2,3,4,5,6]"), STR("[1,2,3,4,5,7]"), &rules,
        "body.bytes value 13 bytes, sha256 17ec0c346922df8a...|13 bytes, sha256 "
        "68a1ce8535b17feb...\n");
}

static void each_path_and_kind_is_told_once_with_its_first_example(void **state)
{
    (void)state;
    assert_json("[{\"t\":\"aa\"},{\"t\":\"bb\"},{\"t\":\"cc\"}]",
        "[{\"t\":\"ab\"},{\"t\":\"bc\"},{\"t\":\"much longer than cc\"}]",
        "!body[].t value aa|ab\n");
    struct compare_rules rules = {.limits = COMPARE_LIMITS_DEFAULT};
    rules.limits.differences = 2;
    assert_bodies_by("application/json", STR("{\"a\":1,\"b\":1,\"c\":1}"), STR("{}"), &rules,
        "body.a missing 1|\nbody.b missing 1|\ncut\n");
    assert_bodies_by("application/json", STR("{\"a\":1,\"b\":1}"), STR("{}"), &rules,
        "body.a missing 1|\nbody.b missing 1|\n");
}

static void long_paths_and_texts_are_cut_and_stay_different(void **state)
{
    (void)state;
    struct text a = {0}, b = {0};
    char key[101];
    memset(key, 'k', 100);
    key[100] = '\0';
    for (int i = 0; i < 6; i++) {
        text_fmt(&a, "{\"%s\":", key);
        text_fmt(&b, "{\"%s\":", key);
    }
    text_add(&a, STR("{\"x\":1,\"y\":1}"));
    text_add(&b, STR("{\"x\":2,\"y\":2}"));
    for (int i = 0; i < 6; i++) {
        text_add(&a, STR("}"));
        text_add(&b, STR("}"));
    }
    struct made x, y;
    struct differences d;
    make_reply(&x, 200, "content-type: application/json", str_of(a.p, a.n), "");
    make_reply(&y, 200, "content-type: application/json", str_of(b.p, b.n), "");
    assert_int_equal(replies_compare(&x.reply, &y.reply, default_rules(), &d), 0);
    assert_int_equal(d.n, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_true(d.item[i].path.n <= COMPARE_PATH_MAX);
        assert_int_equal(d.item[i].path.p[d.item[i].path.n - 17], '~');
    }
    assert_false(str_eq(d.item[0].path, d.item[1].path));
    differences_release(&d);
    a.n = b.n = 0;
    text_add(&a, STR("\""));
    for (int i = 0; i < 400; i++)
        text_add(&a, STR("\xc3\xa9"));
    text_add(&a, STR("\""));
    make_reply(&x, 200, "content-type: application/json", str_of(a.p, a.n), "");
    make_reply(&y, 200, "content-type: application/json", STR("\"x\""), "");
    assert_int_equal(replies_compare(&x.reply, &y.reply, default_rules(), &d), 0);
    assert_true(d.item[0].a.n <= COMPARE_TEXT_MAX && d.item[0].a.n > COMPARE_TEXT_MAX - 4);
    assert_true(str_ends(d.item[0].a, STR("\xc3\xa9"
                                          "...")));
    differences_release(&d);
    text_release(&a);
    text_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_values_do_not_differ),
        cmocka_unit_test(values_are_told_by_their_paths),
        cmocka_unit_test(types_differ_before_values),
        cmocka_unit_test(null_and_missing_are_two_things),
        cmocka_unit_test(whole_numbers_are_exact_at_any_size),
        cmocka_unit_test(other_numbers_are_near),
        cmocka_unit_test(half_a_pair_is_itself),
        cmocka_unit_test(of_equal_keys_the_last_counts),
        cmocka_unit_test(ids_as_keys_are_one_path),
        cmocka_unit_test(ids_that_are_new_each_time_are_paired),
        cmocka_unit_test(many_keys_of_one_type_are_a_map),
        cmocka_unit_test(what_is_no_json_is_text),
        cmocka_unit_test(limits_make_bytes_of_it),
        cmocka_unit_test(each_path_and_kind_is_told_once_with_its_first_example),
        cmocka_unit_test(long_paths_and_texts_are_cut_and_stay_different),
    };
    return unit_run(tests);
}
