#include "tests/unit/graph/judged.h"

/* A sound graph of 24 lines; the documents of a test follow it, the first at line 25. */
#define BASE                                                                                       \
    "kind: Service\nmetadata: {name: cart}\n---\n"                                                 \
    "kind: Service\nmetadata: {name: pricing}\n---\n"                                              \
    "kind: Service\nmetadata: {name: vault}\nspec: {pinned: true}\n---\n"                          \
    "kind: Environment\nmetadata: {name: main}\nspec:\n  mode: baseline\n  providers:\n"           \
    "    cart: {endpoints: [a:1]}\n"                                                               \
    "    pricing: {endpoints: [a:2]}\n"                                                            \
    "    vault: {endpoints: [a:3]}\n---\n"                                                         \
    "kind: Environment\nmetadata: {name: team}\nspec:\n"                                           \
    "  {mode: overlay, parent: main, providers: {cart: {endpoints: [b:1]}}}\n---\n"
#define ENV(name, spec)           "kind: Environment\nmetadata: {name: " name "}\nspec: {" spec "}\n---\n"
#define OVER(name, parent, rest)  ENV(name, "mode: overlay, parent: " parent rest)
#define BOTH(name, parents, rest) ENV(name, "mode: overlay, parents: [" parents "]" rest)
#define GATE(spec)                "kind: Gateway\nmetadata: {name: edge}\nspec: {" spec "}\n---\n"

static void a_sound_graph_has_no_findings(void **state)
{
    (void)state;
    assert_found(BASE, "");
    assert_found(BASE OVER("feat", "team", ", use: {pricing: main}, remove: [cart]"), "");
}

static void references_to_nothing(void **state)
{
    (void)state;
    assert_found(BASE OVER("feat", "teem", ""), "unknown-parent 27:31");
    assert_found(BASE BOTH("feat", "team, man", ""), "unknown-parent 27:39");
    assert_found(BASE OVER("feat", "team", ", providers: {crat: {endpoints: [a:1]}}"),
        "unknown-service 27:49");
    assert_found(BASE OVER("feat", "team", ", use: {crt: main}"), "unknown-service 27:43");
    assert_found(BASE OVER("feat", "team", ", use: {cart: mian}"), "unknown-environment 27:49");
    assert_found(BASE OVER("feat", "team", ", remove: [crt]"), "unknown-service 27:46");
    assert_found(BASE "kind: Service\nmetadata: {name: main}\nspec: {dependsOn: [cart, crt]}\n"
                      "---\n" OVER("x", "main", ", providers: {main: {endpoints: [a:1]}}"),
        "unknown-service 27:26");
    assert_found(BASE GATE("defaultEnvironment: mian"), "unknown-environment 27:28");
    assert_found(BASE GATE("routes: [{path: /, service: crt}]"), "unknown-service 27:36");
    assert_says(BASE OVER("feat", "teem", ""), "did you mean 'team'?");
    assert_says(BASE OVER("feat", "team", ", remove: [crt]"), "did you mean 'cart'?");
    assert_says(BASE OVER("feat", "elsewhere", ""), "add it or correct it");
}

static void what_stands_on_something_broken_is_not_judged(void **state)
{
    (void)state;
    assert_found(BASE OVER("feat", "teem", "") OVER("sub", "feat", ", use: {cart: feat}"),
        "unknown-parent 27:31");
    /* a provider that is lost through its name is nobody else's fault */
    assert_found("kind: Service\nmetadata: {name: cart}\n---\n" ENV(
                     "main", "mode: baseline, providers: {crat: {endpoints: [a:1]}}")
                     OVER("feat", "main", ", use: {cart: main}"),
        "unknown-service 6:36");
    assert_found(
        BASE ENV("feat", "mode: overlay, parent: team, providers: {cart: {endpoints: [x]}}")
            BOTH("sub", "feat, main", ""),
        "address 27:68");
}

