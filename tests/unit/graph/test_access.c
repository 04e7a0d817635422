/* Signed contexts and access, through decide: which token decides where, and who may go where. */
#include "tests/unit/graph/compiled.h"

#include "lib/graph/access.h"
#include "lib/graph/decide.h"
#include "lib/graph/keyring.h"

#define NOW  INT64_C(1800000000)
#define KEYS "k1 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"
#define ELSE                                                                                       \
    "k1 QEFCQ0RFRkdISUpLTE1OT1BRUlNUVVZXWFlaW1xdXl9gYWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXp7fH1+fw=="

#define ENV(name, spec)                                                                            \
    "---\napiVersion: offshoot.dev/v1\nkind: Environment\nmetadata: {name: " name                  \
    "}\nspec: {" spec "}\n"
#define CART ", providers: {cart: {endpoints: [\"10.1.0.5:80\"]}}"
#define GATEWAY(access)                                                                            \
    "---\napiVersion: offshoot.dev/v1\nkind: Gateway\nmetadata: {name: edge}\nspec: "              \
    "{defaultEnvironment: main, " access                                                           \
    "select: [{header: x-env}, {query: env}, {cookie: env}, {baggage: env}], "                     \
    "routes: [{path: /cart, service: cart}, {path: /shared, service: shared}]}\n"

/* Each name says what access it and its lineage have. */
#define GRAPH(access)                                                                              \
    "apiVersion: offshoot.dev/v1\nkind: Service\nmetadata: {name: cart}\n"                         \
    "---\napiVersion: offshoot.dev/v1\nkind: Service\nmetadata: {name: shared}\n"           /**/   \
        ENV("main", "mode: baseline" CART)                                                  /**/   \
        ENV("hidden", "mode: baseline, access: {subjects: [x]}" CART)                       /**/   \
        ENV("locked", "mode: baseline, access: token" CART)                                 /**/   \
        ENV("unset", "mode: overlay, parent: main")                                         /**/   \
        ENV("open", "mode: overlay, parent: main, access: public")                          /**/   \
        ENV("by-token", "mode: overlay, parent: main, access: token")                       /**/   \
        ENV("by-subject", "mode: overlay, parent: main, access: {subjects: [x]}")           /**/   \
        ENV("by-two",                                                                       /**/   \
            "mode: overlay, parent: hidden, access: {subjects: [y, spiffe://shop/z]}")      /**/   \
        ENV("uses-two", "mode: overlay, parent: main, access: public, use: {cart: by-two}") /**/   \
        ENV("open-in-locked", "mode: overlay, parent: locked, access: public")              /**/   \
        ENV("open-in-hidden", "mode: overlay, parent: hidden, access: public")              /**/   \
        ENV("d1", "mode: overlay, parent: by-token, access: public")                        /**/   \
        ENV("d2", "mode: overlay, parent: d1, access: public")                              /**/   \
        ENV("d3", "mode: overlay, parent: d2, access: public")                              /**/   \
        ENV("uses-hidden",                                                                         \
            "mode: overlay, parent: main, access: public, use: {cart: hidden}")            /**/    \
        ENV("uses-token", "mode: overlay, parent: main, access: public, use: {cart: d3}")  /**/    \
        ENV("late", "mode: overlay, parent: hidden, expires: 2020-01-01T00:00:00Z")        /**/    \
        ENV("uses-late", "mode: overlay, parent: main, access: public, use: {cart: late}") /**/    \
        ENV("gone",                                                                                \
            "mode: overlay, parent: main, access: token, expires: 2020-01-01T00:00:00Z") /**/      \
        ENV("removes", "mode: overlay, parent: main, access: token, remove: [cart]")     /**/      \
        ENV("pool", "mode: shared, access: {subjects: [x]}, providers: {shared: {endpoints: "      \
                    "[\"10.1.0.9:80\"]}}") GATEWAY(access)

