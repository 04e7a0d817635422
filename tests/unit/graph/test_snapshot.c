/* Compiling: what is shared with the base, what changes a revision, what fails cleanly. */
#include "lib/graph/route.h"
#include "lib/graph/snapshot_int.h"
#include "tests/unit/graph/graph_text.h"
#include <errno.h>

#define SERVICES                                                                                   \
    "kind: Service\nmetadata: {name: cart}\nspec: {port: 8080}\n---\n"                             \
    "kind: Service\nmetadata: {name: pay}\nspec: {}\n---\n"
#define GATEWAY                                                                                    \
    "kind: Gateway\nmetadata: {name: edge}\n"                                                      \
    "spec: {defaultEnvironment: main, routes: [{path: /, service: cart}]}\n---\n"
#define BASELINE(port)                                                                             \
    "kind: Environment\nmetadata: {name: main}\nspec: {mode: baseline, providers: "                \
    "{cart: {endpoints: ['10.0.0.1:" port "']}, pay: {endpoints: ['10.0.0.2:1']}}}\n---\n"
#define OVERLAY(name, parent, rest)                                                                \
    "kind: Environment\nmetadata: {name: " name "}\nspec: {mode: overlay, parent: " parent rest    \
    "}\n---\n"
#define PROVIDES(port) ", providers: {cart: {endpoints: ['10.0.1.1:" port "']}}"
#define POOL(name, priority, port)                                                                 \
    "kind: Environment\nmetadata: {name: " name "}\nspec: {mode: shared, priority: " priority      \
    ", providers: {pay: {endpoints: ['10.0.2.1:" port "']}}}\n---\n"

static const char small[] = SERVICES GATEWAY BASELINE("80") OVERLAY("a", "main", PROVIDES("1"))
    OVERLAY("b", "a", "") POOL("pool", "1", "1");

static void says_what_it_holds(void **state)
{
    (void)state;
    struct snapshot *s = graph_of(small);
    struct env_info e;
    struct statement_info st;
    assert_int_equal(snapshot_epoch(s), 1);
    assert_int_equal(snapshot_env_count(s), 4);
    assert_int_equal(snapshot_service_count(s), 2);
    assert_true(snapshot_env(s, env_number(s, "b"), &e));
    assert_str(e.name, "b");
    assert_int_equal(e.mode, MODE_OVERLAY);
    assert_int_equal(e.nlineage, 3);
    assert_str(snapshot_env_name(s, e.lineage[0]), "b");
    assert_str(snapshot_env_name(s, e.lineage[2]), "main");
    assert_int_equal(e.nparents, 1);
    assert_str(snapshot_env_name(s, e.parents[0]), "a");
    assert_int_equal(e.changed, 1);
    assert_true(snapshot_statement(s, env_number(s, "a"), 0, &st));
    assert_str(snapshot_service_name(s, st.service), "cart");
    assert_false(snapshot_statement(s, env_number(s, "a"), 1, &st));
    assert_int_equal(snapshot_service(s, st.service)->port, 8080);
    assert_non_null(snapshot_only_gateway(s));
    assert_null(snapshot_gateway(s, STR("nothing")));
    uint32_t n;
    assert_str(snapshot_env_name(s, snapshot_pools(s, &n)[0]), "pool");
    assert_int_equal(n, 1);
    assert_int_equal(snapshot_find_env(s, STR("")), NUMBER_NONE);
    assert_false(snapshot_env(s, NUMBER_NONE, &e));
    snapshot_unref(s);
}

static void equal_content_is_the_same_objects(void **state)
{
    (void)state;
    struct snapshot_changes c;
    struct snapshot *a = graph_of(small), *b = graph_on(a, small, 2, &c);
    assert_ptr_equal(a->pages[0], b->pages[0]);
    assert_ptr_equal(a->services, b->services);
    assert_ptr_equal(a->gateways, b->gateways);
    assert_ptr_equal(a->pools, b->pools);
    assert_int_equal(c.envs_added + c.envs_changed + c.envs_removed, 0);
    assert_false(c.origins_only);
    assert_int_equal(snapshot_revision(b, env_number(b, "b")), 1);
    snapshot_unref(a);
    snapshot_unref(b);
}

