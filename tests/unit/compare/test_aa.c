/* Do verdicts hold what they promise? Whole replies are compared and tallied, and looked at after
 * every sample: alike environments rarely fail, seeded regressions are found within the computed
 * number of samples, an unfair order breaks the comparison of latency.
 *
 * OFFSHOOT_SEED=N draws other replies; OFFSHOOT_REGRESSION=1..6 and OFFSHOOT_RATE=0.02 choose what
 * is seeded in the test of random regressions. */
#include "tests/unit/compare/traffic.h"
#include <sys/random.h>

#define RUNS    300
#define LATENCY 0.1 /* standard deviation of ln(latency), as next_latency has it */

static void alike_environments_fail_in_at_most_five_percent_of_the_runs(void **state)
{
    (void)state;
    const uint64_t samples = 1000;
    unsigned failed = 0;
    for (uint64_t run = 0; run < RUNS; run++) {
        struct traffic t = {.random = traffic_seed(run << 32), .second_takes = 1};
        failed += samples_alone(t, VERDICT_FAIL, samples) <= samples;
    }
    if (failed * 100 > RUNS * 5)
        fail_msg("%u of %d runs failed", failed, RUNS);
}

/* Every tenth reply is slower than p90, on either side: that is what takes the longest to pass. */
static void quiet_alike_environments_pass(void **state)
{
    (void)state;
    for (uint64_t run = 0; run < 5; run++) {
        struct traffic t = {.random = traffic_seed(7000 + run), .second_takes = 1, .quiet = true};
        struct tally *tally = tally_new(0.05);
        uint64_t n = samples_until(&t, tally, VERDICT_PASS, 10000);
        tally_free(tally);
        assert_true(n <= 10000);
    }
}

/* ---- regressions ---- */

static const struct {
    const char *path;
    enum diff_kind kind;
} seeded[REGRESSIONS] = {
    [OTHER_STATUS] = {"status", DIFF_VALUE},
    [MISSING_KEY] = {"body.currency", DIFF_MISSING},
    [OTHER_TYPE] = {"body.total", DIFF_TYPE},
    [OTHER_ORDER] = {"body.items[].tags[]", DIFF_ORDER},
    [WRONG_VALUE] = {"body.total", DIFF_VALUE},
};

/* P[N(mean, 1) > at] */
static double above(double at, double mean)
{
    return erfc((at - mean) / sqrt(2)) / 2;
}

/* In how many of the pairs only the candidate, only the secondary differs. */
static void rates_of(enum regression r, double rate, double *ret_b, double *ret_c)
{
    if (r != SLOWER) {
        *ret_b = rate;
        *ret_c = 0;
        return;
    }
    double sd = LATENCY * sqrt(2), limit = log(1.2) / sd, shift = log(1.3) / sd;
    *ret_b = rate * above(limit, shift) + (1 - rate) * above(limit, 0);
    *ret_c = rate * above(limit, -shift) + (1 - rate) * above(limit, 0);
}

/* The number of samples within which it is found: with counts five standard deviations worse than
 * expected (less than one in 100,000) there is enough evidence. */
static uint64_t computed_samples(enum regression r, double rate)
{
    double b, c, enough = log10(evidence_fail_threshold(r == SLOWER ? SLOT_HEADLINE : SLOT_FIELD));
    rates_of(r, rate, &b, &c);
    for (uint64_t n = 1; n < 1000000; n++) {
        double less = (double)n * b - 5 * sqrt((double)n * b);
        double more = (double)n * c + 5 * sqrt((double)n * c);
        if (less > 0 && evidence_fail_log10((uint64_t)less, (uint64_t)ceil(more)) >= enough)
            return n;
    }
    fail_msg("no number of samples is enough for a rate of %g", rate);
    return 0;
}

/* Whether that slot has enough evidence by itself, be there others or not. */
static bool seeded_fails(const struct tally *t, enum regression r)
{
    if (r == SLOWER)
        return tally_headline(t, HEADLINE_LATENCY).fail_log10_max >=
               log10(evidence_fail_threshold(SLOT_HEADLINE));
    for (size_t i = 0; i < tally_fields(t); i++) {
        struct tally_field f = tally_field(t, i);
        if (str_eq(f.path, str_c(seeded[r].path)) && f.kind == seeded[r].kind)
            return f.count.fail_log10_max >= log10(evidence_fail_threshold(SLOT_FIELD));
    }
    return false;
}

