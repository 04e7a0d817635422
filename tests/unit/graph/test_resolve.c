/* The rules of resolution, one test a rule. */
#include "tests/unit/graph/graph_text.h"

#define NOW 1000000000 /* 2001-09-09T01:46:40Z */

static const char shop[] =                                   /* line numbers matter */
    "kind: Service\nmetadata: {name: cart}\nspec: {}\n"      /* 1 */
    "---\nkind: Service\nmetadata: {name: pay}\nspec: {}\n"  /* 4 */
    "---\nkind: Service\nmetadata: {name: old}\nspec: {}\n"  /* 8 */
    "---\nkind: Service\nmetadata: {name: mail}\nspec: {}\n" /* 12 */
    "---\nkind: Service\nmetadata: {name: none}\nspec: {}\n" /* 16 */
    "---\nkind: Service\nmetadata: {name: log}\nspec: {}\n"  /* 20 */
    "---\n"                                                  /* 24 */
    "kind: Environment\nmetadata: {name: main}\nspec:\n  mode: baseline\n  providers:\n" /* 25 */
    "    cart: {endpoints: ['10.0.0.1:80']}\n"                                           /* 30 */
    "    pay: {endpoints: ['10.0.0.2:80']}\n"
    "    old: {endpoints: ['10.0.0.3:80']}\n"
    "---\n"
    "kind: Environment\nmetadata: {name: team}\nspec:\n  mode: overlay\n  parent: main\n" /* 34 */
    "  expires: 2001-09-09T01:46:41Z\n"                                                   /* 39 */
    "  providers:\n"
    "    pay: {endpoints: ['10.0.1.2:80', {address: '10.0.1.3:80', weight: 7}]}\n" /* 41 */
    "  remove:\n    - old\n"                                                       /* 43 */
    "---\n"
    "kind: Environment\nmetadata: {name: feat}\nspec:\n  mode: overlay\n  parent: team\n" /* 45 */
    "  use:\n    cart: other\n"                                                           /* 51 */
    "---\n"
    "kind: Environment\nmetadata: {name: other}\nspec:\n  mode: overlay\n  parent: base\n" /* 53 */
    "  expires: 2001-09-09T01:46:41Z\n"                                                    /* 58 */
    "---\n"
    "kind: Environment\nmetadata: {name: base}\nspec:\n  mode: baseline\n  providers:\n" /* 60 */
    "    cart: {endpoints: ['10.0.5.1:80']}\n"                                           /* 65 */
    "---\n"
    "kind: Environment\nmetadata: {name: low}\nspec:\n  mode: shared\n  priority: 1\n" /* 67 */
    "  providers:\n    mail: {endpoints: ['10.0.6.1:80']}\n"                           /* 73 */
    "    log: {endpoints: ['10.0.6.2:80']}\n"                                          /* 74 */
    "---\n"
    "kind: Environment\nmetadata: {name: high}\nspec:\n  mode: shared\n  priority: 2\n" /* 76 */
    "  expires: 2001-09-09T01:46:41Z\n"                                                 /* 81 */
    "  providers:\n    mail: {endpoints: ['10.0.7.1:80']}\n";                           /* 83 */

struct expected {
    uint8_t cls, refusal;
    const char *provider; /* NULL: none */
    int distance;
    uint32_t line;
};

static void check(const struct snapshot *s, const char *env, const char *service, int64_t now,
    struct expected want)
{
    struct decision d = resolved(s, env, service, now);
    assert_int_equal(d.refusal, want.refusal);
    assert_int_equal(d.cls, want.cls);
    assert_int_equal(d.distance, want.distance);
    if (want.provider)
        assert_str(snapshot_env_name(s, d.provider), want.provider);
    else
        assert_int_equal(d.provider, NUMBER_NONE);
    assert_int_equal(d.endpoints != NULL, want.provider != NULL);
    assert_int_equal(origin_line(s, &d), want.line);
}

