/* C3 linearisation, as Python orders the bases of classes. */
#include "tests/unit/graph/judged.h"

#define ENV(name, spec)     "kind: Environment\nmetadata: {name: " name "}\nspec: {" spec "}\n---\n"
#define ROOT(name)          ENV(name, "mode: baseline")
#define OVER(name, parents) ENV(name, "mode: overlay, parents: [" parents "]")

static void lineage_in_short(const struct model *m, const char *env, struct text *out)
{
    uint32_t chain[LINEAGE_MAX];
    uint32_t n = model_lineage(m, model_find_env(m, str_c(env)), chain, LINEAGE_MAX);
    text_add(out, STR(""));
    for (uint32_t i = 0; i < n; i++)
        text_fmt(out, "%s%.*s", i ? " " : "", STR_ARG(m->envs[chain[i]]->name.s));
}

static void assert_lineage(const char *text, const char *env, const char *want)
{
    struct judged j;
    struct text out = {0};
    judge(&j, text);
    lineage_in_short(j.model, env, &out);
    assert_string_equal(out.p, want);
    text_release(&out);
    judged_release(&j);
}

static void one_parent_is_a_chain(void **state)
{
    (void)state;
    assert_lineage(ROOT("o") OVER("a", "o") OVER("b", "a"), "b", "b a o");
    assert_lineage(OVER("b", "a") OVER("a", "o") ROOT("o"), "b", "b a o");
    assert_lineage(ROOT("o"), "o", "o");
    assert_lineage(ENV("p", "mode: shared") ROOT("o"), "p", "p");
}

static void parents_stand_in_the_order_written(void **state)
{
    (void)state;
    assert_lineage(ROOT("o") OVER("a", "o") OVER("b", "o") OVER("c", "a, b"), "c", "c a b o");
    assert_lineage(ROOT("o") OVER("a", "o") OVER("b", "o") OVER("c", "b, a"), "c", "c b a o");
    assert_lineage(
        ROOT("o") OVER("a", "o") OVER("b", "a") OVER("c", "o") OVER("d", "b, c"), "d", "d b a c o");
}

/* The example of the paper that Python's documentation cites (The Python 2.3 Method Resolution
 * Order): O; A, B, C, D, E of O; K1(A, B, C), K2(D, B, E), K3(D, A), Z(K1, K2, K3). */
static void merges_the_textbook_example(void **state)
{
    (void)state;
    assert_lineage(ROOT("o") OVER("a", "o") OVER("b", "o") OVER("c", "o") OVER("d", "o")
                       OVER("e", "o") OVER("k1", "a, b, c") OVER("k2", "d, b, e") OVER("k3", "d, a")
                           OVER("z", "k1, k2, k3"),
        "z", "z k1 k2 k3 d a b c e o");
}

static void there_may_be_no_order(void **state)
{
    (void)state;
    assert_lineage(ROOT("o") OVER("x", "o") OVER("y", "o") OVER("a", "x, y") OVER("b", "y, x")
                       OVER("z", "a, b"),
        "z", "");
    assert_lineage(ROOT("o") OVER("a", "o") OVER("z", "o, a"), "z", "");
    assert_lineage(ROOT("o") OVER("a", "o") OVER("z", "a, a"), "z", "");
}

static void what_is_broken_has_no_lineage(void **state)
{
    (void)state;
    assert_lineage(OVER("a", "b") OVER("b", "a") ROOT("o"), "a", "");
    assert_lineage(OVER("a", "gone") ROOT("o"), "a", "");
    assert_lineage(OVER("a", "gone") OVER("b", "a") ROOT("o"), "b", "");
    assert_lineage(ROOT("o"), "nobody", "");
}

static void gives_nothing_rather_than_a_part(void **state)
{
    (void)state;
    struct judged j;
    uint32_t chain[LINEAGE_MAX] = {7, 7, 7};
    judge(&j, ROOT("o") OVER("a", "o") OVER("b", "a"));
    uint32_t b = model_find_env(j.model, STR("b"));
    assert_int_equal(model_lineage(j.model, b, chain, 2), 0);
    assert_int_equal(chain[0], 7);
    assert_int_equal(model_lineage(j.model, b, chain, 3), 3);
    assert_int_equal(model_lineage(j.model, 99, chain, 3), 0);
    judged_release(&j);
}

static void fifteen_parents_are_merged_and_sixteen_are_too_many(void **state)
{
    (void)state;
    char text[4096];
    for (int parents = 14; parents <= 16; parents++) {
        struct judged j;
        uint32_t chain[LINEAGE_MAX];
        size_t n = (size_t)snprintf(text, sizeof(text), "%s", ROOT("o"));
        for (int i = 0; i < parents; i++)
            n += (size_t)snprintf(text + n, sizeof(text) - n,
                "kind: Environment\nmetadata: {name: p%d}\nspec: {mode: overlay, parent: o}\n---\n",
                i);
        n += (size_t)snprintf(text + n, sizeof(text) - n,
            "kind: Environment\nmetadata: {name: z}\nspec: {mode: overlay, parents: [p0");
        for (int i = 1; i < parents; i++)
            n += (size_t)snprintf(text + n, sizeof(text) - n, ", p%d", i);
        snprintf(text + n, sizeof(text) - n, "]}\n");
        judge(&j, text);
        uint32_t z = model_find_env(j.model, STR("z"));
        assert_int_equal(
            model_lineage(j.model, z, chain, LINEAGE_MAX), parents == 14 ? LINEAGE_MAX : 0);
        assert_int_equal(j.findings.by_code[F_DEPTH], parents == 14 ? 0 : 1);
        judged_release(&j);
    }
}

