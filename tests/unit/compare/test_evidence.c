/* Evidence of paired counts: known fractions, relations that hold exactly between neighbours, where
 * verdicts begin, how many pairs are still needed. tests/blackbox/test_shadow_evidence.py compares
 * with values that are computed independently. */
#include "lib/compare/evidence.h"
#include "tests/unit/unit.h"
#include <math.h>
#include <time.h>

#define THOUSAND_MILLION EVIDENCE_PAIRS_MAX

static void assert_near(double have, double want)
{
    if (fabs(have - want) > 1e-12 * (1 + fabs(want)))
        fail_msg("have %.17g, want %.17g", have, want);
}

static void fail_evidence_of_small_counts_is_the_fraction(void **state)
{
    (void)state;
    static const struct {
        uint64_t b, c;
        double numerator, denominator;
    } known[] = {{0, 0, 1, 1}, {1, 0, 3, 2}, {0, 1, 1, 2}, {1, 1, 2, 3}, {2, 0, 7, 3}, {0, 2, 1, 3},
        {2, 1, 11, 12}, {1, 2, 5, 12}, {11, 0, 4095, 12}, {0, 999999999, 1, 1e9}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        assert_near(evidence_fail_log10(known[i].b, known[i].c),
            log10(known[i].numerator / known[i].denominator));
}

/* By parts: (c + 1) E(b, c) = 1 + b E(b - 1, c + 1). Neighbours on both sides of b = c, and of the
 * count from which another method is used, have to fit. */
static void neighbours_fit(void **state)
{
    (void)state;
    static const uint64_t sizes[] = {1, 7, 150, 9998, 10000, 10001, 123457, 5000000, 499999998};
    static const int64_t leans[] = {-3, -1, 0, 1, 2, 40};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        for (size_t k = 0; k < sizeof leans / sizeof leans[0]; k++) {
            int64_t lean = leans[k] * (int64_t)(1 + sqrt((double)sizes[i]) / 4);
            uint64_t c = sizes[i], b = (int64_t)c + lean > 0 ? (uint64_t)((int64_t)c + lean) : 1;
            double left = log10((double)c + 1) + evidence_fail_log10(b, c);
            double right = log10((double)b) + evidence_fail_log10(b - 1, c + 1);
            assert_near(left, right + log10(1 + pow(10, -right)));
        }
}

static void fail_evidence_rises_with_the_candidate_and_falls_with_the_secondary(void **state)
{
    (void)state;
    for (uint64_t b = 0; b < 200; b++)
        for (uint64_t c = 0; c < 200; c++) {
            double here = evidence_fail_log10(b, c);
            assert_true(evidence_fail_log10(b + 1, c) > here);
            assert_true(evidence_fail_log10(b, c + 1) < here);
        }
}

/* What makes it a martingale: when the next difference is as likely either way, the evidence to
 * come is on average what there is. */
static void the_next_discordant_pair_is_fair(void **state)
{
    (void)state;
    for (uint64_t b = 0; b < 300; b += 7)
        for (uint64_t c = 0; c < 300; c += 11) {
            double here = evidence_fail_log10(b, c);
            double up = pow(10, evidence_fail_log10(b + 1, c) - here);
            double down = pow(10, evidence_fail_log10(b, c + 1) - here);
            assert_near((up + down) / 2, 1);
        }
}

/* At an excess rate of exactly epsilon the PASS evidence to come is on average what there is. */
static void pass_evidence_is_fair_at_epsilon(void **state)
{
    (void)state;
    static const double rates[] = {0, 0.01, 0.2, 0.45};
    for (size_t i = 0; i < 4; i++) {
        double epsilon = 0.03, c = rates[i], b = c + epsilon;
        for (uint64_t n = 0; n < 2000; n += 97) {
            uint64_t nb = n / 50, nc = n / 70;
            double here = evidence_pass_log10(n, nb, nc, epsilon), next = 0;
            next += b * pow(10, evidence_pass_log10(n + 1, nb + 1, nc, epsilon) - here);
            next += c * pow(10, evidence_pass_log10(n + 1, nb, nc + 1, epsilon) - here);
            next += (1 - b - c) * pow(10, evidence_pass_log10(n + 1, nb, nc, epsilon) - here);
            assert_near(next, 1);
        }
    }
}

static void verdicts_begin_at_their_thresholds(void **state)
{
    (void)state;
    assert_int_equal(evidence_verdict(10, 10, 0, 0.01, SLOT_HEADLINE), VERDICT_INCONCLUSIVE);
    assert_int_equal(evidence_verdict(11, 11, 0, 0.01, SLOT_HEADLINE), VERDICT_FAIL);
    assert_int_equal(evidence_verdict(20, 20, 0, 0.01, SLOT_FIELD), VERDICT_INCONCLUSIVE);
    assert_int_equal(evidence_verdict(21, 21, 0, 0.01, SLOT_FIELD), VERDICT_FAIL);
    assert_int_equal(evidence_verdict(486, 0, 0, 0.01, SLOT_FIELD), VERDICT_INCONCLUSIVE);
    assert_int_equal(evidence_verdict(487, 0, 0, 0.01, SLOT_FIELD), VERDICT_PASS);
    assert_string_equal(verdict_word(VERDICT_PASS), "pass");
    assert_string_equal(verdict_word(VERDICT_FAIL), "fail");
    assert_string_equal(verdict_word(VERDICT_INCONCLUSIVE), "inconclusive");
}

static void no_pair_at_all_gives_the_figure_for_planning(void **state)
{
    (void)state;
    assert_int_equal(evidence_needed(0, 0, 0, 0.01, SLOT_HEADLINE), 487);
    for (uint64_t n = 0; n <= 600; n += 25) /* a clean run counts down */
        assert_int_equal(evidence_needed_pass(n, 0, 0, 0.01), n < 487 ? 487 - n : 0);
    assert_int_equal(evidence_needed_fail(400, 0, 0, SLOT_FIELD), UINT64_MAX);
}

/* What is said to be needed is enough, and one pair less is not. */
static void what_is_needed_reaches_the_threshold(void **state)
{
    (void)state;
    static const uint64_t states[][3] = {{5, 1, 0}, {50, 3, 1}, {100, 9, 1}, {1000, 40, 25}};
    for (size_t i = 0; i < 4; i++) {
        uint64_t n = states[i][0], b = states[i][1], c = states[i][2];
        uint64_t k = evidence_needed_fail(n, b, c, SLOT_FIELD);
        double grow = (double)k / ((double)n + 2), less = (double)(k - 1) / ((double)n + 2);
        assert_true(k > 0 && k < THOUSAND_MILLION);
        assert_true(evidence_fail_log10(b + (uint64_t)round((double)b * grow),
                        c + (uint64_t)round((double)c * grow)) >= log10(163840));
        assert_true(evidence_fail_log10(b + (uint64_t)round((double)b * less),
                        c + (uint64_t)round((double)c * less)) < log10(163840));
    }
}

static void what_will_not_be_reached_is_told(void **state)
{
    (void)state;
    assert_int_equal(
        evidence_needed(THOUSAND_MILLION, 50000000, 50000000 - 1, 1e-9, SLOT_FIELD), UINT64_MAX);
    assert_int_equal(evidence_needed_pass(1000, 30, 2, 0.01), UINT64_MAX);
    assert_int_equal(evidence_needed_fail(1000, 30, 31, SLOT_HEADLINE), UINT64_MAX);
    assert_int_equal(evidence_needed_fail(1000, 300, 31, SLOT_HEADLINE), 0);
}

static void counts_above_the_limit_count_as_the_limit(void **state)
{
    (void)state;
    assert_true(evidence_fail_log10(UINT64_MAX, 5) == evidence_fail_log10(THOUSAND_MILLION, 5));
    assert_true(evidence_pass_log10(UINT64_MAX, 5, 5, 0.01) ==
                evidence_pass_log10(THOUSAND_MILLION, 5, 5, 0.01));
    assert_true(isfinite(evidence_pass_log10(UINT64_MAX, UINT64_MAX, UINT64_MAX, 0.5)));
    assert_int_equal(evidence_needed(UINT64_MAX, 0, 0, 0.01, SLOT_FIELD), 0);
}

/* The best of some, as the machine may be busy. */
static double best_us(uint64_t b, uint64_t c)
{
    double best = 1e9;
    for (int i = 0; i < 20; i++) {
        struct timespec from, to;
        clock_gettime(CLOCK_MONOTONIC, &from);
        volatile double e = evidence_fail_log10(b, c);
        clock_gettime(CLOCK_MONOTONIC, &to);
        double us =
            (double)(to.tv_sec - from.tv_sec) * 1e6 + (double)(to.tv_nsec - from.tv_nsec) / 1e3;
        (void)e;
        best = us < best ? us : best;
    }
    return best;
}

static void a_thousand_million_pairs_take_less_than_a_millisecond(void **state)
{
    (void)state;
    assert_true(best_us(500000000, 500000000) < 1000);
    assert_true(best_us(400010000, 400000000) < 1000);
    assert_true(best_us(10000, 10000) < 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fail_evidence_of_small_counts_is_the_fraction),
        cmocka_unit_test(neighbours_fit),
        cmocka_unit_test(fail_evidence_rises_with_the_candidate_and_falls_with_the_secondary),
        cmocka_unit_test(the_next_discordant_pair_is_fair),
        cmocka_unit_test(pass_evidence_is_fair_at_epsilon),
        cmocka_unit_test(verdicts_begin_at_their_thresholds),
        cmocka_unit_test(no_pair_at_all_gives_the_figure_for_planning),
        cmocka_unit_test(what_is_needed_reaches_the_threshold),
        cmocka_unit_test(what_will_not_be_reached_is_told),
        cmocka_unit_test(counts_above_the_limit_count_as_the_limit),
        cmocka_unit_test(a_thousand_million_pairs_take_less_than_a_millisecond),
    };
    return unit_run(tests);
}