static void own_statement_is_local_also_in_a_baseline_and_a_pool(void **state)
{
    (void)state;
    struct snapshot *s = graph_of(shop);
    check(s, "team", "pay", NOW, (struct expected){CLASS_LOCAL, 0, "team", 0, 41});
    check(s, "main", "cart", NOW, (struct expected){CLASS_LOCAL, 0, "main", 0, 30});
    check(s, "low", "mail", NOW, (struct expected){CLASS_LOCAL, 0, "low", 0, 73});
    snapshot_unref(s);
}

static void inherits_from_an_ancestor_and_from_the_baseline(void **state)
{
    (void)state;
    struct snapshot *s = graph_of(shop);
    check(s, "feat", "pay", NOW, (struct expected){CLASS_ANCESTOR, 0, "team", 1, 41});
    check(s, "team", "cart", NOW, (struct expected){CLASS_BASELINE, 0, "main", 1, 30});
    snapshot_unref(s);
}

static void removal_hides_an_ancestors_provider(void **state)
{
    (void)state;
    struct snapshot *s = graph_of(shop);
    check(s, "feat", "old", NOW, (struct expected){0, REFUSAL_REMOVED, NULL, -1, 43});
    snapshot_unref(s);
}

static void use_takes_what_the_target_resolves_to(void **state)
{
    (void)state;
    struct snapshot *s = graph_of(shop);
    check(s, "feat", "cart", NOW, (struct expected){CLASS_EXPLICIT, 0, "base", 0, 51});
    snapshot_unref(s);
}

static void expires_from_that_very_second_on(void **state)
{
    (void)state;
    struct snapshot *s = graph_of(shop);
    check(s, "team", "pay", NOW, (struct expected){CLASS_LOCAL, 0, "team", 0, 41});
    check(s, "team", "pay", NOW + 1, (struct expected){0, REFUSAL_EXPIRED, NULL, -1, 39});
    check(s, "feat", "none", NOW + 1, (struct expected){0, REFUSAL_EXPIRED, NULL, -1, 39});
    snapshot_unref(s);
}

/* A chain of environments e0 (a baseline) to e7: short lineages are kept in one place, long ones in
 * another. Every eN with N > 0 expires at 2001-09-09T01:46:40Z + N. */
static struct snapshot *chain_graph(void)
{
    char text[4096];
    size_t n = (size_t)snprintf(text, sizeof(text),
        "kind: Service\nmetadata: {name: cart}\nspec: {}\n---\n"
        "kind: Environment\nmetadata: {name: e0}\nspec:\n  mode: baseline\n"
        "  providers:\n    cart: {endpoints: ['10.0.0.1:80']}\n");
    for (unsigned i = 1; i < 8; i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n,
            "---\nkind: Environment\nmetadata: {name: e%u}\nspec:\n  mode: overlay\n"
            "  parent: e%u\n  expires: 2001-09-09T01:46:4%uZ\n",
            i, i - 1, i);
    return graph_of(text);
}

static void lineages_of_every_length_are_walked_to_their_end(void **state)
{
    (void)state;
    struct snapshot *s = chain_graph();
    for (unsigned i = 1; i < 8; i++) {
        char name[3] = {'e', (char)('0' + i), '\0'};
        struct decision d = resolved(s, name, "cart", NOW);
        assert_int_equal(d.refusal, 0);
        assert_int_equal(d.cls, CLASS_BASELINE);
        assert_int_equal(d.distance, i);
        assert_str(snapshot_env_name(s, d.provider), "e0");
        /* e1 first, at the far end; once all have expired, the nearest is named. */
        d = resolved(s, name, "cart", NOW + 1);
        assert_int_equal(d.refusal, REFUSAL_EXPIRED);
        assert_str(snapshot_env_name(s, d.cause_env), "e1");
        d = resolved(s, name, "cart", NOW + 8);
        assert_str(snapshot_env_name(s, d.cause_env), name);
    }
    snapshot_unref(s);
}

