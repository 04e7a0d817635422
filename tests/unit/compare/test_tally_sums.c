/* The sums of a tally: replayed, restored, joined with those of others; memory that runs out;
 * names of endpoints. */
#include "tests/unit/compare/samples.h"
#include "tests/unit/compare/traffic.h"
#include <errno.h>

#define EPSILON 0.01

static struct kept kept; /* large */

/* Random samples of few fields, with other outcomes at times. */
static void draw_random(struct traffic *r, struct drawn *d)
{
    static const char *const lists[] = {"", "", "", "a", "id", "id a", "!id b", "b c d", "!b"};
    draw(d, lists[next_random(r) % 9], lists[next_random(r) % 9]);
    d->s.outcome = next_random(r) % 20 ? REPLY_WHOLE : REPLY_TIMEOUT;
    d->c.outcome = next_random(r) % 20 ? REPLY_WHOLE : REPLY_TRANSPORT;
    d->c.status = next_random(r) % 9 ? 200 : 404;
    d->s.latency_us = next_random(r) % 1000;
    d->c.latency_us = next_random(r) % 1000;
}

static const char *pick_endpoint(struct traffic *r)
{
    static const char *const names[] = {"cart GET /", "cart GET /items/{}", "shop POST /buy"};
    return names[next_random(r) % 3];
}

static void add_random(struct traffic *r, struct tally *t, size_t n)
{
    struct drawn d;
    for (size_t i = 0; i < n; i++) {
        draw_random(r, &d);
        struct tally_added a = add_drawn(t, pick_endpoint(r), &d);
        mem_free(a.differences);
    }
}

/* Adds to both: to the second what the first told. */
static void add_and_replay(
    struct tally *t, struct tally *copy, const char *endpoint, struct drawn *d)
{
    struct tally_added a = add_drawn(t, endpoint, d);
    struct tally_again_difference again[16];
    for (size_t i = 0; i < a.ndifferences; i++) {
        const struct tally_difference *x = &a.differences[i];
        const struct difference *of = x->of_secondary ? x->of_secondary : x->of_candidate;
        again[i] = (struct tally_again_difference){of->path, of->kind, x->candidate, x->secondary};
    }
    assert_int_equal(tally_again(copy, str_c(endpoint), a.headline_pairs, a.headline_candidate,
                         a.headline_secondary, again, a.ndifferences, d->s.latency_us),
        0);
    mem_free(a.differences);
}

static void what_was_written_down_gives_the_same_sums(void **state)
{
    (void)state;
    struct traffic r = {.random = traffic_seed(1)};
    struct tally *t = tally_new(EPSILON), *copy = tally_new(EPSILON);
    struct drawn d;
    for (int i = 0; i < 1000; i++) {
        draw_random(&r, &d);
        add_and_replay(t, copy, pick_endpoint(&r), &d);
        if (i % 100 == 0)
            assert_same(t, copy);
    }
    assert_same(t, copy);
    assert_int_equal(tally_endpoints(t), 3);
    tally_free(t);
    tally_free(copy);
}

/* Restored at any moment, and going on: as if nothing had been. */
static void restored_sums_go_on_as_the_others_do(void **state)
{
    (void)state;
    static const size_t moments[] = {0, 1, 60, 199, 200, 700};
    for (size_t i = 0; i < sizeof moments / sizeof moments[0]; i++) {
        struct traffic r = {.random = traffic_seed(2)};
        struct tally *t = tally_new(EPSILON), *copy = tally_new(EPSILON);
        add_random(&r, t, moments[i]);
        keep(t, &kept);
        assert_int_equal(tally_restore(copy, &kept.totals), 0);
        assert_same(t, copy);
        struct traffic twin = r;
        add_random(&r, t, 300);
        add_random(&twin, copy, 300);
        assert_same(t, copy);
        tally_free(t);
        tally_free(copy);
    }
}

