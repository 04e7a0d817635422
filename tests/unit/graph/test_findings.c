#include "tests/unit/unit.h"

#include "lib/graph/findings.h"

static const char *const files[] = {"a.yaml", "b\n.yaml"};

static struct place at(uint32_t file, uint32_t line, uint32_t column)
{
    return (struct place){file, line, column};
}

static void every_code_has_a_word_of_its_own(void **state)
{
    (void)state;
    for (int a = 0; a < FINDING_CODE_COUNT; a++) {
        assert_true(strlen(finding_word((enum finding_code)a)) > 3);
        for (int b = 0; b < a; b++)
            assert_string_not_equal(
                finding_word((enum finding_code)a), finding_word((enum finding_code)b));
    }
    assert_string_equal(finding_word(FINDING_CODE_COUNT), "");
    assert_string_equal(finding_word(F_NO_LINEARISATION), "no-linearisation");
    assert_false(finding_is_warning(F_ENDPOINT_FORBIDDEN));
    assert_true(finding_is_warning(F_OUTLIVES_PARENT));
    assert_true(finding_is_warning(F_BASELINE_EXPIRES));
}

static void sorts_by_file_then_place_then_code(void **state)
{
    (void)state;
    struct findings f;
    findings_init(&f);
    findings_add(&f, F_TYPE, at(1, 1, 1), NULL, "6");
    findings_add(&f, F_TYPE, at(0, 10, 1), NULL, "5");
    findings_add(&f, F_TYPE, at(0, 9, 10), NULL, "4");
    findings_add(&f, F_NAME, at(0, 9, 2), NULL, "3");
    findings_add(&f, F_TYPE, at(0, 9, 2), NULL, "2");
    findings_add(&f, F_TYPE, at(0, 2, 80), NULL, "1");
    findings_sort(&f);
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(f.list[i].message[0], '1' + (int)i);
    findings_release(&f);
}

static void keeps_the_limit_and_counts_what_is_beyond(void **state)
{
    (void)state;
    struct findings f;
    struct text out = {0};
    findings_init(&f);
    assert_int_equal(f.limit, 1000);
    f.limit = 2;
    for (int i = 0; i < 2; i++)
        findings_add(&f, F_TYPE, at(0, 1, 1), NULL, "kept");
    findings_json(&f, files, &out);
    assert_null(strstr(out.p, "omitted"));
    text_release(&out);
    findings_add(&f, F_UNPROVIDED_SERVICE, at(0, 1, 1), NULL, "not kept");
    assert_int_equal(f.n, 2);
    assert_int_equal(f.errors, 2);
    assert_int_equal(f.warnings, 1);
    assert_int_equal(f.by_code[F_UNPROVIDED_SERVICE], 1);
    findings_json(&f, files, &out);
    assert_non_null(strstr(out.p, "],\"omitted\":1}"));
    text_release(&out);
    findings_text(&f, files, &out);
    assert_non_null(strstr(out.p, "1 more findings are not shown\n"));
    text_release(&out);
    findings_release(&f);
}

static void prints_lines_with_what_is_related(void **state)
{
    (void)state;
    struct findings f;
    struct text out = {0};
    struct place first = at(0, 3, 4);
    struct place two[2] = {at(0, 5, 6), at(1, 7, 8)};
    findings_init(&f);
    findings_add(&f, F_DUPLICATE, at(0, 9, 10), &first, "a second '%s'", "cart");
    findings_add_clash(&f, F_CONFLICT, at(0, 11, 12), two, "two of them");
    findings_add(&f, F_UNPROVIDED_SERVICE, at(1, 1, 2), NULL, "nobody");
    findings_text(&f, files, &out);
    assert_string_equal(out.p, "a.yaml:9:10: error: duplicate: a second 'cart'\n"
                               "    see a.yaml:3:4\n"
                               "a.yaml:11:12: error: conflict: two of them\n"
                               "    see a.yaml:5:6\n"
                               "    see b?.yaml:7:8\n"
                               "b?.yaml:1:2: warning: unprovided-service: nobody\n");
    text_release(&out);
    findings_release(&f);
}

