/* A session as an object. */
#include "agent/session_int.h"
#include "lib/base/mem.h"
#include "lib/net/admingraph.h"
#include <errno.h>
#include <inttypes.h>
#include <math.h>

static const char *const role_words[ROLE_COUNT] = {"primary", "secondary", "candidate"};

static void add_string(struct text *t, struct str s)
{
    text_add(t, STR("\""));
    text_json(t, s);
    text_add(t, STR("\""));
}

const char *session_verdict_word(const struct session *s)
{
    return verdict_word(session_verdict(s));
}

uint64_t session_bytes(const struct session *s)
{
    return s->journal ? journal_bytes(s->journal) : s->journal_bytes;
}

/* ---- why ---- */

static void why_fail(const struct session *s, const struct tally_verdict *v, struct text *out)
{
    if (v->headline >= 0) {
        struct tally_count c = tally_headline(s->tally, (enum headline)v->headline);
        text_fmt(out,
            "headline %s: only the candidate differs in %" PRIu64 ", only the secondary in %" PRIu64
            " of %" PRIu64 " samples",
            headline_word((enum headline)v->headline), c.candidate_only, c.secondary_only, c.pairs);
    } else if (v->field != SIZE_MAX) {
        struct tally_field f = tally_field(s->tally, v->field);
        text_fmt(out,
            "field %.*s (%s) of %.*s: only the candidate differs in %" PRIu64
            ", only the secondary in %" PRIu64 " of %" PRIu64 " samples",
            STR_ARG(f.path), diff_kind_word(f.kind), STR_ARG(f.endpoint), f.count.candidate_only,
            f.count.secondary_only, f.count.pairs);
    } else {
        text_add(out, STR("the fields that have no place of their own, together"));
    }
}

/* The worst field says more than the headline that counts any of them. */
static void why_with_field(const struct session *s, const struct tally_verdict *v, struct text *out)
{
    size_t worst;
    why_fail(s, v, out);
    if (v->headline != HEADLINE_FIELD || tally_worst(s->tally, &worst, 1) == 0)
        return;
    struct tally_field f = tally_field(s->tally, worst);
    text_fmt(out, "; the worst is %.*s (%s) of %.*s", STR_ARG(f.path), diff_kind_word(f.kind),
        STR_ARG(f.endpoint));
}

/* Index of the most frequent reason but "canary", which waits by itself; n: none. */
static unsigned most_dropped(const struct shadow_drops *d)
{
    unsigned most = d->n;
    for (unsigned i = 0; i < d->n; i++)
        if (strcmp(d->reason[i], "canary") != 0 && (most == d->n || d->count[i] > d->count[most]))
            most = i;
    return most;
}

static void why_canary(const struct session *s, struct text *out)
{
    uint64_t attempts = canary_attempts(s->canary);
    unsigned most = most_dropped(s->drops);
    if (attempts)
        text_fmt(out, "the context is being proved: %" PRIu64 " attempts so far", attempts);
    else
        text_add(out, STR("waiting for traffic"));
    if (!attempts && most < s->drops->n)
        text_fmt(out, " that is of use; dropped so far: %s %" PRIu64, s->drops->reason[most],
            s->drops->count[most]);
}

static void why_open(const struct session *s, const struct tally_verdict *v, struct text *out)
{
    if (s->state == SESSION_CANARY) {
        why_canary(s, out);
        return;
    }
    text_fmt(out, "%" PRIu64 " samples, ", v->samples);
    if (v->samples_needed == UINT64_MAX)
        text_add(out, STR("cannot tell how many more are needed"));
    else
        text_fmt(out, "some %" PRIu64 " more are needed", v->samples_needed);
    if (v->headline >= 0)
        text_fmt(out, " for headline %s", headline_word((enum headline)v->headline));
}

