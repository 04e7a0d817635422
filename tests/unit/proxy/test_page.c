/* The page of a refusal: plain words, every value escaped. */
#include "proxy/page.h"
#include "tests/unit/unit.h"

#define TRACE STR("0123456789abcdef0123456789abcdef")

static const struct model_selector by_header = {.kind = SELECT_HEADER, .key.s = STR("x-env")};
static const struct model_selector by_query = {.kind = SELECT_QUERY, .key.s = STR("e\"<&'>v")};

static struct page plain(void)
{
    return (struct page){.refusal = REFUSAL_UNKNOWN_ENVIRONMENT,
        .status = 404,
        .detail = "",
        .environment = STR("feat-42"),
        .trace_id = TRACE,
        .source = SOURCE_SELECTOR,
        .selector = &by_header};
}

static struct text written(const struct page *p)
{
    struct text t = {0};
    page_write(&t, p);
    assert_int_equal(t.failed, 0);
    return t;
}

static bool says(const struct page *p, const char *what)
{
    struct text t = written(p);
    bool found = strstr(t.p, what) != NULL;
    text_release(&t);
    return found;
}

static void every_refusal_has_its_words(void **state)
{
    (void)state;
    struct page p = plain();
    for (unsigned i = REFUSAL_NONE + 1; i < REFUSAL_COUNT; i++) {
        p.refusal = (enum refusal)i;
        assert_non_null(page_sentence(p.refusal));
        assert_true(says(&p, refusal_word(p.refusal)));
        assert_true(says(&p, page_sentence(p.refusal)));
        assert_false(says(&p, "(null)"));
        assert_false(says(&p, "<h1></h1>"));
    }
}

static void says_what_was_asked_for_by_which_selector(void **state)
{
    (void)state;
    struct page p = plain();
    assert_true(says(&p, "<b>feat-42</b>, named by the header <code>x-env</code>."));
    assert_true(says(&p, "0123456789abcdef0123456789abcdef"));
    p.source = SOURCE_DEFAULT;
    assert_true(says(&p, "it is the default here"));
    p.source = SOURCE_BAGGAGE;
    assert_true(says(&p, "a token in the request"));
    p.source = SOURCE_SELECTOR;
    p.selector = NULL;
    assert_true(says(&p, "a token in the request"));
}

static void what_is_no_name_is_not_shown(void **state)
{
    (void)state;
    static const char *const values[] = {"<script>", "A", "-a", "a\r\nb", "", "a.b"};
    struct page p = plain();
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        p.environment = str_c(values[i]);
        assert_false(says(&p, "<b>"));
        assert_false(says(&p, "<script>"));
    }
}

static void every_other_value_is_escaped(void **state)
{
    (void)state;
    struct page p = plain();
    p.selector = &by_query;
    p.detail = "<i>";
    p.service = STR("<s>");
    p.trace_id = STR("<u>&");
    p.by_cookie = p.can_leave = true;
    assert_false(says(&p, "<i>"));
    assert_false(says(&p, "<s>"));
    assert_false(says(&p, "<u>"));
    assert_true(says(&p, "&lt;u&gt;&amp;"));
    assert_true(says(&p, "<a href=\"/?e%22%3C%26%27%3Ev=\">"));
    p.by_cookie = false;
    assert_true(says(&p, "<code>e&quot;&lt;&amp;&#39;&gt;v</code>"));
}

static void leads_out_of_a_preview_only_where_that_works(void **state)
{
    (void)state;
    struct page p = plain();
    p.selector = &by_query;
    assert_false(says(&p, "href"));
    p.by_cookie = true;
    assert_false(says(&p, "href"));
    p.can_leave = true;
    assert_true(says(&p, "href"));
}

static void tells_when_it_expired_if_it_may(void **state)
{
    (void)state;
    struct page p = plain();
    p.refusal = REFUSAL_EXPIRED;
    assert_false(says(&p, "<time>"));
    p.expired_at = 1577836800;
    assert_true(says(&p, "<time>2020-01-01T00:00:00Z</time>"));
}

static void memory_that_runs_out_is_told(void **state)
{
    (void)state;
    struct page p = plain();
    for (unsigned long n = 1;; n++) {
        struct text t = {0};
        mem_fail_nth(n);
        page_write(&t, &p);
        mem_fail_nth(0);
        int failed = t.failed;
        text_release(&t);
        if (!failed)
            return;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_refusal_has_its_words),
        cmocka_unit_test(says_what_was_asked_for_by_which_selector),
        cmocka_unit_test(what_is_no_name_is_not_shown),
        cmocka_unit_test(every_other_value_is_escaped),
        cmocka_unit_test(leads_out_of_a_preview_only_where_that_works),
        cmocka_unit_test(tells_when_it_expired_if_it_may),
        cmocka_unit_test(memory_that_runs_out_is_told),
    };
    return unit_run(tests);
}
