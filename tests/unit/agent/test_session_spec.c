/* What a session may be told, how it is written down, and what the graph allows. */
#include "agent/session_examples.h"
#include "tests/unit/agent/session_fixture.h"

#define PARSE(spec, e, ...)                                                                        \
    parse(spec, e, (const char *const[]){__VA_ARGS__},                                             \
        sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *))

static void defaults_are_those_of_the_reference(void **state)
{
    struct session_spec s;
    (void)state;
    assert_int_equal(PARSE(&s, NULL, BASE), 0);
    assert_string_equal(s.name, "s");
    assert_null(s.secondary);
    assert_null(s.through);
    assert_int_equal(s.rate_ppm, 1000000);
    assert_int_equal(s.samples, 0);
    assert_int_equal(s.for_s, 24 * 3600);
    assert_true(s.epsilon > 0.0099 && s.epsilon < 0.0101);
    assert_int_equal(s.until, UNTIL_DECISION);
    assert_false(s.forward_credentials || s.strict || s.redact_off || s.headers_lost);
    spec_release(&s);
}

static void what_is_written_is_read_back_but_for_the_values_of_headers(void **state)
{
    struct session_spec s, again;
    struct text one = {0}, two = {0};
    (void)state;
    assert_int_equal(PARSE(&s, NULL, BASE, "secondary=twin", "service=cart", "service=pricing",
                         "path=/a\"b", "rate=0.5", "samples=7", "for=90m", "epsilon=0.25",
                         "credentials=forward", "strict=1", "ignore=body.**.id:value",
                         "redact=iban", "redactOff=1", "header=Authorization: Bearer topsecret",
                         "header=x-key:v", "through=127.0.0.1:8081", "until=limit"),
        0);
    assert_int_equal(s.rate_ppm, 5000);
    assert_str(s.headers[0].name, "authorization");
    assert_str(s.headers[0].value, "Bearer topsecret");
    spec_json(&s, &one);
    assert_null(strstr(one.p, "topsecret"));
    assert_non_null(strstr(one.p, "\"headers\":[\"authorization\",\"x-key\"]"));
    assert_non_null(strstr(one.p, "\"paths\":[\"/a\\\"b\"]"));
    struct err e = {0};
    if (spec_from_json(&again, "s", one.p, &e) != 0)
        fail_msg("%s", e.text);
    assert_true(again.headers_lost);
    assert_int_equal(again.nheaders, 2);
    spec_json(&again, &two);
    assert_string_equal(one.p, two.p);
    text_release(&one);
    text_release(&two);
    spec_release(&s);
    spec_release(&again);
    assert_int_equal(spec_from_json(&again, "s", "[1]", &e), -EINVAL);
    assert_int_equal(spec_from_json(&again, "s", "{\"baseline\":\"main\"}", &e), -EINVAL);
}

static void bad_parameters_are_named(void **state)
{
    static const char *const cases[][2] = {{"name: want a name", "name=A"},
        {"secondary: want a name", "secondary=a b"}, {"service: want", "service="},
        {"service: want the name", "service=A_b"}, {"path: want a prefix", "path=x"},
        {"path: want a prefix", "path=/a?b=1"}, {"path: want a prefix", "path=/a b"},
        {"path: want a prefix", "path=/a#b"}, {"path: want a prefix", "path=/a\x7f"},
        {"rate: want a percentage", "rate=0"}, {"rate: want a percentage", "rate=100.1"},
        {"rate: want a percentage", "rate=1e2"}, {"rate: want a percentage", "rate=-1"},
        {"rate: want at least", "rate=0.00001"}, {"samples: want", "samples=0"},
        {"samples: want", "samples=1000000001"}, {"for: want", "for=999ms"},
        {"for: want", "for=31d"}, {"epsilon: want", "epsilon=0.51"},
        {"epsilon: want", "epsilon=1.2.3"}, {"credentials: want", "credentials=all"},
        {"strict: want 0 or 1", "strict=yes"}, {"redactOff: want", "redactOff=2"},
        {"until: want decision or limit", "until=never"}, {"header: want", "header=x"},
        {"header: want", "header=: y"}, {"header: want", "header=Host: a"},
        {"header: want", "header=x-offshoot-context: a"}, {"header: want", "header=a\tb: c"},
        {"header: want", "header=a: b\nc"}, {"through: ", "through=nowhere"},
        {"secondary: the baseline itself", "secondary=main"},
        {"secondary: 'team' is the candidate", "secondary=team"}, {"ignore: want", "ignore="}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct session_spec s;
        struct err e = {0};
        if (PARSE(&s, &e, cases[i][1], BASE) != -EINVAL ||
            !str_starts(str_c(e.text), str_c(cases[i][0])))
            fail_msg("%s: %s", cases[i][1], e.text);
    }
}