static void expires_to_the_second_at_any_time(void **state)
{
    (void)state;
    static const struct {
        const char *written;
        int64_t at;
    } rows[] = {{"1970-01-01T00:00:00Z", 0}, {"1970-01-01T00:00:01Z", 1},
        {"2106-02-07T06:28:14Z", UINT32_MAX - (int64_t)1}, {"2106-02-07T06:28:15Z", UINT32_MAX},
        {"2106-02-07T06:28:16Z", UINT32_MAX + (int64_t)1}, {"3000-01-01T00:00:00Z", 32503680000}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        char text[512];
        snprintf(text, sizeof(text),
            "kind: Service\nmetadata: {name: cart}\nspec: {}\n---\n"
            "kind: Environment\nmetadata: {name: e}\nspec:\n  mode: baseline\n  expires: %s\n"
            "  providers:\n    cart: {endpoints: ['10.0.0.1:80']}\n",
            rows[i].written);
        struct snapshot *s = graph_of(text);
        assert_int_equal(resolved(s, "e", "cart", rows[i].at - 1).refusal, 0);
        assert_int_equal(resolved(s, "e", "cart", -1000).refusal, 0);
        assert_int_equal(resolved(s, "e", "cart", rows[i].at).refusal, REFUSAL_EXPIRED);
        assert_int_equal(resolved(s, "e", "cart", INT64_MAX - 1).refusal, REFUSAL_EXPIRED);
        snapshot_unref(s);
    }
}

static void use_of_an_expired_environment_is_refused_at_the_use(void **state)
{
    (void)state;
    struct snapshot *s = graph_on(NULL,
        "kind: Service\nmetadata: {name: cart}\nspec: {}\n---\n"
        "kind: Environment\nmetadata: {name: main}\nspec: {mode: baseline, "
        "providers: {cart: {endpoints: ['a:1']}}}\n---\n"
        "kind: Environment\nmetadata: {name: old}\nspec: {mode: overlay, parent: main, "
        "expires: 2001-09-09T01:46:40Z}\n---\n"
        "kind: Environment\nmetadata: {name: young}\nspec: {mode: overlay, parent: old}\n---\n"
        "kind: Environment\nmetadata: {name: feat}\nspec:\n  mode: overlay\n  parent: main\n"
        "  use:\n    cart: young\n",
        1, NULL);
    check(s, "feat", "cart", NOW - 1, (struct expected){CLASS_EXPLICIT, 0, "main", 0, 23});
    check(s, "feat", "cart", NOW, (struct expected){0, REFUSAL_EXPIRED, NULL, -1, 23});
    snapshot_unref(s);
}

static void pool_of_highest_priority_provides_and_never_the_next(void **state)
{
    (void)state;
    struct snapshot *s = graph_of(shop);
    check(s, "main", "mail", NOW, (struct expected){CLASS_SHARED, 0, "high", -1, 83});
    check(s, "main", "mail", NOW + 1, (struct expected){0, REFUSAL_EXPIRED, NULL, -1, 81});
    check(s, "main", "log", NOW + 1, (struct expected){CLASS_SHARED, 0, "low", -1, 74});
    snapshot_unref(s);
}

static void refusals_come_in_their_order(void **state)
{
    (void)state;
    struct snapshot *s = graph_of(shop);
    check(s, "nobody", "nothing", NOW,
        (struct expected){0, REFUSAL_UNKNOWN_ENVIRONMENT, NULL, -1, 0});
    check(s, "team", "nothing", NOW + 1, (struct expected){0, REFUSAL_EXPIRED, NULL, -1, 39});
    check(s, "team", "nothing", NOW, (struct expected){0, REFUSAL_NO_SERVICE, NULL, -1, 0});
    check(s, "team", "none", NOW, (struct expected){0, REFUSAL_NO_PROVIDER, NULL, -1, 0});
    snapshot_unref(s);
}

