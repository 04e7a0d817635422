/* A session as one HTML page: what differs comes first. No scripts, nothing from elsewhere; every
 * text of the session goes through text_markup. */
#include "ctl/session.h"
#include "ctl/session_page.h"
#include "lib/base/parse.h"
#include "lib/compare/evidence.h"
#include <math.h>

static void markup(struct text *t, const json_t *o, const char *key)
{
    text_markup(t, str_c(object_text(o, key)));
}

static unsigned long long number(const json_t *o, const char *key)
{
    return object_number(o, key);
}

/* ---- the head ---- */

static void begin_fact(struct text *t, const char *name)
{
    text_fmt(t, "<div><dt>%s</dt><dd>", name);
}

static void end_fact(struct text *t)
{
    text_add(t, STR("</dd></div>\n"));
}

static void add_time(struct text *t, const json_t *session, const char *name, const char *key)
{
    char at[24];
    if (!json_is_integer(json_object_get(session, key)))
        return;
    format_rfc3339(json_integer_value(json_object_get(session, key)), at);
    begin_fact(t, name);
    text_fmt(t, "<time>%s</time>", at);
    end_fact(t);
}

static void add_progress(struct text *t, const json_t *session)
{
    struct text line = {0};
    session_progress(session, &line);
    text_markup(t, str_of(line.p, line.n));
    t->failed |= line.failed;
    text_release(&line);
}

static void add_facts(struct text *t, const json_t *session)
{
    const json_t *spec = json_object_get(session, "spec");
    text_add(t, STR("<dl class=\"facts\">\n"));
    begin_fact(t, "baseline → candidate");
    markup(t, spec, "baseline");
    text_add(t, STR(" → "));
    markup(t, spec, "candidate");
    end_fact(t);
    begin_fact(t, "compared");
    add_progress(t, session);
    end_fact(t);
    begin_fact(t, "state");
    markup(t, session, "state");
    text_fmt(t, ", run %llu ", number(session, "run"));
    markup(t, session, "ended_why");
    end_fact(t);
    add_time(t, session, "begun", "started");
    add_time(t, session, "ended", "ended");
    text_add(t, STR("</dl>\n"));
}

/* One of the known words, for a class. */
static const char *verdict_class(const json_t *session)
{
    switch (session_verdict(session)) {
    case STATUS_YES:
        return "pass";
    case STATUS_FAIL:
        return "fail";
    default:
        return "inconclusive";
    }
}

static void add_head(struct text *t, const json_t *session)
{
    text_fmt(t, "<header>\n<h1><span class=\"badge %s\">", verdict_class(session));
    markup(t, session, "verdict");
    text_add(t, STR("</span> "));
    markup(t, session, "name");
    text_add(t, STR("</h1>\n<p class=\"why\">"));
    markup(t, session, "why");
    text_add(t, STR("</p>\n"));
    add_facts(t, session);
    text_add(t, STR("</header>\n"));
}

/* ---- what differs ---- */

static bool inside_character(struct str s, size_t i)
{
    return i < s.n && ((unsigned char)s.p[i] & 0xc0) == 0x80;
}

/* What of s is not as in the other text is marked: between the beginning and the end that they
 * share, by whole characters. */
static void add_marked(struct text *t, struct str s, struct str other)
{
    size_t max = s.n < other.n ? s.n : other.n, a = 0, z = 0;
    while (a < max && s.p[a] == other.p[a])
        a++;
    while (a && inside_character(s, a))
        a--;
    while (z < max - a && s.p[s.n - 1 - z] == other.p[other.n - 1 - z])
        z++;
    while (z && inside_character(s, s.n - z))
        z--;
    text_markup(t, str_of(s.p, a));
    if (a + z < s.n) {
        text_add(t, STR("<mark>"));
        text_markup(t, str_of(s.p + a, s.n - a - z));
        text_add(t, STR("</mark>"));
    }
    text_markup(t, str_of(s.p + s.n - z, z));
}

static void add_side(
    struct text *t, const json_t *x, const char *kind, const char *role, const char *title)
{
    struct str s = str_c(object_text(x, role)), primary = str_c(object_text(x, "primary"));
    text_fmt(t, "<div class=\"%s\"><h4>%s</h4><pre>", role, title);
    if (s.n)
        add_marked(t, s, strcmp(role, "primary") == 0 ? s : primary);
    else
        text_fmt(t, "<span class=\"dim\">%s</span>", session_nothing(kind, role));
    text_add(t, STR("</pre></div>\n"));
}