static void why_ended(const struct session *s, const struct tally_verdict *v, struct text *out)
{
    text_add(out, str_c(s->end_why));
    if (v->verdict != VERDICT_INCONCLUSIVE || str_starts(str_c(s->end_why), STR("context-lost")))
        return;
    text_add(out, STR("; "));
    why_open(s, v, out);
}

void session_why(const struct session *s, struct text *out)
{
    enum verdict told = session_verdict(s);
    struct tally_verdict v;
    tally_verdict(s->tally, &v);
    if (s->state == SESSION_ENDED && (told == VERDICT_INCONCLUSIVE || told != v.verdict))
        why_ended(s, &v, out);
    else if (v.verdict == VERDICT_FAIL)
        why_with_field(s, &v, out);
    else if (v.verdict == VERDICT_PASS)
        text_fmt(out, "no headline differs by %g or more in %" PRIu64 " samples", s->spec.epsilon,
            v.samples);
    else
        why_open(s, &v, out);
}

/* ---- parts ---- */

const char *session_headline_state(const struct tally_verdict *v, enum headline h)
{
    if (v->fail_log10[h] >= log10(evidence_fail_threshold(SLOT_HEADLINE)))
        return "fail";
    return v->pass_log10[h] >= log10(EVIDENCE_PASS) ? "pass" : "open";
}

static void add_headlines(const struct session *s, struct text *t)
{
    struct tally_verdict v;
    tally_verdict(s->tally, &v);
    text_add(t, STR("\"headlines\":["));
    for (unsigned h = 0; h < HEADLINE_COUNT; h++) {
        struct tally_count c = tally_headline(s->tally, (enum headline)h);
        const char *state = session_headline_state(&v, (enum headline)h);
        text_fmt(t,
            "%s{\"name\":\"%s\",\"pairs\":%" PRIu64 ",\"candidate_only\":%" PRIu64
            ",\"secondary_only\":%" PRIu64 ",\"both\":%" PRIu64
            ",\"fail_log10\":%.6g,\"pass_log10\":%.6g,\"state\":\"%s\"}",
            h ? "," : "", headline_word((enum headline)h), c.pairs, c.candidate_only,
            c.secondary_only, c.both, v.fail_log10[h], v.pass_log10[h], state);
    }
    text_add(t, STR("],"));
}

static void add_examples(const struct session *s, const struct tally_field *f, struct text *t)
{
    struct example_field key = {f->endpoint, f->path, f->kind};
    struct example x[EXAMPLES_EACH];
    size_t n = examples_of(s->examples, &key, x);
    text_add(t, STR(",\"examples\":["));
    for (size_t i = 0; i < n; i++) {
        text_fmt(t, "%s{\"sample\":%" PRIu64 ",\"trace\":\"", i ? "," : "", x[i].sample);
        text_hex(t, x[i].trace, TRACE_BYTES);
        text_add(t, STR("\",\"primary\":"));
        add_string(t, x[i].primary);
        text_add(t, STR(",\"secondary\":"));
        add_string(t, x[i].secondary);
        text_add(t, STR(",\"candidate\":"));
        add_string(t, x[i].candidate);
        text_add(t, STR("}"));
    }
    text_add(t, STR("]}"));
}

static void add_field(const struct session *s, const struct tally_field *f, struct text *t)
{
    double fail = f->count.fail_log10_max;
    text_add(t, STR("{\"endpoint\":"));
    add_string(t, f->endpoint);
    text_add(t, STR(",\"path\":"));
    add_string(t, f->path);
    text_fmt(t,
        ",\"kind\":\"%s\",\"pairs\":%" PRIu64 ",\"candidate_only\":%" PRIu64
        ",\"secondary_only\":%" PRIu64 ",\"both\":%" PRIu64
        ",\"fail_log10\":%.6g,\"shape\":%s,\"failed\":%s",
        diff_kind_word(f->kind), f->count.pairs, f->count.candidate_only, f->count.secondary_only,
        f->count.both, fail, f->shape ? "true" : "false",
        fail >= log10(evidence_fail_threshold(SLOT_FIELD)) ? "true" : "false");
    add_examples(s, f, t);
}

