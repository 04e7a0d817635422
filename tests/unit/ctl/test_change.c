/* Commands that change: what their options may be, and what is asked for then. */
#include "ctl/change.h"
#include "tests/unit/unit.h"
#include <errno.h>

#define COUNT(a) (sizeof(a) / sizeof(*(a)))

static int check(const char *const *words, size_t n, struct target *ret, struct err *e)
{
    static char program[] = "offshootctl";
    char *argv[24] = {program};
    const char *name[] = {"feat-42"};
    struct args a;
    assert_true(n < COUNT(argv) - 1);
    for (size_t i = 0; i < n; i++)
        argv[i + 1] = (char *)(uintptr_t)words[i];
    assert_int_equal(args_parse(&a, (int)n + 1, argv, e), 0);
    struct call c = {.args = &a, .words = name, .nwords = 1};
    int rc = change_check(&c, e);
    if (rc == 0)
        change_target(&c, "/env/create", "name", ret);
    args_release(&a);
    return rc;
}

static void assert_target(const char *const *words, size_t n, const char *want)
{
    struct target t;
    struct err e = {0};
    assert_int_equal(check(words, n, &t, &e), 0);
    assert_str(str_of(t.text.p, t.text.n), want);
    text_release(&t.text);
}

static void assert_wrong(const char *const *words, size_t n, const char *why)
{
    struct target t;
    struct err e = {0};
    assert_int_equal(check(words, n, &t, &e), -EINVAL);
    assert_string_equal(e.text, why);
}

#define WORDS(...)        (const char *const[]){__VA_ARGS__}, COUNT(((const char *const[]){__VA_ARGS__}))
#define TARGET(want, ...) assert_target(WORDS(__VA_ARGS__), (want))
#define WRONG(why, ...)   assert_wrong(WORDS(__VA_ARGS__), (why))

static void every_option_becomes_a_parameter(void **state)
{
    (void)state;
    TARGET("/env/create?name=feat-42", "x");
    TARGET("/env/create?name=feat-42&parent=a&parent=b&set=cart%3D10.0.0.1%3A80%2C10.0.0.2%3A80"
           "&set=promo%3Dh%3A1&use=pricing%3Dteam-b&remove=old&drop=x&for=4h&access=public"
           "&strict=1&owner=team%20a&reason=PR%20%2342",
        "--reason", "PR #42", "--owner", "team a", "--strict", "--public", "--for", "4h", "--drop",
        "x", "--remove=old", "--use=pricing=team-b", "--set=cart=10.0.0.1:80,10.0.0.2:80",
        "--set=promo=h:1", "--parent=a", "--parent=b");
    TARGET("/env/create?name=feat-42&access=token", "--token");
}

static void waiting_is_not_a_parameter_of_the_change(void **state)
{
    (void)state;
    TARGET("/env/create?name=feat-42", "--wait", "--timeout", "5m");
    TARGET("/env/create?name=feat-42", "--wait", "--timeout=0", "--json");
}

static void pairs_need_both_sides(void **state)
{
    (void)state;
    WRONG("--set wants SERVICE=ADDRESS, not 'cart'", "--set", "cart");
    WRONG("--set wants SERVICE=ADDRESS, not 'cart='", "--set", "cart=");
    WRONG("--set wants SERVICE=ADDRESS, not '=10.0.0.1:80'", "--set", "=10.0.0.1:80");
    WRONG("--set wants SERVICE=ADDRESS, not ''", "--set=");
    WRONG("--set wants SERVICE=ADDRESS, not 'b'", "--set", "a=1:1", "--set", "b");
    WRONG("--use wants SERVICE=ENV, not 'cart'", "--use", "cart");
}

static void names_are_names(void **state)
{
    (void)state;
    WRONG("--remove wants SERVICE, not 'cart=x'", "--remove", "cart=x");
    WRONG("--drop wants SERVICE, not 'Cart'", "--drop", "Cart");
    WRONG("--parent wants ENVIRONMENT, not ''", "--parent=");
}

static void durations_have_a_unit_and_bounds(void **state)
{
    (void)state;
    WRONG("--for wants a duration as 30m, 4h or 7d, not '4'", "--for", "4");
    WRONG("--for wants a duration as 30m, 4h or 7d, not '4 h'", "--for", "4 h");
    WRONG("--for wants a duration as 30m, 4h or 7d, not '-4h'", "--for", "-4h");
    WRONG("--for '0' is too short", "--for", "0");
    WRONG("--for '999ms' is too short", "--for", "999ms");
    TARGET("/env/create?name=feat-42&for=1000ms", "--for=1000ms");
    WRONG("--timeout wants a duration as 30s or 5m, not 'soon'", "--wait", "--timeout", "soon");
    WRONG("--timeout '301s' is too long", "--wait", "--timeout", "301s");
}

static void options_that_contradict_are_refused(void **state)
{
    (void)state;
    WRONG("--public and --token together: who may enter it?", "--public", "--token");
    WRONG("--timeout is for --wait, which is not said", "--timeout", "5s");
}

static void gives_back_everything_when_memory_is_out(void **state)
{
    (void)state;
    struct args a = {0};
    const char *name[] = {"feat-42"};
    const char *set[] = {"cart=10.0.0.1:80"};
    struct call c = {.args = &a, .words = name, .nwords = 1};
    a.set = (struct values){set, 1};
    for (unsigned long n = 1;; n++) {
        struct target t;
        mem_fail_nth(n);
        change_target(&c, "/env/create", "name", &t);
        mem_fail_nth(0);
        bool failed = t.text.failed != 0;
        text_release(&t.text);
        if (!failed)
            break;
        assert_true(n < 100);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_option_becomes_a_parameter),
        cmocka_unit_test(waiting_is_not_a_parameter_of_the_change),
        cmocka_unit_test(pairs_need_both_sides),
        cmocka_unit_test(names_are_names),
        cmocka_unit_test(durations_have_a_unit_and_bounds),
        cmocka_unit_test(options_that_contradict_are_refused),
        cmocka_unit_test(gives_back_everything_when_memory_is_out),
    };
    return unit_run(tests);
}
