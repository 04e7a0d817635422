/* What the sums say: decision, verdict, the worst fields, what could be ignored. */
#include "lib/base/mem.h"
#include "lib/compare/tally_int.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>

/* Of tally_suggest: what counts as noise, and what is evidence against the candidate. */
#define SUGGEST_MIN     20
#define SUGGEST_PERCENT 5
#define SUGGEST_LOG10   1.0
/* Pairs from which the rates of SLOW are known well enough to reckon with. */
#define FIRST_PAIRS 100

static bool fails(double log10_max, enum evidence_slot s)
{
    return log10_max >= log10(evidence_fail_threshold(s));
}

static double pass_log10(const struct tally *t, enum headline h)
{
    struct tally_count c = tally_all_of(t, h);
    return evidence_pass_log10(c.pairs, c.candidate_only, c.secondary_only, t->epsilon);
}

enum verdict tally_decision(const struct tally *t)
{
    double fields = fmax(fmax(t->fields_max, t->others_max), t->overflow.fail_log10_max);
    double top = 0;
    for (size_t h = 0; h < HEADLINE_COUNT; h++)
        top = fmax(top, t->headline[h].fail_log10_max);
    if (fails(top, SLOT_HEADLINE) || fails(fields, SLOT_FIELD))
        return VERDICT_FAIL;
    for (size_t h = HEADLINE_COUNT; h-- > 0;) /* SLOW last in: it has the fewest pairs */
        if (pass_log10(t, (enum headline)h) < log10(EVIDENCE_PASS))
            return VERDICT_INCONCLUSIVE;
    return VERDICT_PASS;
}

/* ---- the worst ---- */

struct ranked {
    double log10_max;
    size_t index;
};

static int worse_first(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->log10_max != y->log10_max)
        return x->log10_max < y->log10_max ? 1 : -1;
    return (x->index > y->index) - (x->index < y->index);
}

/* Whether x comes before the least of the ranked ones: then it takes its place. */
static void rank(struct ranked *top, size_t *n, size_t max, struct ranked x)
{
    if (*n == max && worse_first(&x, &top[max - 1]) > 0)
        return;
    size_t at = *n < max ? (*n)++ : max - 1;
    for (; at > 0 && worse_first(&x, &top[at - 1]) < 0; at--)
        top[at] = top[at - 1];
    top[at] = x;
}

/* The worst by insertion: n is small (a report's list). */
static size_t worst(const struct tally *t, struct ranked *top, size_t max)
{
    size_t n = 0, index = t->fields.n;
    for (size_t i = 0; i < t->fields.n; i++)
        rank(top, &n, max, (struct ranked){t->fields.item[i].count.fail_log10_max, i});
    for (size_t i = 0; i < t->others.n; i++)
        if (!t->others.item[i].matched)
            rank(top, &n, max, (struct ranked){t->others.item[i].count.fail_log10_max, index++});
    return n;
}

size_t tally_worst(const struct tally *t, size_t *ret, size_t n)
{
    struct ranked *top = n ? mem_array(n, sizeof *top) : NULL;
    if (!top)
        return 0;
    n = worst(t, top, n);
    for (size_t i = 0; i < n; i++)
        ret[i] = top[i].index;
    mem_free(top);
    return n;
}

/* ---- verdict ---- */

/* The headline with the most evidence, or the lowest index. */
static int most_evident(const struct tally_verdict *v)
{
    int most = 0;
    for (int h = 1; h < HEADLINE_COUNT; h++)
        if (v->fail_log10[h] > v->fail_log10[most])
            most = h;
    return fails(v->fail_log10[most], SLOT_HEADLINE) ? most : -1;
}

static void tell_failure(const struct tally *t, struct tally_verdict *v)
{
    struct ranked top;
    v->headline = most_evident(v);
    if (worst(t, &top, 1) && fails(top.log10_max, SLOT_FIELD))
        v->field = top.index;
    v->overflow = fails(t->overflow.fail_log10_max, SLOT_FIELD);
}

/* Samples that so many pairs of a headline take. Those of SLOW come after calibration, at the rate
 * of LATENCY. */
static uint64_t samples_for(const struct tally *t, enum headline h, uint64_t pairs)
{
    bool slow = h == HEADLINE_SLOW_P90 || h == HEADLINE_SLOW_P99;
    uint64_t samples = t->samples + t->other_samples;
    uint64_t counted = tally_all_of(t, slow ? HEADLINE_LATENCY : h).pairs;
    if (pairs == UINT64_MAX || (samples && !counted))
        return UINT64_MAX;
    if (slow && !t->p90 && pairs)
        pairs += TALLY_CALIBRATION - t->ncalibration;
    if (!samples)
        return pairs;
    return (uint64_t)ceill((long double)pairs * (long double)samples / (long double)counted);
}

