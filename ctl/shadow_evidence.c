/* `shadow evidence`: what counted pairs say, calculated here and now: no session is asked. */
#include "ctl/offline.h"
#include "ctl/output.h"
#include "lib/base/parse.h"
#include "lib/compare/evidence.h"
#include "lib/graph/hint.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#define DEFAULT_EPSILON 0.01

struct counts {
    uint64_t n, b, c;
    double epsilon;
    enum evidence_slot slot;
};

static int read_count(const struct call *c, enum option o, uint64_t *ret, struct err *e)
{
    const char *value = c->args->value[o];
    if (!value)
        return err_set(e, -EINVAL, "want shadow evidence --%s N", options[o].flag);
    if (parse_u64(str_c(value), ret) != 0 || *ret > EVIDENCE_PAIRS_MAX)
        return err_set(e, -EINVAL, "option --%s wants a number up to %llu, not '%.*s'",
            options[o].flag, (unsigned long long)EVIDENCE_PAIRS_MAX, STR_ARG(shown(str_c(value))));
    return 0;
}

static int read_epsilon(const char *value, double *ret, struct err *e)
{
    char *end;
    if (strspn(value, "0123456789.") == strlen(value) && *value) {
        double epsilon = strtod(value, &end);
        if (*end == '\0' && epsilon > 0 && epsilon <= 0.5) {
            *ret = epsilon;
            return 0;
        }
    }
    return err_set(e, -EINVAL, "option --epsilon wants a rate above 0, up to 0.5, not '%.*s'",
        STR_ARG(shown(str_c(value))));
}

static int read_slot(const char *value, enum evidence_slot *ret, struct err *e)
{
    if (!strcmp(value, "headline") || !strcmp(value, "field")) {
        *ret = *value == 'h' ? SLOT_HEADLINE : SLOT_FIELD;
        return 0;
    }
    return err_set(e, -EINVAL, "option --slot wants headline or field, not '%.*s'",
        STR_ARG(shown(str_c(value))));
}

static int read_counts(const struct call *c, struct counts *k, struct err *e)
{
    const struct args *a = c->args;
    *k = (struct counts){.epsilon = DEFAULT_EPSILON, .slot = SLOT_HEADLINE};
    if (read_count(c, OPT_PAIRS, &k->n, e) != 0 ||
        read_count(c, OPT_CANDIDATE_ONLY, &k->b, e) != 0 ||
        read_count(c, OPT_SECONDARY_ONLY, &k->c, e) != 0)
        return e->code;
    if (k->b > k->n || k->c > k->n - k->b)
        return err_set(e, -EINVAL, "more differences than pairs: %llu and %llu of %llu",
            (unsigned long long)k->b, (unsigned long long)k->c, (unsigned long long)k->n);
    if (a->value[OPT_EPSILON] && read_epsilon(a->value[OPT_EPSILON], &k->epsilon, e) != 0)
        return e->code;
    return a->value[OPT_SLOT] ? read_slot(a->value[OPT_SLOT], &k->slot, e) : 0;
}

/* As many digits as tell one double from the next; never "-0". */
static void add_number(struct text *t, double v)
{
    text_fmt(t, "%.17g", v == 0 ? 0.0 : v);
}

static void evidence_json(struct text *t, double fail, double pass, enum verdict v, uint64_t needed)
{
    text_add(t, STR("{\"fail_log10\":"));
    add_number(t, fail);
    text_add(t, STR(",\"pass_log10\":"));
    add_number(t, pass);
    text_fmt(t, ",\"verdict\":\"%s\",\"samples_needed\":", verdict_word(v));
    if (needed == UINT64_MAX)
        text_add(t, STR("null}\n"));
    else
        text_fmt(t, "%llu}\n", (unsigned long long)needed);
}

/* "7.31" or, where that is unreadable, "10^43.28". */
static void add_evidence(struct text *t, double log10)
{
    if (fabs(log10) < 6)
        text_fmt(t, "%.4g", pow(10, log10));
    else
        text_fmt(t, "10^%.2f", log10);
}

static void evidence_text(struct text *t, const struct counts *k, double fail, double pass,
    enum verdict v, uint64_t needed)
{
    text_fmt(t, "%s\n  fail evidence  ", verdict_word(v));
    add_evidence(t, fail);
    text_fmt(t, " (fails at %.0f)\n  pass evidence  ", evidence_fail_threshold(k->slot));
    add_evidence(t, pass);
    text_fmt(t, " (passes at %.0f, excess below %g)\n", EVIDENCE_PASS, k->epsilon);
    if (v != VERDICT_INCONCLUSIVE)
        return;
    if (needed == UINT64_MAX)
        text_add(t, STR("  still needed   cannot be told: at these rates it stays open\n"));
    else
        text_fmt(t, "  still needed   %llu pairs, at these rates\n", (unsigned long long)needed);
}

enum status shadow_evidence_command(const struct call *c, struct err *e)
{
    struct counts k;
    struct text t = {0};
    if (read_counts(c, &k, e) != 0)
        return STATUS_ERROR;
    double fail = evidence_fail_log10(k.b, k.c);
    double pass = evidence_pass_log10(k.n, k.b, k.c, k.epsilon);
    enum verdict v = evidence_verdict(k.n, k.b, k.c, k.epsilon, k.slot);
    uint64_t needed =
        v == VERDICT_INCONCLUSIVE ? evidence_needed(k.n, k.b, k.c, k.epsilon, k.slot) : 0;
    if (c->json)
        evidence_json(&t, fail, pass, v, needed);
    else
        evidence_text(&t, &k, fail, pass, v, needed);
    return out_plain(&t, STATUS_YES, e);
}
