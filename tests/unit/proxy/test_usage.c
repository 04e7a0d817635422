/* Requests by environment: the busiest are named, nothing is lost in the sum. */
#include "lib/graph/check.h"
#include "lib/graph/load.h"
#include "proxy/usage.h"
#include "tests/unit/unit.h"
#include <stdlib.h>

static struct snapshot *graph(void)
{
    static const char text[] =
        "apiVersion: offshoot.dev/v1\nkind: Service\nmetadata: {name: cart}\nspec: {}\n---\n"
        "apiVersion: offshoot.dev/v1\nkind: Environment\nmetadata: {name: main}\n"
        "spec: {mode: baseline, providers: {cart: {endpoints: [\"127.0.0.1:1\"]}}}\n---\n"
        "apiVersion: offshoot.dev/v1\nkind: Environment\nmetadata: {name: a}\n"
        "spec: {mode: overlay, parent: main}\n---\n"
        "apiVersion: offshoot.dev/v1\nkind: Environment\nmetadata: {name: b}\n"
        "spec: {mode: overlay, parent: main}\n---\n"
        "apiVersion: offshoot.dev/v1\nkind: Environment\nmetadata: {name: other}\n"
        "spec: {mode: overlay, parent: main}\n";
    struct load_source src = {.name = "g", .bytes = str_c(text)};
    struct loader *l = loader_new(NULL);
    struct findings f;
    const struct model *m;
    struct snapshot *s = NULL;
    struct err e;
    findings_init(&f);
    assert_int_equal(loader_load(l, &src, 1, &f, &m), 0);
    assert_int_equal(model_check(m, NULL, &f), 0);
    assert_int_equal(snapshot_compile(&s, NULL, m, 1, NULL, &e), 0);
    findings_release(&f);
    loader_free(l);
    return s;
}

static struct usage *table(void)
{
    struct usage *u = mem_zalloc(sizeof(*u));
    assert_non_null(u);
    return u;
}

static void names_the_busiest_and_sums_the_rest(void **state)
{
    (void)state;
    struct snapshot *s = graph();
    struct usage *envs[2] = {table(), table()}, *services[2] = {table(), table()};
    uint32_t main_ = snapshot_find_env(s, STR("main")), a = snapshot_find_env(s, STR("a")),
             b = snapshot_find_env(s, STR("b"));
    for (int i = 0; i < 5; i++)
        usage_add(envs[i % 2], a);
    for (int i = 0; i < 3; i++)
        usage_add(envs[0], main_);
    usage_add(envs[1], b);
    for (int i = 0; i < 9; i++) /* a name that stands for the rest goes with it */
        usage_add(envs[1], snapshot_find_env(s, STR("other")));
    usage_add(envs[1], USAGE_PAGE * USAGE_PAGES); /* too large a number */
    mem_fail_nth(1);
    usage_add(services[0], 0); /* no memory for a page: counted all the same */
    mem_fail_nth(0);
    struct text t = {0};
    usage_prometheus(&t, s, envs, services, 2, 2);
    assert_int_equal(t.failed, 0);
    const char *first = strstr(t.p, "requests_total{environment=\"a\"} 5\n");
    const char *second = strstr(t.p, "requests_total{environment=\"main\"} 3\n");
    assert_non_null(first);
    assert_non_null(second);
    assert_true(first < second);
    assert_null(strstr(t.p, "environment=\"b\""));
    assert_non_null(strstr(t.p, "requests_total{environment=\"other\"} 11\n"));
    assert_non_null(strstr(t.p, "requests_total{service=\"other\"} 1\n"));
    text_release(&t);
    for (int i = 0; i < 2; i++) {
        usage_release(envs[i]);
        usage_release(services[i]);
        mem_free(envs[i]);
        mem_free(services[i]);
    }
    snapshot_unref(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_the_busiest_and_sums_the_rest),
    };
    return unit_run(tests);
}
