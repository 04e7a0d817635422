/* A tally: what each headline and field counts, noise, calibration, verdicts. */
#include "tests/unit/compare/samples.h"
#include <math.h>

#define EPSILON 0.01

static void assert_bits(struct tally_added a, enum headline h, bool pair, char who)
{
    uint32_t bit = BIT(h);
    assert_true(!(a.headline_pairs & bit) == !pair);
    assert_true(!(a.headline_candidate & bit) == (who != 'C'));
    assert_true(!(a.headline_secondary & bit) == (who != 'S'));
}

/* One sample alone, in a tally of its own. */
static struct tally_added judged(struct drawn *d)
{
    struct tally *t = tally_new(EPSILON);
    struct tally_added a = add_drawn(t, "x", d);
    mem_free(a.differences);
    tally_free(t);
    return a;
}

static void status_is_compared_by_class(void **state)
{
    (void)state;
    struct drawn d;
    draw(&d, "", "");
    d.c.status = 204;
    assert_bits(judged(&d), HEADLINE_STATUS, true, '-');
    d.c.status = 500;
    assert_bits(judged(&d), HEADLINE_STATUS, true, 'C');
    d.s.status = 503;
    assert_bits(judged(&d), HEADLINE_STATUS, true, '-');
    d.p.status = 502;
    assert_bits(judged(&d), HEADLINE_STATUS, true, '-');
    d.c.status = 200;
    d.s.status = 500;
    assert_bits(judged(&d), HEADLINE_STATUS, true, 'C');
    d.p.status = 200;
    assert_bits(judged(&d), HEADLINE_STATUS, true, 'S');
}

static void grpc_status_is_a_pair_where_there_is_none_too(void **state)
{
    (void)state;
    struct drawn d;
    const struct reply_field status = {STR("grpc-status"), STR("5")};
    draw(&d, "", "");
    assert_bits(judged(&d), HEADLINE_GRPC, true, '-');
    d.c.trailers = &status;
    d.c.ntrailers = 1;
    assert_bits(judged(&d), HEADLINE_GRPC, true, 'C');
    d.p.trailers = &status;
    d.p.ntrailers = 1;
    assert_bits(judged(&d), HEADLINE_GRPC, true, 'S');
}

static void what_is_not_whole_is_no_pair_of_contents(void **state)
{
    (void)state;
    static const enum headline contents[] = {
        HEADLINE_STATUS, HEADLINE_GRPC, HEADLINE_FIELD, HEADLINE_LATENCY};
    struct drawn d;
    draw(&d, "", "");
    d.c.outcome = REPLY_TIMEOUT;
    struct tally_added a = judged(&d);
    for (size_t i = 0; i < 4; i++)
        assert_bits(a, contents[i], false, '-');
    assert_bits(a, HEADLINE_TRANSPORT, true, '-');
    assert_bits(a, HEADLINE_TIMEOUT, true, 'C');
    d.s.outcome = REPLY_TRANSPORT;
    a = judged(&d);
    assert_bits(a, HEADLINE_TRANSPORT, true, 'S');
    assert_bits(a, HEADLINE_TIMEOUT, true, 'C');
    d.c.outcome = REPLY_TRANSPORT;
    assert_bits(judged(&d), HEADLINE_TRANSPORT, true, '-');
}

/* A primary that is not whole says nothing of contents; latency needs S and C only. */
static void a_broken_primary_leaves_latency(void **state)
{
    (void)state;
    struct drawn d;
    draw(&d, "", "");
    d.p.outcome = REPLY_TRANSPORT;
    struct tally_added a = judged(&d);
    assert_bits(a, HEADLINE_STATUS, false, '-');
    assert_bits(a, HEADLINE_FIELD, false, '-');
    assert_bits(a, HEADLINE_LATENCY, true, '-');
    assert_bits(a, HEADLINE_TRANSPORT, true, '-');
}

static void latency_counts_more_than_a_fifth(void **state)
{
    (void)state;
    struct drawn d;
    draw(&d, "", "");
    d.p.latency_us = 1;
    d.c.latency_us = 1200;
    assert_bits(judged(&d), HEADLINE_LATENCY, true, '-');
    d.c.latency_us = 1201;
    assert_bits(judged(&d), HEADLINE_LATENCY, true, 'C');
    d.c.latency_us = 833;
    assert_bits(judged(&d), HEADLINE_LATENCY, true, 'S');
    d.c.latency_us = UINT64_MAX;
    assert_bits(judged(&d), HEADLINE_LATENCY, true, 'C');
}

