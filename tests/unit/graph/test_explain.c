#include "tests/unit/graph/compiled.h"

#include "lib/graph/explain.h"
#include <errno.h>
#include <jansson.h>

/* Line numbers matter below: one document a few lines. */
static const char graph[] =
    "kind: Service\napiVersion: offshoot.dev/v1\nmetadata: {name: cart}\nspec: {}\n---\n"  /* 1 */
    "kind: Service\napiVersion: offshoot.dev/v1\nmetadata: {name: promo}\nspec: {}\n---\n" /* 6 */
    "kind: Service\napiVersion: offshoot.dev/v1\nmetadata: {name: hints}\nspec: {}\n---\n" /* 11 */
    "kind: Service\napiVersion: offshoot.dev/v1\nmetadata: {name: db}\n"
    "spec: {protocol: tcp}\n---\n"                                                        /* 16 */
    "kind: Service\napiVersion: offshoot.dev/v1\nmetadata: {name: lost}\nspec: {}\n---\n" /* 21 */
    "kind: Environment\napiVersion: offshoot.dev/v1\nmetadata: {name: main}\n"            /* 26 */
    "spec:\n  mode: baseline\n  owner: \"plat\\\"form\"\n  providers:\n"                  /* 29 */
    "    cart: {endpoints: [\"10.1.0.5:8080\", {address: \"cart.main.svc:80\", weight: 3}]}\n" /* 33
                                                                                                */
    "    promo: {endpoints: [\"10.1.0.6:8080\"]}\n    db: {endpoints: [\"10.1.0.7:1\"]}\n---\n"
    "kind: Environment\napiVersion: offshoot.dev/v1\nmetadata: {name: team-a}\n" /* 37 */
    "spec:\n  mode: overlay\n  parent: main\n"
    "  providers: {cart: {endpoints: [\"[::1]:1\"], region: eu, artifact: \"r/cart\"}}\n---\n" /* 43
                                                                                                */
    "kind: Environment\napiVersion: offshoot.dev/v1\nmetadata: {name: feat-42}\n" /* 45 */
    "spec:\n  mode: overlay\n  parent: team-a\n  remove: [promo]\n---\n"          /* 51 */
    "kind: Environment\napiVersion: offshoot.dev/v1\nmetadata: {name: mix}\n"     /* 53 */
    "spec:\n  mode: overlay\n  parents: [team-a, team-b]\n  use: {cart: main}\n"
    "  expires: 2026-12-01T00:00:00Z\n---\n"                                     /* 60 */
    "kind: Environment\napiVersion: offshoot.dev/v1\nmetadata: {name: team-b}\n" /* 62 */
    "spec: {mode: overlay, parent: main, access: token, strict: true}\n---\n"
    "kind: Environment\napiVersion: offshoot.dev/v1\nmetadata: {name: tools}\n" /* 67 */
    "spec:\n  mode: shared\n  priority: 5\n  providers: {hints: {endpoints: [\"10.1.5.1:1\"]}}\n"
    "---\n"
    "kind: Environment\napiVersion: offshoot.dev/v1\nmetadata: {name: spare}\n" /* 75 */
    "spec:\n  mode: shared\n  providers: {hints: {endpoints: [\"10.1.5.2:1\"]},\n"
    "    cart: {endpoints: [\"10.1.5.3:1\"]}}\n---\n"
    "kind: Gateway\napiVersion: offshoot.dev/v1\nmetadata: {name: edge}\n"
    "spec:\n  defaultEnvironment: main\n  select: [{header: x-env}]\n"
    "  routes: [{host: \"*.example.com\", path: /cart, service: cart},\n"
    "    {path: /db, service: db}]\n";
#define EXPIRES 1796083200

static struct snapshot *s;
static struct text out;

static int compile_graph(void **state)
{
    (void)state;
    s = graph_compile(graph);
    return 0;
}

static int release_graph(void **state)
{
    snapshot_unref(s);
    text_release(&out);
    return nothing_lives(state);
}

static int setup(void **state)
{
    (void)state;
    text_release(&out);
    out = (struct text){0};
    return 0;
}

static struct decision resolved(const char *env, const char *service, int64_t now)
{
    struct decision d;
    snapshot_resolve(
        s, snapshot_find_env(s, str_c(env)), snapshot_find_service(s, str_c(service)), now, &d);
    return d;
}