static void add_example(struct text *t, const json_t *x, const char *kind)
{
    text_fmt(t, "<p class=\"dim\">sample %llu, trace <code>", number(x, "sample"));
    markup(t, x, "trace");
    text_add(t, STR("</code></p>\n<div class=\"sides\">\n"));
    add_side(t, x, kind, "primary", "before: what the user got");
    add_side(t, x, kind, "candidate", "after: the candidate");
    add_side(t, x, kind, "secondary", "the baseline, asked once more");
    text_add(t, STR("</div>\n"));
}

static void add_percent(struct text *t, unsigned long long n, unsigned long long of)
{
    text_fmt(t, "%llu", n);
    if (of)
        text_fmt(t, " (%.3g %%)", 100.0 * (double)n / (double)of);
}

static void add_field(struct text *t, const json_t *f)
{
    unsigned long long pairs = number(f, "pairs");
    const json_t *x;
    size_t i;
    text_fmt(
        t, "<section class=\"field%s\">\n<h3><code>", object_true(f, "failed") ? " failed" : "");
    markup(t, f, "path");
    text_add(t, STR("</code> "));
    markup(t, f, "kind");
    if (object_true(f, "failed"))
        text_add(t, STR(" <span class=\"fail\">failed</span>"));
    text_add(t, STR("</h3>\n<p class=\"dim\"><code>"));
    markup(t, f, "endpoint");
    text_add(t, STR("</code></p>\n<p>Only the candidate differs in "));
    add_percent(t, number(f, "candidate_only"), pairs);
    text_add(t, STR(", only the secondary in "));
    add_percent(t, number(f, "secondary_only"), pairs);
    text_add(t, STR(", both in "));
    add_percent(t, number(f, "both"), pairs);
    text_fmt(t, " of %llu pairs%s.</p>\n", pairs,
        object_true(f, "shape") ? "; noisy, so compared by its shape" : "");
    json_array_foreach(json_object_get(f, "examples"), i, x)
    {
        add_example(t, x, object_text(f, "kind"));
    }
    text_add(t, STR("</section>\n"));
}

/* What counts more against the candidate than chance would: noise has a place of its own. */
static bool is_difference(const json_t *f)
{
    return object_true(f, "failed") ||
           evidence_fail_log10(number(f, "candidate_only"), number(f, "secondary_only")) > 0;
}

static void add_fields(struct text *t, const json_t *session, bool differences)
{
    const json_t *f;
    size_t i, n = 0;
    json_array_foreach(json_object_get(session, "fields"), i, f)
    {
        if (is_difference(f) != differences)
            continue;
        if (!differences && n == 0)
            text_add(t, STR("<h2>Noise: the baseline differs from itself as often</h2>\n"));
        add_field(t, f);
        n++;
    }
    if (differences && n == 0)
        text_add(t, STR("<p>No field differs more in the candidate than in its baseline.</p>\n"));
}

static void add_overflow(struct text *t, const json_t *session)
{
    const json_t *over = json_object_get(session, "overflow");
    if (number(over, "candidate_only") + number(over, "secondary_only") + number(over, "both"))
        text_fmt(t,
            "<p>In fields beyond the first 4,096, together: only the candidate %llu, only the "
            "secondary %llu, both %llu.</p>\n",
            number(over, "candidate_only"), number(over, "secondary_only"), number(over, "both"));
}

/* ---- headlines ---- */

static const char *headline_meaning(const char *name)
{
    static const char *const meanings[][2] = {
        {"status", "the status is of another class than the user's"},
        {"grpc-status", "grpc-status is another one than the user's"},
        {"transport-error", "no whole reply came"}, {"timeout", "no reply came in time"},
        {"field", "any field that counts is not as in the user's reply"},
        {"latency", "it took more than 1.2 times as long as the other"},
        {"slow-p90", "it took longer than nine of ten first replies of the secondary"},
        {"slow-p99", "it took longer than 99 of 100 first replies of the secondary"}};
    for (size_t i = 0; i < sizeof(meanings) / sizeof(meanings[0]); i++)
        if (strcmp(name, meanings[i][0]) == 0)
            return meanings[i][1];
    return "";
}