/* The first 200 latencies of S are 1 to 200 ms: p90 is 180, p99 198. They are no pairs of SLOW. */
static void slow_is_judged_by_what_200_secondaries_fixed(void **state)
{
    (void)state;
    struct tally *t = tally_new(EPSILON);
    const uint64_t *us;
    uint64_t p90, p99;
    struct drawn d;
    draw(&d, "", "");
    for (uint64_t i = 0; i < TALLY_CALIBRATION; i++) {
        assert_int_equal(tally_calibration(t, &us, &p90, &p99), i);
        assert_true(p90 == 0 && p99 == 0);
        d.s.latency_us = d.c.latency_us = (i * 77 % TALLY_CALIBRATION + 1) * 1000;
        assert_bits(add_drawn(t, "x", &d), HEADLINE_SLOW_P90, false, '-');
    }
    assert_int_equal(tally_calibration(t, &us, &p90, &p99), 200);
    assert_int_equal(p90, 180000);
    assert_int_equal(p99, 198000);
    d.s.latency_us = 180000;
    d.c.latency_us = 180001;
    assert_bits(add_drawn(t, "x", &d), HEADLINE_SLOW_P90, true, 'C');
    d.s.latency_us = 198001;
    struct tally_added a = add_drawn(t, "x", &d);
    assert_bits(a, HEADLINE_SLOW_P90, true, '-');
    assert_bits(a, HEADLINE_SLOW_P99, true, 'S');
    assert_int_equal(tally_headline(t, HEADLINE_SLOW_P99).pairs, 2);
    assert_int_equal(tally_calibration(t, &us, &p90, &p99), 200);
    assert_int_equal(p90, 180000);
    tally_free(t);
}

static void a_field_counts_who_differs_there(void **state)
{
    (void)state;
    struct tally *t = tally_new(EPSILON);
    add_one(t, "x", "", "");
    add_one(t, "x", "a b", "a c");
    add_one(t, "x", "a", "");
    add_one(t, "x", "", "a");
    add_one(t, "y", "", "a");
    assert_int_equal(tally_fields(t), 4); /* a of y is another field */
    assert_counts(tally_field(t, 0).count, 4, 1, 1, 1);
    assert_counts(counts_of(t, "b"), 4, 0, 1, 0);
    assert_counts(counts_of(t, "c"), 4, 1, 0, 0);
    assert_str(tally_field(t, 3).endpoint, "y");
    assert_counts(tally_field(t, 3).count, 1, 1, 0, 0);
    assert_counts(tally_headline(t, HEADLINE_FIELD), 5, 2, 1, 0);
    tally_free(t);
}

static void what_was_added_names_each_difference_once(void **state)
{
    (void)state;
    struct tally *t = tally_new(EPSILON);
    struct drawn d;
    draw(&d, "a b", "b c");
    struct tally_added a = add_drawn(t, "x", &d);
    const struct difference *s = d.secondary.item, *c = d.candidate.item;
    const struct tally_difference want[] = {
        {&s[0], NULL, false, true}, {&s[1], &c[0], true, true}, {NULL, &c[1], true, false}};
    assert_int_equal(a.ndifferences, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_ptr_equal(a.differences[i].of_secondary, want[i].of_secondary);
        assert_ptr_equal(a.differences[i].of_candidate, want[i].of_candidate);
        assert_int_equal(a.differences[i].candidate, want[i].candidate);
        assert_int_equal(a.differences[i].secondary, want[i].secondary);
    }
    mem_free(a.differences);
    tally_free(t);
}