static const char *as_json(const char *env, const char *service, int64_t now)
{
    struct decision d = resolved(env, service, now);
    setup(NULL);
    decision_json(&out, s, &d, str_c(env), str_c(service), 0);
    return out.p;
}

static const char *as_text(const char *env, const char *service, int64_t now)
{
    struct decision d = resolved(env, service, now);
    setup(NULL);
    decision_text(&out, s, &d, str_c(env), str_c(service), 0, now);
    return out.p;
}

static void assert_has(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("'%s' is not in\n%s", part, text);
}

/* ---- decisions ---- */

static void a_decision_is_one_line_with_its_keys_in_order(void **state)
{
    (void)state;
    assert_string_equal(as_json("main", "cart", 0),
        "{\"environment\":\"main\",\"service\":\"cart\",\"outcome\":\"provider\",\"class\":"
        "\"local\",\"provider\":\"main\",\"distance\":0,\"origin\":\"g.yaml:33\",\"epoch\":0,"
        "\"endpoints\":[\"10.1.0.5:8080\",\"cart.main.svc:80\"],\"refusal\":null,\"status\":null}");
    assert_string_equal(as_json("feat-42", "hints", 0),
        "{\"environment\":\"feat-42\",\"service\":\"hints\",\"outcome\":\"provider\",\"class\":"
        "\"shared\",\"provider\":\"tools\",\"distance\":-1,\"origin\":\"g.yaml:73\",\"epoch\":0,"
        "\"endpoints\":[\"10.1.5.1:1\"],\"refusal\":null,\"status\":null}");
}

static void a_refusal_has_nulls_and_its_cause(void **state)
{
    (void)state;
    assert_string_equal(as_json("feat-42", "promo", 0),
        "{\"environment\":\"feat-42\",\"service\":\"promo\",\"outcome\":\"refused\",\"class\":null,"
        "\"provider\":null,\"distance\":null,\"origin\":\"g.yaml:51\",\"epoch\":0,\"endpoints\":[],"
        "\"refusal\":\"removed\",\"status\":404}");
    assert_has(as_json("mix", "cart", EXPIRES), "\"origin\":\"g.yaml:60\"");
    assert_has(out.p, "\"refusal\":\"expired\",\"status\":410}");
}

static void what_was_asked_is_escaped(void **state)
{
    (void)state;
    assert_has(
        as_json("a\"\n", "\x01", 0), "{\"environment\":\"a\\\"\\n\",\"service\":\"\\u0001\"");
    assert_has(out.p, "\"refusal\":\"unknown-environment\",\"status\":404}");
    assert_has(as_text("a\"\n", "\x1b[2J", 0), "\\u001b[2J in a\\\"\\n: refused: unknown-env");
}

static void text_tells_the_answer_then_why_then_the_rejected(void **state)
{
    (void)state;
    assert_string_equal(as_text("feat-42", "cart", 0),
        "cart in feat-42: provided by team-a (class ancestor, distance 1)\n"
        "  why: team-a is the nearest of the lineage that says anything about it (g.yaml:43)\n"
        "  endpoints: [::1]:1\n"
        "  lineage: feat-42 > team-a > main\n"
        "  epoch: 0\n"
        "rejected:\n"
        "  feat-42: says nothing about cart (g.yaml:47)\n"
        "  main: provides it, but is further away than team-a; would be class baseline "
        "(g.yaml:33)\n"
        "  spare: provides it, but a pool is asked only when the whole lineage says nothing; "
        "would be class shared (g.yaml:81)\n");
    assert_string_equal(as_text("mix", "cart", 0),
        "cart in mix: provided by main (class explicit, distance 0)\n"
        "  why: mix says `use: main` (g.yaml:59)\n"
        "  endpoints: 10.1.0.5:8080, cart.main.svc:80 weight 3\n"
        "  lineage: mix > team-a > team-b > main\n"
        "  epoch: 0\n"
        "  expires: 2026-12-01T00:00:00Z\n"
        "rejected:\n"
        "  team-a: provides it, but is further away than mix; would be class ancestor (g.yaml:43)\n"
        "  main: provides it, but is further away than mix; would be class baseline (g.yaml:33)\n"
        "  spare: provides it, but a pool is asked only when the whole lineage says nothing; "
        "would be class shared (g.yaml:81)\n");
}