static void prints_json_on_one_line(void **state)
{
    (void)state;
    struct findings f;
    struct text out = {0};
    struct place first = at(1, 3, 4);
    findings_init(&f);
    findings_json(&f, files, &out);
    assert_string_equal(out.p, "{\"valid\":true,\"findings\":[]}");
    text_release(&out);
    findings_add(&f, F_OUTLIVES_PARENT, at(1, 1, 2), NULL, "late");
    findings_json(&f, files, &out);
    assert_string_equal(out.p,
        "{\"valid\":true,\"findings\":[{\"code\":\"outlives-parent\",\"severity\":\"warning\","
        "\"file\":\"b\\n.yaml\",\"line\":1,\"column\":2,\"message\":\"late\",\"related\":[]}]}");
    text_release(&out);
    findings_add(&f, F_DUPLICATE, at(0, 5, 6), &first, "say \"%s\"", "it");
    findings_json(&f, files, &out);
    assert_non_null(strstr(out.p, "{\"valid\":false,"));
    assert_non_null(strstr(out.p,
        "{\"code\":\"duplicate\",\"severity\":\"error\",\"file\":\"a.yaml\",\"line\":5,\"column\":"
        "6,"
        "\"message\":\"say \\\"it\\\"\",\"related\":[{\"file\":\"b\\n.yaml\",\"line\":3}]}]}"));
    text_release(&out);
    findings_release(&f);
}

static void messages_are_cut_at_a_character_and_hold_no_control_bytes(void **state)
{
    (void)state;
    struct findings f;
    char text[600];
    findings_init(&f);
    memset(text, 'x', sizeof(text));
    memcpy(text + 509, "\xe2\x82\xac", 3);
    text[599] = '\0';
    findings_add(&f, F_TYPE, at(0, 1, 1), NULL, "%s", text);
    assert_int_equal(strlen(f.list[0].message), 509);
    findings_add(&f, F_TYPE, at(0, 1, 1), NULL, "a\x1b[2J\nb\x7f");
    assert_string_equal(f.list[1].message, "a?[2J?b?");
    findings_add(&f, F_TYPE, at(0, 1, 1), NULL, "\xe2\x82\xac");
    assert_string_equal(f.list[2].message, "\xe2\x82\xac");
    findings_release(&f);
}

static void moves_findings_within_the_limit(void **state)
{
    (void)state;
    struct findings a, b;
    findings_init(&a);
    findings_init(&b);
    a.limit = 2;
    findings_add(&a, F_TYPE, at(0, 1, 1), NULL, "one");
    findings_add(&b, F_TYPE, at(0, 2, 1), NULL, "two");
    findings_add(&b, F_NAME, at(0, 3, 1), NULL, "three");
    findings_move(&a, &b);
    assert_int_equal(a.n, 2);
    assert_string_equal(a.list[1].message, "two");
    assert_int_equal(a.errors, 3);
    assert_int_equal(a.by_code[F_NAME], 1);
    assert_int_equal(b.n, 0);
    assert_int_equal(b.errors, 0);
    findings_release(&a);
    findings_release(&b);
}

static void a_lost_finding_is_remembered(void **state)
{
    (void)state;
    for (unsigned long n = 1; n <= 2; n++) {
        struct findings f;
        struct text out = {0};
        findings_init(&f);
        mem_fail_nth(n);
        findings_add(&f, F_UNPROVIDED_SERVICE, at(0, 1, 1), NULL, "lost");
        mem_fail_nth(0);
        assert_true(f.no_memory);
        assert_int_equal(f.n, 0);
        assert_int_equal(f.warnings, 1);
        findings_json(&f, files, &out);
        assert_string_equal(out.p, "{\"valid\":false,\"findings\":[],\"omitted\":1}");
        text_release(&out);
        findings_release(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_has_a_word_of_its_own),
        cmocka_unit_test(sorts_by_file_then_place_then_code),
        cmocka_unit_test(keeps_the_limit_and_counts_what_is_beyond),
        cmocka_unit_test(prints_lines_with_what_is_related),
        cmocka_unit_test(prints_json_on_one_line),
        cmocka_unit_test(messages_are_cut_at_a_character_and_hold_no_control_bytes),
        cmocka_unit_test(moves_findings_within_the_limit),
        cmocka_unit_test(a_lost_finding_is_remembered),
    };
    return unit_run(tests);
}