/* "id" differs in every secondary, in another way each time. */
static void a_noisy_field_is_compared_by_shape(void **state)
{
    (void)state;
    struct tally *t = tally_new(EPSILON);
    for (int i = 0; i < TALLY_NOISY_MIN - 1; i++)
        add_one(t, "x", "id", "id");
    assert_false(tally_field(t, 0).shape);
    add_one(t, "x", "id", "");
    assert_true(tally_field(t, 0).shape);
    assert_counts(counts_of(t, "id"), 50, 0, 1, 49);
    add_one(t, "x", "id", "");
    add_one(t, "x", "", "id");
    assert_counts(counts_of(t, "id"), 52, 0, 1, 49);
    assert_counts(tally_headline(t, HEADLINE_FIELD), 52, 0, 1, 0);
    add_one(t, "x", "id", "!id");
    assert_counts(counts_of(t, "id"), 53, 1, 1, 49);
    assert_counts(tally_headline(t, HEADLINE_FIELD), 53, 1, 1, 0);
    tally_free(t);
}

static const struct difference shuffled = {
    .path = {"body.items[]", 12}, .kind = DIFF_ORDER, .shape = true};

/* Both are shuffled, and the candidate may be wrong somewhere. */
static void add_shuffled(struct tally *t, const char *candidate)
{
    struct drawn d;
    draw(&d, "", candidate);
    d.item[0][d.secondary.n++] = shuffled;
    d.item[1][d.candidate.n++] = shuffled;
    struct tally_added added = add_drawn(t, "cart GET /", &d);
    mem_free(added.differences);
}

static void noise_of_both_hides_no_other_field(void **state)
{
    struct tally *t = tally_new(0.01);
    (void)state;
    add_shuffled(t, "a");
    add_shuffled(t, "");
    add_one(t, "cart GET /", "b c", "b a"); /* each has one of its own */
    add_one(t, "cart GET /", "b c", "b");
    assert_counts(tally_headline(t, HEADLINE_FIELD), 4, 1, 1, 0);
    tally_free(t);
}

static void noise_of_shape_is_masked(void **state)
{
    struct tally *t = tally_new(0.01);
    struct drawn d;
    (void)state;
    for (int i = 0; i < TALLY_NOISY_MIN; i++)
        add_shuffled(t, "");
    draw(&d, "", "a");
    d.item[0][d.secondary.n++] = shuffled; /* the candidate's happens to be as the primary's */
    mem_free(add_drawn(t, "cart GET /", &d).differences);
    assert_counts(tally_headline(t, HEADLINE_FIELD), 51, 1, 0, 0);
    assert_counts(counts_of(t, "body.items[]"), 51, 0, 1, 50);
    /* Order that was noisy for so long and is so no more counts again. */
    for (int i = 0; i < 205; i++)
        add_one(t, "cart GET /", "", "");
    draw(&d, "", "");
    d.item[1][d.candidate.n++] = shuffled;
    mem_free(add_drawn(t, "cart GET /", &d).differences);
    assert_counts(tally_headline(t, HEADLINE_FIELD), 257, 2, 0, 0);
    tally_free(t);
}

static void a_value_without_a_shape_is_masked_later(void **state)
{
    struct tally *t = tally_new(0.01);
    (void)state;
    for (int i = 0; i < TALLY_MASK_MIN; i++)
        add_one(t, "cart GET /", "!text", "a");
    assert_counts(tally_headline(t, HEADLINE_FIELD), TALLY_MASK_MIN, 0, 0, 0);
    add_one(t, "cart GET /", "!text", "a");
    assert_counts(tally_headline(t, HEADLINE_FIELD), TALLY_MASK_MIN + 1, 1, 0, 0);
    tally_free(t);
}

static void noise_below_a_fifth_is_compared_by_value(void **state)
{
    (void)state;
    struct tally *t = tally_new(EPSILON);
    for (int i = 0; i < 400; i++)
        add_one(t, "x", i % 6 == 5 ? "id" : "", i % 2 ? "id" : "");
    assert_false(tally_field(t, 0).shape); /* the candidate's 50 % are no noise */
    assert_true(tally_field(t, 0).fail_log10 > 1);
    tally_free(t);
}