static void a_pool_is_preferred_by_priority(void **state)
{
    (void)state;
    as_text("main", "hints", 0);
    assert_has(out.p, "hints in main: provided by tools (class shared)\n");
    assert_has(out.p, "  main: says nothing about hints (g.yaml:28)\n");
    assert_has(out.p,
        "  spare: its priority 0 is below the 5 of tools; would be class shared (g.yaml:80)\n");
}

static void a_refusal_tells_what_would_have_provided(void **state)
{
    (void)state;
    as_text("feat-42", "promo", 0);
    assert_has(out.p, "promo in feat-42: refused: removed (status 404)\n");
    assert_has(out.p, "  why: feat-42 removes it (g.yaml:51)\n");
    assert_has(out.p, "  main: provides it, but is further away than feat-42; would be class "
                      "baseline (g.yaml:34)\n");
    as_text("mix", "promo", EXPIRES);
    assert_has(out.p, "  why: mix expired at 2026-12-01T00:00:00Z (g.yaml:60)\n");
    assert_has(out.p, "  main: provides it, but mix has expired; would be class baseline");
    as_text("main", "lost", 0);
    assert_has(out.p, "lost in main: refused: no-provider (status 503)\n");
    assert_has(out.p, "  main: says nothing about lost (g.yaml:28)\n");
}

static void an_unknown_name_is_answered_with_the_nearest(void **state)
{
    (void)state;
    assert_has(as_text("feat-41", "cart", 0), "did you mean 'feat-42'?");
    assert_has(as_text("main", "crat", 0), "did you mean 'cart'?");
    assert_null(strstr(as_text("completely-else", "cart", 0), "did you mean"));
    assert_int_equal(snapshot_nearest_env(s, STR("")).n, 0);
    assert_str(snapshot_nearest_service(s, STR("hint")), "hints");
    assert_int_equal(snapshot_nearest_service(s, STR("xyz")).n, 0);
}

/* ---- requests ---- */

static struct request r;
static struct ask ask;
static struct answer answer;

static void decided(const char *authority, const char *path, const char *name, const char *value)
{
    setup(NULL);
    request_init(&r, authority, path);
    if (name)
        request_add(&r, name, value);
    ask = (struct ask){.fields = r.fields,
        .nfields = r.n,
        .authority = r.authority,
        .path = r.path,
        .trusted = true,
        .gateway = snapshot_only_gateway(s),
        .scratch = &r.scratch};
    decide(s, &ask, &answer);
}

static void explain_adds_context_route_and_rejected(void **state)
{
    (void)state;
    decided("a.example.com", "/cart/1", "x-env", "team-a");
    explain_json(&out, s, &ask, &answer, 7);
    assert_string_equal(out.p,
        "{\"environment\":\"team-a\",\"service\":\"cart\",\"outcome\":\"provider\",\"class\":"
        "\"local\",\"provider\":\"team-a\",\"distance\":0,\"origin\":\"g.yaml:43\",\"epoch\":7,"
        "\"endpoints\":[\"[::1]:1\"],\"refusal\":null,\"status\":null,\"context\":{\"rule\":"
        "\"selector\",\"source\":\"selector\",\"environment\":\"team-a\",\"pin\":0,\"flags\":0,"
        "\"selector\":\"header:x-env\",\"fault\":null,\"foreign\":0},\"route\":{\"host\":"
        "\"*.example.com\",\"path\":\"/"
        "cart\",\"service\":\"cart\"},\"skew\":null,\"rejected\":[{\"environment\":"
        "\"main\",\"class\":\"baseline\",\"reason\":\"provides it, but is further away than "
        "team-a\",\"origin\":\"g.yaml:33\"},{\"environment\":\"spare\",\"class\":\"shared\","
        "\"reason\":\"provides it, but a pool is asked only when the whole lineage says nothing\","
        "\"origin\":\"g.yaml:81\"}]}");
    explain_text(&out, s, &ask, &answer, 7);
    assert_has(out.p, "  context: rule selector, from header:x-env\n");
    assert_has(out.p, "  route: *.example.com /cart\n");
    assert_has(out.p, "  epoch: 7\n");
}

