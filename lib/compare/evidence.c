/* The FAIL evidence is an integral: E(b, c) = integral over u from 0 to 1 of (1+u)^b (1-u)^c, the
 * likelihood of "only the candidate differs with probability (1+u)/2" against 1/2, u spread evenly.
 *
 *   b <= c   the integrand falls from 1: a sum of at most b+1 falling terms while c is small,
 *            E = 1/(c+1) (1 + b/(c+2) (1 + (b-1)/(c+3) (1 + ...))),
 *            quadrature above (the sum takes some sqrt(41 c) terms)
 *   b > c    E(b, c) + E(c, b) = the integral from -1 to 1 = 2^(b+c+1) b! c! / (b+c+1)!, and E(c,
 * b) is at most half of that: nothing cancels. The factorials are not taken one by one, their
 *            logarithms would cancel: after Stirling only the small parts of them are left.
 *
 * All in long double: values are right to some 1e-17, which leaves 1e-9 of a log10 near 0. */
#include "lib/compare/evidence.h"
#include <math.h>

#define LN10       2.302585092994045684017991L
#define LN2        0.693147180559945309417232L
#define LN_2PI     1.837877066409345483560659L
#define SUM_MAX    10000 /* c up to which the terms are summed: some 640 of them */
#define NEGLIGIBLE 1e-20L

static uint64_t at_most(uint64_t v, uint64_t max)
{
    return v < max ? v : max;
}

/* ---- FAIL ---- */

static long double ln_by_sum(uint64_t b, uint64_t c)
{
    long double term = 1, sum = 1;
    for (uint64_t i = 0; i < b && term > sum * NEGLIGIBLE; i++) {
        term *= (long double)(b - i) / (long double)(c + 2 + i);
        sum += term;
    }
    return logl(sum) - logl((long double)c + 1);
}

struct integrand {
    long double b, c;
};

static long double ln_integrand(const struct integrand *f, long double u)
{
    return f->b * log1pl(u) + f->c * log1pl(-u);
}

/* Where the integrand, which falls from 1, is below e^-50: what lies behind is below e^-50 of all,
 * as its logarithm is concave. c > SUM_MAX, so that this is far from 1. */
static long double far_end(const struct integrand *f)
{
    long double low = 0, high = 0.5L;
    for (int i = 0; i < 60; i++) {
        long double mid = (low + high) / 2;
        if (ln_integrand(f, mid) < -50)
            high = mid;
        else
            low = mid;
    }
    return high;
}

/* Gauss-Legendre of 16 points on each of 12 equal parts. */
static long double ln_by_quadrature(uint64_t b, uint64_t c)
{
    static const long double rule[8][2] = {
        {0.9894009349916499325961542L, 0.0271524594117540948517806L},
        {0.9445750230732325760779884L, 0.0622535239386478928628438L},
        {0.8656312023878317438804679L, 0.0951585116824927848099251L},
        {0.7554044083550030338951012L, 0.1246289712555338720524763L},
        {0.6178762444026437484466718L, 0.1495959888165767320815017L},
        {0.4580167776572273863424194L, 0.1691565193950025381893121L},
        {0.2816035507792589132304605L, 0.1826034150449235888667637L},
        {0.0950125098376374401853193L, 0.1894506104550684962853967L},
    };
    const struct integrand f = {(long double)b, (long double)c};
    const long double half = far_end(&f) / 24;
    long double sum = 0;
    for (int part = 0; part < 12; part++) {
        long double mid = half * (long double)(2 * part + 1);
        for (int i = 0; i < 8; i++)
            sum += rule[i][1] * (expl(ln_integrand(&f, mid - half * rule[i][0])) +
                                    expl(ln_integrand(&f, mid + half * rule[i][0])));
    }
    return logl(sum * half);
}

/* ln n! - (n + 1/2) ln n + n - ln(2 pi) / 2, n >= 1. */
static long double stirling_rest(uint64_t n)
{
    if (n < 20) {
        uint64_t factorial = 1;
        for (uint64_t i = 2; i <= n; i++)
            factorial *= i;
        long double x = (long double)n;
        return logl((long double)factorial) - (x + 0.5L) * logl(x) + x - LN_2PI / 2;
    }
    static const long double series[] = {1.0L / 12, -1.0L / 360, 1.0L / 1260, -1.0L / 1680,
        1.0L / 1188, -691.0L / 360360, 1.0L / 156, -3617.0L / 122400, 43867.0L / 244188};
    long double x = 1 / (long double)n, square = x * x, rest = 0;
    for (int i = 8; i >= 0; i--)
        rest = rest * square + series[i];
    return rest * x;
}

/* b ln(2b/m) + c ln(2c/m), m = b + c: never negative, 0 when they are equal. */
static long double distance_from_half(uint64_t b, uint64_t c)
{
    long double m = (long double)b + (long double)c;
    long double d = ((long double)b - (long double)c) / m, square = d * d;
    if (d > 0.1L) /* b > c */
        return (long double)b * log1pl(d) + (long double)c * logl(2 * (long double)c / m);
    long double power = 1, sum = 0;
    for (int k = 1; k <= 12; k++) {
        power *= square;
        sum += power / (long double)(2 * k * (2 * k - 1));
    }
    return m * sum;
}