static struct {
    struct snapshot *s;
    struct request r;
    struct answer answer;
    struct signer *signer;
    bool trusted;
    struct subjects subjects;
    char tokens[16][TOKEN_MAX];
    unsigned ntokens;
} f;

static struct signer *signer_of(const char *keys, const char *domain)
{
    struct keyring *k = keyring_parse(str_c(keys), "keys", domain, NULL);
    struct signer *s = signer_new(k);
    keyring_unref(k);
    assert_non_null(s);
    return s;
}

static int setup(void **state)
{
    (void)state;
    f.s = graph_compile(GRAPH(""));
    f.signer = signer_of(KEYS, "offshoot");
    f.trusted = false;
    f.subjects = (struct subjects){0};
    f.ntokens = 0;
    request_init(&f.r, "x", "/cart");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    signer_free(f.signer);
    snapshot_unref(f.s);
    return 0;
}

static enum refusal decided(void)
{
    const struct ask ask = {.fields = f.r.fields,
        .nfields = f.r.n,
        .authority = f.r.authority,
        .path = f.r.path,
        .trusted = f.trusted,
        .subjects = f.subjects,
        .gateway = snapshot_only_gateway(f.s),
        .now = NOW,
        .scratch = &f.r.scratch,
        .signer = f.signer};
    decide(f.s, &ask, &f.answer);
    assert_int_equal(f.answer.decision.refusal, f.answer.refusal);
    if (f.answer.refusal) {
        assert_int_equal(f.answer.decision.provider, NUMBER_NONE);
        assert_null(f.answer.decision.endpoints);
    }
    return f.answer.refusal;
}

/* Valid until the test ends. */
static const char *mint_by(struct signer *s, char use, const char *env, uint8_t flags, int64_t exp)
{
    char *out = f.tokens[f.ntokens++ % 16];
    out[signer_mint(s, use, str_c(env), 0, flags, (uint64_t)exp, NOW, out)] = '\0';
    return out;
}

static const char *mint(char use, const char *env)
{
    return mint_by(f.signer, use, env, 0, NOW + 60);
}

static enum refusal with(const char *name, const char *value)
{
    request_init(&f.r, "x", "/cart");
    request_add(&f.r, name, value);
    return decided();
}

static enum refusal with_env(const char *env)
{
    return with("x-env", env);
}

static enum refusal with_token(const char *env)
{
    return with("x-offshoot-context", mint('e', env));
}

static void assert_fault(const char *value, enum context_fault fault)
{
    assert_int_equal(with("x-offshoot-context", value), fault ? REFUSAL_CONTEXT : REFUSAL_NONE);
    assert_int_equal(f.answer.context.fault, fault);
    assert_int_equal(f.answer.context.source, SOURCE_X_OFFSHOOT_CONTEXT);
    assert_int_equal(f.answer.context.rule, RULE_EXPLICIT);
    assert_int_equal(f.answer.context.foreign, 0);
}

static void assert_foreign(const char *value)
{
    request_init(&f.r, "x", "/cart");
    request_add(&f.r, "x-offshoot-context", value);
    request_add(&f.r, "x-env", "open");
    assert_int_equal(decided(), REFUSAL_NONE);
    assert_int_equal(f.answer.context.foreign, 1);
    assert_str(f.answer.context.env, "open");
    assert_true(request_dropped(&f.r, 0));
}

/* ---- tokens ---- */