static void explain_never_echoes_a_value_that_is_no_name(void **state)
{
    (void)state;
    decided("a.example.com", "/cart", "x-env", "<script>");
    explain_json(&out, s, &ask, &answer, 7);
    explain_text(&out, s, &ask, &answer, 7);
    assert_has(out.p, "{\"environment\":null,\"service\":\"cart\",\"outcome\":\"refused\"");
    assert_has(out.p, "cart in (no environment): refused: unknown-environment (status 404)");
    assert_null(strstr(out.p, "script"));
}

static void explain_tells_the_fault_of_a_carrier(void **state)
{
    (void)state;
    decided("a.example.com", "/cart", "x-offshoot-context", "v1e.main.0.00");
    explain_json(&out, s, &ask, &answer, 7);
    assert_has(out.p, "\"refusal\":\"context\",\"status\":400");
    assert_has(out.p, "\"source\":\"x-offshoot-context\",\"environment\":null");
    assert_has(out.p, "\"fault\":\"edge-token\"");
    assert_has(out.p,
        "\"route\":{\"host\":null,\"path\":null,\"service\":null},\"skew\":null,\"rejected\":[]}");
    explain_text(&out, s, &ask, &answer, 7);
    assert_has(out.p, "  context: fault edge-token in x-offshoot-context\n");
}

static void explain_tells_every_other_refusal(void **state)
{
    (void)state;
    decided("x", "/db", NULL, NULL);
    explain_text(&out, s, &ask, &answer, 7);
    assert_has(out.p, "db in main: refused: unsupported (status 501)\n  why: the service speaks");
    assert_has(out.p, "  context: rule default, from default\n");
    assert_has(out.p, "  route: any host /db\n");
    assert_null(strstr(out.p, "rejected"));
    decided("db:80", "/", "x-offshoot-context", "v1m.main.z.1f");
    explain_text(&out, s, &ask, &answer, 7);
    assert_has(out.p, "  context: rule explicit, from x-offshoot-context, pin z, flags 1f\n");
    assert_has(out.p, "  route: host of the service, db:80\n");
    decided("x", "/", NULL, NULL);
    explain_text(&out, s, &ask, &answer, 7);
    assert_has(out.p, "(no service) in main: refused: no-route (status 404)");
    decided("x", "/..", NULL, NULL);
    explain_text(&out, s, &ask, &answer, 7);
    assert_has(out.p, "refused: bad-request (status 400)");
}

static void sixty_four_alternatives_are_told_and_the_rest_is_counted(void **state)
{
    (void)state;
    static char yaml[16384];
    static const char head[] = "apiVersion: offshoot.dev/v1\nkind: ";
    for (int pools = 65; pools <= 66; pools++) {
        int n = snprintf(yaml, sizeof(yaml), "%sService\nmetadata: {name: a}\nspec: {}\n", head);
        for (int i = 0; i < pools; i++)
            n += snprintf(yaml + n, sizeof(yaml) - (size_t)n,
                "---\n%sEnvironment\nmetadata: {name: p%d}\nspec: {mode: shared, priority: %d, "
                "providers: {a: {endpoints: [\"h:1\"]}}}\n",
                head, i, i);
        struct snapshot *many = graph_compile(yaml);
        struct decision d;
        snapshot_resolve(
            many, snapshot_find_env(many, STR("p0")), snapshot_find_service(many, STR("a")), 0, &d);
        setup(NULL);
        decision_text(&out, many, &d, STR("p0"), STR("a"), 0, 0);
        assert_int_equal(strstr(out.p, "  and 1 more\n") != NULL, pools == 66);
        snapshot_unref(many);
    }
}

/* ---- environments ---- */

static void list_is_sorted_by_name(void **state)
{
    (void)state;
    env_list(&out, s, false, EXPIRES);
    assert_string_equal(out.p,
        "NAME     MODE      STATEMENTS  PARENTS\n"
        "feat-42  overlay            1  team-a\n"
        "main     baseline           3  -\n"
        "mix      overlay            1  team-a,team-b  expired 2026-12-01T00:00:00Z\n"
        "spare    shared             2  -\n"
        "team-a   overlay            1  main\n"
        "team-b   overlay            0  main\n"
        "tools    shared             1  -\n");
}

static void tree_stands_under_the_first_parent(void **state)
{
    (void)state;
    env_tree(&out, s, false, 0);
    assert_string_equal(out.p, "main (baseline)\n"
                               "  team-a\n"
                               "    feat-42\n"
                               "    mix also under team-b\n"
                               "  team-b\n"
                               "spare (pool)\n"
                               "tools (pool)\n");
}