static void one_change_copies_one_page_and_keeps_the_other_records(void **state)
{
    (void)state;
    struct snapshot_changes c;
    struct snapshot *a = graph_of(small);
    struct snapshot *b = graph_on(a,
        SERVICES GATEWAY BASELINE("80") OVERLAY("a", "main", PROVIDES("2")) OVERLAY("b", "a", "")
            POOL("pool", "1", "1"),
        2, &c);
    assert_int_equal(c.envs_changed, 1);
    assert_int_equal(c.envs_added + c.envs_removed + c.services_changed + c.gateways_changed, 0);
    assert_ptr_not_equal(a->pages[0], b->pages[0]);
    assert_ptr_equal(
        snapshot_record(a, env_number(a, "b")), snapshot_record(b, env_number(b, "b")));
    assert_int_equal(env_number(a, "pool"), env_number(b, "pool"));
    /* a's descendants depend on it, main does not. */
    assert_int_equal(snapshot_revision(b, env_number(b, "a")), 2);
    assert_int_equal(snapshot_revision(b, env_number(b, "b")), 2);
    assert_int_equal(snapshot_revision(b, env_number(b, "main")), 1);
    assert_int_equal(snapshot_revision(a, env_number(a, "b")), 1);
    assert_true(snapshot_own_bytes(b) < sizeof(struct page) + 1024);
    snapshot_unref(a);
    assert_int_equal(resolved(b, "b", "cart", 0).cls, CLASS_ANCESTOR);
    snapshot_unref(b);
}

static void numbers_never_change_also_after_removal(void **state)
{
    (void)state;
    struct snapshot_changes c;
    struct snapshot *s1 = graph_of(small);
    uint32_t a = env_number(s1, "a"), b = env_number(s1, "b");
    struct snapshot *s2 = graph_on(s1, SERVICES BASELINE("80"), 2, &c);
    assert_int_equal(c.envs_removed, 3);
    assert_int_equal(c.gateways_changed, 1);
    assert_int_equal(env_number(s2, "a"), NUMBER_NONE);
    assert_str(snapshot_env_name(s2, a), "");
    assert_int_equal(snapshot_env_count(s2), 1);
    struct snapshot *s3 = graph_on(s2, small, 3, &c);
    assert_int_equal(c.envs_added, 3);
    assert_int_equal(env_number(s3, "a"), a);
    assert_int_equal(env_number(s3, "b"), b);
    assert_int_equal(snapshot_revision(s3, a), 3);
    assert_int_equal(resolved(s1, "b", "cart", 0).provider, a);
    snapshot_unref(s1);
    snapshot_unref(s2);
    snapshot_unref(s3);
}

static void moved_lines_are_no_change(void **state)
{
    (void)state;
    struct snapshot_changes c;
    struct snapshot *a = graph_of(small);
    char text[sizeof(small) + 64];
    snprintf(text, sizeof(text), "# a comment\n# and another\n%s", small);
    struct snapshot *b = graph_on(a, text, 2, &c);
    assert_true(c.origins_only);
    assert_int_equal(c.envs_changed, 0);
    assert_int_equal(snapshot_revision(b, env_number(b, "b")), 1);
    struct decision d = resolved(a, "b", "cart", 0), e = resolved(b, "b", "cart", 0);
    assert_int_equal(origin_line(b, &e), origin_line(a, &d) + 2);
    assert_memory_equal(snapshot_root(a), snapshot_root(b), 32);
    snapshot_unref(a);
    snapshot_unref(b);
}

