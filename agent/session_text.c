/* A session for people. */
#include "agent/session_int.h"
#include "lib/base/mem.h"
#include "lib/base/parse.h"
#include <errno.h>
#include <inttypes.h>

static void short_line(const struct session *s, struct text *t)
{
    text_fmt(t, "%-24s %-8s %-13s run %-3" PRIu32 " %8" PRIu64 " samples  %s -> %s\n", s->spec.name,
        session_state_word(s->state), session_verdict_word(s), s->run, tally_samples(s->tally),
        s->spec.baseline, s->spec.candidate);
}

static void head(const struct session *s, struct text *t)
{
    char at[24], life[24];
    format_rfc3339(s->started, at);
    format_duration_ms(s->spec.for_s * 1000, life);
    text_fmt(t, "%s: %s, %s\nwhy           ", s->spec.name, session_state_word(s->state),
        session_verdict_word(s));
    session_why(s, t);
    text_fmt(t, "\nbaseline      %s\ncandidate     %s\nsecondary     %s\n", s->spec.baseline,
        s->spec.candidate, s->spec.secondary ? s->spec.secondary : "the baseline");
    text_fmt(t, "run           %" PRIu32 ", since %s, for %s\n", s->run, at, life);
    text_fmt(
        t, "rate          %.10g %%, epsilon %.10g\n", s->spec.rate_ppm / 10000.0, s->spec.epsilon);
    if (s->ended) {
        format_rfc3339(s->ended, at);
        text_fmt(t, "ended         %s, %s\n", at, s->end_why);
    }
    text_fmt(t, "samples       %" PRIu64 ", %" PRIu32 " on their way\n", tally_samples(s->tally),
        s->in_flight);
}

static void headlines(const struct session *s, struct text *t)
{
    struct tally_verdict v;
    tally_verdict(s->tally, &v);
    text_add(t, STR("headline                pairs  candidate  secondary  state\n"));
    for (unsigned h = 0; h < HEADLINE_COUNT; h++) {
        struct tally_count c = tally_headline(s->tally, (enum headline)h);
        text_fmt(t, "  %-18s %8" PRIu64 "   %8" PRIu64 "   %8" PRIu64 "  %s\n",
            headline_word((enum headline)h), c.pairs, c.candidate_only, c.secondary_only,
            session_headline_state(&v, (enum headline)h));
    }
}

static void add_example(const struct example *x, struct text *t)
{
    text_fmt(t, "      sample %" PRIu64 ": primary ", x->sample);
    text_plain(t, x->primary);
    text_add(t, STR(" | secondary "));
    text_plain(t, x->secondary);
    text_add(t, STR(" | candidate "));
    text_plain(t, x->candidate);
    text_add(t, STR("\n"));
}

static void fields(const struct session *s, size_t max, struct text *t)
{
    size_t *worst = mem_array(max + 1, sizeof *worst);
    size_t n = worst ? tally_worst(s->tally, worst, max) : 0;
    if (!worst)
        t->failed = -ENOMEM;
    if (n)
        text_add(t, STR("fields, the worst first\n"));
    for (size_t i = 0; i < n; i++) {
        struct tally_field f = tally_field(s->tally, worst[i]);
        struct example_field key = {f.endpoint, f.path, f.kind};
        struct example x[EXAMPLES_EACH];
        size_t nx = examples_of(s->examples, &key, x);
        text_add(t, STR("  "));
        text_plain(t, f.endpoint);
        text_add(t, STR("  "));
        text_plain(t, f.path);
        text_fmt(t,
            " %s: candidate %" PRIu64 ", secondary %" PRIu64 ", both %" PRIu64 " of %" PRIu64
            "%s\n",
            diff_kind_word(f.kind), f.count.candidate_only, f.count.secondary_only, f.count.both,
            f.count.pairs, f.shape ? ", by shape" : "");
        for (size_t k = 0; k < nx; k++)
            add_example(&x[k], t);
    }
    mem_free(worst);
}

static void drops(const struct session *s, struct text *t)
{
    if (s->drops->n == 0)
        return;
    text_add(t, STR("dropped       "));
    for (unsigned i = 0; i < s->drops->n; i++)
        text_fmt(t, "%s%s %" PRIu64, i ? ", " : "", s->drops->reason[i], s->drops->count[i]);
    text_add(t, STR("\n"));
}

static void context(const struct session *s, struct text *t)
{
    enum canary_state state = canary_judge(s->canary, s->host->ms(s->host->arg));
    text_fmt(t, "context       %s, %" PRIu64 " attempts, %" PRIu64 " blocked\n", canary_word(state),
        canary_attempts(s->canary), canary_blocked(s->canary));
    for (size_t i = 0; i < canary_services(s->canary); i++) {
        struct canary_service c = canary_service(s->canary, i);
        text_fmt(t, "  %-24.*s sampled %" PRIu64 ", dark %" PRIu64 ", lost %" PRIu64 "\n",
            STR_ARG(c.name), c.sampled, c.dark, c.lost);
    }
}

static void stores(const struct session *s, struct text *t)
{
    struct recorder_status r = {.state = "off", .why = ""};
    if (s->host->recorder)
        recorder_status(s->host->recorder, &r);
    text_fmt(t, "journal       %s/%s, %" PRIu64 " bytes\n", s->host->journal.dir, s->spec.name,
        session_bytes(s));
    text_fmt(t, "redis         %s%s%s, %" PRIu64 " behind\n", r.state, *r.why ? ": " : "", r.why,
        r.behind);
}

void session_text(const struct session *s, size_t max, struct text *out)
{
    if (max == 0) {
        short_line(s, out);
        return;
    }
    head(s, out);
    drops(s, out);
    context(s, out);
    session_descriptors_text(s, out);
    stores(s, out);
    headlines(s, out);
    fields(s, max, out);
}
