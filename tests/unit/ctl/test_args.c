#include "ctl/args.h"
#include "tests/unit/unit.h"
#include <errno.h>

#define COUNT(a) (sizeof(a) / sizeof(*(a)))

/* Parses the words, which do not include the program's name. */
static int parse(struct args *a, const char *const *words, size_t n, struct err *e)
{
    static char program[] = "offshootctl";
    char *argv[16] = {program};
    assert_true(n < COUNT(argv) - 1);
    for (size_t i = 0; i < n; i++)
        argv[i + 1] = (char *)(uintptr_t)words[i];
    return args_parse(a, (int)n + 1, argv, e);
}

#define PARSE(a, e, ...)                                                                           \
    parse((a), (const char *const[]){__VA_ARGS__}, COUNT(((const char *const[]){__VA_ARGS__})), (e))

static void assert_refused(const char *const *words, size_t n, const char *why)
{
    struct args a;
    struct err e = {0};
    assert_int_equal(parse(&a, words, n, &e), -EINVAL);
    assert_string_equal(e.text, why);
    args_release(&a);
}

#define REFUSED(why, ...)                                                                          \
    assert_refused(                                                                                \
        (const char *const[]){__VA_ARGS__}, COUNT(((const char *const[]){__VA_ARGS__})), (why))

static void takes_options_before_and_after_the_words(void **state)
{
    (void)state;
    struct args a;
    struct err e = {0};
    assert_int_equal(
        PARSE(&a, &e, "--graph", "x.yaml", "resolve", "--json", "main", "--graph=y", "cart"), 0);
    assert_int_equal(a.words.n, 3);
    assert_string_equal(a.words.item[0], "resolve");
    assert_string_equal(a.words.item[1], "main");
    assert_string_equal(a.words.item[2], "cart");
    assert_int_equal(a.graph.n, 2);
    assert_string_equal(a.graph.item[0], "x.yaml");
    assert_string_equal(a.graph.item[1], "y");
    assert_true(args_have(&a, OPT_JSON));
    assert_false(args_have(&a, OPT_BATCH));
    args_release(&a);
}

static void takes_letters_as_options(void **state)
{
    (void)state;
    struct args a;
    struct err e = {0};
    assert_int_equal(PARSE(&a, &e, "-H", "a: b", "--header", "c: d", "-c", "file", "-h"), 0);
    assert_int_equal(a.header.n, 2);
    assert_string_equal(a.header.item[1], "c: d");
    assert_string_equal(a.value[OPT_CONFIG], "file");
    assert_true(args_have(&a, OPT_HELP));
    args_release(&a);
}

static void two_dashes_end_the_options(void **state)
{
    (void)state;
    struct args a;
    struct err e = {0};
    assert_int_equal(PARSE(&a, &e, "--json", "--", "--graph", "-", "--"), 0);
    assert_int_equal(a.graph.n, 0);
    assert_int_equal(a.words.n, 3);
    assert_string_equal(a.words.item[0], "--graph");
    assert_string_equal(a.words.item[2], "--");
    args_release(&a);
}

static void an_option_takes_the_next_word_whatever_it_is(void **state)
{
    (void)state;
    struct args a;
    struct err e = {0};
    assert_int_equal(PARSE(&a, &e, "--host", "--json", "--path="), 0);
    assert_string_equal(a.value[OPT_HOST], "--json");
    assert_string_equal(a.value[OPT_PATH], "");
    assert_false(args_have(&a, OPT_JSON));
    args_release(&a);
}

static void options_with_a_list_keep_every_value_in_order(void **state)
{
    (void)state;
    struct args a;
    struct err e = {0};
    assert_int_equal(PARSE(&a, &e, "--set", "cart=a:1", "--use=pricing=main", "--set", "promo=b:2",
                         "env", "--remove", "x", "--drop", "y", "--parent", "main"),
        0);
    assert_int_equal(a.set.n, 2);
    assert_string_equal(a.set.item[0], "cart=a:1");
    assert_string_equal(a.set.item[1], "promo=b:2");
    assert_int_equal(a.use.n, 1);
    assert_string_equal(a.use.item[0], "pricing=main");
    assert_string_equal(a.remove.item[0], "x");
    assert_string_equal(a.drop.item[0], "y");
    assert_string_equal(a.parent.item[0], "main");
    assert_string_equal(a.words.item[0], "env");
    assert_int_equal(a.graph.n + a.header.n, 0);
    args_release(&a);
}

static void every_list_has_room_for_every_word(void **state)
{
    (void)state;
    for (size_t o = 0; o < OPT_COUNT; o++) {
        struct args a;
        struct err e = {0};
        char flag[32];
        snprintf(flag, sizeof(flag), "--%s=v", options[o].flag);
        bool repeats = args_list(&a, (enum option)o) != NULL;
        int rc = PARSE(&a, &e, flag, flag, flag);
        assert_int_equal(rc, repeats ? 0 : -EINVAL);
        if (repeats)
            assert_int_equal(args_list(&a, (enum option)o)->n, 3);
        args_release(&a);
    }
}

static void the_last_option_has_a_bit_of_its_own(void **state)
{
    (void)state;
    struct args a;
    struct err e = {0};
    assert_int_equal(PARSE(&a, &e, "--version"), 0);
    for (size_t o = 0; o < OPT_COUNT; o++)
        assert_int_equal(args_have(&a, (enum option)o), o == OPT_VERSION);
    args_release(&a);
}

static void refuses_what_it_does_not_know(void **state)
{
    (void)state;
    REFUSED("unknown option '--grph', did you mean '--graph'?", "--grph", "x");
    REFUSED("unknown option '--grph', did you mean '--graph'?", "--grph=x");
    REFUSED("unknown option '--everything'", "--everything");
    REFUSED("unknown option '-x'", "-x");
    REFUSED("unknown option '-Hx'", "-Hx");
}

static void refuses_values_that_lack_or_are_too_many(void **state)
{
    (void)state;
    REFUSED("option --graph needs a value: PATH", "resolve", "--graph");
    REFUSED("option --header needs a value: 'NAME: VALUE'", "-H");
    REFUSED("option --json takes no value", "--json=yes");
    REFUSED("option --now is given twice", "--now", "a", "--now", "a");
    REFUSED("option --for is given twice", "--for", "4h", "--for=5h");
    REFUSED("option --set needs a value: SERVICE=ADDRESS", "env", "create", "a", "--set");
    REFUSED("option --wait takes no value", "--wait=30s");
}

static void gives_back_everything_when_memory_is_out(void **state)
{
    (void)state;
    struct args a;
    struct err e = {0};
    mem_fail_nth(1);
    assert_int_equal(PARSE(&a, &e, "status"), -ENOMEM);
    mem_fail_nth(0);
    args_release(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_options_before_and_after_the_words),
        cmocka_unit_test(takes_letters_as_options),
        cmocka_unit_test(two_dashes_end_the_options),
        cmocka_unit_test(an_option_takes_the_next_word_whatever_it_is),
        cmocka_unit_test(options_with_a_list_keep_every_value_in_order),
        cmocka_unit_test(every_list_has_room_for_every_word),
        cmocka_unit_test(the_last_option_has_a_bit_of_its_own),
        cmocka_unit_test(refuses_what_it_does_not_know),
        cmocka_unit_test(refuses_values_that_lack_or_are_too_many),
        cmocka_unit_test(gives_back_everything_when_memory_is_out),
    };
    return unit_run(tests);
}
