/* Graphs from documents that the program keeps, and what environments that come and go leave. */
#include "lib/base/mem.h"
#include "lib/net/graphsrc.h"
#include "tests/unit/unit.h"
#include <errno.h>

static const char base_yaml[] =
    "apiVersion: offshoot.dev/v1\nkind: Service\nmetadata: {name: cart}\nspec: {}\n---\n"
    "apiVersion: offshoot.dev/v1\nkind: Environment\nmetadata: {name: main}\n"
    "spec: {mode: baseline, providers: {cart: {endpoints: [\"127.0.0.1:9001\"]}}}\n";

static struct graphsrc *start(void)
{
    struct err e = {0};
    struct graphsrc_options o = {.files = FILE_LIMITS_DEFAULT, .load = LOAD_LIMITS_DEFAULT};
    struct graphsrc *g = graphsrc_new(&o, &e);
    assert_non_null(g);
    return g;
}

/* The base and, unless n is 0, one overlay named after n. */
static int load(struct graphsrc *g, unsigned n, const struct snapshot *base, uint64_t epoch,
    struct snapshot **ret)
{
    char name[64], yaml[256];
    struct load_source extras[2] = {
        {.name = "base", .bytes = str_of(base_yaml, sizeof base_yaml - 1), .generation = 1}};
    snprintf(name, sizeof name, "command:e%u", n);
    snprintf(yaml, sizeof yaml,
        "apiVersion: offshoot.dev/v1\nkind: Environment\nmetadata: {name: e%u}\n"
        "spec: {mode: overlay, parent: main}\n",
        n);
    extras[1] = (struct load_source){.name = name, .bytes = str_c(yaml), .generation = n + 1};
    assert_int_equal(graphsrc_extras(g, extras, n ? 2 : 1), 0);
    return graphsrc_load(g, NULL, base, epoch, ret, NULL);
}

static void extras_are_read_beside_files_and_named_in_findings(void **state)
{
    (void)state;
    struct graphsrc *g = start();
    struct snapshot *s = NULL;
    struct text t = {0};
    assert_int_equal(load(g, 7, NULL, 1, &s), 0);
    assert_int_equal(snapshot_env_count(s), 2);
    struct load_source bad = {.name = "command:bad", .bytes = STR("kind: Envirnment\n")};
    assert_int_equal(graphsrc_extras(g, &bad, 1), 0);
    struct snapshot *none = NULL;
    assert_int_equal(graphsrc_load(g, NULL, s, 2, &none, NULL), -EINVAL);
    assert_int_equal(graphsrc_extras(g, NULL, 0), 0); /* findings still have their names */
    graphsrc_findings(g, false, &t);
    assert_non_null(strstr(t.p, "command:bad:1:"));
    text_release(&t);
    snapshot_unref(s);
    graphsrc_free(g);
}

static void environments_that_come_and_go_leave_no_more_than_a_bound(void **state)
{
    (void)state;
    struct graphsrc *g = start();
    struct snapshot *s = NULL, *next = NULL;
    uint64_t epoch = 1;
    size_t most = 0;
    assert_int_equal(load(g, 0, NULL, epoch, &s), 0);
    for (unsigned n = 1; n <= 4 * GRAPHSRC_DEAD_NAMES; n++) {
        assert_int_equal(load(g, n, s, ++epoch, &next), 0);
        assert_int_equal(snapshot_epoch(next), epoch);
        assert_int_equal(snapshot_env_count(next), 2);
        snapshot_unref(s);
        s = next;
        if (snapshot_env_limit(s) > most)
            most = snapshot_env_limit(s);
    }
    assert_in_range(most, GRAPHSRC_DEAD_NAMES, GRAPHSRC_DEAD_NAMES + 5);
    assert_true(snapshot_env_limit(s) < most);
    assert_int_equal(load(g, 4 * GRAPHSRC_DEAD_NAMES, s, epoch + 1, &next), -EALREADY);
    snapshot_unref(s);
    graphsrc_free(g);
}

static void any_allocation_may_fail(void **state)
{
    (void)state;
    size_t before = mem_live();
    struct graphsrc *g = start();
    struct snapshot *s = NULL;
    for (unsigned long n = 1;; n++) {
        mem_fail_nth(n);
        struct load_source extra = {
            .name = "base", .bytes = str_of(base_yaml, sizeof base_yaml - 1), .generation = 1};
        int rc = graphsrc_extras(g, &extra, 1);
        if (rc == 0)
            rc = graphsrc_load(g, NULL, NULL, 1, &s, NULL);
        mem_fail_nth(0);
        if (rc == 0)
            break;
        assert_int_equal(rc, -ENOMEM);
    }
    snapshot_unref(s);
    graphsrc_free(g);
    assert_int_equal(mem_live(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(extras_are_read_beside_files_and_named_in_findings),
        cmocka_unit_test(environments_that_come_and_go_leave_no_more_than_a_bound),
        cmocka_unit_test(any_allocation_may_fail),
    };
    return unit_run(tests);
}