static void lineages_that_cannot_be_made(void **state)
{
    (void)state;
    assert_found(BASE OVER("a", "b", "") OVER("b", "c", "") OVER("c", "a", "") OVER("d", "a", ""),
        "cycle 27:31");
    assert_found(BASE OVER("a", "a", ""), "cycle 27:31");
    assert_found(BASE BOTH("a", "main, b", "") BOTH("b", "main, a", "") OVER("c", "c", ""),
        "cycle 27:39; cycle 35:31");
    assert_says(BASE OVER("a", "b", "") OVER("b", "a", ""), "a -> b -> a;");
    assert_found(BASE ENV("main2", "mode: baseline") OVER("x", "main2", "")
                     BOTH("feat", "team, x", "") OVER("sub", "feat", ""),
        "two-baselines 35:32");
    assert_found(BASE BOTH("feat", "main, team", ""), "no-linearisation 27:32");
    assert_found(BASE BOTH("feat", "team, main", ""), "");
    assert_found(BASE BOTH("feat", "team, team", ""), "no-linearisation 27:32");
    assert_found(BASE ENV("feat", "mode: overlay"), "overlay-without-parent 26:18");
    assert_found(BASE ENV("feat", "mode: overlay, parents: []"), "overlay-without-parent 26:18");
    assert_found(BASE ENV("feat", "mode: baseline, parent: main"), "baseline-with-parent 27:24");
    assert_found(BASE ENV("feat", "mode: baseline, parents: [main]"), "baseline-with-parent 27:24");
    assert_found(BASE ENV("pool", "mode: shared, parent: main") OVER("feat", "pool", ""),
        "shared-parent 27:22");
    assert_found(
        BASE ENV("pool", "mode: shared") OVER("feat", "pool", ""), "shared-parent 31:31 26:18");
}

static void a_lineage_of_16_is_the_limit(void **state)
{
    (void)state;
    char text[4096];
    for (int depth = 16; depth <= 18; depth++) {
        size_t n = (size_t)snprintf(text, sizeof(text), "%s", ENV("e1", "mode: baseline"));
        for (int i = 2; i <= depth; i++)
            n += (size_t)snprintf(text + n, sizeof(text) - n,
                "kind: Environment\nmetadata: {name: e%d}\nspec: {mode: overlay, parent: "
                "e%d}\n---\n",
                i, i - 1);
        /* those that stand on the 17th are not judged */
        assert_found(text, depth == 16 ? "" : "depth 67:31");
    }
}

static void statements_that_contradict(void **state)
{
    (void)state;
    assert_found(BASE OVER("feat", "team", ", remove: [cart], use: {cart: main}"),
        "contradiction 27:59 27:46");
    assert_found(BASE OVER("feat", "team", ", remove: [cart, cart]"), "contradiction 27:52 27:46");
    assert_found(
        BASE OVER("feat", "team", ", providers: {cart: {endpoints: [a:1]}}, remove: [cart]"),
        "contradiction 27:85 27:49");
    assert_found(BASE ENV("feat", "mode: overlay, parent: main, parents: [team]"),
        "contradiction 27:37 27:23");
    assert_found(BASE ENV("feat", "mode: overlay, parents: [team], parent: main"),
        "contradiction 27:40 27:23");
}

static void uses_that_lead_nowhere(void **state)
{
    (void)state;
    assert_found(BASE ENV("pool", "mode: shared, providers: {pricing: {endpoints: [a:1]}}")
                     OVER("feat", "team", ", use: {pricing: pool, cart: pool}"),
        "dangling-use 31:64");
    assert_found(BASE OVER("feat", "team", ", remove: [pricing]")
                     OVER("sub", "main", ", use: {pricing: feat}"),
        "dangling-use 31:52 27:46");
    assert_found(BASE OVER("feat", "team", ", use: {pricing: main}")
                     OVER("sub", "main", ", use: {pricing: feat, cart: feat}"),
        "use-chain 31:52 27:52");
    assert_found(BASE OVER("feat", "team", ", use: {cart: feat}"), "use-chain 27:49 27:49");
    assert_found(BASE OVER("feat", "team", ", use: {pricing: main}") OVER("sub", "feat", "")
                     OVER("far", "main", ", use: {pricing: sub}"),
        "use-chain 35:52 27:52");
    assert_found(BASE ENV("main2", "mode: baseline, use: {cart: main, vault: main}"), "");
}