/* ln of 2^(b+c+1) b! c! / (b+c+1)!, b > c. */
static long double ln_whole(uint64_t b, uint64_t c)
{
    long double m = (long double)b + (long double)c;
    if (c == 0)
        return (m + 1) * LN2 - logl(m + 1);
    return LN2 - logl(m + 1) + distance_from_half(b, c) +
           0.5L * (LN_2PI + logl((long double)b) + logl((long double)c) - logl(m)) +
           stirling_rest(b) + stirling_rest(c) - stirling_rest(b + c);
}

static long double ln_lower(uint64_t b, uint64_t c)
{
    return c <= SUM_MAX ? ln_by_sum(b, c) : ln_by_quadrature(b, c);
}

double evidence_fail_log10(uint64_t b, uint64_t c)
{
    b = at_most(b, EVIDENCE_PAIRS_MAX);
    c = at_most(c, EVIDENCE_PAIRS_MAX);
    if (b <= c)
        return (double)(ln_lower(b, c) / LN10);
    long double whole = ln_whole(b, c);
    return (double)((whole + log1pl(-expl(ln_lower(c, b) - whole))) / LN10);
}

/* ---- PASS ---- */

double evidence_pass_log10(uint64_t n, uint64_t b, uint64_t c, double epsilon)
{
    static const long double lambda[] = {0.01L, 0.03L, 0.1L, 0.25L, 0.5L, 0.75L, 0.9L};
    enum { COUNT = sizeof lambda / sizeof lambda[0] };
    const long double e = (long double)epsilon;
    long double ln[COUNT], top = -INFINITY, sum = 0;
    n = at_most(n, EVIDENCE_PAIRS_MAX);
    b = at_most(b, n);
    c = at_most(c, n - b);
    for (int i = 0; i < COUNT; i++) {
        long double l = lambda[i] / (1 - e);
        ln[i] = (long double)(n - b - c) * log1pl(l * e) + (long double)b * log1pl(-lambda[i]) +
                (long double)c * log1pl(l * (1 + e));
        top = fmaxl(top, ln[i]);
    }
    for (int i = 0; i < COUNT; i++)
        sum += expl(ln[i] - top);
    return (double)((top + logl(sum / COUNT)) / LN10);
}

/* ---- verdicts ---- */

double evidence_fail_threshold(enum evidence_slot s)
{
    return s == SLOT_HEADLINE ? 320 : 163840;
}

const char *verdict_word(enum verdict v)
{
    static const char *const words[] = {"pass", "fail", "inconclusive"};
    return words[v];
}

enum verdict evidence_verdict(
    uint64_t n, uint64_t b, uint64_t c, double epsilon, enum evidence_slot s)
{
    if (evidence_fail_log10(b, c) >= log10(evidence_fail_threshold(s)))
        return VERDICT_FAIL;
    return evidence_pass_log10(n, b, c, epsilon) >= log10(EVIDENCE_PASS) ? VERDICT_PASS
                                                                         : VERDICT_INCONCLUSIVE;
}

/* ---- how many more ---- */

/* What is to be reached: PASS with an epsilon, FAIL of a slot when that is 0. */
struct goal {
    uint64_t n, b, c;
    double epsilon;
    double log10;
};

/* Whether it is reached k pairs on, at the present rates. */
static bool reached(const struct goal *g, uint64_t k)
{
    long double share = (long double)k / ((long double)g->n + 2);
    uint64_t b = g->b + (uint64_t)roundl((long double)g->b * share);
    uint64_t c = g->c + (uint64_t)roundl((long double)g->c * share);
    double have = g->epsilon > 0 ? evidence_pass_log10(g->n + k, b, c, g->epsilon)
                                 : evidence_fail_log10(b, c);
    return have >= g->log10;
}

/* Doubles until it is reached, then halves: the logarithms of both are convex in the pairs, but for
 * rounding and for what a factor n takes, so that they reach it once. */
static uint64_t pairs_until(const struct goal *g)
{
    uint64_t most = EVIDENCE_PAIRS_MAX - at_most(g->n, EVIDENCE_PAIRS_MAX);
    uint64_t low = 0, high = 1;
    if (reached(g, 0))
        return 0;
    while (high < most && !reached(g, high)) {
        low = high;
        high *= 2;
    }
    high = at_most(high, most);
    if (!reached(g, high))
        return UINT64_MAX;
    while (high - low > 1) {
        uint64_t mid = low + (high - low) / 2;
        if (reached(g, mid))
            high = mid;
        else
            low = mid;
    }
    return high;
}

uint64_t evidence_needed_fail(uint64_t n, uint64_t b, uint64_t c, enum evidence_slot s)
{
    struct goal g = {n, b, c, 0, log10(evidence_fail_threshold(s))};
    if (b <= c) /* E falls from pair to pair */
        return UINT64_MAX;
    return pairs_until(&g);
}

uint64_t evidence_needed_pass(uint64_t n, uint64_t b, uint64_t c, double epsilon)
{
    struct goal g = {n, b, c, epsilon, log10(EVIDENCE_PASS)};
    return pairs_until(&g);
}

uint64_t evidence_needed(uint64_t n, uint64_t b, uint64_t c, double epsilon, enum evidence_slot s)
{
    uint64_t fail = evidence_needed_fail(n, b, c, s);
    uint64_t pass = evidence_needed_pass(n, b, c, epsilon);
    return fail < pass ? fail : pass;
}