static void add_fields(const struct session *s, size_t max, struct text *t)
{
    struct tally_count over = tally_overflow(s->tally);
    size_t *worst = mem_array(max + 1, sizeof *worst);
    size_t n = worst ? tally_worst(s->tally, worst, max) : 0;
    if (!worst)
        t->failed = -ENOMEM;
    text_add(t, STR("\"fields\":["));
    for (size_t i = 0; i < n; i++) {
        struct tally_field f = tally_field(s->tally, worst[i]);
        text_add(t, i ? STR(",") : STR(""));
        add_field(s, &f, t);
    }
    mem_free(worst);
    text_fmt(t,
        "],\"overflow\":{\"pairs\":%" PRIu64 ",\"candidate_only\":%" PRIu64
        ",\"secondary_only\":%" PRIu64 ",\"both\":%" PRIu64 "},",
        over.pairs, over.candidate_only, over.secondary_only, over.both);
}

static void add_endpoints(const struct session *s, struct text *t)
{
    text_add(t, STR("\"endpoints\":["));
    for (size_t i = 0; i < tally_endpoints(s->tally); i++) {
        uint64_t pairs;
        struct str name = tally_endpoint(s->tally, i, &pairs);
        text_add(t, i ? STR(",{\"name\":") : STR("{\"name\":"));
        add_string(t, name);
        text_fmt(t, ",\"pairs\":%" PRIu64 "}", pairs);
    }
    text_add(t, STR("],"));
}

static void add_buckets(const uint64_t *cells, struct text *t)
{
    const char *comma = "";
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        if (cells[i])
            text_fmt(t, "%s[%" PRIu64 ",%" PRIu64 "]", comma, histogram_edge(i), cells[i]);
        comma = cells[i] ? "," : comma;
    }
    if (cells[HISTOGRAM_BUCKETS])
        text_fmt(t, "%s[null,%" PRIu64 "]", comma, cells[HISTOGRAM_BUCKETS]);
}

static void add_latency(const struct session *s, struct text *t)
{
    text_add(t, STR("\"latency\":{"));
    for (unsigned r = 0; r < ROLE_COUNT; r++) {
        uint64_t cells[HISTOGRAM_CELLS];
        for (unsigned i = 0; i < HISTOGRAM_CELLS; i++)
            cells[i] = counter_get(&s->latency[r][i]);
        text_fmt(t,
            "%s\"%s\":{\"p50_us\":%" PRIu64 ",\"p90_us\":%" PRIu64 ",\"p99_us\":%" PRIu64
            ",\"buckets\":[",
            r ? "," : "", role_words[r], histogram_quantile(cells, 0.5),
            histogram_quantile(cells, 0.9), histogram_quantile(cells, 0.99));
        add_buckets(cells, t);
        text_add(t, STR("]}"));
    }
    text_add(t, STR("},"));
}

static void add_drops(const struct session *s, struct text *t)
{
    text_add(t, STR("\"dropped\":{"));
    for (unsigned i = 0; i < s->drops->n; i++)
        text_fmt(t, "%s\"%s\":%" PRIu64, i ? "," : "", s->drops->reason[i], s->drops->count[i]);
    text_add(t, STR("},"));
}

