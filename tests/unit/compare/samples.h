/* Samples for a tally, and two tallies compared. */
#ifndef OFFSHOOT_TESTS_UNIT_COMPARE_SAMPLES_H
#define OFFSHOOT_TESTS_UNIT_COMPARE_SAMPLES_H

#include "lib/compare/tally.h"
#include "tests/unit/unit.h"

#define BIT(h) (UINT32_C(1) << (h))

/* Lists of at most 8 value differences each: "a b !c" (with "!" the shape differs too). */
struct drawn {
    struct difference item[2][8];
    struct differences secondary, candidate;
    struct reply p, s, c;
};

static inline void read_paths(const char *words, struct difference *item, struct differences *ret)
{
    struct str rest = str_c(words);
    *ret = (struct differences){.item = item};
    while (rest.n) {
        struct str word = str_of(rest.p, str_find(rest, ' '));
        bool shape = word.p[0] == '!';
        assert_true(ret->n < 8);
        item[ret->n++] = (struct difference){.path = str_from(word, shape), .shape = shape};
        rest = str_from(rest, word.n < rest.n ? word.n + 1 : word.n);
    }
}

static inline void draw(struct drawn *d, const char *secondary, const char *candidate)
{
    struct reply whole = {.outcome = REPLY_WHOLE, .status = 200, .latency_us = 1000};
    d->p = d->s = d->c = whole;
    read_paths(secondary, d->item[0], &d->secondary);
    read_paths(candidate, d->item[1], &d->candidate);
}

static inline struct tally_added add_drawn(struct tally *t, const char *endpoint, struct drawn *d)
{
    bool whole = d->s.outcome == REPLY_WHOLE && d->c.outcome == REPLY_WHOLE;
    struct tally_sample x = {str_c(endpoint), &d->p, &d->s, &d->c, whole ? &d->secondary : NULL,
        whole ? &d->candidate : NULL, false};
    struct tally_added added;
    assert_int_equal(tally_add(t, &x, &added), 0);
    return added;
}

/* Adds one that differs there and forgets what it added. */
static inline void add_one(
    struct tally *t, const char *endpoint, const char *secondary, const char *candidate)
{
    struct drawn d;
    draw(&d, secondary, candidate);
    struct tally_added added = add_drawn(t, endpoint, &d);
    mem_free(added.differences);
}

static inline struct tally_count counts_of(const struct tally *t, const char *path)
{
    for (size_t i = 0; i < tally_fields_all(t); i++)
        if (str_eq(tally_field(t, i).path, str_c(path)))
            return tally_field(t, i).count;
    fail_msg("no field '%s'", path);
    return (struct tally_count){0};
}

static inline void assert_counts(
    struct tally_count c, uint64_t pairs, uint64_t candidate, uint64_t secondary, uint64_t both)
{
    assert_int_equal(c.pairs, pairs);
    assert_int_equal(c.candidate_only, candidate);
    assert_int_equal(c.secondary_only, secondary);
    assert_int_equal(c.both, both);
}

static inline void assert_same_count(struct tally_count a, struct tally_count b)
{
    assert_counts(a, b.pairs, b.candidate_only, b.secondary_only, b.both);
    assert_true(a.fail_log10_max == b.fail_log10_max);
}

/* All that a journal keeps of the two is the same. */
static inline void assert_same(const struct tally *a, const struct tally *b)
{
    const uint64_t *us[2];
    uint64_t p90[2], p99[2], pairs[2];
    assert_int_equal(tally_samples(a), tally_samples(b));
    for (int h = 0; h < HEADLINE_COUNT; h++)
        assert_same_count(tally_headline(a, (enum headline)h), tally_headline(b, (enum headline)h));
    assert_same_count(tally_overflow(a), tally_overflow(b));
    assert_int_equal(tally_fields(a), tally_fields(b));
    for (size_t i = 0; i < tally_fields(a); i++) {
        struct tally_field x = tally_field(a, i), y = tally_field(b, i);
        assert_true(str_eq(x.path, y.path) && str_eq(x.endpoint, y.endpoint) && x.kind == y.kind &&
                    x.shape == y.shape && x.fail_log10 == y.fail_log10);
        assert_same_count(x.count, y.count);
    }
    assert_int_equal(tally_endpoints(a), tally_endpoints(b));
    for (size_t i = 0; i < tally_endpoints(a); i++) {
        assert_true(str_eq(tally_endpoint(a, i, &pairs[0]), tally_endpoint(b, i, &pairs[1])));
        assert_int_equal(pairs[0], pairs[1]);
    }
    size_t n = tally_calibration(a, &us[0], &p90[0], &p99[0]);
    assert_int_equal(n, tally_calibration(b, &us[1], &p90[1], &p99[1]));
    assert_memory_equal(us[0], us[1], n * sizeof(uint64_t));
    assert_true(p90[0] == p90[1] && p99[0] == p99[1]);
}

/* Sums as a journal keeps them; texts belong to the tally. */
struct kept {
    struct tally_totals totals;
    struct tally_field field[TALLY_FIELDS];
    struct str endpoint[TALLY_ENDPOINTS + 1];
    uint64_t pairs[TALLY_ENDPOINTS + 1];
};

static inline void keep(const struct tally *t, struct kept *k)
{
    k->totals = (struct tally_totals){.samples = tally_samples(t),
        .overflow = tally_overflow(t),
        .fields = k->field,
        .nfields = tally_fields(t),
        .endpoints = k->endpoint,
        .endpoint_pairs = k->pairs,
        .nendpoints = tally_endpoints(t)};
    for (int h = 0; h < HEADLINE_COUNT; h++)
        k->totals.headline[h] = tally_headline(t, (enum headline)h);
    for (size_t i = 0; i < k->totals.nfields; i++)
        k->field[i] = tally_field(t, i);
    for (size_t i = 0; i < k->totals.nendpoints; i++)
        k->endpoint[i] = tally_endpoint(t, i, &k->pairs[i]);
    k->totals.ncalibration =
        tally_calibration(t, &k->totals.calibration_us, &k->totals.p90_us, &k->totals.p99_us);
}

#endif