static void needed_names_and_limits_of_lists(void **state)
{
    const char *item[SPEC_LIST_MAX + 4] = {BASE};
    struct session_spec s;
    struct err e = {0};
    (void)state;
    assert_int_equal(PARSE(&s, &e, "name=s", "baseline=main"), -EINVAL);
    assert_string_equal(e.text, "candidate: say candidate=NAME");
    for (unsigned i = 0; i <= SPEC_LIST_MAX; i++)
        item[3 + i] = "path=/x";
    assert_int_equal(parse(&s, &e, item, 3 + SPEC_LIST_MAX), 0);
    spec_release(&s);
    assert_int_equal(parse(&s, &e, item, 4 + SPEC_LIST_MAX), -EINVAL);
    assert_string_equal(e.text, "path: more than 64 of them");
    char path[5 + 130] = "path=/";
    memset(path + 6, 'x', 128);
    for (unsigned i = 0; i < SPEC_LIST_MAX; i++)
        item[3 + i] = path;
    assert_int_equal(parse(&s, &e, item, 3 + SPEC_LIST_MAX), -EINVAL);
    assert_string_equal(e.text, "path: more than 8192 bytes together");
    path[5 + 128] = 0;
    assert_int_equal(parse(&s, &e, item, 3 + SPEC_LIST_MAX), 0);
    spec_release(&s);
    for (unsigned i = 0; i <= SPEC_LIST_MAX; i++)
        item[3 + i] = "header=x:y";
    assert_int_equal(parse(&s, &e, item, 4 + SPEC_LIST_MAX), -EINVAL);
    assert_string_equal(e.text, "header: more than 64 of them");
}

static void each_allocation_of_a_spec_may_fail(void **state)
{
    static const char json[] = "{\"baseline\":\"main\",\"candidate\":\"team\",\"services\":["
                               "\"cart\"],\"headers\":[\"x\"]}";
    unsigned long nth = 1, failed = 0;
    bool all = false;
    (void)state;
    for (; !all; nth++) {
        struct session_spec s;
        struct err e = {0};
        mem_fail_nth(nth);
        int rc = spec_from_json(&s, "s", json, &e);
        all = mem_count() < nth;
        mem_fail_nth(0);
        assert_int_equal(rc, all ? 0 : -ENOMEM);
        failed += rc != 0;
        if (rc == 0)
            spec_release(&s);
    }
    assert_true(failed >= 1);
}

/* ---- the graph ---- */

#define NONE                                                                                       \
    "apiVersion: offshoot.dev/v1\nkind: Service\nmetadata: {name: logger}\nspec: {state: none}\n"  \
    "---\n"                                                                                        \
    "apiVersion: offshoot.dev/v1\nkind: Service\nmetadata: {name: mail}\nspec: {shadow: safe}\n"   \
    "---\n"                                                                                        \
    "apiVersion: offshoot.dev/v1\nkind: Environment\nmetadata: {name: full}\nspec:\n"              \
    "  mode: overlay\n  parent: main\n  providers:\n"                                              \
    "    cart: {endpoints: [\"10.1.8.5:80\"]}\n    pricing: {endpoints: [\"10.1.8.6:80\"]}\n"      \
    "---\n"                                                                                        \
    "apiVersion: offshoot.dev/v1\nkind: Environment\nmetadata: {name: old}\nspec:\n"               \
    "  mode: overlay\n  parent: main\n  expires: 2026-01-01T00:00:00Z\n---\n"                      \
    "apiVersion: offshoot.dev/v1\nkind: Environment\nmetadata: {name: pool}\nspec:\n"              \
    "  mode: shared\n  providers: {logger: {endpoints: [\"10.1.9.5:80\"]}}\n"