static void a_trusted_listener_wants_signed_mesh_tokens_once_there_are_keys(void **state)
{
    (void)state;
    struct signer *other = signer_of(ELSE, "offshoot"), *domain = signer_of(KEYS, "other");
    f.trusted = true;
    assert_fault(mint('m', "by-token"), FAULT_NONE);
    assert_str(f.answer.context.env, "by-token");
    assert_false(f.answer.context.by_token);
    assert_int_equal(f.answer.context.exp, NOW + 60);
    assert_str(f.answer.context.token, mint('m', "by-token"));
    assert_fault("v1m.main.0.00", FAULT_UNSIGNED);
    assert_fault(mint('e', "main"), FAULT_EDGE_TOKEN);
    assert_fault(mint_by(other, 'm', "main", 0, NOW + 60), FAULT_BAD_MAC);
    assert_fault(mint_by(domain, 'm', "main", 0, NOW + 60), FAULT_BAD_MAC);
    assert_fault("v1m.main.0.00.1.k9.AAAAAAAAAAAAAAAAAAAAAA", FAULT_UNKNOWN_KEY);
    assert_fault(mint_by(f.signer, 'm', "main", 0, NOW - TOKEN_SKEW_S), FAULT_NONE);
    assert_fault(mint_by(f.signer, 'm', "main", 0, NOW - TOKEN_SKEW_S - 1), FAULT_PAST_EXP);
    signer_free(other);
    signer_free(domain);
}

static void without_keys_signed_tokens_are_of_an_unknown_key(void **state)
{
    (void)state;
    const char *mesh = mint('m', "main"), *edge = mint('e', "main");
    struct signer *mine = f.signer;
    f.signer = NULL;
    assert_foreign(edge);
    f.trusted = true;
    assert_fault(mesh, FAULT_UNKNOWN_KEY);
    assert_fault("v1m.main.0.00", FAULT_NONE);
    assert_int_equal(f.answer.context.exp, 0);
    assert_int_equal(f.answer.context.token.n, 0);
    f.signer = mine;
}

static void an_untrusted_listener_believes_only_a_signed_edge_token(void **state)
{
    (void)state;
    struct signer *other = signer_of(ELSE, "offshoot"), *domain = signer_of(KEYS, "other");
    assert_fault(mint('e', "by-token"), FAULT_NONE);
    assert_str(f.answer.context.env, "by-token");
    assert_true(f.answer.context.by_token);
    assert_int_equal(f.answer.context.exp, 0);
    assert_int_equal(f.answer.context.token.n, 0);
    assert_false(f.answer.context.explain);
    assert_fault(mint_by(f.signer, 'e', "main", CONTEXT_EXPLAIN, NOW), FAULT_NONE);
    assert_true(f.answer.context.explain);
    assert_fault(mint_by(other, 'e', "main", 0, NOW + 60), FAULT_BAD_MAC);
    assert_fault(mint_by(domain, 'e', "main", 0, NOW + 60), FAULT_BAD_MAC);
    assert_fault(mint_by(f.signer, 'e', "main", 0, NOW - TOKEN_SKEW_S - 1), FAULT_PAST_EXP);
    assert_foreign(mint('m', "by-token"));
    assert_foreign("v1e.by-token.0.00");
    assert_foreign("v1e.by-token.0.00.1.k9.AAAAAAAAAAAAAAAAAAAAAA");
    assert_foreign("by-token");
    assert_foreign("");
    signer_free(other);
    signer_free(domain);
}

static void two_edge_tokens_that_differ_are_refused_and_equal_ones_agree(void **state)
{
    (void)state;
    char baggage[TOKEN_MAX + 64];
    snprintf(baggage, sizeof baggage, "a=1,offshoot=%s", mint('e', "by-token"));
    for (int i = 0; i < 3; i++) {
        static const char *const envs[] = {"by-token", "open", NULL};
        request_init(&f.r, "x", "/cart");
        request_add(&f.r, "x-offshoot-context", envs[i] ? mint('e', envs[i]) : "v1m.main.0.00");
        request_add(&f.r, "baggage", baggage);
        assert_int_equal(decided(), i == 1 ? REFUSAL_CONTEXT : REFUSAL_NONE);
        assert_int_equal(f.answer.context.fault, i == 1 ? FAULT_TWO_VALUES : FAULT_NONE);
        assert_int_equal(f.answer.context.foreign, i == 2);
        if (i != 1)
            assert_int_equal(f.answer.context.source, SOURCE_BAGGAGE);
    }
}

