/* The content hash: the same for the same content, another for any other. */
#include "tests/unit/graph/graph_text.h"
#include <pthread.h>

#define SERVICES                                                                                   \
    "kind: Service\nmetadata: {name: cart}\nspec: {port: 1}\n---\n"                                \
    "kind: Service\nmetadata: {name: pay}\nspec: {}\n---\n"
#define GATEWAY "kind: Gateway\nmetadata: {name: edge}\nspec: {routes: [{path: /, service: pay}]}\n"
#define MAIN                                                                                       \
    "kind: Environment\nmetadata: {name: main}\nspec: {mode: baseline, providers: {cart: "         \
    "{endpoints: ['a:1', 'b:2']}, pay: {endpoints: ['c:3']}}}\n---\n"
#define FEAT(rest)                                                                                 \
    "kind: Environment\nmetadata: {name: feat}\nspec: {mode: overlay, parent: main" rest "}\n---"  \
    "\n"
#define POOL(priority)                                                                             \
    "kind: Environment\nmetadata: {name: pool}\nspec: {mode: shared, priority: " priority          \
    ", providers: {pay: {endpoints: ['d:1']}}}\n---\n"

static const char graph[] = SERVICES MAIN FEAT("") POOL("1") GATEWAY;

static bool same_root(const char *const *a, size_t na, const char *const *b, size_t nb)
{
    struct snapshot *s[2] = {NULL, NULL};
    const char *const *texts[] = {a, b};
    size_t n[] = {na, nb};
    for (int i = 0; i < 2; i++) {
        struct graph_text g;
        struct err e;
        graph_text_files(&g, texts[i], n[i]);
        assert_int_equal(snapshot_compile(&s[i], NULL, g.model, 1u + (unsigned)i, NULL, &e), 0);
        graph_text_release(&g);
    }
    bool same = memcmp(snapshot_root(s[0]), snapshot_root(s[1]), 32) == 0;
    assert_int_not_equal(memcmp(snapshot_digest(s[0]), snapshot_digest(s[1]), 32), 0);
    snapshot_unref(s[0]);
    snapshot_unref(s[1]);
    return same;
}

static bool same(const char *a, const char *b)
{
    return same_root(&a, 1, &b, 1);
}

static void order_of_files_documents_and_keys_means_nothing(void **state)
{
    (void)state;
    const char *one[] = {graph};
    const char *files[] = {GATEWAY "---\n" POOL("1"), FEAT(""),
        "kind: Environment\nspec: {providers: {pay: {endpoints: ['c:3']}, cart: {endpoints: "
        "['a:1', {weight: 1, address: 'b:2'}]}}, mode: baseline}\nmetadata: {name: main}\n",
        "\n# comments and lines\n\nkind: Service\nmetadata: {name: pay}\nspec: {}\n---\n"
        "spec: {port: 1}\nmetadata: {name: cart}\nkind: Service\n"};
    assert_true(same_root(one, 1, files, 4));
}

static void every_content_is_part_of_it(void **state)
{
    (void)state;
    static const char *const other[] = {
        SERVICES MAIN FEAT("") POOL("1"), /* no gateway */
        SERVICES MAIN FEAT("") GATEWAY,   /* no pool */
        SERVICES MAIN FEAT("") POOL("2") GATEWAY,
        SERVICES MAIN FEAT(", remove: [pay]") POOL("1") GATEWAY,
        SERVICES MAIN FEAT(", use: {pay: main}") POOL("1") GATEWAY,
        SERVICES MAIN FEAT(", expires: 1970-01-01T00:00:00Z") POOL("1") GATEWAY,
        SERVICES MAIN FEAT(", strict: true") POOL("1") GATEWAY,
        SERVICES MAIN FEAT(", access: public") POOL("1") GATEWAY,
        SERVICES MAIN FEAT(", owner: me") POOL("1") GATEWAY,
        SERVICES MAIN FEAT(", providers: {pay: {endpoints: ['c:3']}}") POOL("1") GATEWAY,
        SERVICES MAIN FEAT(", providers: {pay: {endpoints: [{address: 'c:3', weight: 2}]}}")
            POOL("1") GATEWAY,
        SERVICES MAIN FEAT(", providers: {pay: {endpoints: ['c:3'], region: x}}") POOL("1") GATEWAY,
        SERVICES "kind: Service\nmetadata: {name: new}\nspec: {}\n---\n" MAIN FEAT("") POOL("1")
            GATEWAY,
        "kind: Service\nmetadata: {name: cart}\nspec: {port: 2}\n---\n"
        "kind: Service\nmetadata: {name: pay}\nspec: {}\n---\n" MAIN FEAT("") POOL("1") GATEWAY,
        "kind: Service\nmetadata: {name: cart}\nspec: {port: 1, policy: {timeout: 1s}}\n---\n"
        "kind: Service\nmetadata: {name: pay}\nspec: {}\n---\n" MAIN FEAT("") POOL("1") GATEWAY,
    };
    size_t n = sizeof(other) / sizeof(*other);
    for (size_t i = 0; i < n; i++) {
        if (same(graph, other[i]))
            fail_msg("graph %zu has the same root", i);
        for (size_t j = 0; j < i; j++)
            if (same(other[i], other[j]))
                fail_msg("graphs %zu and %zu have the same root", i, j);
    }
}

/* An order that the files give a meaning to is part of the content. */
static void order_of_endpoints_and_parents_is_content(void **state)
{
    (void)state;
#define TWO(list)                                                                                  \
    SERVICES MAIN FEAT(                                                                            \
        "") "kind: Environment\nmetadata: {name: twin}\nspec: {mode: overlay, parent: "            \
            "main}\n---\n"                                                                         \
            "kind: Environment\nmetadata: {name: both}\nspec: {mode: overlay, parents: [" list     \
            "]}\n"
    assert_false(same(TWO("feat, twin"), TWO("twin, feat")));
}

static void the_way_there_means_nothing(void **state)
{
    (void)state;
    struct snapshot *a = graph_of(SERVICES MAIN POOL("7"));
    struct snapshot *b = graph_on(a, graph, 2, NULL), *c = graph_of(graph);
    assert_memory_equal(snapshot_root(b), snapshot_root(c), 32);
    snapshot_unref(a);
    snapshot_unref(b);
    snapshot_unref(c);
}

static void failed_allocation_gives_none_and_can_be_tried_again(void **state)
{
    (void)state;
    struct snapshot *s = graph_of(graph);
    mem_fail_nth(1);
    assert_null(snapshot_root(s));
    mem_fail_nth(2);
    assert_null(snapshot_root(s));
    mem_fail_nth(0);
    assert_non_null(snapshot_root(s));
    snapshot_unref(s);
}

static void *ask_root(void *s)
{
    return (void *)(uintptr_t)snapshot_root(s);
}

static void several_threads_may_ask_first(void **state)
{
    (void)state;
    struct snapshot *s = graph_of(graph);
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ask_root, s), 0);
    for (size_t i = 0; i < 4; i++) {
        void *root = NULL;
        assert_int_equal(pthread_join(threads[i], &root), 0);
        assert_ptr_equal(root, snapshot_root(s));
    }
    snapshot_unref(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order_of_files_documents_and_keys_means_nothing),
        cmocka_unit_test(every_content_is_part_of_it),
        cmocka_unit_test(order_of_endpoints_and_parents_is_content),
        cmocka_unit_test(the_way_there_means_nothing),
        cmocka_unit_test(failed_allocation_gives_none_and_can_be_tried_again),
        cmocka_unit_test(several_threads_may_ask_first),
    };
    return unit_run(tests);
}
