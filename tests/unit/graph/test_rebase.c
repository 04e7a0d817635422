/* An older graph, or another agent's, put on top of a newer one. */
#include "lib/graph/codec.h"
#include "lib/graph/snapshot_int.h"
#include "tests/unit/graph/graph_text.h"
#include <errno.h>
#include <stdlib.h>

#define SERVICE(name, port)                                                                        \
    "kind: Service\nmetadata: {name: " name "}\nspec: {port: " port "}\n---\n"
#define GATEWAY(service)                                                                           \
    "kind: Gateway\nmetadata: {name: edge}\nspec: {routes: [{path: /, service: " service           \
    "}]}\n---\n"
#define MAIN(port)                                                                                 \
    "kind: Environment\nmetadata: {name: main}\nspec: {mode: baseline, providers: {pay: "          \
    "{endpoints: ['10.0.0.1:" port "']}, cart: {endpoints: ['b.c:2', {address: '[fd00::1]:1', "    \
    "weight: 9}], artifact: i}}}\n---\n"
#define ON(name, parent, more)                                                                     \
    "kind: Environment\nmetadata: {name: " name "}\nspec:\n  mode: overlay\n  parent: " parent     \
    "\n" more "---\n"
#define OLD                                                                                        \
    SERVICE("cart", "1")                                                                           \
    SERVICE("pay", "2")                                                                            \
    GATEWAY("cart")                                                                                \
    MAIN("1")                                                                                      \
    ON("a", "main", "  remove:\n  - pay\n  - cart\n  expires: 2030-01-01T00:00:00Z\n")             \
    ON("b", "a", "")                                                                               \
    ON("c", "main", "  use: {pay: a2}\n")                                                          \
    ON("a2", "main", "  providers: {pay: {endpoints: ['10.1.1.1:1']}}\n")

static struct pb_out whole_of(const struct snapshot *s)
{
    struct pb_out o = {0};
    struct err e = {0};
    if (codec_encode(NULL, s, &o, &e) < 0)
        fail_msg("%s", e.text);
    return o;
}

static struct snapshot *rebased(const struct snapshot *base, const struct snapshot *content,
    uint64_t epoch, struct snapshot_changes *changes)
{
    struct pb_out o = whole_of(content);
    struct snapshot *s = NULL;
    struct err e = {0};
    int r = codec_rebase(base, pb_str(&o), epoch, &s, changes, &e);
    pb_release(&o);
    if (r < 0)
        fail_msg("%d: %s", r, e.text);
    return s;
}

/* By name: every decision, its place and its line. */
static void assert_same_content(const struct snapshot *a, const struct snapshot *b)
{
    assert_memory_equal(snapshot_root(a), snapshot_root(b), 32);
    assert_int_equal(snapshot_env_count(a), snapshot_env_count(b));
    for (uint32_t env = 0; env < snapshot_env_limit(a); env++) {
        struct env_info info;
        if (!snapshot_env(a, env, &info))
            continue;
        uint32_t other = snapshot_find_env(b, info.name);
        assert_int_not_equal(other, NUMBER_NONE);
        for (uint32_t service = 0; service < snapshot_service_limit(a); service++) {
            struct origin x, y;
            struct decision d, f;
            uint32_t same = snapshot_find_service(b, snapshot_service_name(a, service));
            snapshot_resolve(a, env, service, 0, &d);
            snapshot_resolve(b, other, same, 0, &f);
            assert_int_equal(d.cls, f.cls);
            assert_int_equal(d.refusal, f.refusal);
            if (d.provider != NUMBER_NONE)
                assert_true(
                    str_eq(snapshot_env_name(a, d.provider), snapshot_env_name(b, f.provider)));
            snapshot_origin(a, &d, &x);
            snapshot_origin(b, &f, &y);
            assert_int_equal(x.line, y.line);
            assert_true(str_eq(x.file, y.file));
        }
    }
}

static uint64_t changed(const struct snapshot *s, const char *name)
{
    struct env_info info;
    assert_true(snapshot_env(s, env_number(s, name), &info));
    return info.changed;
}

/* A newer graph: pay moved, cart is gone, "a" and "b" differ, "z" is new. */
static struct snapshot *newer_than(const struct snapshot *old)
{
    return graph_on(old,
        SERVICE("new", "9") SERVICE("pay", "3") GATEWAY(
            "pay") "kind: Environment\nmetadata: {name: z}\nspec: {mode: baseline}\n---\n"
                   "kind: Environment\nmetadata: {name: main}\nspec: {mode: baseline, providers: "
                   "{pay: "
                   "{endpoints: ['10.0.0.7:7']}}}\n---\n" ON("a", "main", "")
                       ON("b", "main", "  use: {pay: a2}\n")
                           ON("a2", "main", "  providers: {pay: {endpoints: ['10.1.1.1:1']}}\n"),
        2, NULL);
}