static void a_service_that_only_a_use_misses_is_said_once(void **state)
{
    (void)state;
    assert_found("kind: Service\nmetadata: {name: cart}\n---\n" ENV("main", "mode: baseline")
                     OVER("feat", "main", ", use: {cart: main}"),
        "dangling-use 10:49");
}

#define LEFT(rest)  OVER("left", "main", rest)
#define RIGHT(rest) OVER("right", "main", rest)
#define CHILD(rest) BOTH("child", "left, right", rest)

static void parents_that_disagree(void **state)
{
    (void)state;
#define PROVIDES(address) ", providers: {cart: {endpoints: [" address "]}}"
    assert_found(
        BASE LEFT(PROVIDES("c:1")) RIGHT(PROVIDES("d:1")) CHILD(""), "conflict 35:32 27:49 31:49");
    assert_found(BASE LEFT(PROVIDES("c:1")) RIGHT(", remove: [cart]") CHILD(""),
        "conflict 35:32 27:49 31:46");
    assert_found(BASE LEFT(", use: {cart: main}") RIGHT(", use: {cart: team}") CHILD(""),
        "conflict 35:32 27:43 31:43");
    assert_found(BASE LEFT(PROVIDES("c:1")) RIGHT(PROVIDES("{address: c:1, weight: 2}")) CHILD(""),
        "conflict 35:32 27:49 31:49");
    assert_found(BASE LEFT(PROVIDES("c:1, d:1")) RIGHT(PROVIDES("c:1")) CHILD(""),
        "conflict 35:32 27:49 31:49");
    assert_found(BASE LEFT(", providers: {cart: {endpoints: [c:1], region: eu}}")
                     RIGHT(PROVIDES("c:1")) CHILD(""),
        "conflict 35:32 27:49 31:49");
    assert_says(BASE LEFT(PROVIDES("c:1")) RIGHT(", remove: [cart]") CHILD(""),
        "the parents of 'child' disagree on 'cart': 'left' provides it, 'right' removes it");
}

static void parents_that_agree(void **state)
{
    (void)state;
    /* the child says it itself */
    assert_found(BASE LEFT(PROVIDES("c:1")) RIGHT(PROVIDES("d:1")) CHILD(PROVIDES("e:1")), "");
    assert_found(BASE LEFT(PROVIDES("c:1")) RIGHT(PROVIDES("d:1")) CHILD(", remove: [cart]"), "");
    /* equal statements */
    assert_found(BASE LEFT(PROVIDES("c:1")) RIGHT(PROVIDES("c:1")) CHILD(""), "");
    assert_found(BASE LEFT(", remove: [cart]") RIGHT(", remove: [cart]") CHILD(""), "");
    assert_found(BASE LEFT(", use: {cart: main}") RIGHT(", use: {cart: main}") CHILD(""), "");
    /* one of them only inherits what is behind the other */
    assert_found(BASE LEFT(PROVIDES("c:1")) RIGHT("") CHILD(""), "");
    assert_found(BASE OVER("left", "team", PROVIDES("c:1")) BOTH("child", "left, team", ""), "");
    /* both inherit from the same environment */
    assert_found(BASE OVER("left", "team", "") OVER("right", "team", "") CHILD(""), "");
    /* other services */
    assert_found(BASE LEFT(PROVIDES("c:1")) RIGHT(", remove: [pricing]") CHILD(""), "");
}