static void fields_above_the_limit_share_one_slot(void **state)
{
    (void)state;
    struct tally *t = tally_new(EPSILON);
    char two[64];
    for (int i = 0; i < TALLY_FIELDS / 4; i++) {
        snprintf(two, sizeof two, "a%d b%d c%d d%d", i, i, i, i);
        add_one(t, "x", two, two);
    }
    assert_int_equal(tally_fields(t), TALLY_FIELDS);
    assert_counts(tally_overflow(t), 1024, 0, 0, 0);
    add_one(t, "x", "", "new1 new2 new3");
    add_one(t, "x", "new1", "new2");
    add_one(t, "x", "new9 a0", "");
    assert_int_equal(tally_fields(t), TALLY_FIELDS);
    assert_counts(tally_overflow(t), 1027, 1, 1, 1);
    assert_counts(counts_of(t, "a0"), 1027, 0, 1, 1);
    for (int i = 0; i < 40; i++)
        add_one(t, "x", "", "new4");
    struct tally_verdict v;
    tally_verdict(t, &v);
    assert_true(v.verdict == VERDICT_FAIL && v.overflow && v.field == SIZE_MAX);
    tally_free(t);
}

static void endpoints_above_the_limit_are_other(void **state)
{
    (void)state;
    struct tally *t = tally_new(EPSILON);
    char name[32];
    uint64_t pairs;
    for (int i = 0; i < TALLY_ENDPOINTS + 3; i++) {
        snprintf(name, sizeof name, "e%d", i);
        add_one(t, name, "", "a");
    }
    assert_int_equal(tally_endpoints(t), TALLY_ENDPOINTS + 1);
    assert_str(tally_endpoint(t, TALLY_ENDPOINTS, &pairs), "other");
    assert_int_equal(pairs, 3);
    assert_int_equal(tally_fields(t), TALLY_ENDPOINTS + 1);
    tally_free(t);
}

/* ---- verdicts ---- */

static void a_clean_run_passes_when_it_was_said_to(void **state)
{
    (void)state;
    struct tally *t = tally_new(EPSILON);
    struct tally_verdict v;
    tally_verdict(t, &v); /* nine in a hundred slow by themselves, on either side */
    assert_in_range(v.samples_needed, 20000, 25000);
    assert_int_equal(v.headline, HEADLINE_SLOW_P90);
    for (int i = 0; i < TALLY_CALIBRATION + 486; i++) {
        assert_int_equal(tally_decision(t), VERDICT_INCONCLUSIVE);
        add_one(t, "x", "", "");
        if (i % 50 == 0 && i >= TALLY_CALIBRATION + 100) {
            tally_verdict(t, &v);
            assert_int_equal(v.samples_needed, TALLY_CALIBRATION + 487 - i - 1);
            assert_true(v.headline >= HEADLINE_SLOW_P90);
        }
    }
    add_one(t, "x", "", "");
    tally_verdict(t, &v);
    assert_int_equal(v.verdict, VERDICT_PASS);
    assert_int_equal(v.samples, 687);
    assert_true(v.samples_needed == 0 && v.headline == -1);
    tally_free(t);
}

static void a_field_and_a_headline_fail_at_their_own_thresholds(void **state)
{
    (void)state;
    struct tally *t = tally_new(EPSILON);
    struct tally_verdict v;
    for (int i = 0; i < 10; i++)
        add_one(t, "x", "", "price");
    tally_verdict(t, &v);
    assert_int_equal(v.verdict, VERDICT_INCONCLUSIVE);
    /* rate 10 of 12: two pairs more make it 12 of 12 */
    assert_int_equal(v.samples_needed, 1);
    add_one(t, "x", "", "price");
    tally_verdict(t, &v);
    assert_int_equal(v.verdict, VERDICT_FAIL);
    assert_true(v.headline == HEADLINE_FIELD && v.field == SIZE_MAX && !v.overflow);
    for (int i = 0; i < 10; i++)
        add_one(t, "x", "", "price");
    tally_verdict(t, &v);
    assert_true(v.headline == HEADLINE_FIELD && v.field == 0);
    tally_free(t);
}

/* Whoever looked after each sample saw it fail; so does whoever looks later. */
static void fail_stays(void **state)
{
    (void)state;
    struct tally *t = tally_new(EPSILON);
    struct tally_verdict v;
    for (int i = 0; i < 11; i++)
        add_one(t, "x", "", "price");
    for (int i = 0; i < 3000; i++)
        add_one(t, "x", i % 8 ? "" : "price", "");
    tally_verdict(t, &v);
    assert_true(evidence_fail_log10(11, 375) < 0);
    assert_true(v.verdict == VERDICT_FAIL && v.headline == HEADLINE_FIELD);
    assert_true(fabs(v.fail_log10[HEADLINE_FIELD] - log10(4095.0 / 12)) < 1e-9);
    assert_int_equal(tally_decision(t), VERDICT_FAIL);
    tally_free(t);
}