static void change_of_parents_reaches_every_descendant(void **state)
{
    (void)state;
    struct snapshot_changes c;
    struct snapshot *s1 = graph_of(SERVICES BASELINE("80") OVERLAY("a", "main", "") OVERLAY("b",
        "main", PROVIDES("1")) OVERLAY("c", "a", "") OVERLAY("d", "c", "") OVERLAY("e", "b", ""));
    struct snapshot *s2 = graph_on(s1,
        SERVICES BASELINE("80") OVERLAY("a", "b", "") OVERLAY("b", "main", PROVIDES("1"))
            OVERLAY("c", "a", "") OVERLAY("d", "c", "") OVERLAY("e", "b", ""),
        2, &c);
    assert_int_equal(c.envs_changed, 1);
    assert_int_equal(resolved(s1, "d", "cart", 0).cls, CLASS_BASELINE);
    assert_int_equal(resolved(s2, "d", "cart", 0).cls, CLASS_ANCESTOR);
    assert_int_equal(resolved(s2, "d", "cart", 0).distance, 3);
    assert_int_equal(snapshot_revision(s2, env_number(s2, "d")), 2);
    assert_int_equal(snapshot_revision(s2, env_number(s2, "e")), 1);
    snapshot_unref(s1);
    snapshot_unref(s2);
}

static void pools_and_services_change_every_revision(void **state)
{
    (void)state;
    struct snapshot *s1 = graph_of(small);
    uint32_t main_ = env_number(s1, "main");
    struct snapshot *s2 = graph_on(s1,
        SERVICES GATEWAY BASELINE("80") OVERLAY("a", "main", PROVIDES("1")) OVERLAY("b", "a", "")
            POOL("pool", "1", "2"),
        2, NULL);
    assert_int_equal(snapshot_revision(s2, main_), 2);
    struct snapshot *s3 = graph_on(s2,
        "kind: Service\nmetadata: {name: cart}\nspec: {port: 9}\n---\n"
        "kind: Service\nmetadata: {name: pay}\nspec: {}\n---\n" GATEWAY BASELINE("80")
            OVERLAY("a", "main", PROVIDES("1")) OVERLAY("b", "a", "") POOL("pool", "1", "2"),
        3, NULL);
    assert_int_equal(snapshot_revision(s3, main_), 3);
    /* The pool goes: what it provided changes for everybody. */
    struct snapshot *s4 = graph_on(s3,
        "kind: Service\nmetadata: {name: cart}\nspec: {port: 9}\n---\n"
        "kind: Service\nmetadata: {name: pay}\nspec: {}\n---\n" GATEWAY BASELINE("80")
            OVERLAY("a", "main", PROVIDES("1")) OVERLAY("b", "a", ""),
        4, NULL);
    assert_int_equal(snapshot_revision(s4, main_), 4);
    snapshot_unref(s1);
    snapshot_unref(s2);
    snapshot_unref(s3);
    snapshot_unref(s4);
}

static void use_makes_the_targets_lineage_part_of_the_revision(void **state)
{
    (void)state;
#define USER OVERLAY("user", "main", ", use: {cart: b}")
    struct snapshot *s1 = graph_of(SERVICES BASELINE("80") OVERLAY("a", "main", PROVIDES("1"))
            OVERLAY("b", "a", "") USER OVERLAY("under", "user", ""));
    struct snapshot *s2 = graph_on(s1,
        SERVICES BASELINE("80") OVERLAY("a", "main", PROVIDES("2")) OVERLAY("b", "a", "")
            USER OVERLAY("under", "user", ""),
        2, NULL);
    assert_int_equal(snapshot_revision(s2, env_number(s2, "under")), 2);
    assert_int_equal(snapshot_revision(s2, env_number(s2, "main")), 1);
    snapshot_unref(s1);
    snapshot_unref(s2);
}