static void show_tells_every_statement(void **state)
{
    (void)state;
    assert_int_equal(env_show(&out, s, STR("team-a"), false, 0), 0);
    assert_has(out.p, "team-a: overlay (g.yaml:39)\n  lineage: team-a > main\n");
    assert_has(out.p, "says:\n  provides cart at [::1]:1 (g.yaml:43)\n");
    assert_int_equal(env_show(&out, s, STR("mix"), false, 0), 0);
    assert_has(out.p, "  use      cart of main (g.yaml:59)\n");
    assert_int_equal(env_show(&out, s, STR("feat-42"), false, 0), 0);
    assert_has(out.p, "  remove   promo (g.yaml:51)\n");
    assert_int_equal(env_show(&out, s, STR("team-b"), false, 0), 0);
    assert_has(out.p, "  strict\n  access: token\n");
    assert_has(out.p, "says:\n  nothing\n");
    size_t n = out.n;
    assert_int_equal(env_show(&out, s, STR("nobody"), false, 0), -ENOENT);
    assert_int_equal(out.n, n);
}

static json_t *parsed(void)
{
    json_error_t e;
    json_t *root = json_loads(out.p, 0, &e);
    if (!root)
        fail_msg("%s in %s", e.text, out.p);
    return root;
}

static void every_object_is_json(void **state)
{
    (void)state;
    static const char *const names[] = {"main", "team-a", "feat-42", "mix", "team-b", "tools"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        setup(NULL);
        assert_int_equal(env_show(&out, s, str_c(names[i]), true, 0), 0);
        json_t *root = parsed();
        assert_string_equal(json_string_value(json_object_get(root, "environment")), names[i]);
        assert_int_equal(json_array_size(json_object_get(root, "says")),
            json_integer_value(json_object_get(root, "statements")));
        json_decref(root);
    }
    for (int tree = 0; tree < 2; tree++) {
        setup(NULL);
        if (tree)
            env_tree(&out, s, true, 0);
        else
            env_list(&out, s, true, 0);
        assert_null(strchr(out.p, '\n'));
        json_t *root = parsed();
        json_t *first = json_array_get(json_object_get(root, "environments"), 0);
        assert_int_equal(json_array_size(json_object_get(root, "environments")), 7);
        assert_string_equal(
            json_string_value(json_object_get(first, "environment")), tree ? "main" : "feat-42");
        json_decref(root);
    }
}

static void lost_memory_shows_in_the_text_and_nowhere_else(void **state)
{
    (void)state;
    decided("a.example.com", "/cart/1", "x-env", "team-a");
    for (unsigned long n = 1, failed = 1; failed; n++) {
        text_release(&out);
        out = (struct text){0};
        mem_fail_nth(n);
        env_list(&out, s, true, 0);
        env_tree(&out, s, false, 0);
        env_show(&out, s, STR("main"), true, 0);
        explain_text(&out, s, &ask, &answer, 7);
        failed = (unsigned long)out.failed;
        mem_fail_nth(0);
        assert_in_range(n, 1, 1000);
    }
}

#define TEST(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_decision_is_one_line_with_its_keys_in_order),
        TEST(a_refusal_has_nulls_and_its_cause),
        TEST(what_was_asked_is_escaped),
        TEST(text_tells_the_answer_then_why_then_the_rejected),
        TEST(a_pool_is_preferred_by_priority),
        TEST(a_refusal_tells_what_would_have_provided),
        TEST(an_unknown_name_is_answered_with_the_nearest),
        TEST(explain_adds_context_route_and_rejected),
        TEST(explain_never_echoes_a_value_that_is_no_name),
        TEST(explain_tells_the_fault_of_a_carrier),
        TEST(explain_tells_every_other_refusal),
        TEST(sixty_four_alternatives_are_told_and_the_rest_is_counted),
        TEST(list_is_sorted_by_name),
        TEST(tree_stands_under_the_first_parent),
        TEST(show_tells_every_statement),
        TEST(every_object_is_json),
        TEST(lost_memory_shows_in_the_text_and_nowhere_else),
    };
    return cmocka_run_group_tests(tests, compile_graph, release_graph);
}
