/* Any bytes as samples: a tally that is told them, one that is told what the first added, and one
 * that is restored in between stay the same; sums stay possible. The bytes as sums of others or of
 * a journal are taken or refused, and harm nothing. */
#include "lib/base/mem.h"
#include "lib/compare/tally.h"
#include "tests/fuzz/fuzz.h"
#include <errno.h>

#define PATHS 6 /* of a list */

struct input {
    const uint8_t *p;
    size_t n;
};

static uint64_t take(struct input *in, size_t bytes)
{
    uint64_t v = 0;
    for (; bytes && in->n; bytes--, in->n--)
        v = v << 8 | *in->p++;
    return v;
}

static void read_list(struct input *in, struct difference *item, struct differences *ret)
{
    static const char *const paths[] = {"body.a", "body.b", "status", "body.items[].price", ""};
    *ret = (struct differences){.item = item, .n = take(in, 1) % (PATHS + 1)};
    for (size_t i = 0; i < ret->n; i++) {
        uint64_t v = take(in, 1);
        item[i] = (struct difference){
            .path = str_c(paths[v % 5]), .kind = (enum diff_kind)(v / 5 % 6), .shape = v & 0x80};
    }
}

static void read_reply(struct input *in, struct reply *r)
{
    uint64_t v = take(in, 1);
    *r = (struct reply){.outcome = v % 8 < 6 ? REPLY_WHOLE : (enum reply_outcome)(v % 8 - 5),
        .status = 200 + (uint32_t)(v / 8) % 5 * 100,
        .latency_us = take(in, v & 0x80 ? 8 : 1)};
}

static void check_count(struct tally_count c, uint64_t pairs)
{
    demand(c.pairs <= pairs && c.candidate_only + c.secondary_only + c.both <= c.pairs);
    demand(c.fail_log10_max >= 0);
}

static bool same_count(struct tally_count a, struct tally_count b)
{
    return a.pairs == b.pairs && a.candidate_only == b.candidate_only &&
           a.secondary_only == b.secondary_only && a.both == b.both &&
           a.fail_log10_max == b.fail_log10_max;
}

static void check_same(const struct tally *a, const struct tally *b)
{
    uint64_t samples = tally_samples(a);
    demand(samples == tally_samples(b) && tally_fields(a) == tally_fields(b));
    for (int h = 0; h < HEADLINE_COUNT; h++) {
        struct tally_count c = tally_headline(a, (enum headline)h);
        check_count(c, samples);
        demand(same_count(c, tally_headline(b, (enum headline)h)));
    }
    for (size_t i = 0; i < tally_fields(a); i++) {
        struct tally_field x = tally_field(a, i), y = tally_field(b, i);
        check_count(x.count, samples);
        demand(str_eq(x.path, y.path) && str_eq(x.endpoint, y.endpoint) && x.kind == y.kind);
        demand(x.shape == y.shape && same_count(x.count, y.count));
    }
    demand(same_count(tally_overflow(a), tally_overflow(b)));
    demand(tally_decision(a) == tally_decision(b));
}

static void check_verdict(const struct tally *t)
{
    struct tally_verdict v;
    size_t worst[4], n = tally_worst(t, worst, 4);
    struct text out = {0};
    tally_verdict(t, &v);
    demand(v.verdict == tally_decision(t));
    demand(v.verdict == VERDICT_INCONCLUSIVE || v.samples_needed == 0);
    demand(v.verdict != VERDICT_FAIL || v.headline >= 0 || v.field != SIZE_MAX || v.overflow);
    demand(v.field == SIZE_MAX || v.field < tally_fields_all(t));
    for (size_t i = 0; i < n; i++)
        demand(worst[i] < tally_fields_all(t) && tally_field(t, worst[i]).path.n < 64);
    tally_suggest(t, &out);
    text_release(&out);
}

/* Sums as they are, restored into a new one. */
static struct tally *restored(const struct tally *t)
{
    struct tally *r = tally_new(0.01);
    struct tally_totals sums = {.samples = tally_samples(t), .overflow = tally_overflow(t)};
    size_t nf = tally_fields(t), ne = tally_endpoints(t);
    struct tally_field *fields = mem_array(nf + 1, sizeof *fields);
    struct str *endpoints = mem_array(ne + 1, sizeof *endpoints);
    uint64_t *pairs = mem_array(ne + 1, sizeof *pairs);
    demand(r && fields && endpoints && pairs);
    for (size_t i = 0; i < nf; i++)
        fields[i] = tally_field(t, i);
    for (size_t i = 0; i < ne; i++)
        endpoints[i] = tally_endpoint(t, i, &pairs[i]);
    for (int h = 0; h < HEADLINE_COUNT; h++)
        sums.headline[h] = tally_headline(t, (enum headline)h);
    sums.fields = fields;
    sums.nfields = nf;
    sums.endpoints = endpoints;
    sums.endpoint_pairs = pairs;
    sums.nendpoints = ne;
    sums.ncalibration = tally_calibration(t, &sums.calibration_us, &sums.p90_us, &sums.p99_us);
    demand(tally_restore(r, &sums) == 0);
    check_same(t, r);
    mem_free(fields);
    mem_free(endpoints);
    mem_free(pairs);
    return r;
}