static void inherited_statements_disagree_too(void **state)
{
    (void)state;
    assert_found(BASE LEFT(PROVIDES("c:1")) RIGHT(PROVIDES("d:1")) OVER("l2", "left", "")
                     OVER("r2", "right", "") BOTH("child", "l2, r2", ""),
        "conflict 43:32 27:49 31:49");
    /* team and the baseline behind left and right; three parents, one finding a service */
    assert_found(BASE LEFT(PROVIDES("c:1")) BOTH("child", "left, team, t3", "")
                     OVER("t3", "main", PROVIDES("e:1")),
        "conflict 31:32 27:49 23:45");
    /* only those with several parents are judged, each of them */
    assert_found(BASE LEFT(PROVIDES("c:1")) RIGHT(PROVIDES("d:1")) CHILD("")
                     OVER("sub", "child", ""),
        "conflict 35:32 27:49 31:49");
}

static void a_conflict_among_many_statements_is_found(void **state)
{
    (void)state;
    static char text[16384];
    size_t n = (size_t)snprintf(text, sizeof(text), "%s", ENV("main", "mode: baseline"));
    for (int i = 0; i < 40; i++)
        n += (size_t)snprintf(
            text + n, sizeof(text) - n, "kind: Service\nmetadata: {name: s%d}\n---\n", i);
    for (int side = 0; side < 2; side++) {
        n += (size_t)snprintf(text + n, sizeof(text) - n,
            "kind: Environment\nmetadata: {name: side%d}\nspec:\n  mode: overlay\n"
            "  parent: main\n  providers:\n",
            side);
        for (int i = 0; i < 40; i++)
            n += (size_t)snprintf(text + n, sizeof(text) - n, "    s%d: {endpoints: [h:%d]}\n", i,
                i == 33 ? 1 + side : 1);
        n += (size_t)snprintf(text + n, sizeof(text) - n, "---\n");
    }
    snprintf(text + n, sizeof(text) - n, "%s", BOTH("child", "side0, side1", ""));
    assert_found(text, "conflict 221:32 164:5 211:5");
}

static void pools_of_the_same_priority(void **state)
{
    (void)state;
#define POOL(name, rest) ENV(name, "mode: shared, providers: {cart: {endpoints: [a:1]}}" rest)
    assert_found(BASE POOL("p1", "") POOL("p2", ""), "ambiguous-shared 31:34 27:34");
    assert_found(BASE POOL("p1", ", priority: 1") POOL("p2", ""), "");
    assert_found(BASE POOL("p1", ", priority: -1") POOL("p2", ", priority: -1")
                     POOL("p3", ", priority: 0"),
        "");
    assert_found(BASE POOL("p1", "") POOL("p2", ", priority: 7") POOL("p3", ", priority: 7"),
        "ambiguous-shared 35:34 31:34");
    assert_found(BASE POOL("p1", "") ENV("p2", "mode: shared, remove: [cart]"), "");
}

static void pinned_services_stay(void **state)
{
    (void)state;
    assert_found(BASE OVER("feat", "team", ", providers: {vault: {endpoints: [a:1]}}"),
        "pinned-override 27:49 8:18");
    assert_found(BASE OVER("feat", "team", ", use: {vault: main}"), "pinned-override 27:43 8:18");
    assert_found(
        BASE OVER("feat", "team", ", remove: [cart, vault]"), "pinned-override 27:52 8:18");
    assert_found(BASE ENV("other", "mode: baseline, remove: [vault]"), "");
    assert_found(BASE ENV("pool", "mode: shared, providers: {vault: {endpoints: [a:1]}}"), "");
}

