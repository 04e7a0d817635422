/* A verdict as JUnit XML: a test case for each headline and for each field that failed. What is not
 * decided yet is a skipped one. */
#include "ctl/markup.h"
#include "ctl/session.h"

struct cases {
    struct text text;
    unsigned n, failures, skipped;
};

static void attribute(struct text *t, const char *name, const char *value)
{
    text_fmt(t, " %s=\"", name);
    text_markup(t, str_c(value));
    text_add(t, STR("\""));
}

static void begin_case(struct cases *c, const json_t *session, const char *kind, const char *name)
{
    struct text *t = &c->text;
    text_add(t, STR("    <testcase classname=\"shadow."));
    text_markup(t, str_c(object_text(session, "name")));
    text_fmt(t, ".%s\" name=\"", kind);
    text_markup(t, str_c(name));
    text_add(t, STR("\">"));
    c->n++;
}

static void counts(struct text *t, const json_t *o)
{
    text_fmt(t, "only the candidate differs in %llu, only the secondary in %llu of %llu pairs",
        (unsigned long long)object_number(o, "candidate_only"),
        (unsigned long long)object_number(o, "secondary_only"),
        (unsigned long long)object_number(o, "pairs"));
}

/* A failure's beginning, up to the text in it. */
static void begin_failure(struct cases *c, const json_t *o)
{
    text_add(&c->text, STR("<failure type=\"differs\" message=\""));
    counts(&c->text, o);
    text_add(&c->text, STR("\">"));
    c->failures++;
}

static void add_headline(struct cases *c, const json_t *session, const json_t *h)
{
    const char *state = object_text(h, "state");
    begin_case(c, session, "headline", object_text(h, "name"));
    if (strcmp(state, "fail") == 0) {
        begin_failure(c, h);
        text_fmt(
            &c->text, "evidence 10^%.2f, fails at 320</failure>", object_real(h, "fail_log10"));
    } else if (strcmp(state, "pass") != 0) {
        text_add(&c->text, STR("<skipped message=\"not decided: "));
        counts(&c->text, h);
        text_add(&c->text, STR("\"/>"));
        c->skipped++;
    }
    text_add(&c->text, STR("</testcase>\n"));
}

static void add_side(struct text *t, const json_t *x, const char *kind, const char *role)
{
    const char *s = object_text(x, role);
    text_fmt(t, "\n  %-9s  ", role);
    text_markup(t, str_c(*s ? s : session_nothing(kind, role)));
}

static void add_example(struct text *t, const json_t *x, const char *kind)
{
    text_fmt(t, "\nsample %llu, trace ", (unsigned long long)object_number(x, "sample"));
    text_markup(t, str_c(object_text(x, "trace")));
    add_side(t, x, kind, "primary");
    add_side(t, x, kind, "secondary");
    add_side(t, x, kind, "candidate");
}

static void add_field(struct cases *c, const json_t *session, const json_t *f)
{
    struct text name = {0};
    const json_t *x;
    size_t i;
    text_fmt(&name, "%s %s (%s)", object_text(f, "endpoint"), object_text(f, "path"),
        object_text(f, "kind"));
    begin_case(c, session, "field", name.failed ? "" : name.p);
    c->text.failed |= name.failed;
    text_release(&name);
    begin_failure(c, f);
    text_fmt(&c->text, "evidence 10^%.2f, fails at 163840", object_real(f, "fail_log10"));
    json_array_foreach(json_object_get(f, "examples"), i, x)
    {
        add_example(&c->text, x, object_text(f, "kind"));
    }
    text_add(&c->text, STR("</failure></testcase>\n"));
}

static void add_cases(struct cases *c, const json_t *session)
{
    const json_t *o;
    size_t i;
    json_array_foreach(json_object_get(session, "headlines"), i, o)
    {
        add_headline(c, session, o);
    }
    json_array_foreach(json_object_get(session, "fields"), i, o)
    {
        if (object_true(o, "failed"))
            add_field(c, session, o);
    }
    if (c->failures || session_verdict(session) != STATUS_FAIL)
        return;
    begin_case(c, session, "verdict", "verdict"); /* nothing above says that it failed */
    text_add(&c->text, STR("<failure type=\"differs\""));
    attribute(&c->text, "message", object_text(session, "why"));
    text_add(&c->text, STR("/></testcase>\n"));
    c->failures++;
}

static void property(struct text *t, const char *name, const char *value)
{
    text_add(t, STR("      <property"));
    attribute(t, "name", name);
    attribute(t, "value", value);
    text_add(t, STR("/>\n"));
}

static void add_properties(struct text *t, const json_t *session)
{
    const json_t *spec = json_object_get(session, "spec");
    text_add(t, STR("    <properties>\n"));
    property(t, "verdict", object_text(session, "verdict"));
    property(t, "why", object_text(session, "why"));
    property(t, "state", object_text(session, "state"));
    property(t, "baseline", object_text(spec, "baseline"));
    property(t, "candidate", object_text(spec, "candidate"));
    text_fmt(t, "      <property name=\"samples\" value=\"%llu\"/>\n    </properties>\n",
        (unsigned long long)object_number(session, "samples"));
}

void session_junit(const json_t *session, struct text *t)
{
    struct cases c = {.n = 0};
    add_cases(&c, session);
    text_fmt(t,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites tests=\"%u\" failures=\"%u\" "
        "errors=\"0\">\n  <testsuite name=\"shadow ",
        c.n, c.failures);
    text_markup(t, str_c(object_text(session, "name")));
    text_fmt(t, "\" tests=\"%u\" failures=\"%u\" errors=\"0\" skipped=\"%u\">\n", c.n, c.failures,
        c.skipped);
    add_properties(t, session);
    text_add(t, str_of(c.text.p, c.text.n));
    t->failed |= c.text.failed;
    text_release(&c.text);
    text_add(t, STR("  </testsuite>\n</testsuites>\n"));
}