static void add_evidence(struct text *t, double log10_of)
{
    if (fabs(log10_of) < 6)
        text_fmt(t, "%.3g", pow(10, log10_of));
    else
        text_fmt(t, "10<sup>%.1f</sup>", log10_of);
}

/* What the evidence means, in a sentence. */
static void add_sentence(struct text *t, const json_t *h, double epsilon)
{
    const char *state = object_text(h, "state");
    if (strcmp(state, "fail") == 0) {
        text_add(t, STR("Were the candidate like its baseline, at most one in "));
        add_evidence(t, object_real(h, "fail_log10"));
        text_add(t, STR(" sessions would ever look like this; one in 320 is enough to fail."));
    } else if (strcmp(state, "pass") == 0) {
        text_fmt(t,
            "That it happens to %g %% more of the candidate's replies is ruled out: evidence ",
            100 * epsilon);
        add_evidence(t, object_real(h, "pass_log10"));
        text_add(t, STR(", 20 is enough."));
    } else if (number(h, "pairs") == 0) {
        text_add(t, STR("Nothing was counted yet."));
    } else {
        text_add(t, STR("Not decided: evidence that it differs "));
        add_evidence(t, object_real(h, "fail_log10"));
        text_add(t, STR(" of 320, that it does not "));
        add_evidence(t, object_real(h, "pass_log10"));
        text_add(t, STR(" of 20."));
    }
}

static void add_headline(struct text *t, const json_t *h, double epsilon)
{
    const char *name = object_text(h, "name"), *state = object_text(h, "state");
    bool known = strcmp(state, "fail") == 0 || strcmp(state, "pass") == 0;
    text_add(t, STR("<tr><td><strong>"));
    text_markup(t, str_c(name));
    text_fmt(t, "</strong><br><span class=\"dim\">%s</span></td><td class=\"%s\">",
        headline_meaning(name), known ? state : "open");
    text_markup(t, str_c(state));
    text_fmt(t,
        "</td><td class=\"n\">%llu</td><td class=\"n\">%llu</td><td class=\"n\">%llu</td><td>",
        number(h, "candidate_only"), number(h, "secondary_only"), number(h, "pairs"));
    add_sentence(t, h, epsilon);
    text_add(t, STR("</td></tr>\n"));
}

static void add_headlines(struct text *t, const json_t *session)
{
    double epsilon = object_real(json_object_get(session, "spec"), "epsilon");
    const json_t *h;
    size_t i;
    text_add(t, STR("<h2>Headlines</h2>\n<div class=\"scroll\"><table class=\"headlines\"><tr>"
                    "<th>what counts</th><th>state</th><th class=\"n\">only candidate</th>"
                    "<th class=\"n\">only secondary</th><th class=\"n\">pairs</th>"
                    "<th>evidence</th></tr>\n"));
    json_array_foreach(json_object_get(session, "headlines"), i, h)
    {
        add_headline(t, h, epsilon);
    }
    text_add(t, STR("</table></div>\n"));
}

/* ---- the rest ---- */

static void add_endpoints(struct text *t, const json_t *session)
{
    const json_t *x;
    size_t i;
    text_add(t, STR("<h2>Samples</h2>\n<div class=\"scroll\"><table><tr><th>endpoint</th>"
                    "<th class=\"n\">pairs</th></tr>\n"));
    json_array_foreach(json_object_get(session, "endpoints"), i, x)
    {
        text_add(t, STR("<tr><td><code>"));
        markup(t, x, "name");
        text_fmt(t, "</code></td><td class=\"n\">%llu</td></tr>\n", number(x, "pairs"));
    }
    text_add(t, STR("</table></div>\n"));
}

static void add_drops(struct text *t, const json_t *session)
{
    json_t *dropped = json_object_get(session, "dropped"), *n;
    const char *reason;
    if (json_object_size(dropped) == 0) {
        text_add(t, STR("<p>No sample was dropped.</p>\n"));
        return;
    }
    text_add(t, STR("<div class=\"scroll\"><table class=\"drops\"><tr><th>dropped because of</th>"
                    "<th class=\"n\">samples</th></tr>\n"));
    json_object_foreach(dropped, reason, n)
    {
        text_add(t, STR("<tr><td>"));
        text_markup(t, str_c(reason));
        text_fmt(t, "</td><td class=\"n\">%lld</td></tr>\n", (long long)json_integer_value(n));
    }
    text_add(t, STR("</table></div>\n"));
}