static void a_failure_is_restored(void **state)
{
    (void)state;
    struct tally *t = tally_new(EPSILON), *copy = tally_new(EPSILON);
    for (int i = 0; i < 21; i++)
        add_one(t, "x", "", "price");
    for (int i = 0; i < 100; i++)
        add_one(t, "x", "price", "");
    keep(t, &kept);
    assert_int_equal(tally_restore(copy, &kept.totals), 0);
    struct tally_verdict v;
    tally_verdict(copy, &v);
    assert_true(v.verdict == VERDICT_FAIL && v.headline == HEADLINE_FIELD && v.field == 0);
    assert_true(tally_field(copy, 0).fail_log10 < 0);
    tally_free(t);
    tally_free(copy);
}

static void refuse(const char *what)
{
    struct tally *t = tally_new(EPSILON);
    if (tally_restore(t, &kept.totals) != -EINVAL)
        fail_msg("restored: %s", what);
    tally_free(t);
}

static void sums_that_cannot_be_are_refused(void **state)
{
    (void)state;
    struct traffic r = {.random = traffic_seed(3)};
    struct tally *t = tally_new(EPSILON);
    add_random(&r, t, 300);
#define SPOIL(what)                                                                                \
    keep(t, &kept);                                                                                \
    what;                                                                                          \
    refuse(#what)
    SPOIL(kept.totals.headline[0].candidate_only = kept.totals.headline[0].pairs + 1);
    SPOIL(kept.totals.headline[0].pairs = kept.totals.samples + 1);
    SPOIL(kept.totals.headline[3].fail_log10_max = NAN);
    SPOIL(kept.totals.headline[3].fail_log10_max = -1);
    SPOIL(kept.totals.samples = UINT64_MAX);
    SPOIL(kept.totals.overflow.both = kept.totals.headline[HEADLINE_FIELD].pairs + 1);
    SPOIL(kept.field[1].kind = (enum diff_kind)6);
    SPOIL(kept.field[1].endpoint = STR("no such"));
    SPOIL(kept.field[1] = kept.field[0]);
    SPOIL(kept.field[1].count.secondary_only = UINT64_MAX);
    SPOIL(kept.pairs[0] = UINT64_MAX);
    SPOIL(kept.endpoint[1] = kept.endpoint[0]);
    SPOIL(kept.totals.nendpoints = TALLY_ENDPOINTS + 2);
    SPOIL(kept.totals.ncalibration = TALLY_CALIBRATION + 1);
    SPOIL(kept.totals.p90_us = kept.totals.p99_us + 1);
    SPOIL(kept.totals.p90_us = 0);
#undef SPOIL
    const struct tally_again_difference d = {STR("a"), DIFF_VALUE, true, false};
    struct str x = STR("x");
    assert_int_equal(tally_again(t, x, BIT(HEADLINE_COUNT), 0, 0, NULL, 0, 0), -EINVAL);
    assert_int_equal(tally_again(t, x, 1, 2, 0, NULL, 0, 0), -EINVAL);
    assert_int_equal(tally_again(t, x, 1, 1, 1, NULL, 0, 0), -EINVAL);
    assert_int_equal(tally_again(t, x, 1, 0, 0, &d, 1, 0), -EINVAL);
    tally_free(t);
}

/* ---- several agents ---- */

/* Two agents, each with half of the samples, judge as one that has them all. */
static void sums_of_others_add_up_to_one_verdict(void **state)
{
    (void)state;
    struct tally *all = tally_new(EPSILON), *one = tally_new(EPSILON), *two = tally_new(EPSILON);
    struct tally_verdict v, want;
    for (int i = 0; i < 20; i++) {
        const char *s = i % 10 == 9 ? "price" : "", *c = i % 10 == 9 ? "" : "price";
        add_one(all, "x", s, c);
        add_one(i % 2 ? one : two, "x", s, c);
    }
    add_one(all, "y", "", "only-two");
    add_one(two, "y", "", "only-two");
    assert_int_equal(tally_decision(one), VERDICT_INCONCLUSIVE);
    keep(two, &kept);
    assert_int_equal(tally_set_others(one, &kept.totals), 0);
    tally_verdict(one, &v);
    tally_verdict(all, &want);
    assert_int_equal(v.verdict, VERDICT_FAIL);
    assert_int_equal(want.verdict, VERDICT_FAIL);
    assert_int_equal(v.samples, 21);
    assert_int_equal(v.headline, want.headline);
    for (int h = 0; h < HEADLINE_COUNT; h++)
        assert_true(v.pass_log10[h] == want.pass_log10[h]);
    assert_int_equal(tally_samples(one), 10);
    assert_counts(tally_headline(one, HEADLINE_FIELD), 10, 8, 2, 0);
    assert_true(tally_field(one, 0).fail_log10 == evidence_fail_log10(18, 2));
    assert_int_equal(tally_fields(one), 1);
    assert_int_equal(tally_fields_all(one), 2);
    assert_str(tally_field(one, 1).path, "only-two");
    assert_true(tally_field(one, 1).fail_log10 == evidence_fail_log10(1, 0));
    tally_free(all);
    tally_free(one);
    tally_free(two);
}

static void a_field_that_only_others_have_fails(void **state)
{
    (void)state;
    struct tally *one = tally_new(EPSILON), *two = tally_new(EPSILON);
    struct tally_verdict v;
    for (int i = 0; i < 21; i++)
        add_one(two, "x", "", "price");
    keep(two, &kept);
    kept.totals.headline[HEADLINE_FIELD].candidate_only = 0; /* the field alone */
    add_one(one, "x", "", "");
    add_one(one, "x", "id", "id");
    assert_int_equal(tally_set_others(one, &kept.totals), 0);
    tally_verdict(one, &v);
    assert_true(v.verdict == VERDICT_FAIL && v.field == 1 && v.headline == -1);
    assert_str(tally_field(one, v.field).path, "price");
    add_one(one, "x", "", "price"); /* it becomes one of ours, and takes those along */
    assert_int_equal(tally_fields_all(one), 2);
    assert_counts(tally_field(one, 1).count, 3, 1, 0, 0);
    assert_true(tally_field(one, 1).fail_log10 == evidence_fail_log10(22, 0));
    kept.totals.nfields = 0;
    assert_int_equal(tally_set_others(one, &kept.totals), 0);
    assert_true(tally_field(one, 1).fail_log10 == evidence_fail_log10(1, 0));
    assert_int_equal(tally_decision(one), VERDICT_FAIL);
    tally_free(one);
    tally_free(two);
}

static void one_field_of_several_others_adds_up(void **state)
{
    (void)state;
    struct tally *t = tally_new(EPSILON);
    const struct tally_field f[2] = {
        {.endpoint = STR("x"), .path = STR("a"), .count = {9, 5, 1, 0, 0}},
        {.endpoint = STR("x"), .path = STR("a"), .count = {9, 7, 0, 2, 0}}};
    struct tally_totals others = {.fields = f, .nfields = 2};
    assert_int_equal(tally_set_others(t, &others), 0);
    assert_int_equal(tally_fields_all(t), 1);
    assert_true(tally_field(t, 0).fail_log10 == evidence_fail_log10(12, 1));
    struct tally_field bad = f[0];
    bad.count.candidate_only = 10;
    others.fields = &bad;
    others.nfields = 1;
    assert_int_equal(tally_set_others(t, &others), -EINVAL);
    assert_true(tally_field(t, 0).fail_log10 == evidence_fail_log10(12, 1));
    tally_free(t);
}

/* ---- memory ---- */

static void memory_that_runs_out_leaves_the_sums_alone(void **state)
{
    (void)state;
    struct drawn d;
    struct tally *t = tally_new(EPSILON), *twin = tally_new(EPSILON);
    struct tally_added added;
    char names[8][40];
    draw(&d, "", "");
    d.candidate = (struct differences){.item = d.item[1], .n = 8};
    for (unsigned long round = 0, nth = 1; round < 40; round++) {
        for (int i = 0; i < 8; i++) {
            snprintf(names[i], sizeof names[i], "new-%lu-%d-%030d", round, i, 0);
            d.item[1][i] = (struct difference){.path = str_c(names[i])};
        }
        struct tally_sample x = {STR("x"), &d.p, &d.s, &d.c, &d.secondary, &d.candidate, false};
        for (nth = 1;; nth++) {
            mem_fail_nth(nth);
            int rc = tally_add(t, &x, &added);
            mem_fail_nth(0);
            if (rc == 0)
                break;
            assert_int_equal(rc, -ENOMEM);
            assert_int_equal(tally_samples(t), round);
            assert_int_equal(tally_fields(t), round * 8);
        }
        mem_free(added.differences);
        assert_int_equal(tally_add(twin, &x, &added), 0);
        mem_free(added.differences);
        assert_true(nth > 1);
    }
    assert_same(t, twin);
    keep(t, &kept);
    int rc = -ENOMEM;
    for (unsigned long nth = 1; rc == -ENOMEM; nth++) {
        struct tally *copy = tally_new(EPSILON);
        mem_fail_nth(nth);
        rc = tally_restore(copy, &kept.totals);
        if (rc == 0)
            rc = tally_set_others(copy, &kept.totals);
        mem_fail_nth(0);
        tally_free(copy);
    }
    assert_int_equal(rc, 0);
    tally_free(t);
    tally_free(twin);
}

/* ---- endpoints ---- */

static void assert_endpoint(const char *path, bool grpc, const char *want)
{
    struct text out = {0};
    endpoint_of(STR("cart"), STR("GET"), str_c(path), grpc, &out);
    assert_str(str_of(out.p, out.n), want);
    text_release(&out);
}

static void ids_are_taken_out_of_paths(void **state)
{
    (void)state;
    assert_endpoint("/", false, "cart GET /");
    assert_endpoint("/items?id=17", false, "cart GET /items");
    assert_endpoint("/items/17/parts/18/", false, "cart GET /items/{}/parts/{}/");
    assert_endpoint("/a/3F2504E0-4F89-11D3-9A0C-0305E82C3301", false, "cart GET /a/{}");
    assert_endpoint("/days/2026-12-01/12:30", false, "cart GET /days/{}/{}");
    assert_endpoint("/blob/9f86d081884c7d65", false, "cart GET /blob/{}");
    assert_endpoint("/u/01ARZ3NDEKTSV4RRFFQ69G5FAV", false, "cart GET /u/{}");
    assert_endpoint("/u/cus_9s6XKzkNRiz8i3", false, "cart GET /u/{}");
    assert_endpoint("*", false, "cart GET *");
}

static void words_stay_in_paths(void **state)
{
    (void)state;
    static const char *const paths[] = {"/v1/items", "/api/v2beta1", "/facade/decade",
        "/getting-started-with-version-2", "/2024-annual-report-of-2025", "/a//b", "/%31%32",
        "/oauth2/token", "/-", "/item-17"};
    char want[64];
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        snprintf(want, sizeof want, "cart GET %s", paths[i]);
        assert_endpoint(paths[i], false, want);
    }
    assert_endpoint("/shop.Cart17/Get12345678901234567890", true,
        "cart GET /shop.Cart17/Get12345678901234567890");
}