static void a_query_or_a_cookie_may_be_an_edge_token_and_a_header_may_not(void **state)
{
    (void)state;
    char text[TOKEN_MAX + 64];
    struct signer *other = signer_of(ELSE, "offshoot");
    for (int trusted = 0; trusted < 2; trusted++) {
        f.trusted = trusted;
        snprintf(text, sizeof text, "/cart?env=%s", mint('e', "by-token"));
        request_init(&f.r, "x", text);
        assert_int_equal(decided(), REFUSAL_NONE);
        assert_str(f.answer.context.env, "by-token");
        assert_true(f.answer.context.by_token);
        assert_int_equal(f.answer.context.source, SOURCE_SELECTOR);
        assert_str(f.answer.path, "/cart");
        snprintf(text, sizeof text, "a=1; env=%s", mint('e', "by-token"));
        assert_int_equal(with("cookie", text), REFUSAL_NONE);
        assert_true(f.answer.context.by_token);
    }
    f.trusted = false;
    snprintf(text, sizeof text, "env=%s", mint_by(other, 'e', "by-token", 0, NOW + 60));
    assert_int_equal(with("cookie", text), REFUSAL_CONTEXT);
    assert_int_equal(f.answer.context.fault, FAULT_BAD_MAC);
    snprintf(text, sizeof text, "env=%s", mint_by(f.signer, 'e', "by-token", 0, NOW - 60));
    assert_int_equal(with("cookie", text), REFUSAL_CONTEXT);
    assert_int_equal(f.answer.context.fault, FAULT_PAST_EXP);
    snprintf(text, sizeof text, "env=%s", mint('m', "by-token"));
    assert_int_equal(with("cookie", text), REFUSAL_UNKNOWN_ENVIRONMENT);
    snprintf(text, sizeof text, "env=%s", mint('e', "by-token"));
    assert_int_equal(with("baggage", text), REFUSAL_UNKNOWN_ENVIRONMENT);
    assert_int_equal(with("x-env", mint('e', "by-token")), REFUSAL_UNKNOWN_ENVIRONMENT);
    signer_free(other);
}

/* ---- access ---- */

static void access_is_the_strictest_of_the_lineage(void **state)
{
    static const struct {
        const char *env;
        enum access_kind access;
    } rows[] = {{"main", ACCESS_PUBLIC}, {"hidden", ACCESS_SUBJECTS}, {"locked", ACCESS_TOKEN},
        {"unset", ACCESS_TOKEN}, {"open", ACCESS_PUBLIC}, {"by-token", ACCESS_TOKEN},
        {"by-subject", ACCESS_SUBJECTS}, {"open-in-locked", ACCESS_TOKEN},
        {"open-in-hidden", ACCESS_SUBJECTS}, {"d1", ACCESS_TOKEN}, {"d2", ACCESS_TOKEN},
        {"d3", ACCESS_TOKEN}, {"uses-hidden", ACCESS_SUBJECTS}, {"uses-token", ACCESS_TOKEN},
        {"gone", ACCESS_TOKEN}, {"removes", ACCESS_TOKEN}, {"pool", ACCESS_SUBJECTS}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        bool open = rows[i].access == ACCESS_PUBLIC, token = rows[i].access != ACCESS_SUBJECTS;
        assert_int_equal(with_env(rows[i].env) != REFUSAL_FORBIDDEN, open);
        assert_int_equal(with_token(rows[i].env) != REFUSAL_FORBIDDEN, token);
        f.trusted = true;
        assert_int_not_equal(with_env(rows[i].env), REFUSAL_FORBIDDEN);
        f.trusted = false;
    }
}