static void load(const char *text)
{
    struct err e = {0};
    write_text("graph.yaml", text);
    int rc = core_reload(play.core, "test", &e);
    if (rc != 0)
        fail_msg("%d: %s", rc, e.text);
}

/* "": it is allowed. */
static void judged(const char *want, const char *more, const char *candidate)
{
    struct session_spec s;
    struct err e = {0};
    assert_int_equal(PARSE(&s, NULL, "name=s", "baseline=main", candidate, more), 0);
    spec_judge(&s, core_active(play.core), the_time, &e);
    if (*want ? !strstr(e.text, want) : *e.text)
        fail_msg("%s %s: '%s', want '%s'", candidate, more, e.text, want);
    spec_release(&s);
}

static void graph_says_what_is_allowed(void **state)
{
    (void)state;
    load(SHOP TEAM "---\n" NONE);
    judged("", "service=cart", "candidate=team");
    judged("", "service=cart", "candidate=main"); /* the same with itself */
    judged("candidate: there is no environment 'taem', did you mean 'team'?", "rate=1",
        "candidate=taem");
    judged("candidate: environment 'old' has expired", "rate=1", "candidate=old");
    judged("candidate: 'pool' is a pool", "rate=1", "candidate=pool");
    judged("service: there is no service 'crat', did you mean 'cart'?", "service=crat",
        "candidate=team");
    judged("", "secondary=full", "candidate=team");
    judged("secondary: service 'pricing' has state, and no provider of its own in 'team' (it is "
           "provided by 'main')",
        "secondary=team", "candidate=full");
    judged("secondary: there is no environment 'fll'", "secondary=fll", "candidate=team");
}

static void safe_requests_are_those_that_change_nothing(void **state)
{
    const struct snapshot *g;
    (void)state;
    load(SHOP TEAM "---\n" NONE);
    g = core_active(play.core);
    assert_true(spec_is_safe(g, STR("cart"), STR("GET")));
    assert_true(spec_is_safe(g, STR("cart"), STR("HEAD")));
    assert_true(spec_is_safe(g, STR("cart"), STR("OPTIONS")));
    assert_false(spec_is_safe(g, STR("cart"), STR("POST")));
    assert_false(spec_is_safe(g, STR("cart"), STR("get")));
    assert_true(spec_is_safe(g, STR("mail"), STR("POST")));
    assert_false(spec_is_safe(g, STR("none"), STR("POST")));
}

static void digest(const char *candidate, unsigned char ret[SPEC_DECISIONS])
{
    struct session_spec s;
    assert_int_equal(PARSE(&s, NULL, "name=s", "baseline=main", candidate), 0);
    assert_int_equal(spec_decisions(&s, core_active(play.core), the_time, ret), 0);
    spec_release(&s);
}

static void decisions_change_with_what_requests_meet_and_with_nothing_else(void **state)
{
    unsigned char one[SPEC_DECISIONS], two[SPEC_DECISIONS];
    (void)state;
    load(SHOP TEAM "---\n" NONE);
    digest("candidate=team", one);
    digest("candidate=full", two);
    assert_memory_not_equal(one, two, SPEC_DECISIONS);
    load(SHOP TEAM "---\n" NONE "---\napiVersion: offshoot.dev/v1\nkind: Environment\n"
                   "metadata: {name: more}\nspec: {mode: overlay, parent: main}\n");
    digest("candidate=team", two);
    assert_memory_equal(one, two, SPEC_DECISIONS);
    load(SHOP
        "---\napiVersion: offshoot.dev/v1\nkind: Environment\nmetadata: {name: team}\n"
        "spec:\n  mode: overlay\n  parent: main\n"
        "  providers: {cart: {endpoints: [\"10.1.7.5:80\"], artifact: \"cart:2\"}}\n---\n" NONE);
    digest("candidate=team", two);
    assert_memory_not_equal(one, two, SPEC_DECISIONS);
}