static void add_context(const struct session *s, struct text *t)
{
    enum canary_state state = canary_judge(s->canary, s->host->ms(s->host->arg));
    bool lost = state == CANARY_LOST || str_starts(str_c(s->end_why), STR("context-lost"));
    text_fmt(t,
        "\"context\":{\"state\":\"%s\",\"attempts\":%" PRIu64 ",\"blocked\":%" PRIu64 ",\"hops\":[",
        lost ? "lost" : canary_word(state), canary_attempts(s->canary), canary_blocked(s->canary));
    for (size_t i = 0; i < canary_services(s->canary); i++) {
        struct canary_service c = canary_service(s->canary, i);
        text_add(t, i ? STR(",{\"service\":") : STR("{\"service\":"));
        add_string(t, c.name);
        text_fmt(t, ",\"sampled\":%" PRIu64 ",\"dark\":%" PRIu64 ",\"lost\":%" PRIu64 "}",
            c.sampled, c.dark, c.lost);
    }
    text_add(t, STR("],\"lost\":"));
    if (lost)
        add_string(t, str_c(s->end_why[0] ? s->end_why : canary_why(s->canary)));
    else
        text_add(t, STR("null"));
    text_add(t, STR("},"));
}

static void add_suggestions(const struct session *s, struct text *t)
{
    struct text lines = {0};
    bool first = true;
    tally_suggest(s->tally, &lines);
    struct str rest = {lines.p, lines.n};
    text_add(t, STR("\"suggestions\":["));
    while (rest.n > 0) {
        struct str line = {rest.p, str_find(rest, '\n')};
        rest = str_from(rest, line.n < rest.n ? line.n + 1 : line.n);
        text_add(t, first ? STR("") : STR(","));
        add_string(t, line);
        first = false;
    }
    text_release(&lines);
    text_add(t, STR("],"));
}

static void add_stores(const struct session *s, struct text *t)
{
    struct recorder_status r = {.state = "off", .why = ""};
    if (s->host->recorder)
        recorder_status(s->host->recorder, &r);
    text_add(t, STR("\"journal\":{\"path\":"));
    struct text path = {0};
    text_fmt(&path, "%s/%s", s->host->journal.dir, s->spec.name);
    add_string(t, str_of(path.p, path.n));
    text_release(&path);
    text_fmt(t, ",\"bytes\":%" PRIu64 "},\"redis\":{\"state\":\"%s\",\"why\":", session_bytes(s),
        r.state);
    add_string(t, str_c(r.why));
    text_fmt(t, ",\"behind\":%" PRIu64 "}", r.behind);
}

/* ---- the whole ---- */

static void add_head(const struct session *s, struct text *t)
{
    struct text why = {0};
    struct tally_verdict v;
    tally_verdict(s->tally, &v);
    text_fmt(t, "{\"name\":\"%s\",\"id\":%" PRIu64 ",\"state\":\"%s\",\"verdict\":\"%s\",\"why\":",
        s->spec.name, s->id, session_state_word(s->state), session_verdict_word(s));
    session_why(s, &why);
    add_string(t, str_of(why.p, why.n));
    text_release(&why);
    text_fmt(t, ",\"run\":%" PRIu32 ",\"started\":%" PRId64 ",\"ended\":", s->run, s->started);
    text_fmt(t, s->ended ? "%" PRId64 : "null", s->ended);
    text_add(t, STR(",\"ended_why\":"));
    if (s->ended)
        add_string(t, str_c(s->end_why));
    else
        text_add(t, STR("null"));
    text_add(t, STR(",\"spec\":"));
    spec_json(&s->spec, t);
    text_fmt(t, ",\"samples\":%" PRIu64 ",\"samples_needed\":", tally_samples(s->tally));
    text_fmt(t, v.samples_needed == UINT64_MAX ? "null" : "%" PRIu64, v.samples_needed);
    text_fmt(t, ",\"in_flight\":%" PRIu32, s->in_flight);
}

void session_show(const struct session *s, bool json, size_t fields, struct text *out)
{
    if (!json) {
        session_text(s, fields, out);
        return;
    }
    add_head(s, out);
    if (fields) {
        text_add(out, STR(","));
        add_headlines(s, out);
        add_fields(s, fields, out);
        add_endpoints(s, out);
        add_latency(s, out);
        add_drops(s, out);
        add_context(s, out);
        session_descriptors_json(s, out);
        add_suggestions(s, out);
        add_stores(s, out);
    }
    text_add(out, STR("}"));
}