static void hosts_belong_to_one_service(void **state)
{
    (void)state;
#define WEB(spec)                                                                                  \
    "kind: Service\nmetadata: {name: web}\nspec: {" spec                                           \
    "}\n---\n" OVER("x", "main", ", providers: {web: {endpoints: [a:1]}}")
    assert_found(BASE WEB("hosts: [a, CART.]"), "host-claimed-twice 27:19 2:18");
    assert_found(BASE WEB("hosts: [\"cart:8080\"]"), "host-claimed-twice 27:16 2:18");
    assert_found(BASE WEB("hosts: [web, web, WEB]"), "");
    assert_found(BASE WEB("hosts: [shop]"), "");
    /* whoever writes hosts gives up the name */
    assert_found("kind: Service\nmetadata: {name: cart}\nspec: {hosts: [b]}\n---\n"
                 "kind: Service\nmetadata: {name: pricing}\nspec: {hosts: [cart]}\n---\n" ENV(
                     "main", "mode: baseline, providers: {cart: {endpoints: [a:1]}, "
                             "pricing: {endpoints: [a:1]}}"),
        "");
    assert_found("kind: Service\nmetadata: {name: cart}\nspec: {hosts: [pricing]}\n---\n"
                 "kind: Service\nmetadata: {name: pricing}\n---\n" ENV("main",
                     "mode: baseline, providers: {cart: {endpoints: [a:1]}, "
                     "pricing: {endpoints: [a:1]}}"),
        "host-claimed-twice 6:18 3:16");
}

static void equal_routes_clash(void **state)
{
    (void)state;
#define ROUTE(rest) "{" rest ", service: cart}"
    assert_found(BASE GATE("routes: [" ROUTE("path: /a") ", " ROUTE("path: /a/") "]"),
        "route-claimed-twice 27:51 27:24");
    assert_found(BASE GATE("routes: [" ROUTE("path: /%61") ", " ROUTE("path: /x/../a") "]"),
        "route-claimed-twice 27:53 27:24");
    assert_found(
        BASE GATE("routes: [" ROUTE("host: A.b, path: /") ", " ROUTE("path: /, host: a.b.") "]"),
        "route-claimed-twice 27:61 27:35");
    assert_found(
        BASE GATE("routes: [" ROUTE("path: /a") ", " ROUTE("path: /A") ", " ROUTE(
            "path: /, host: "
            "a.b") ", " ROUTE("path: /, host: \"*.a.b\"") ", " ROUTE("path: /") ", " ROUTE("path: "
                                                                                           "/a%2F") "]"),
        "");
    assert_found(
        BASE GATE("routes: [" ROUTE("path: /") "]") "kind: Gateway\nmetadata: {name: other}\nspec: "
                                                    "{routes: [{path: /, service: cart}]}",
        "");
}

static void endpoints_are_held_to_the_rules(void **state)
{
    (void)state;
    struct addr own;
    struct err e;
    assert_int_equal(addr_parse(STR("127.0.0.1:9000"), false, &own, &e), 0);
    struct endpoint_rules rules = {.own = &own, .n_own = 1};
#define TWO BASE OVER("feat", "main", ", providers: {cart: {endpoints: [\"10.0.0.1:1\", ADDR]}}")
    assert_found_by(BASE OVER("feat", "main",
                        ", providers: {cart: {endpoints: [\"10.0.0.1:1\", \"169.254.1.1:80\"]}}"),
        "endpoint-forbidden 27:82", &rules);
    assert_found_by(
        BASE OVER("feat", "main",
            ", providers: {cart: {endpoints: [{weight: 2, address: \"127.0.0.1:9000\"}]}}"),
        "endpoint-forbidden 27:89", &rules);
    assert_found_by(
        BASE OVER("feat", "main", ", providers: {cart: {endpoints: [\"unix:/run/x\"]}}"),
        "endpoint-forbidden 27:68", &rules);
    assert_found(
        BASE OVER("feat", "main", ", providers: {cart: {endpoints: [\"unix:/run/x\"]}}"), "");
}