static void a_candidate_that_never_answers_fails_by_timeout(void **state)
{
    (void)state;
    struct tally *t = tally_new(EPSILON);
    struct tally_verdict v;
    struct drawn d;
    draw(&d, "", "");
    d.c.outcome = REPLY_TIMEOUT;
    for (int i = 0; i < 4; i++)
        add_drawn(t, "x", &d);
    tally_verdict(t, &v);
    assert_true(v.verdict == VERDICT_INCONCLUSIVE);
    assert_true(v.samples_needed > 6 && v.samples_needed < 14);
    for (int i = 0; i < 7; i++)
        add_drawn(t, "x", &d);
    tally_verdict(t, &v);
    assert_true(v.verdict == VERDICT_FAIL && v.headline == HEADLINE_TIMEOUT);
    assert_int_equal(tally_headline(t, HEADLINE_FIELD).pairs, 0);
    tally_free(t);
}

static void the_worst_fields_come_first(void **state)
{
    (void)state;
    struct tally *t = tally_new(EPSILON);
    size_t worst[8];
    add_one(t, "x", "a", "");
    add_one(t, "x", "", "b c");
    add_one(t, "x", "", "c d");
    assert_int_equal(tally_worst(t, worst, 3), 3);
    assert_str(tally_field(t, worst[0]).path, "c");
    assert_str(tally_field(t, worst[1]).path, "b");
    assert_str(tally_field(t, worst[2]).path, "d");
    assert_int_equal(tally_worst(t, worst, 8), 4);
    assert_str(tally_field(t, worst[3]).path, "a");
    assert_int_equal(tally_worst(t, worst, 0), 0);
    tally_free(t);
}

static void what_is_noise_everywhere_is_suggested(void **state)
{
    (void)state;
    struct tally *t = tally_new(EPSILON);
    struct text out = {0};
    for (int i = 0; i < 40; i++) {
        add_one(t, "x", i % 3 ? "time id" : "id", i % 2 ? "time id" : "id bad");
        add_one(t, "y", i % 2 ? "rare" : "", "id");
    }
    tally_suggest(t, &out); /* id differs at y in the candidate only */
    assert_str(str_of(out.p, out.n), "rare:value\ntime:value\n");
    text_release(&out);
    tally_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(status_is_compared_by_class),
        cmocka_unit_test(grpc_status_is_a_pair_where_there_is_none_too),
        cmocka_unit_test(what_is_not_whole_is_no_pair_of_contents),
        cmocka_unit_test(a_broken_primary_leaves_latency),
        cmocka_unit_test(latency_counts_more_than_a_fifth),
        cmocka_unit_test(slow_is_judged_by_what_200_secondaries_fixed),
        cmocka_unit_test(a_field_counts_who_differs_there),
        cmocka_unit_test(what_was_added_names_each_difference_once),
        cmocka_unit_test(a_noisy_field_is_compared_by_shape),
        cmocka_unit_test(noise_of_both_hides_no_other_field),
        cmocka_unit_test(noise_of_shape_is_masked),
        cmocka_unit_test(a_value_without_a_shape_is_masked_later),
        cmocka_unit_test(noise_below_a_fifth_is_compared_by_value),
        cmocka_unit_test(fields_above_the_limit_share_one_slot),
        cmocka_unit_test(endpoints_above_the_limit_are_other),
        cmocka_unit_test(a_clean_run_passes_when_it_was_said_to),
        cmocka_unit_test(a_field_and_a_headline_fail_at_their_own_thresholds),
        cmocka_unit_test(fail_stays),
        cmocka_unit_test(a_candidate_that_never_answers_fails_by_timeout),
        cmocka_unit_test(the_worst_fields_come_first),
        cmocka_unit_test(what_is_noise_everywhere_is_suggested),
    };
    return unit_run(tests);
}
