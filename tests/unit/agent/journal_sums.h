/* Sums of a journal against a recount in memory. */
#ifndef OFFSHOOT_TESTS_UNIT_AGENT_JOURNAL_SUMS_H
#define OFFSHOOT_TESTS_UNIT_AGENT_JOURNAL_SUMS_H

#include "tests/unit/agent/journal.h"

/* The sums as one text, to be compared. */
static inline void sums_text(const struct tally *t, struct text *out)
{
    const uint64_t *latencies;
    uint64_t p90, p99;
    text_fmt(out, "samples %llu\n", (unsigned long long)tally_samples(t));
    for (unsigned h = 0; h < HEADLINE_COUNT; h++) {
        struct tally_count c = tally_headline(t, (enum headline)h);
        text_fmt(out, "%s %llu %llu %llu\n", headline_word((enum headline)h),
            (unsigned long long)c.pairs, (unsigned long long)c.candidate_only,
            (unsigned long long)c.secondary_only);
    }
    for (size_t i = 0; i < tally_fields(t); i++) {
        struct tally_field f = tally_field(t, i);
        text_fmt(out, "%.*s|%.*s|%s %llu %llu %llu %llu %d\n", STR_ARG(f.endpoint), STR_ARG(f.path),
            diff_kind_word(f.kind), (unsigned long long)f.count.pairs,
            (unsigned long long)f.count.candidate_only, (unsigned long long)f.count.secondary_only,
            (unsigned long long)f.count.both, f.shape);
    }
    for (size_t i = 0; i < tally_endpoints(t); i++) {
        uint64_t pairs;
        struct str name = tally_endpoint(t, i, &pairs);
        text_fmt(out, "%.*s %llu\n", STR_ARG(name), (unsigned long long)pairs);
    }
    size_t n = tally_calibration(t, &latencies, &p90, &p99);
    text_fmt(out, "latencies %zu %llu %llu\n", n, (unsigned long long)p90, (unsigned long long)p99);
    assert_int_equal(out->failed, 0);
}

/* A tally to which samples from..to were added; new. */
static inline struct tally *counted(uint64_t from, uint64_t to)
{
    struct tally *t = tally_new(0.01);
    for (uint64_t n = from; n <= to; n++) {
        struct made m;
        make_sample(&m, n);
        assert_int_equal(tally_add(t, &m.sample, &m.added), 0);
        mem_free(m.added.differences);
    }
    return t;
}

static inline void assert_same_sums(const struct tally *have, const struct tally *want)
{
    struct text a = {0}, b = {0};
    sums_text(have, &a);
    sums_text(want, &b);
    assert_string_equal(a.p, b.p);
    text_release(&a);
    text_release(&b);
}

static inline void assert_sums(const struct tally *have, uint64_t from, uint64_t to)
{
    struct tally *want = counted(from, to);
    assert_same_sums(have, want);
    tally_free(want);
}

#endif