static void assert_found(enum regression r, double rate, uint64_t seed)
{
    struct traffic t = {.random = seed, .regression = r, .rate = rate, .second_takes = 1};
    struct tally *tally = tally_new(0.01);
    uint64_t bound = computed_samples(r, rate), n = 0;
    while (n < bound && !seeded_fails(tally, r)) {
        next_sample(&t, tally);
        n++;
    }
    bool found = seeded_fails(tally, r) && tally_decision(tally) == VERDICT_FAIL;
    tally_free(tally);
    if (!found)
        fail_msg("regression %d at rate %g, seed %llu: not found in %llu samples", (int)r, rate,
            (unsigned long long)seed, (unsigned long long)bound);
}

static void every_regression_is_found_within_the_computed_samples(void **state)
{
    (void)state;
    static const double rates[] = {1, 0.2, 0.02};
    for (int r = OTHER_STATUS; r <= WRONG_VALUE; r++)
        for (size_t i = 0; i < 3; i++)
            assert_found((enum regression)r, rates[i], traffic_seed((uint64_t)r * 10 + i));
    assert_found(SLOWER, 1, traffic_seed(71));
    assert_found(SLOWER, 0.5, traffic_seed(72));
}

/* The seed is new at each run, and told when it fails. */
static void random_regressions_are_found_within_the_computed_samples(void **state)
{
    (void)state;
    const char *kind = getenv("OFFSHOOT_REGRESSION"), *rate = getenv("OFFSHOOT_RATE");
    struct traffic t = {0};
    assert_int_equal(getrandom(&t.random, sizeof t.random, 0), sizeof t.random);
    for (int i = 0; i < 3; i++) {
        uint64_t seed = next_random(&t);
        enum regression r = kind ? (enum regression)strtol(kind, NULL, 10)
                                 : (enum regression)(OTHER_STATUS + next_random(&t) % SLOWER);
        double least = r == SLOWER ? 0.4 : 0.01;
        double drawn = least + (1 - least) * pow(next_unit(&t), 3);
        assert_true(r > SAME && r < REGRESSIONS);
        assert_found(r, rate ? strtod(rate, NULL) : drawn, seed);
    }
}

static int by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void one_wrong_value_in_a_hundred_takes_a_median_of_3000_samples_at_most(void **state)
{
    (void)state;
    uint64_t found[31];
    for (uint64_t run = 0; run < 31; run++) {
        struct traffic t = {.random = traffic_seed(900 + run),
            .regression = WRONG_VALUE,
            .rate = 0.01,
            .second_takes = 1};
        found[run] = samples_alone(t, VERDICT_FAIL, 10000);
    }
    qsort(found, 31, sizeof found[0], by_size);
    assert_in_range(found[15], 1000, 3000);
}

/* ---- the order of the two ---- */

static unsigned runs_that_fail(
    enum order order, double second_takes, enum regression r, uint64_t samples)
{
    unsigned failed = 0;
    for (uint64_t run = 0; run < 20; run++) {
        struct traffic t = {.random = traffic_seed(5000 + run),
            .regression = r,
            .rate = 1,
            .order = order,
            .second_takes = second_takes,
            .quiet = true};
        failed += samples_alone(t, VERDICT_FAIL, samples) <= samples;
    }
    return failed;
}

/* Whoever comes second waits for the first. */
static void a_candidate_that_is_always_last_looks_slow_where_the_second_waits(void **state)
{
    (void)state;
    assert_int_equal(runs_that_fail(RANDOM_ORDER, 1.4, SAME, 500), 0);
    assert_int_equal(runs_that_fail(CANDIDATE_LAST, 1.4, SAME, 500), 20);
}

/* Whoever comes second finds a warm cache: 30 % more are hidden. */
static void a_candidate_that_is_always_last_hides_that_it_is_slower(void **state)
{
    (void)state;
    assert_int_equal(runs_that_fail(RANDOM_ORDER, 0.6, SLOWER, 500), 20);
    assert_int_equal(runs_that_fail(CANDIDATE_LAST, 0.6, SLOWER, 500), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(alike_environments_fail_in_at_most_five_percent_of_the_runs),
        cmocka_unit_test(quiet_alike_environments_pass),
        cmocka_unit_test(every_regression_is_found_within_the_computed_samples),
        cmocka_unit_test(random_regressions_are_found_within_the_computed_samples),
        cmocka_unit_test(one_wrong_value_in_a_hundred_takes_a_median_of_3000_samples_at_most),
        cmocka_unit_test(a_candidate_that_is_always_last_looks_slow_where_the_second_waits),
        cmocka_unit_test(a_candidate_that_is_always_last_hides_that_it_is_slower),
    };
    return unit_run(tests);
}