/* x is listed by hidden, and by what inherits it; by-two wants a name of its own besides. */
static void names_of_a_certificate_open_what_lists_them(void **state)
{
    static const struct str x[] = {{"x", 1}}, y[] = {{"y", 1}}, near[] = {{"X", 1}, {"x ", 2}},
                            both[] = {{"else", 4}, {"spiffe://shop/z", 15}, {"x", 1}};
    static const struct {
        const char *env;
        bool x, y, both;
    } rows[] = {{"main", true, true, true}, {"hidden", true, false, true},
        {"by-subject", true, false, true}, {"open-in-hidden", true, false, true},
        {"uses-hidden", true, false, true}, {"pool", true, false, true},
        {"by-two", false, false, true}, {"uses-two", false, false, true},
        {"by-token", false, false, false}, {"unset", false, false, false}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        f.subjects = (struct subjects){x, 1};
        assert_int_equal(with_env(rows[i].env) != REFUSAL_FORBIDDEN, rows[i].x);
        assert_int_equal(f.answer.context.by_subject, rows[i].x && i > 0);
        f.subjects = (struct subjects){y, 1};
        assert_int_equal(with_env(rows[i].env) != REFUSAL_FORBIDDEN, rows[i].y);
        f.subjects = (struct subjects){near, 2};
        assert_int_equal(with_env(rows[i].env) != REFUSAL_FORBIDDEN, i == 0);
        f.subjects = (struct subjects){both, 3};
        assert_int_equal(with_env(rows[i].env) != REFUSAL_FORBIDDEN, rows[i].both);
    }
}

static void overlay_access_says_what_unset_means(void **state)
{
    (void)state;
    assert_int_equal(with_env("unset"), REFUSAL_FORBIDDEN);
    snapshot_unref(f.s);
    f.s = graph_compile(GRAPH("overlayAccess: public, "));
    assert_int_equal(with_env("unset"), REFUSAL_NONE);
    assert_int_equal(with_env("by-token"), REFUSAL_FORBIDDEN);
    uint32_t unset = snapshot_find_env(f.s, STR("unset"));
    assert_int_equal(access_of(f.s, unset, ACCESS_PUBLIC), ACCESS_PUBLIC);
    assert_int_equal(access_of(f.s, unset, ACCESS_TOKEN), ACCESS_TOKEN);
    assert_int_equal(access_of(f.s, NUMBER_NONE, ACCESS_TOKEN), ACCESS_PUBLIC);
}

static void forbidden_comes_before_anything_else_that_would_tell(void **state)
{
    (void)state;
    assert_int_equal(with_env("gone"), REFUSAL_FORBIDDEN);
    assert_int_equal(f.answer.decision.cause_env, NUMBER_NONE);
    assert_int_equal(with_token("gone"), REFUSAL_EXPIRED);
    assert_int_equal(with_env("removes"), REFUSAL_FORBIDDEN);
    assert_int_equal(with_token("removes"), REFUSAL_REMOVED);
    assert_int_equal(with_env("uses-late"), REFUSAL_FORBIDDEN);
    f.trusted = true;
    assert_int_equal(with_env("uses-late"), REFUSAL_EXPIRED);
}

static void a_pool_that_only_provides_is_not_judged(void **state)
{
    (void)state;
    request_init(&f.r, "x", "/shared");
    request_add(&f.r, "x-env", "open");
    assert_int_equal(decided(), REFUSAL_NONE);
    assert_int_equal(f.answer.decision.cls, CLASS_SHARED);
    assert_int_equal(with_token("pool"), REFUSAL_FORBIDDEN);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_trusted_listener_wants_signed_mesh_tokens_once_there_are_keys),
        TEST(without_keys_signed_tokens_are_of_an_unknown_key),
        TEST(an_untrusted_listener_believes_only_a_signed_edge_token),
        TEST(two_edge_tokens_that_differ_are_refused_and_equal_ones_agree),
        TEST(a_query_or_a_cookie_may_be_an_edge_token_and_a_header_may_not),
        TEST(access_is_the_strictest_of_the_lineage),
        TEST(names_of_a_certificate_open_what_lists_them),
        TEST(overlay_access_says_what_unset_means),
        TEST(forbidden_comes_before_anything_else_that_would_tell),
        TEST(a_pool_that_only_provides_is_not_judged),
    };
    return cmocka_run_group_tests(tests, NULL, nothing_lives);
}