static bool is_one_of(const struct differences *of, const struct difference *d)
{
    return !d || (d >= of->item && d < of->item + of->n);
}

static void replay(struct tally *copy, const struct tally_sample *x, const struct tally_added *a)
{
    struct tally_again_difference again[2 * PATHS];
    for (size_t i = 0; i < a->ndifferences; i++) {
        const struct tally_difference *d = &a->differences[i];
        const struct difference *of = d->of_secondary ? d->of_secondary : d->of_candidate;
        demand(is_one_of(x->secondary_differs, d->of_secondary) &&
               is_one_of(x->candidate_differs, d->of_candidate));
        demand(of && (d->candidate || d->secondary));
        again[i] = (struct tally_again_difference){of->path, of->kind, d->candidate, d->secondary};
    }
    demand(tally_again(copy, x->endpoint, a->headline_pairs, a->headline_candidate,
               a->headline_secondary, again, a->ndifferences, x->secondary->latency_us) == 0);
}

/* Adds one sample, `times` times, to both. */
static void add(struct input *in, struct tally *t, struct tally *copy)
{
    static const char *const endpoints[] = {"a", "b", "other"};
    struct difference item[2][PATHS];
    struct differences s, c;
    struct reply reply[3];
    uint64_t head = take(in, 1), times = 1 + head / 4;
    for (int i = 0; i < 3; i++)
        read_reply(in, &reply[i]);
    read_list(in, item[0], &s);
    read_list(in, item[1], &c);
    struct tally_sample x = {
        str_c(endpoints[head % 3]), &reply[0], &reply[1], &reply[2], &s, &c, false};
    while (times--) {
        struct tally_added a;
        demand(tally_add(t, &x, &a) == 0);
        replay(copy, &x, &a);
        mem_free(a.differences);
    }
    check_same(t, copy);
}

static struct tally_count read_count(struct input *in)
{
    struct tally_count c = {.pairs = take(in, 2)};
    c.candidate_only = take(in, 2);
    c.secondary_only = take(in, c.candidate_only & 1 ? 8 : 1);
    c.both = take(in, 1);
    c.fail_log10_max = (double)take(in, 1) - 1;
    return c;
}

/* Sums of others, or of a journal, as the bytes have them. */
static void take_sums(struct input *in, struct tally *t)
{
    struct tally_field fields[4];
    struct tally_totals sums = {
        .samples = take(in, 2), .fields = fields, .overflow = read_count(in)};
    for (int h = 0; h < HEADLINE_COUNT; h++)
        sums.headline[h] = read_count(in);
    for (sums.nfields = 0; sums.nfields < 4 && in->n; sums.nfields++)
        fields[sums.nfields] = (struct tally_field){.endpoint = STR("a"),
            .path = take(in, 1) & 1 ? STR("body.a") : STR("body.new"),
            .kind = (enum diff_kind)(take(in, 1) % 7),
            .count = read_count(in)};
    uint64_t samples = tally_samples(t);
    int rc = tally_set_others(t, &sums);
    demand((rc == 0 || rc == -EINVAL) && tally_samples(t) == samples);
    struct tally *fresh = tally_new(0.5);
    demand(fresh);
    rc = tally_restore(fresh, &sums);
    demand(rc == 0 || rc == -EINVAL);
    tally_free(fresh);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size < 4096 ? size : 4096};
    struct tally *t = tally_new(0.01), *copy = tally_new(0.01);
    demand(t && copy);
    while (in.n) {
        switch (take(&in, 1) % 8) {
        case 0: {
            struct tally *r = restored(copy);
            tally_free(copy);
            copy = r;
            break;
        }
        case 1:
            check_verdict(t);
            break;
        default:
            add(&in, t, copy);
        }
    }
    in = (struct input){data, size};
    take_sums(&in, t);
    check_verdict(t);
    tally_free(t);
    tally_free(copy);
    demand(mem_live() == 0);
    return 0;
}