static void fingerprint_spares_the_unchanged(void **state)
{
    (void)state;
    struct graph_text g;
    struct snapshot *a = NULL, *b = NULL;
    struct err e;
    graph_text_init(&g, small);
    assert_int_equal(snapshot_compile(&a, NULL, g.model, 1, NULL, &e), 0);
    struct model_env *env = g.model->envs[model_find_env(g.model, STR("a"))];
    assert_true(env->fingerprint != 0);
    env->statements[0].endpoints[0].weight = 5;
    /* The same fingerprint promises that nothing changed. */
    assert_int_equal(snapshot_compile(&b, a, g.model, 2, NULL, &e), 0);
    assert_ptr_equal(a->pages[0], b->pages[0]);
    snapshot_unref(b);
    env->fingerprint++;
    assert_int_equal(snapshot_compile(&b, a, g.model, 2, NULL, &e), 0);
    struct decision d = resolved(b, "a", "cart", 0);
    assert_int_equal(endpoint_set_weight(d.endpoints), 5);
    snapshot_unref(a);
    snapshot_unref(b);
    graph_text_release(&g);
}

static void equal_endpoint_sets_are_one_object(void **state)
{
    (void)state;
    struct snapshot *s = graph_of(SERVICES BASELINE("80") OVERLAY("a", "main", PROVIDES("1"))
            OVERLAY("b", "main", PROVIDES("1")) OVERLAY("c", "main", PROVIDES("2")));
    struct decision a = resolved(s, "a", "cart", 0), b = resolved(s, "b", "cart", 0);
    struct decision c = resolved(s, "c", "cart", 0);
    assert_ptr_equal(a.endpoints, b.endpoints);
    assert_ptr_not_equal(a.endpoints, c.endpoints);
    snapshot_unref(s);
}

static void every_kind_of_endpoint_keeps_its_form(void **state)
{
    (void)state;
    static const char *const want[] = {"10.0.0.1:80", "[fd00::1]:81", "cart.svc:82", "unix:/run/x"};
    struct snapshot *s = graph_of(SERVICES
        "kind: Environment\nmetadata: {name: main}\nspec: {mode: baseline, providers: {cart: {"
        "endpoints: ['10.0.0.1:80', '[fd00::1]:81', {address: 'cart.svc:82', weight: 1000}, "
        "'unix:/run/x'], artifact: image, region: eu}}}\n");
    struct decision d = resolved(s, "main", "cart", 0);
    struct statement_info st;
    char text[ADDR_TEXT_MAX];
    assert_int_equal(endpoint_set_count(d.endpoints), 4);
    assert_int_equal(endpoint_set_weight(d.endpoints), 1003);
    for (uint32_t i = 0; i < 4; i++) {
        struct endpoint e;
        endpoint_set_at(d.endpoints, i, &e);
        assert_str(str_of(text, addr_format(&e.addr, text)), want[i]);
    }
    assert_true(snapshot_find_statement(s, d.env, d.service, &st));
    assert_str(st.artifact, "image");
    assert_str(st.region, "eu");
    snapshot_unref(s);
}

/* An environment per service and more than one page of them, removed and added in turns: what a
 * chain of snapshots holds comes back. */
static void memory_comes_back_when_snapshots_go(void **state)
{
    (void)state;
    static char text[400000];
    size_t n = (size_t)snprintf(text, sizeof(text), SERVICES BASELINE("80"));
    for (unsigned i = 0; i < 600; i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n,
            OVERLAY("e%u", "main", ", providers: {cart: {endpoints: ['10.1.1.1:%u']}}"), i, i + 1);
    struct snapshot *s = graph_of(text);
    size_t after_first = 0;
    for (unsigned round = 0; round < 6; round++) {
        struct snapshot *less = graph_on(s, SERVICES BASELINE("80"), 2 + 2 * round, NULL);
        snapshot_unref(s);
        assert_int_equal(snapshot_env_count(less), 1);
        s = graph_on(less, text, 3 + 2 * round, NULL);
        snapshot_unref(less);
        assert_int_equal(snapshot_env_count(s), 601);
        if (round == 0)
            after_first = snapshot_bytes(s);
        assert_int_equal(snapshot_bytes(s), after_first);
    }
    snapshot_unref(s);
}