/* 20,000 environments in one chain: no recursion, and only the one that goes too far is named. */
static void a_long_chain_costs_no_stack(void **state)
{
    (void)state;
    const int count = 20000;
    size_t size = (size_t)count * 100, n;
    char *text = mem_alloc(size);
    assert_non_null(text);
    n = (size_t)snprintf(text, size, "%s", ROOT("e0"));
    for (int i = count - 1; i > 0; i--)
        n += (size_t)snprintf(text + n, size - n,
            "---\nkind: Environment\nmetadata: {name: e%d}\nspec: {mode: overlay, parent: e%d}\n",
            i, i - 1);
    struct judged j;
    judge(&j, text);
    assert_int_equal(j.findings.n, 1);
    assert_int_equal(j.findings.list[0].code, F_DEPTH);
    judged_release(&j);
    mem_free(text);
}

/* Straight from the definition, over names: the second opinion. */
struct naive {
    int n;
    int parents[8][3], nparents[8];
};

static bool in_rest(const int *list, int n, int x)
{
    for (int i = 1; i < n; i++)
        if (list[i] == x)
            return true;
    return false;
}

static int naive_lineage(const struct naive *g, int env, int *out)
{
    int lists[4][16], n[4], nlists = 0, length = 1;
    out[0] = env;
    for (int i = 0; i < g->nparents[env]; i++, nlists++)
        if ((n[nlists] = naive_lineage(g, g->parents[env][i], lists[nlists])) == 0)
            return 0;
    memcpy(lists[nlists], g->parents[env], sizeof(g->parents[env]));
    n[nlists++] = g->nparents[env];
    for (;;) {
        int head = -1, left = 0;
        for (int i = 0; i < nlists; i++)
            left += n[i];
        if (!left)
            return length;
        for (int i = 0; i < nlists && head < 0; i++) {
            head = n[i] ? lists[i][0] : -1;
            for (int k = 0; k < nlists && head >= 0; k++)
                head = in_rest(lists[k], n[k], head) ? -1 : head;
        }
        if (head < 0)
            return 0;
        out[length++] = head;
        for (int i = 0; i < nlists; i++)
            if (n[i] && lists[i][0] == head)
                memmove(lists[i], lists[i] + 1, (size_t)--n[i] * sizeof(int));
    }
}

static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 16;
}

static void make_naive(struct naive *g, uint32_t *seed)
{
    *g = (struct naive){.n = 8};
    for (int env = 1; env < g->n; env++) {
        g->nparents[env] = 1 + (int)(next_random(seed) % 3);
        for (int i = 0; i < g->nparents[env]; i++)
            g->parents[env][i] = (int)(next_random(seed) % (uint32_t)env);
    }
}

static void agrees_with_the_definition_on_random_graphs(void **state)
{
    (void)state;
    uint32_t seed = 42;
    int orders = 0, none = 0;
    for (int round = 0; round < 2000; round++) {
        struct naive g;
        struct judged j;
        char text[2048];
        size_t n = (size_t)snprintf(text, sizeof(text), "%s", ROOT("e0"));
        make_naive(&g, &seed);
        for (int env = 1; env < g.n; env++) {
            n += (size_t)snprintf(text + n, sizeof(text) - n,
                "kind: Environment\nmetadata: {name: e%d}\nspec:\n  mode: overlay\n  parents:\n",
                env);
            for (int i = 0; i < g.nparents[env]; i++)
                n += (size_t)snprintf(text + n, sizeof(text) - n, "  - e%d\n", g.parents[env][i]);
            n += (size_t)snprintf(text + n, sizeof(text) - n, "---\n");
        }
        judge(&j, text);
        for (int env = 0; env < g.n; env++) {
            uint32_t chain[LINEAGE_MAX];
            int want[16];
            int length = naive_lineage(&g, env, want);
            assert_int_equal(model_lineage(j.model, (uint32_t)env, chain, LINEAGE_MAX), length);
            for (int i = 0; i < length; i++)
                assert_int_equal(chain[i], want[i]);
            orders += length > 3;
            none += length == 0;
        }
        judged_release(&j);
    }
    assert_in_range(orders, 200, 16000);
    assert_in_range(none, 500, 16000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_parent_is_a_chain),
        cmocka_unit_test(parents_stand_in_the_order_written),
        cmocka_unit_test(merges_the_textbook_example),
        cmocka_unit_test(there_may_be_no_order),
        cmocka_unit_test(what_is_broken_has_no_lineage),
        cmocka_unit_test(gives_nothing_rather_than_a_part),
        cmocka_unit_test(fifteen_parents_are_merged_and_sixteen_are_too_many),
        cmocka_unit_test(a_long_chain_costs_no_stack),
        cmocka_unit_test(agrees_with_the_definition_on_random_graphs),
    };
    return unit_run(tests);
}