static void warnings_do_not_make_a_graph_invalid(void **state)
{
    (void)state;
#define UNTIL(year) ", expires: " year "-01-01T00:00:00Z"
    assert_found(BASE OVER("a", "main", UNTIL("2030")) OVER("b", "a", UNTIL("2031")),
        "outlives-parent 31:43 27:46");
    assert_found(BASE OVER("a", "main", UNTIL("2030")) OVER("b", "a", UNTIL("2030")), "");
    assert_found(BASE OVER("a", "main", UNTIL("2030")) OVER("b", "a", ""), "");
    assert_found(BASE OVER("a", "main", UNTIL("2030")) OVER("b", "a", "")
                     OVER("c", "b", UNTIL("2031")),
        "outlives-parent 35:43 27:46");
    assert_found(BASE ENV("other", "mode: baseline" UNTIL("2030")), "baseline-expires 27:33");
    assert_found(BASE "kind: Service\nmetadata: {name: web}\n", "unprovided-service 26:18");
    assert_found(BASE "kind: Service\nmetadata: {name: web}\n---\n" ENV(
                     "pool", "mode: shared, providers: {web: {endpoints: [a:1]}}"),
        "");
}

static void after_syntax_no_reference_is_judged(void **state)
{
    (void)state;
    assert_found(BASE "a: [\n---\n" OVER("feat", "teem", ", use: {crt: nobody}")
                     GATE("defaultEnvironment: x, routes: [{path: /, service: x}]"),
        "syntax 26:1");
    /* what needs no other document is */
    assert_found(BASE "a: [\n---\n" ENV("feat", "mode: overlay")
                     OVER("b", "feat", ", remove: [cart, cart]"),
        "syntax 26:1; overlay-without-parent 28:18; contradiction 33:52 33:46");
}

static void all_findings_come_at_once_and_the_first_1000_are_kept(void **state)
{
    (void)state;
    static char text[60000];
    size_t n = (size_t)snprintf(text, sizeof(text), "%s",
        "kind: Environment\nmetadata: {name: main}\nspec:\n  mode: baseline\n  remove:\n");
    for (int i = 0; i < 1001; i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n, "    - s%d\n", i);
    struct judged j;
    judge(&j, text);
    assert_int_equal(j.result, -EINVAL);
    assert_int_equal(j.findings.n, 1000);
    assert_int_equal(j.findings.errors, 1001);
    assert_int_equal(j.findings.by_code[F_UNKNOWN_SERVICE], 1001);
    judged_release(&j);
}

static void after_one_fault_what_stands_on_it_is_not_judged(void **state)
{
    (void)state;
#define FEAT "---\nkind: Environment\nmetadata: {name: feat}\nspec: {mode: overlay, parent: main}\n"
    /* a nameless document could be the one that is meant */
    assert_found("kind: Environment\nmetadata: {nam: main}\nspec: {mode: baseline}\n" FEAT,
        "unknown-field 2:12");
    assert_found(
        "kind: Enviroment\nmetadata: {name: main}\nspec: {mode: baseline}\n" FEAT, "type 1:7");
    assert_found("kind: Environment\nmetadata: {name: main}\nspec: {moed: baseline}\n" FEAT,
        "unknown-field 3:8");
    assert_found("kind: Environment\nmetadata: {name: main}\nspc: {mode: baseline}\n" FEAT,
        "unknown-field 3:1");
    assert_found(
        "kind: Environment\nmetadata: {name: main\nspec: {mode: baseline}\n" FEAT, "syntax 3:5");
#define SOUND ENV("main", "mode: baseline" PROVIDES("a:1"))
    assert_found("kind: Servce\nmetadata: {name: cart}\n---\n" SOUND, "type 1:7");
    /* and so could one with a wrong name */
    assert_found("kind: Service\nmetadata: {name: Cart}\n---\n" SOUND, "name 2:18");
    assert_found(ENV("Main", "mode: baseline") FEAT, "name 2:18");
}