static void lines_far_apart_are_kept(void **state)
{
    (void)state;
    static char text[80000 + 600];
    size_t n = (size_t)snprintf(text, sizeof(text),
        SERVICES "kind: Environment\nmetadata: {name: main}\nspec:\n  mode: baseline\n");
    for (unsigned i = 0; i < 70000; i++)
        text[n++] = '\n';
    snprintf(text + n, sizeof(text) - n, "  providers:\n    cart: {endpoints: ['a:1']}\n");
    struct snapshot *s = graph_of(text);
    struct decision d = resolved(s, "main", "cart", 0);
    struct origin o;
    assert_int_equal(origin_line(s, &d), 70000 + 14);
    snapshot_place(s, d.env, NUMBER_NONE, &o);
    assert_int_equal(o.line, 10);
    assert_str(o.file, "0.yaml");
    snapshot_unref(s);
}

/* ---- what a checked model never holds ---- */

static int compile_fails(const struct model *m)
{
    struct snapshot *s = NULL;
    struct err e = {0};
    int r = snapshot_compile(&s, NULL, m, 1, NULL, &e);
    assert_null(s);
    assert_true(e.text[0] != '\0');
    return r;
}

static void refuses_what_a_check_would_have_found(void **state)
{
    (void)state;
    struct model_statement statement = {.kind = STATEMENT_REMOVE, .service = {.s = STR("cart")}};
    struct model_statement twice[2] = {statement, statement};
    struct mtext parent = {.s = STR("a")}, other = {.s = STR("b")};
    struct model_env a = {.name = {.s = STR("a")}}, b = {.name = {.s = STR("b")}};
    struct model_env *envs[] = {&a, &b};
    struct model_service cart = {.name = {.s = STR("cart")}}, *services[] = {&cart};
    struct model m = {.envs = envs, .nenvs = 2, .services = services};

    a.statements = &statement;
    a.nstatements = 1;
    assert_int_equal(compile_fails(&m), -EINVAL); /* unknown service */
    m.nservices = 1;
    a.statements = twice;
    a.nstatements = 2;
    assert_int_equal(compile_fails(&m), -EINVAL); /* two statements */
    a.nstatements = 1;
    statement = (struct model_statement){
        .kind = STATEMENT_USE, .service = {.s = STR("cart")}, .use = {.s = STR("nobody")}};
    a.statements = &statement;
    assert_int_equal(compile_fails(&m), -EINVAL); /* unknown use */
    statement = (struct model_statement){.kind = STATEMENT_PROVIDES, .service = {.s = STR("cart")}};
    assert_int_equal(compile_fails(&m), -EINVAL); /* no endpoints */
    a.nstatements = 0;
    b.parents = &parent;
    b.nparents = 1;
    a.parents = &other;
    a.nparents = 1;
    assert_int_equal(compile_fails(&m), -EINVAL); /* cycle */
    a.nparents = 0;
    parent.s = STR("nobody");
    assert_int_equal(compile_fails(&m), -EINVAL); /* unknown parent */
    b.nparents = 0;
    b.name.s = STR("a");
    assert_int_equal(compile_fails(&m), -EINVAL); /* two of one name */
}