static void older_content_comes_back_with_the_numbers_of_the_newer_chain(void **state)
{
    (void)state;
    struct snapshot *old = graph_of(OLD), *now = newer_than(old);
    struct snapshot_changes c;
    struct snapshot *back = rebased(now, old, 3, &c);
    assert_int_equal(snapshot_epoch(back), 3);
    assert_same_content(old, back);
    assert_same_content(back, old);
    assert_int_equal(c.envs_removed, 1);
    assert_int_equal(c.envs_added, 1);
    assert_true(c.services_changed && c.gateways_changed && !c.origins_only);
    assert_int_equal(env_number(back, "a"), env_number(now, "a"));
    assert_int_equal(env_number(back, "z"), NUMBER_NONE);
    assert_int_equal(changed(back, "a"), 3);
    /* What says the same keeps the epoch of its last change. */
    assert_int_equal(changed(back, "a2"), 1);
    /* A difference between the two reaches a proxy, and leads it to the same digest. */
    struct pb_out first = whole_of(now), second = {0};
    struct snapshot *x = NULL, *y = NULL;
    struct err e = {0};
    assert_int_equal(codec_encode(now, back, &second, &e), 0);
    assert_int_equal(codec_apply(NULL, pb_str(&first), &x, NULL, &e), 0);
    assert_int_equal(codec_apply(x, pb_str(&second), &y, NULL, &e), 0);
    assert_memory_equal(snapshot_digest(y), snapshot_digest(back), 32);
    pb_release(&first);
    pb_release(&second);
    snapshot_unref(x);
    snapshot_unref(y);
    snapshot_unref(back);
    snapshot_unref(now);
    snapshot_unref(old);
}

static void another_agents_graph_comes_over_whatever_its_numbers_and_epochs(void **state)
{
    (void)state;
    struct snapshot *mine = graph_of(MAIN("1") SERVICE("pay", "2") SERVICE("cart", "1"));
    struct snapshot *theirs = graph_on(NULL, OLD, 77, NULL);
    struct snapshot *s = rebased(mine, theirs, 2, NULL);
    assert_same_content(theirs, s);
    assert_int_equal(changed(s, "main"), 1);
    assert_int_equal(changed(s, "a"), 2);
    snapshot_unref(s);
    snapshot_unref(theirs);
    snapshot_unref(mine);
}

static void equal_content_is_told_and_changes_nothing(void **state)
{
    (void)state;
    struct snapshot *s = graph_of(OLD), *other = graph_on(NULL, OLD, 9, NULL), *ret = NULL;
    struct pb_out o = whole_of(other);
    struct err e = {0};
    uint32_t limit = snapshot_env_limit(s);
    assert_int_equal(codec_rebase(s, pb_str(&o), 2, &ret, NULL, &e), -EALREADY);
    assert_null(ret);
    struct snapshot *again = NULL;
    assert_int_equal(codec_renumber(s, 2, &again, &e), 0);
    assert_int_equal(snapshot_epoch(again), 2);
    assert_int_equal(snapshot_env_limit(again), limit);
    assert_same_content(s, again);
    assert_int_equal(changed(again, "a"), 1);
    assert_int_equal(
        snapshot_revision(again, env_number(again, "a")), snapshot_revision(s, env_number(s, "a")));
    assert_int_equal(codec_renumber(again, 2, &ret, &e), -EINVAL);
    snapshot_unref(again);
    pb_release(&o);
    snapshot_unref(other);
    snapshot_unref(s);
}

static void moved_lines_alone_are_an_epoch_without_a_revision(void **state)
{
    (void)state;
    struct snapshot *s = graph_of(OLD), *moved = graph_of("# moved\n" OLD);
    struct snapshot *inner =
        graph_of(SERVICE("cart", "1") SERVICE("pay", "2") GATEWAY("cart") MAIN("1") ON("a", "main",
            "  remove:\n  - pay\n\n  - cart\n  expires: "
            "2030-01-01T00:00:00Z\n") ON("b", "a", "") ON("c", "main", "  use: {pay: a2}\n")
                ON("a2", "main", "  providers: {pay: {endpoints: ['10.1.1.1:1']}}\n"));
    struct snapshot *content[] = {moved, inner};
    for (size_t i = 0; i < 2; i++) {
        struct snapshot_changes c;
        struct snapshot *back = rebased(s, content[i], 2, &c);
        assert_true(c.origins_only);
        assert_same_content(content[i], back);
        assert_int_equal(changed(back, "a"), 1);
        snapshot_unref(back);
        snapshot_unref(content[i]);
    }
    snapshot_unref(s);
}