/* ---- examples ---- */

static void add(struct examples *e, unsigned field, uint64_t sample, bool candidate_only)
{
    char path[32];
    snprintf(path, sizeof path, "body.f%u", field);
    struct example_field f = {STR("cart GET /"), str_c(path), DIFF_VALUE};
    struct example x = {.sample = sample,
        .candidate_only = candidate_only,
        .primary = STR("a"),
        .candidate = STR("b")};
    examples_add(e, &f, &x);
}

static size_t have(const struct examples *e, unsigned field, struct example x[EXAMPLES_EACH])
{
    char path[32];
    snprintf(path, sizeof path, "body.f%u", field);
    struct example_field f = {STR("cart GET /"), str_c(path), DIFF_VALUE};
    return examples_of(e, &f, x);
}

static void examples_are_few_and_those_that_show_the_candidate_stay(void **state)
{
    struct examples *e = examples_new();
    struct example x[EXAMPLES_EACH];
    uint64_t sum = 0;
    (void)state;
    for (uint64_t i = 1; i <= 5; i++)
        add(e, 1, i, i == 2);
    add(e, 1, 6, false); /* takes the oldest such one's place */
    add(e, 1, 7, true);
    assert_int_equal(have(e, 1, x), EXAMPLES_EACH);
    bool two = false, seven = false;
    for (unsigned i = 0; i < EXAMPLES_EACH; i++) {
        two = two || x[i].sample == 2;
        seven = seven || x[i].sample == 7;
        assert_str(x[i].candidate, "b");
    }
    assert_true(two && seven);
    for (uint64_t i = 10; i < 20; i++)
        add(e, 1, i, true);
    add(e, 1, 99, false);
    assert_int_equal(have(e, 1, x), EXAMPLES_EACH);
    for (unsigned i = 0; i < EXAMPLES_EACH; i++)
        sum += x[i].sample;
    assert_int_equal(sum, 15 + 16 + 17 + 18 + 19);
    assert_int_equal(have(e, 2, x), 0);
    examples_free(e);
}

static void fields_without_evidence_go_when_there_are_too_many(void **state)
{
    struct examples *e = examples_new();
    struct tally *t = tally_new(0.01);
    struct example x[EXAMPLES_EACH];
    (void)state;
    for (unsigned i = 0; i < EXAMPLES_FIELDS + 1; i++)
        add(e, i, i, true);
    assert_int_equal(have(e, EXAMPLES_FIELDS - 1, x), 1);
    assert_int_equal(have(e, EXAMPLES_FIELDS, x), 0);
    struct tally_again_difference d = {STR("body.f300"), DIFF_VALUE, true, false};
    assert_int_equal(tally_again(t, STR("cart GET /"), 1u << HEADLINE_FIELD, 1u << HEADLINE_FIELD,
                         0, &d, 1, 100),
        0);
    examples_prune(e, t);
    assert_int_equal(have(e, 300, x), 1);
    assert_int_equal(have(e, 1, x), 0);
    examples_free(e);
    tally_free(t);
}

#define GRAPH_TEST(t) cmocka_unit_test_setup_teardown(t, play_begin, play_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_those_of_the_reference),
        cmocka_unit_test(what_is_written_is_read_back_but_for_the_values_of_headers),
        cmocka_unit_test(bad_parameters_are_named),
        cmocka_unit_test(needed_names_and_limits_of_lists),
        cmocka_unit_test(each_allocation_of_a_spec_may_fail),
        GRAPH_TEST(graph_says_what_is_allowed),
        GRAPH_TEST(safe_requests_are_those_that_change_nothing),
        GRAPH_TEST(decisions_change_with_what_requests_meet_and_with_nothing_else),
        cmocka_unit_test(examples_are_few_and_those_that_show_the_candidate_stay),
        cmocka_unit_test(fields_without_evidence_go_when_there_are_too_many),
    };
    return unit_run(tests);
}
