/* What texts of traffic become in pages and reports, and the forms of a session. */
#include "ctl/markup.h"
#include "ctl/session.h"
#include "tests/unit/unit.h"

static void assert_markup(const char *from, const char *want)
{
    struct text t = {0};
    text_markup(&t, str_c(from));
    assert_str(str_of(t.p, t.n), want);
    text_release(&t);
}

static void markup_escapes_all_that_a_reader_would_obey(void **state)
{
    (void)state;
    assert_markup("", "");
    assert_markup("plain \xc3\xa4 \xe2\x82\xac", "plain \xc3\xa4 \xe2\x82\xac");
    assert_markup("<a href=\"x\">'&'</a>", "&lt;a href=&quot;x&quot;&gt;&#39;&amp;&#39;&lt;/a&gt;");
    assert_markup("a\x1b[31mb\x7f\nc", "a?[31mb??c");
    assert_markup("\xe2\x80\xae\xef\xbf\xbe\xef\xbf\xbf\xc2\x85.", "????.");
    assert_markup("\xef\xbf\xbd", "\xef\xbf\xbd");
}

typedef void form(const json_t *session, struct text *t);

static void form_has(form *fn, const char *json, const char *want, const char *not_this)
{
    struct text t = {0};
    json_t *j = json_loads(json, 0, NULL);
    assert_non_null(j);
    fn(j, &t);
    assert_int_equal(t.failed, 0);
    if (!strstr(t.p, want))
        fail_msg("no \"%s\" in \"%s\"", want, t.p);
    if (not_this && strstr(t.p, not_this))
        fail_msg("\"%s\" in \"%s\"", not_this, t.p);
    text_release(&t);
    json_decref(j);
}

#define RUNNING "{\"state\":\"running\",\"verdict\":\"inconclusive\","

static void progress_says_how_many_are_needed(void **state)
{
    (void)state;
    form_has(session_progress, RUNNING "\"samples\":1,\"samples_needed\":3}",
        "1 sample, some 3 more needed", "samples");
    form_has(session_progress, RUNNING "\"samples\":2,\"samples_needed\":null}",
        "2 samples, cannot tell how many more are needed", NULL);
    form_has(session_progress, "{\"state\":\"running\",\"verdict\":\"pass\",\"samples\":9}",
        "9 samples", "needed");
    form_has(
        session_progress, "{\"state\":\"canary\",\"why\":\"waiting\\u001b\"}", "waiting?", NULL);
}

static void a_verdict_is_one_of_three_words(void **state)
{
    static const struct {
        const char *json;
        enum status want;
    } cases[] = {{"{\"verdict\":\"pass\"}", STATUS_YES}, {"{\"verdict\":\"fail\"}", STATUS_FAIL},
        {"{\"verdict\":\"inconclusive\"}", STATUS_NO}, {"{\"verdict\":\"PASS\"}", STATUS_ERROR},
        {"{\"verdict\":0}", STATUS_ERROR}, {"{}", STATUS_ERROR}};
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        json_t *j = json_loads(cases[i].json, 0, NULL);
        assert_int_equal(session_verdict(j), cases[i].want);
        json_decref(j);
    }
}

static void exit_statuses_of_gates_keep_errors_apart(void **state)
{
    (void)state;
    assert_int_equal(status_exit(STATUS_YES, true), 0);
    assert_int_equal(status_exit(STATUS_FAIL, true), 1);
    assert_int_equal(status_exit(STATUS_NO, true), 2);
    assert_int_equal(status_exit(STATUS_NOT_FOUND, true), 3);
    assert_int_equal(status_exit(STATUS_ERROR, true), 4);
    assert_int_equal(status_exit(STATUS_ERROR, false), 1);
}

#define EVIDENCE(log10, kind, p, s, c)                                                             \
    "{\"verdict\":\"fail\",\"fields\":[{\"kind\":\"" kind "\",\"path\":\"body.<x>\",\"failed\":"   \
    "true,\"fail_log10\":" log10 ",\"examples\":[{\"primary\":\"" p "\",\"secondary\":\"" s        \
    "\",\"candidate\":\"" c "\"}]}]}"
#define EXAMPLE(kind, p, s, c) EVIDENCE("3.5", kind, p, s, c)

static void differing_parts_are_marked_by_whole_characters(void **state)
{
    (void)state;
    form_has(session_html, EXAMPLE("value", "12.50", "", "12.49"), "12.<mark>49</mark>", "<x>");
    form_has(session_html, EXAMPLE("value", "a\xc3\xa4z", "", "a\xc3\xb6z"),
        "a<mark>\xc3\xb6</mark>z", NULL);
    form_has(session_html, EXAMPLE("value", "aa", "aa", "aaa"), "aa<mark>a</mark>", NULL);
    form_has(session_html, EXAMPLE("value", "<b>", "", "<i>"), "&lt;<mark>i</mark>&gt;", NULL);
}

static void nothing_is_named_by_its_kind(void **state)
{
    (void)state;
    form_has(session_text, EXAMPLE("value", "1", "", "2"), "secondary  (the same)", NULL);
    form_has(session_text, EXAMPLE("extra", "", "", "2"), "primary    (not there)", NULL);
    form_has(session_junit, EXAMPLE("missing", "1", "", ""), "candidate  \xe2\x80\x93", "the same");
}

static void what_is_chance_has_no_examples_in_text(void **state)
{
    (void)state;
    form_has(session_text, EVIDENCE("0.1", "value", "one", "two", "three"), "three", NULL);
    form_has(session_text, EVIDENCE("0", "value", "one", "two", "three"), "body.<x>", "three");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(markup_escapes_all_that_a_reader_would_obey),
        cmocka_unit_test(progress_says_how_many_are_needed),
        cmocka_unit_test(a_verdict_is_one_of_three_words),
        cmocka_unit_test(exit_statuses_of_gates_keep_errors_apart),
        cmocka_unit_test(differing_parts_are_marked_by_whole_characters),
        cmocka_unit_test(nothing_is_named_by_its_kind),
        cmocka_unit_test(what_is_chance_has_no_examples_in_text),
    };
    return unit_run(tests);
}