static void bad_bytes_and_a_lower_epoch_are_refused(void **state)
{
    (void)state;
    struct snapshot *s = graph_of(OLD), *now = newer_than(s), *ret = NULL;
    struct pb_out o = whole_of(s);
    struct err e = {0};
    assert_int_equal(codec_rebase(now, pb_str(&o), 2, &ret, NULL, &e), -EBADMSG);
    assert_int_equal(codec_rebase(now, STR("nonsense"), 3, &ret, NULL, &e), -EBADMSG);
    for (size_t i = 0; i < o.n; i++) {
        o.p[i] ^= 1;
        int r = codec_rebase(now, pb_str(&o), 3, &ret, NULL, &e);
        if (r == 0) { /* places are covered by no hash */
            snapshot_unref(ret);
            ret = NULL;
        } else {
            assert_true(r == -EBADMSG || r == -ESTALE);
        }
        o.p[i] ^= 1;
    }
    pb_release(&o);
    snapshot_unref(now);
    snapshot_unref(s);
}

/* Text of a random graph: a subset of environments with random parents and statements. */
static void random_graph(struct text *t, unsigned *seed)
{
    text_fmt(t, SERVICE("cart", "%d") SERVICE("pay", "1"), 1 + rand_r(seed) % 3);
    text_fmt(t, MAIN("%d"), 1 + rand_r(seed) % 3);
    for (unsigned i = 0; i < 40; i++) {
        if (rand_r(seed) % 4 == 0 && i % 5)
            continue;
        /* parents are multiples of five, which always exist */
        unsigned parent = i < 5 ? 0 : (unsigned)rand_r(seed) % (i / 5) * 5;
        text_fmt(t, "kind: Environment\nmetadata: {name: e%u}\nspec:\n  mode: overlay\n", i);
        text_fmt(
            t, i < 5 || rand_r(seed) % 3 == 0 ? "  parent: main\n" : "  parent: e%u\n", parent);
        if (rand_r(seed) % 2)
            text_fmt(
                t, "  providers: {cart: {endpoints: ['10.0.0.9:%d']}}\n", 1 + rand_r(seed) % 3);
        if (rand_r(seed) % 2)
            text_fmt(t, "  remove: [pay]\n");
        text_fmt(t, "---\n");
    }
}

static void random_graphs_come_over_random_graphs(void **state)
{
    (void)state;
    unsigned seed = 4;
    struct snapshot *s = graph_of(OLD);
    for (uint64_t epoch = 2; epoch < 60; epoch++) {
        struct text t = {0};
        random_graph(&t, &seed);
        struct snapshot *content = graph_on(NULL, t.p, 1000 + epoch, NULL);
        struct snapshot *next = rebased(s, content, epoch, NULL);
        assert_same_content(content, next);
        assert_same_content(next, content);
        snapshot_unref(s);
        snapshot_unref(content);
        text_release(&t);
        s = next;
    }
    snapshot_unref(s);
}

static void every_failed_allocation_leaves_the_base_as_it_was(void **state)
{
    (void)state;
    struct snapshot *old = graph_of(OLD), *now = newer_than(old), *ret = NULL;
    struct pb_out o = whole_of(old);
    struct err e;
    int r = -ENOMEM;
    for (unsigned long nth = 1; r != 0; nth++) {
        mem_fail_nth(nth);
        r = codec_rebase(now, pb_str(&o), 3, &ret, NULL, &e);
        mem_fail_nth(0);
        assert_true(r == 0 || r == -ENOMEM);
    }
    assert_same_content(old, ret);
    r = -ENOMEM;
    struct snapshot *again = NULL;
    for (unsigned long nth = 1; r != 0; nth++) {
        mem_fail_nth(nth);
        r = codec_renumber(ret, 4, &again, &e);
        mem_fail_nth(0);
        assert_true(r == 0 || r == -ENOMEM);
    }
    snapshot_unref(again);
    snapshot_unref(ret);
    pb_release(&o);
    snapshot_unref(now);
    snapshot_unref(old);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(older_content_comes_back_with_the_numbers_of_the_newer_chain),
        cmocka_unit_test(another_agents_graph_comes_over_whatever_its_numbers_and_epochs),
        cmocka_unit_test(equal_content_is_told_and_changes_nothing),
        cmocka_unit_test(moved_lines_alone_are_an_epoch_without_a_revision),
        cmocka_unit_test(bad_bytes_and_a_lower_epoch_are_refused),
        cmocka_unit_test(random_graphs_come_over_random_graphs),
        cmocka_unit_test(every_failed_allocation_leaves_the_base_as_it_was),
    };
    return unit_run(tests);
}