/* Which of the two is meant, nobody knows: the first is not the one that is stood on. */
static void what_stands_on_a_name_that_stands_twice_is_not_judged(void **state)
{
    (void)state;
#define ON_MAIN                                                                                    \
    ENV("main", "mode: baseline, providers: {cart: {endpoints: [a:1]}}")                           \
    ENV("feat", "mode: overlay, parent: main")                                                     \
    ENV("eu", "mode: baseline, use: {cart: main}") "kind: Service\nmetadata: {name: cart}\n---\n"
    assert_found(ENV("main", "mode: baseline") ON_MAIN, "duplicate 6:18 2:18");
    assert_found(ENV("main", "mode: shared") ON_MAIN, "duplicate 6:18 2:18");
    assert_found(ENV("main", "mode: baseline, remove: [cart]") ON_MAIN, "duplicate 6:18 2:18");
    assert_found(ENV("main", "mode: overlay, parent: feat") ON_MAIN, "duplicate 6:18 2:18");
    assert_found("kind: Service\nmetadata: {name: cart}\nspec: {pinned: true}\n---\n" ON_MAIN ENV(
                     "own", "mode: overlay, parent: main, remove: [cart]"),
        "duplicate 18:18 2:18");
#undef ON_MAIN
}

static void findings_are_grouped_by_file(void **state)
{
    (void)state;
    struct judged j;
    struct text out = {0};
    struct load_source s[3] = {source_of("b", ENV("feat", "mode: overlay, parent: x")),
        source_of("a", "kind: Environment\nmetadata: {name: feat}\nspec: {mode: overlay}\n"),
        source_of("c", ENV("other", "mode: baseline, remove: [x]"))};
    judge_sources(&j, s, 3, NULL);
    findings_in_short(&j.findings, &out);
    assert_string_equal(
        out.p, "unknown-parent 3:31; duplicate 1/2:18 2:18; unknown-service 2/3:33");
    text_release(&out);
    judged_release(&j);
}

static void survives_every_failed_allocation(void **state)
{
    (void)state;
    struct load_source s = source_of("a",
        BASE LEFT(PROVIDES("c:1")) RIGHT(PROVIDES("d:1")) CHILD(", use: {pricing: team}")
            POOL("p1", "") POOL("p2", "") GATE("routes: [{path: /, service: cart}]"));
    for (unsigned long nth = 1;; nth++) {
        struct loader *l = loader_new(NULL);
        const struct model *m;
        struct findings f;
        findings_init(&f);
        assert_int_equal(loader_load(l, &s, 1, &f, &m), 0);
        mem_fail_nth(nth);
        int r = model_check(m, NULL, &f);
        bool done = mem_count() < nth;
        mem_fail_nth(0);
        assert_int_equal(r, done ? -EINVAL : -ENOMEM);
        findings_release(&f);
        loader_free(l);
        if (done)
            break;
        assert_in_range(nth, 1, 100);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sound_graph_has_no_findings),
        cmocka_unit_test(references_to_nothing),
        cmocka_unit_test(what_stands_on_something_broken_is_not_judged),
        cmocka_unit_test(lineages_that_cannot_be_made),
        cmocka_unit_test(a_lineage_of_16_is_the_limit),
        cmocka_unit_test(statements_that_contradict),
        cmocka_unit_test(uses_that_lead_nowhere),
        cmocka_unit_test(a_service_that_only_a_use_misses_is_said_once),
        cmocka_unit_test(parents_that_disagree),
        cmocka_unit_test(parents_that_agree),
        cmocka_unit_test(inherited_statements_disagree_too),
        cmocka_unit_test(a_conflict_among_many_statements_is_found),
        cmocka_unit_test(pools_of_the_same_priority),
        cmocka_unit_test(pinned_services_stay),
        cmocka_unit_test(hosts_belong_to_one_service),
        cmocka_unit_test(equal_routes_clash),
        cmocka_unit_test(endpoints_are_held_to_the_rules),
        cmocka_unit_test(warnings_do_not_make_a_graph_invalid),
        cmocka_unit_test(after_syntax_no_reference_is_judged),
        cmocka_unit_test(all_findings_come_at_once_and_the_first_1000_are_kept),
        cmocka_unit_test(after_one_fault_what_stands_on_it_is_not_judged),
        cmocka_unit_test(what_stands_on_a_name_that_stands_twice_is_not_judged),
        cmocka_unit_test(findings_are_grouped_by_file),
        cmocka_unit_test(survives_every_failed_allocation),
    };
    return unit_run(tests);
}