static void add_context(struct text *t, const json_t *session)
{
    const json_t *context = json_object_get(session, "context"), *hop;
    size_t i;
    text_add(t, STR("<h2>Context</h2>\n<p>That services pass the context on is <strong>"));
    markup(t, context, "state");
    text_add(t, STR("</strong>. "));
    markup(t, context, "lost");
    text_add(t, STR("</p>\n<div class=\"scroll\"><table><tr><th>service</th><th class=\"n\">the "
                    "users' own</th><th class=\"n\">dark</th><th class=\"n\">context lost</th></tr>"
                    "\n"));
    json_array_foreach(json_object_get(context, "hops"), i, hop)
    {
        text_add(t, STR("<tr><td>"));
        markup(t, hop, "service");
        text_fmt(t,
            "</td><td class=\"n\">%llu</td><td class=\"n\">%llu</td><td class=\"n\">%llu</td>"
            "</tr>\n",
            number(hop, "sampled"), number(hop, "dark"), number(hop, "lost"));
    }
    text_add(t, STR("</table></div>\n"));
}

static void add_suggestions(struct text *t, const json_t *session)
{
    const json_t *suggestions = json_object_get(session, "suggestions"), *s;
    size_t i;
    if (json_array_size(suggestions) == 0)
        return;
    text_add(t, STR("<h2>Fields that a new session may leave out</h2>\n<pre>"));
    json_array_foreach(suggestions, i, s)
    {
        text_add(t, STR("--ignore &#39;"));
        text_markup(t, str_c(json_string_value(s)));
        text_add(t, STR("&#39;\n"));
    }
    text_add(t, STR("</pre>\n"));
}

static void add_value(struct text *t, const json_t *v)
{
    const json_t *item;
    size_t i;
    if (json_is_string(v))
        text_markup(t, str_of(json_string_value(v), json_string_length(v)));
    else if (json_is_number(v))
        text_fmt(t, "%.10g", json_number_value(v));
    else if (json_is_boolean(v))
        text_add(t, json_is_true(v) ? STR("yes") : STR("no"));
    else if (json_array_size(v) == 0)
        text_add(t, STR("<span class=\"dim\">–</span>"));
    json_array_foreach(v, i, item)
    {
        text_add(t, i ? STR("<br>") : STR(""));
        text_markup(t, str_c(json_string_value(item)));
    }
}

static void add_spec(struct text *t, const json_t *session)
{
    json_t *spec = json_object_get(session, "spec"), *v;
    const char *key;
    text_add(t, STR("<h2>What was asked for</h2>\n<div class=\"scroll\"><table class=\"spec\">\n"));
    json_object_foreach(spec, key, v)
    {
        text_add(t, STR("<tr><th>"));
        text_markup(t, str_c(key));
        text_add(t, STR("</th><td class=\"v\">"));
        add_value(t, v);
        text_add(t, STR("</td></tr>\n"));
    }
    text_add(t, STR("<tr><th>journal</th><td class=\"v\">"));
    markup(t, json_object_get(session, "journal"), "path");
    text_add(t, STR("</td></tr>\n</table></div>\n"));
}

void session_html(const json_t *session, struct text *t)
{
    text_add(t, STR("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
                    "style-src 'unsafe-inline'\">\n<title>"));
    markup(t, session, "verdict");
    text_add(t, STR(": "));
    markup(t, session, "name");
    text_add(t, STR("</title>\n<style>\n"));
    text_add(t, str_c(session_style));
    text_add(t, STR("</style>\n</head>\n<body>\n"));
    add_head(t, session);
    text_add(t, STR("<main>\n<h2>What differs</h2>\n"));
    add_fields(t, session, true);
    add_overflow(t, session);
    add_headlines(t, session);
    text_add(t, STR("<h2>Latency</h2>\n"));
    session_plot(json_object_get(session, "latency"), t);
    add_endpoints(t, session);
    add_drops(t, session);
    add_fields(t, session, false);
    add_suggestions(t, session);
    add_context(t, session);
    add_spec(t, session);
    text_add(t, STR("</main>\n</body>\n</html>\n"));
}
