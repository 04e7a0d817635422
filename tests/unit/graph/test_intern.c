/* Names and numbers: given once, taken back only by a rollback, read while others are added. */
#include "lib/graph/intern.h"
#include "tests/unit/graph/graph_text.h"
#include <errno.h>
#include <pthread.h>

static uint32_t added(struct intern *n, const char *name)
{
    uint32_t number = INTERN_NONE;
    assert_int_equal(intern_add(n, str_c(name), 1000000, &number), 0);
    return number;
}

static void many_names_keep_their_numbers(void **state)
{
    (void)state;
    struct intern n = {0};
    char name[32];
    intern_begin(&n);
    for (unsigned i = 0; i < 20000; i++) {
        snprintf(name, sizeof(name), "name-%u", i);
        assert_int_equal(added(&n, name), i);
    }
    intern_commit(&n);
    for (unsigned i = 0; i < 20000; i++) {
        snprintf(name, sizeof(name), "name-%u", i);
        assert_int_equal(intern_find(&n, str_c(name)), i);
        assert_str(intern_text(n.view, i), name);
    }
    assert_int_equal(intern_find(&n, STR("name-20000")), INTERN_NONE);
    intern_release(&n);
}

static void refuses_at_its_bounds(void **state)
{
    (void)state;
    static char longest[INTERN_TEXT_MAX + 1];
    struct intern n = {0};
    uint32_t number = 77;
    memset(longest, 'x', sizeof(longest));
    intern_begin(&n);
    assert_int_equal(intern_add(&n, str_of(longest, INTERN_TEXT_MAX), 1, &number), 0);
    assert_int_equal(number, 0);
    assert_int_equal(intern_add(&n, STR("second"), 1, &number), -ENOSPC);
    assert_int_equal(
        intern_add(&n, str_of(longest, INTERN_TEXT_MAX + 1), 9, &number), -ENAMETOOLONG);
    assert_int_equal(intern_put(&n, STR("x"), UINT32_MAX), -ENOSPC);
    intern_commit(&n);
    intern_release(&n);
}

static void stated_numbers_may_not_clash(void **state)
{
    (void)state;
    struct intern n = {0};
    intern_begin(&n);
    assert_int_equal(intern_put(&n, STR("a"), 5), 0);
    assert_int_equal(intern_put(&n, STR("a"), 5), 0);
    assert_int_equal(intern_put(&n, STR("a"), 6), -EEXIST);
    assert_int_equal(intern_put(&n, STR("b"), 5), -EEXIST);
    assert_int_equal(intern_put(&n, STR("b"), 2), 0);
    assert_int_equal(added(&n, "c"), 6);
    intern_commit(&n);
    intern_release(&n);
}

/* As many new names as it takes to replace the table in between, or just one. */
static void check_rollback(unsigned before, unsigned more)
{
    struct intern n = {0};
    char name[32];
    intern_begin(&n);
    for (unsigned i = 0; i < before; i++) {
        snprintf(name, sizeof(name), "old-%u", i);
        added(&n, name);
    }
    intern_commit(&n);
    intern_begin(&n);
    for (unsigned i = 0; i < more; i++) {
        snprintf(name, sizeof(name), "new-%u", i);
        added(&n, name);
    }
    intern_rollback(&n);
    assert_int_equal(n.limit, before);
    assert_int_equal(n.count, before);
    for (unsigned i = 0; i < more; i++) {
        snprintf(name, sizeof(name), "new-%u", i);
        assert_int_equal(intern_find(&n, str_c(name)), INTERN_NONE);
    }
    for (unsigned i = 0; i < before; i++) {
        snprintf(name, sizeof(name), "old-%u", i);
        assert_int_equal(intern_find(&n, str_c(name)), i);
        assert_str(intern_text(n.view, i), name);
    }
    intern_begin(&n);
    assert_int_equal(added(&n, "other"), before);
    intern_commit(&n);
    intern_release(&n);
}

