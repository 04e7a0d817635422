/* A verdict for people. */
#include "ctl/session.h"
#include "ctl/table.h"
#include <math.h>
#include <stdio.h>

#define FIELDS_TOLD 10u

static void clean(struct text *t, const char *s)
{
    text_clean(t, str_c(s));
}

/* "7.3", or "10^43.3" where that is unreadable. */
static void evidence_cell(struct table *t, double log10_of)
{
    char cell[32];
    bool plain = fabs(log10_of) < 6;
    snprintf(cell, sizeof(cell), plain ? "%.3g" : "10^%.1f", plain ? pow(10, log10_of) : log10_of);
    table_add(t, str_c(cell));
}

static void tell_headlines(const json_t *session, struct text *out)
{
    static const char *const names[] = {
        "  HEADLINE", "STATE", "PAIRS", "CANDIDATE", "SECONDARY", "FAIL (320)", "PASS (20)"};
    struct table t = {.columns = 7};
    const json_t *h;
    size_t i;
    for (i = 0; i < t.columns; i++)
        table_add(&t, str_c(names[i]));
    json_array_foreach(json_object_get(session, "headlines"), i, h)
    {
        char name[64];
        snprintf(name, sizeof(name), "  %s", object_text(h, "name"));
        table_add(&t, str_c(name));
        table_add(&t, str_c(object_text(h, "state")));
        table_number(&t, object_number(h, "pairs"));
        table_number(&t, object_number(h, "candidate_only"));
        table_number(&t, object_number(h, "secondary_only"));
        evidence_cell(&t, object_real(h, "fail_log10"));
        evidence_cell(&t, object_real(h, "pass_log10"));
    }
    table_write(&t, out);
}

/* A reply that is as the primary has no text of its own; but neither has what is not there. */
const char *session_nothing(const char *kind, const char *role)
{
    if (strcmp(role, "primary") == 0)
        return strcmp(kind, "extra") == 0 ? "(not there)" : "–";
    return strcmp(kind, "missing") == 0 ? "–" : "(the same)";
}

static void tell_side(const json_t *x, const char *kind, const char *role, struct text *t)
{
    const char *s = object_text(x, role);
    text_fmt(t, "\n      %-9s  ", role);
    clean(t, *s ? s : session_nothing(kind, role));
}

static void tell_example(const json_t *x, const char *kind, struct text *t)
{
    text_fmt(t, "    sample %llu, trace ", (unsigned long long)object_number(x, "sample"));
    clean(t, object_text(x, "trace"));
    tell_side(x, kind, "primary", t);
    tell_side(x, kind, "secondary", t);
    tell_side(x, kind, "candidate", t);
    text_add(t, STR("\n"));
}

static void tell_field(const json_t *f, struct text *t)
{
    const json_t *x;
    size_t i;
    text_add(t, STR("  "));
    clean(t, object_text(f, "path"));
    text_add(t, STR(" ("));
    clean(t, object_text(f, "kind"));
    text_add(t, STR(") of "));
    clean(t, object_text(f, "endpoint"));
    text_fmt(t, ": only candidate %llu, only secondary %llu, both %llu of %llu%s%s\n",
        (unsigned long long)object_number(f, "candidate_only"),
        (unsigned long long)object_number(f, "secondary_only"),
        (unsigned long long)object_number(f, "both"), (unsigned long long)object_number(f, "pairs"),
        object_true(f, "shape") ? ", by shape" : "", object_true(f, "failed") ? ": FAILED" : "");
    if (json_number_value(json_object_get(f, "fail_log10")) <= 0)
        return; /* it speaks for chance: no need to see it */
    json_array_foreach(json_object_get(f, "examples"), i, x)
    {
        tell_example(x, object_text(f, "kind"), t);
    }
}

static void tell_fields(const json_t *session, struct text *t)
{
    const json_t *fields = json_object_get(session, "fields");
    size_t n = json_array_size(fields);
    if (n)
        text_add(t, STR("fields, the worst first\n"));
    for (size_t i = 0; i < n && i < FIELDS_TOLD; i++)
        tell_field(json_array_get(fields, i), t);
    if (n > FIELDS_TOLD)
        text_fmt(t, "  and %zu more: see shadow show\n", n - FIELDS_TOLD);
}

static void tell_drops(const json_t *session, struct text *t)
{
    json_t *dropped = json_object_get(session, "dropped"), *n;
    const char *reason, *comma = "  dropped    ";
    json_object_foreach(dropped, reason, n)
    {
        text_add(t, str_c(comma));
        clean(t, reason);
        text_fmt(t, " %lld", (long long)json_integer_value(n));
        comma = ", ";
    }
    if (json_object_size(dropped))
        text_add(t, STR("\n"));
}

static void tell_suggestions(const json_t *session, struct text *t)
{
    const json_t *suggestions = json_object_get(session, "suggestions"), *s;
    size_t i;
    if (json_array_size(suggestions))
        text_add(t, STR("noisy fields that a new session may leave out\n"));
    json_array_foreach(suggestions, i, s)
    {
        text_add(t, STR("  --ignore '"));
        clean(t, json_string_value(s) ? json_string_value(s) : "");
        text_add(t, STR("'\n"));
    }
}

void session_text(const json_t *session, struct text *t)
{
    const json_t *spec = json_object_get(session, "spec");
    clean(t, object_text(session, "verdict"));
    text_add(t, STR(": "));
    clean(t, object_text(session, "why"));
    text_add(t, STR("\n  session    "));
    clean(t, object_text(session, "name"));
    text_fmt(t, ", run %llu, ", (unsigned long long)object_number(session, "run"));
    clean(t, object_text(session, "state"));
    if (*object_text(session, "ended_why")) {
        text_add(t, STR(": "));
        clean(t, object_text(session, "ended_why"));
    }
    text_add(t, STR("\n  compares   "));
    clean(t, object_text(spec, "baseline"));
    text_add(t, STR(" -> "));
    clean(t, object_text(spec, "candidate"));
    text_add(t, STR("\n  so far     "));
    session_progress(session, t);
    text_add(t, STR("\n"));
    tell_drops(session, t);
    tell_headlines(session, t);
    tell_fields(session, t);
    tell_suggestions(session, t);
}