static void long_endpoints_are_cut_and_stay_apart(void **state)
{
    (void)state;
    struct text a = {0}, b = {0};
    char path[1000];
    memset(path, 'x', sizeof path);
    path[0] = '/';
    endpoint_of(STR("cart"), STR("GET"), str_of(path, 999), false, &a);
    endpoint_of(STR(""), STR("GET"), str_of(path, 1000), false, &b);
    assert_int_equal(a.n, TALLY_ENDPOINT_MAX);
    assert_int_equal(b.n, TALLY_ENDPOINT_MAX);
    assert_true(str_starts(str_of(a.p, a.n), STR("cart GET /xxx")));
    assert_true(str_starts(str_of(b.p, b.n), STR("GET /xxx")));
    assert_true(a.p[a.n - 17] == '~' && memcmp(a.p + a.n - 16, b.p + b.n - 16, 16) != 0);
    text_release(&a);
    text_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_written_down_gives_the_same_sums),
        cmocka_unit_test(restored_sums_go_on_as_the_others_do),
        cmocka_unit_test(a_failure_is_restored),
        cmocka_unit_test(sums_that_cannot_be_are_refused),
        cmocka_unit_test(sums_of_others_add_up_to_one_verdict),
        cmocka_unit_test(a_field_that_only_others_have_fails),
        cmocka_unit_test(one_field_of_several_others_adds_up),
        cmocka_unit_test(memory_that_runs_out_leaves_the_sums_alone),
        cmocka_unit_test(ids_are_taken_out_of_paths),
        cmocka_unit_test(words_stay_in_paths),
        cmocka_unit_test(long_endpoints_are_cut_and_stay_apart),
    };
    return unit_run(tests);
}