static void refuses_lineages_over_the_limit(void **state)
{
    (void)state;
    static char names[LINEAGE_MAX + 1][8];
    struct model_env envs[LINEAGE_MAX + 1] = {0}, *list[LINEAGE_MAX + 1];
    struct mtext parents[LINEAGE_MAX + 1] = {0};
    struct model m = {.envs = list};
    for (unsigned i = 0; i <= LINEAGE_MAX; i++) {
        snprintf(names[i], sizeof(names[i]), "e%u", i);
        envs[i].name.s = str_c(names[i]);
        envs[i].mode = i ? MODE_OVERLAY : MODE_BASELINE;
        parents[i].s = i ? envs[i - 1].name.s : STR("");
        envs[i].parents = &parents[i];
        envs[i].nparents = i > 0;
        list[i] = &envs[i];
    }
    struct snapshot *s = NULL;
    struct err e;
    m.nenvs = LINEAGE_MAX;
    assert_int_equal(snapshot_compile(&s, NULL, &m, 1, NULL, &e), 0);
    struct env_info info;
    assert_true(snapshot_env(s, env_number(s, "e15"), &info));
    assert_int_equal(info.nlineage, LINEAGE_MAX);
    snapshot_unref(s);
    m.nenvs = LINEAGE_MAX + 1;
    assert_int_equal(compile_fails(&m), -EINVAL);
}

static void every_failed_allocation_leaves_the_base_as_it_was(void **state)
{
    (void)state;
    struct graph_text g1, g2;
    struct snapshot *base = NULL, *s = NULL;
    struct err e;
    graph_text_init(&g1, small);
    graph_text_init(&g2, SERVICES
        "kind: Service\nmetadata: {name: new}\nspec: {}\n---\n" GATEWAY BASELINE("81") OVERLAY(
            "a", "main", PROVIDES("7")) OVERLAY("n", "a", PROVIDES("8")) POOL("pool", "3", "1"));
    assert_int_equal(snapshot_compile(&base, NULL, g1.model, 1, NULL, &e), 0);
    unsigned char root[32];
    memcpy(root, snapshot_root(base), 32);
    size_t live = mem_live();
    for (int with_base = 0; with_base < 2; with_base++) {
        int r = -ENOMEM;
        for (unsigned long nth = 1; r != 0; nth++) {
            assert_true(nth < 10000);
            mem_fail_nth(nth);
            r = snapshot_compile(&s, with_base ? base : NULL, g2.model, 2, NULL, &e);
            mem_fail_nth(0);
            assert_true(r == 0 || r == -ENOMEM);
            if (r < 0)
                assert_int_equal(env_number(base, "n"), NUMBER_NONE);
        }
        assert_int_equal(resolved(s, "n", "cart", 0).cls, CLASS_LOCAL);
        snapshot_unref(s);
    }
    assert_int_equal(resolved(base, "b", "cart", 0).cls, CLASS_ANCESTOR);
    assert_memory_equal(root, snapshot_root(base), 32);
    assert_in_range(mem_live(), live, live + 64); /* the chain may keep chunks for later */
    snapshot_unref(base);
    graph_text_release(&g1);
    graph_text_release(&g2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_what_it_holds),
        cmocka_unit_test(equal_content_is_the_same_objects),
        cmocka_unit_test(one_change_copies_one_page_and_keeps_the_other_records),
        cmocka_unit_test(numbers_never_change_also_after_removal),
        cmocka_unit_test(moved_lines_are_no_change),
        cmocka_unit_test(change_of_parents_reaches_every_descendant),
        cmocka_unit_test(pools_and_services_change_every_revision),
        cmocka_unit_test(use_makes_the_targets_lineage_part_of_the_revision),
        cmocka_unit_test(fingerprint_spares_the_unchanged),
        cmocka_unit_test(equal_endpoint_sets_are_one_object),
        cmocka_unit_test(every_kind_of_endpoint_keeps_its_form),
        cmocka_unit_test(memory_comes_back_when_snapshots_go),
        cmocka_unit_test(lines_far_apart_are_kept),
        cmocka_unit_test(refuses_what_a_check_would_have_found),
        cmocka_unit_test(refuses_lineages_over_the_limit),
        cmocka_unit_test(every_failed_allocation_leaves_the_base_as_it_was),
    };
    return unit_run(tests);
}
