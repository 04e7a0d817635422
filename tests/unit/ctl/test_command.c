#include "ctl/command.h"
#include "ctl/help.h"
#include "tests/unit/unit.h"

static const struct command *find(const char *a, const char *b, size_t *ret_n, struct err *e)
{
    const char *item[] = {a, b};
    struct values words = {item, b ? 2 : 1};
    return command_find(&words, ret_n, e);
}

static void assert_unknown(const char *a, const char *b, const char *why)
{
    struct err e = {0};
    size_t n;
    assert_null(find(a, b, &n, &e));
    assert_string_equal(e.text, why);
}

static void every_command_is_found_by_its_name(void **state)
{
    (void)state;
    const struct command *c;
    for (size_t i = 0; (c = command_at(i)); i++) {
        char name[32], *second;
        struct err e = {0};
        size_t n = 0;
        snprintf(name, sizeof(name), "%s", c->name);
        second = strchr(name, ' ');
        if (second)
            *second++ = '\0';
        assert_ptr_equal(find(name, second ? second : "main", &n, &e), c);
        assert_int_equal(n, second ? 2 : 1);
    }
}

static void every_command_can_run_somewhere_and_says_what_it_is_for(void **state)
{
    (void)state;
    const struct command *c;
    for (size_t i = 0; (c = command_at(i)); i++) {
        assert_true(c->offline || c->live);
        assert_true(c->help[0] && c->status[0] && c->min_words <= c->max_words);
        assert_true(c->offline || !c->offline_options);
        assert_false(c->options & c->offline_options);
    }
}

static void unknown_commands_name_the_nearest(void **state)
{
    (void)state;
    assert_unknown("rsolve", NULL, "unknown command 'rsolve', did you mean 'resolve'?");
    assert_unknown("grap", "check", "unknown command 'grap', did you mean 'graph'?");
    assert_unknown("env", "lsit", "unknown command 'env lsit', did you mean 'env list'?");
    assert_unknown("env", "extnd", "unknown command 'env extnd', did you mean 'env extend'?");
    assert_unknown("env", "attach", "unknown command 'env attach': see env --help");
    assert_unknown("proxis", NULL, "unknown command 'proxis', did you mean 'proxies'?");
    assert_unknown("zebra", NULL, "unknown command 'zebra': see --help");
    assert_unknown("graph", NULL, "'graph' wants one word more: see graph --help");
    assert_unknown("list", NULL, "unknown command 'list': see --help");
}

static void only_first_words_of_two_are_groups(void **state)
{
    (void)state;
    assert_true(command_is_group("env"));
    assert_true(command_is_group("graph"));
    assert_false(command_is_group("en"));
    assert_false(command_is_group("resolve"));
    assert_false(command_is_group(""));
}

static void paths_are_words_of_the_commands_on_whole_graphs(void **state)
{
    (void)state;
    struct err e = {0};
    size_t n;
    assert_true(command_takes_paths(find("graph", "check", &n, &e)));
    assert_true(command_takes_paths(find("graph", "diff", &n, &e)));
    assert_false(command_takes_paths(find("graph", "rollback", &n, &e)));
    assert_false(command_takes_paths(find("env", "show", &n, &e)));
    assert_false(command_takes_paths(find("resolve", NULL, &n, &e)));
}

static void help_names_every_command_and_every_option(void **state)
{
    (void)state;
    struct text program = {0}, all = {0};
    help_program(&program);
    const struct command *c;
    for (size_t i = 0; (c = command_at(i)); i++) {
        assert_non_null(strstr(program.p, c->name));
        help_command(&all, c);
    }
    for (size_t i = 0; i < OPT_COUNT; i++) {
        char flag[32];
        snprintf(flag, sizeof(flag), "  --%s ", options[i].flag);
        assert_true(strstr(program.p, flag) || strstr(all.p, flag));
    }
    text_release(&program);
    text_release(&all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_command_is_found_by_its_name),
        cmocka_unit_test(every_command_can_run_somewhere_and_says_what_it_is_for),
        cmocka_unit_test(unknown_commands_name_the_nearest),
        cmocka_unit_test(only_first_words_of_two_are_groups),
        cmocka_unit_test(paths_are_words_of_the_commands_on_whole_graphs),
        cmocka_unit_test(help_names_every_command_and_every_option),
    };
    return unit_run(tests);
}