/* Until the candidate fails by the field with the most evidence. */
static uint64_t field_needed(const struct tally *t)
{
    struct ranked top;
    if (!worst(t, &top, 1) || top.index >= t->fields.n)
        return UINT64_MAX;
    const struct slot *f = &t->fields.item[top.index];
    uint64_t need = evidence_needed_fail(
        t->headline[HEADLINE_FIELD].pairs + t->other_headline[HEADLINE_FIELD].pairs,
        f->count.candidate_only + f->other_b, f->count.secondary_only + f->other_c, SLOT_FIELD);
    return samples_for(t, HEADLINE_FIELD, need);
}

/* Pairs until a headline passes. SLOW has discordant ones by its nature: of replies that are alike,
 * one in ten is above p90 by itself. Until it has some pairs of its own, those are reckoned with.
 */
static uint64_t pass_needed(const struct tally *t, enum headline h)
{
    struct tally_count c = tally_all_of(t, h);
    uint64_t need = evidence_needed_pass(c.pairs, c.candidate_only, c.secondary_only, t->epsilon);
    bool slow = h == HEADLINE_SLOW_P90 || h == HEADLINE_SLOW_P99;
    if (!slow || c.pairs >= FIRST_PAIRS || need == 0)
        return need;
    uint64_t alone = h == HEADLINE_SLOW_P90 ? FIRST_PAIRS * 9 / 100 : FIRST_PAIRS / 100;
    need = evidence_needed_pass(FIRST_PAIRS, alone, alone, t->epsilon);
    return need == UINT64_MAX ? need : need + FIRST_PAIRS - c.pairs;
}

/* PASS wants all headlines, FAIL one slot. */
static void tell_needed(const struct tally *t, struct tally_verdict *v)
{
    uint64_t pass = 0, fail = field_needed(t);
    for (int h = 0; h < HEADLINE_COUNT; h++) {
        struct tally_count c = tally_all_of(t, (enum headline)h);
        uint64_t p = pass_needed(t, (enum headline)h);
        uint64_t f =
            evidence_needed_fail(c.pairs, c.candidate_only, c.secondary_only, SLOT_HEADLINE);
        p = samples_for(t, (enum headline)h, p);
        f = samples_for(t, (enum headline)h, f);
        fail = f < fail ? f : fail;
        if (v->headline < 0 || p > pass ||
            (p == pass && v->pass_log10[h] < v->pass_log10[v->headline])) {
            pass = p;
            v->headline = h;
        }
    }
    v->samples_needed = pass < fail ? pass : fail;
}

void tally_verdict(const struct tally *t, struct tally_verdict *ret)
{
    struct tally_verdict v = {.verdict = tally_decision(t),
        .samples = t->samples + t->other_samples,
        .headline = -1,
        .field = SIZE_MAX};
    for (int h = 0; h < HEADLINE_COUNT; h++) {
        v.fail_log10[h] = t->headline[h].fail_log10_max;
        v.pass_log10[h] = pass_log10(t, (enum headline)h);
    }
    if (v.verdict == VERDICT_FAIL)
        tell_failure(t, &v);
    else if (v.verdict == VERDICT_INCONCLUSIVE)
        tell_needed(t, &v);
    *ret = v;
}

/* ---- what could be ignored ---- */

static int by_pattern(const void *a, const void *b)
{
    const struct slot *x = *(const struct slot *const *)a, *y = *(const struct slot *const *)b;
    int c = str_cmp(x->path, y->path);
    return c ? c : (x->kind > y->kind) - (x->kind < y->kind);
}

static bool is_noise(const struct tally *t, const struct slot *f)
{
    uint64_t pairs = t->endpoint[f->at].pairs;
    uint64_t secondary = f->count.secondary_only + f->count.both;
    return f->shape || (pairs >= SUGGEST_MIN && secondary * 100 >= pairs * SUGGEST_PERCENT);
}

/* The fields of one path and kind, at all endpoints. */
static void suggest(const struct tally *t, const struct slot *const *f, size_t n, struct text *out)
{
    bool noise = false;
    for (size_t i = 0; i < n; i++) {
        if (f[i]->count.fail_log10_max >= SUGGEST_LOG10)
            return;
        noise |= is_noise(t, f[i]);
    }
    if (noise)
        text_fmt(out, "%.*s:%s\n", STR_ARG(f[0]->path), diff_kind_word(f[0]->kind));
}

void tally_suggest(const struct tally *t, struct text *out)
{
    size_t n = t->fields.n;
    const struct slot **f = n ? mem_array(n, sizeof *f) : NULL;
    if (!f) {
        out->failed = n ? -ENOMEM : out->failed;
        return;
    }
    for (size_t i = 0; i < n; i++)
        f[i] = &t->fields.item[i];
    qsort(f, n, sizeof *f, by_pattern);
    for (size_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && by_pattern(&f[i], &f[end]) == 0; end++)
            ;
        suggest(t, f + i, end - i, out);
    }
    mem_free(f);
}