static void unknown_numbers_are_refused_not_read(void **state)
{
    (void)state;
    struct snapshot *s = graph_of(shop);
    struct decision d;
    const uint32_t numbers[] = {NUMBER_NONE, NUMBER_NONE - 1, snapshot_env_limit(s), 1u << 22};
    for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++) {
        snapshot_resolve(s, numbers[i], 0, NOW, &d);
        assert_int_equal(d.refusal, REFUSAL_UNKNOWN_ENVIRONMENT);
        assert_int_equal(d.env, NUMBER_NONE);
        snapshot_resolve(s, env_number(s, "main"), numbers[i], NOW, &d);
        assert_int_equal(d.refusal, REFUSAL_NO_SERVICE);
    }
    snapshot_unref(s);
}

static void endpoints_come_as_written_with_their_weights(void **state)
{
    (void)state;
    struct snapshot *s = graph_of(shop);
    struct decision d = resolved(s, "team", "pay", NOW);
    struct endpoint e;
    char text[ADDR_TEXT_MAX];
    assert_int_equal(endpoint_set_count(d.endpoints), 2);
    assert_int_equal(endpoint_set_weight(d.endpoints), 8);
    endpoint_set_at(d.endpoints, 1, &e);
    assert_str(str_of(text, addr_format(&e.addr, text)), "10.0.1.3:80");
    assert_int_equal(e.weight, 7);
    snapshot_unref(s);
}

static void every_refusal_has_a_word_and_statuses(void **state)
{
    (void)state;
    static const struct {
        enum refusal refusal;
        const char *word;
        unsigned http, grpc;
    } want[] = {
        {REFUSAL_NO_ENVIRONMENT, "no-environment", 404, 9},
        {REFUSAL_EXPIRED, "expired", 410, 9},
        {REFUSAL_NO_ROUTE, "no-route", 404, 12},
        {REFUSAL_NO_PROVIDER, "no-provider", 503, 9},
        {REFUSAL_CONTEXT, "context", 400, 3},
        {REFUSAL_RESIDENCY, "residency", 451, 7},
        {REFUSAL_DARK_BLOCKED, "dark-blocked", 409, 9},
        {REFUSAL_BAD_REQUEST, "bad-request", 400, 3},
        {REFUSAL_REQUEST_TIMEOUT, "request-timeout", 408, 4},
        {REFUSAL_UNSUPPORTED, "unsupported", 501, 12},
        {REFUSAL_EXPECTATION, "expectation", 417, 3},
        {REFUSAL_RATE_LIMITED, "rate-limited", 429, 8},
    };
    for (size_t i = 0; i < sizeof(want) / sizeof(*want); i++) {
        assert_string_equal(refusal_word(want[i].refusal), want[i].word);
        assert_int_equal(refusal_status(want[i].refusal), want[i].http);
        assert_int_equal(refusal_grpc(want[i].refusal), want[i].grpc);
    }
    for (unsigned r = 1; r < REFUSAL_COUNT; r++) {
        assert_true(refusal_word(r)[0] != '\0');
        assert_in_range(refusal_status(r), 400, 599);
        assert_in_range(refusal_grpc(r), 3, 14);
    }
    assert_string_equal(refusal_word(REFUSAL_NONE), "");
    assert_string_equal(refusal_word(REFUSAL_COUNT), "");
    assert_string_equal(decision_class_word(CLASS_SHARED), "shared");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(own_statement_is_local_also_in_a_baseline_and_a_pool),
        cmocka_unit_test(inherits_from_an_ancestor_and_from_the_baseline),
        cmocka_unit_test(removal_hides_an_ancestors_provider),
        cmocka_unit_test(use_takes_what_the_target_resolves_to),
        cmocka_unit_test(expires_from_that_very_second_on),
        cmocka_unit_test(lineages_of_every_length_are_walked_to_their_end),
        cmocka_unit_test(expires_to_the_second_at_any_time),
        cmocka_unit_test(use_of_an_expired_environment_is_refused_at_the_use),
        cmocka_unit_test(pool_of_highest_priority_provides_and_never_the_next),
        cmocka_unit_test(refusals_come_in_their_order),
        cmocka_unit_test(unknown_numbers_are_refused_not_read),
        cmocka_unit_test(endpoints_come_as_written_with_their_weights),
        cmocka_unit_test(every_refusal_has_a_word_and_statuses),
    };
    return unit_run(tests);
}