static void rollback_takes_back_exactly_what_was_added(void **state)
{
    (void)state;
    check_rollback(0, 0);
    check_rollback(0, 10);
    check_rollback(0, 10000);
    check_rollback(40, 1);
    check_rollback(40, 20);
    check_rollback(40, 10000);
    check_rollback(5000, 1200);
}

static void every_failed_allocation_can_be_rolled_back(void **state)
{
    (void)state;
    struct intern n = {0};
    uint32_t number;
    intern_begin(&n);
    added(&n, "first");
    intern_commit(&n);
    int r = -ENOMEM;
    for (unsigned long nth = 1; r != 0; nth++) {
        char name[32];
        intern_begin(&n);
        mem_fail_nth(nth);
        r = 0;
        for (unsigned i = 0; r == 0 && i < 3000; i++) {
            snprintf(name, sizeof(name), "some-name-%u", i);
            r = intern_add(&n, str_c(name), 1000000, &number);
        }
        mem_fail_nth(0);
        assert_true(r == 0 || r == -ENOMEM);
        intern_rollback(&n);
        assert_int_equal(n.count, 1);
        assert_int_equal(intern_find(&n, STR("first")), 0);
    }
    intern_release(&n);
}

/* ---- readers beside the writer ---- */

#define ENVS 40
static const char head[] = "kind: Service\nmetadata: {name: s}\nspec: {}\n---\n"
                           "kind: Environment\nmetadata: {name: main}\nspec: {mode: baseline, "
                           "providers: {s: {endpoints: ['a:1']}}}\n---\n";

struct reader {
    const struct snapshot *s;
    atomic_bool stop;
    unsigned wrong;
};

static void *read_on(void *arg)
{
    struct reader *r = arg;
    while (!atomic_load(&r->stop)) {
        char name[32];
        for (unsigned i = 0; i < 2 * ENVS; i++) {
            struct decision d;
            int n = snprintf(name, sizeof(name), "e%u", i);
            uint32_t env = snapshot_find_env(r->s, str_of(name, (size_t)n));
            snapshot_resolve(r->s, env, snapshot_find_service(r->s, STR("s")), 0, &d);
            r->wrong += (env != NUMBER_NONE) != (i < ENVS);
            r->wrong += d.cls != (i < ENVS ? CLASS_LOCAL : CLASS_NONE);
        }
    }
    return NULL;
}

static void make_text(char *text, size_t size, unsigned envs, unsigned port)
{
    size_t n = (size_t)snprintf(text, size, "%s", head);
    for (unsigned i = 0; i < envs; i++)
        n += (size_t)snprintf(text + n, size - n,
            "kind: Environment\nmetadata: {name: e%u}\nspec: {mode: overlay, parent: main, "
            "providers: {s: {endpoints: ['10.0.0.1:%u']}}}\n---\n",
            i, port + i);
}

/* Under the thread sanitizer this is the proof; without it, that answers do not change. */
static void snapshot_is_read_while_the_next_ones_are_built(void **state)
{
    (void)state;
    static char text[200000];
    pthread_t thread;
    make_text(text, sizeof(text), ENVS, 1);
    struct reader r = {.s = graph_of(text)};
    assert_int_equal(pthread_create(&thread, NULL, read_on, &r), 0);
    for (unsigned round = 0; round < 8; round++) {
        make_text(text, sizeof(text), ENVS + 100 * (round + 1), 2 + round);
        snapshot_unref(graph_on(r.s, text, 2 + round, NULL));
    }
    atomic_store(&r.stop, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(r.wrong, 0);
    snapshot_unref((struct snapshot *)(uintptr_t)r.s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_names_keep_their_numbers),
        cmocka_unit_test(refuses_at_its_bounds),
        cmocka_unit_test(stated_numbers_may_not_clash),
        cmocka_unit_test(rollback_takes_back_exactly_what_was_added),
        cmocka_unit_test(every_failed_allocation_can_be_rolled_back),
        cmocka_unit_test(snapshot_is_read_while_the_next_ones_are_built),
    };
    return unit_run(tests);
}
