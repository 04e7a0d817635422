#include "lib/base/conf.h"

#include "lib/base/mem.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct settings {
    const char *state;
    const char *admin;
    uint32_t workers;
    bool access_log;
    uint64_t head_ms, idle_ms;
    uint64_t body_bytes;
    uint32_t format;
    struct conf_list graph, listen;
};

static const struct conf_key keys[] = {
    {"state", "state", "DIR", CONF_TEXT, offsetof(struct settings, state), "/var/lib/offshoot", 0,
        0, NULL, "Folder of what must survive a restart."},
    {"admin.socket", "admin", "PATH", CONF_TEXT, offsetof(struct settings, admin), NULL, 0, 0, NULL,
        "Unix socket of the admin server."},
    {"workers", "workers", "N", CONF_U32, offsetof(struct settings, workers), "2", 1, 64, NULL,
        "Worker threads."},
    {"log.access", "access-log", NULL, CONF_BOOL, offsetof(struct settings, access_log), NULL, 0, 0,
        NULL, "Whether requests are logged."},
    {"timeouts.head", NULL, NULL, CONF_MS, offsetof(struct settings, head_ms), "15s", 1, 60000,
        NULL, "Time for a whole head."},
    {"timeouts.idle", NULL, NULL, CONF_MS, offsetof(struct settings, idle_ms), NULL, 1000, 0, NULL,
        "Time a connection may idle."},
    {"limits.body", NULL, NULL, CONF_BYTES, offsetof(struct settings, body_bytes), "64KiB", 1024,
        1048576, NULL, "Bytes of a body kept in memory."},
    {"log.format", "log-format", "WORD", CONF_CHOICE, offsetof(struct settings, format), "json", 0,
        0, "text|json|none", "Form of the log."},
    {"graph", "graph", "PATH", CONF_LIST, offsetof(struct settings, graph), NULL, 0, 0, NULL,
        "Graph files."},
    {"listen", "listen", "ADDRESS", CONF_LIST, offsetof(struct settings, listen), "127.0.0.1:80", 0,
        0, NULL, "Listeners."},
};
#define NKEYS (sizeof(keys) / sizeof(keys[0]))

struct fixture {
    struct settings s;
    struct conf *c;
    struct err e;
};

static struct fixture *fresh(void)
{
    static struct fixture f;
    memset(&f, 0, sizeof(f));
    f.c = conf_new(keys, NKEYS, &f.s, &f.e);
    assert_non_null(f.c);
    return &f;
}

/* Reads the text, which is fine. */
static struct fixture *read_good(const char *yaml)
{
    struct fixture *f = fresh();
    int rc = conf_read(f->c, "c.yaml", str_c(yaml), &f->e);
    if (rc)
        fail_msg("refused: %s", f->e.text);
    return f;
}

static void refuses_bytes(struct str yaml, const char *text)
{
    struct fixture *f = fresh();
    assert_int_equal(conf_read(f->c, "c.yaml", yaml, &f->e), -EINVAL);
    assert_string_equal(f->e.text, text);
    conf_free(f->c);
}

static void refuses(const char *yaml, const char *text)
{
    refuses_bytes(str_c(yaml), text);
}

static void defaults_fill_the_settings(void **state)
{
    (void)state;
    struct fixture *f = fresh();
    assert_string_equal(f->s.state, "/var/lib/offshoot");
    assert_null(f->s.admin);
    assert_int_equal(f->s.workers, 2);
    assert_false(f->s.access_log);
    assert_int_equal(f->s.head_ms, 15000);
    assert_int_equal(f->s.idle_ms, 0);
    assert_int_equal(f->s.body_bytes, 65536);
    assert_int_equal(f->s.format, 1);
    assert_int_equal(f->s.graph.n, 0);
    assert_int_equal(f->s.listen.n, 1);
    assert_string_equal(f->s.listen.item[0], "127.0.0.1:80");
    assert_string_equal(conf_origin(f->c, "workers"), "default");
    conf_free(f->c);
}

static void reads_nested_and_dotted_keys(void **state)
{
    (void)state;
    struct fixture *f = read_good("# comment\n"
                                  "state: /tmp/x\n"
                                  "timeouts:\n"
                                  "  head: 250ms\n"
                                  "timeouts.idle: 1m\n"
                                  "log: {access: true, format: none}\n"
                                  "limits.body: 1MiB\n"
                                  "admin:\n"
                                  "  socket: \"a b\\u00e9\"\n"
                                  "graph: one.yaml\n"
                                  "listen:\n"
                                  "- 127.0.0.1:1\n"
                                  "- '[::1]:2,trusted'\n");
    assert_string_equal(f->s.state, "/tmp/x");
    assert_int_equal(f->s.head_ms, 250);
    assert_int_equal(f->s.idle_ms, 60000);
    assert_true(f->s.access_log);
    assert_int_equal(f->s.format, 2);
    assert_int_equal(f->s.body_bytes, 1048576);
    assert_string_equal(f->s.admin, "a b\xc3\xa9");
    assert_int_equal(f->s.graph.n, 1);
    assert_string_equal(f->s.graph.item[0], "one.yaml");
    assert_int_equal(f->s.listen.n, 2);
    assert_string_equal(f->s.listen.item[1], "[::1]:2,trusted");
    assert_string_equal(conf_origin(f->c, "timeouts.head"), "c.yaml:4:9");
    assert_string_equal(conf_origin(f->c, "listen"), "c.yaml:12:1");
    assert_string_equal(conf_origin(f->c, "workers"), "default");
    conf_free(f->c);
}

static void an_empty_file_changes_nothing(void **state)
{
    (void)state;
    static const char *const empty[] = {"", "# only a comment\n", "---\n", "---\n...\n", "{}",
        "\xef\xbb\xbf# after a byte-order mark\n"};
    for (size_t i = 0; i < sizeof(empty) / sizeof(empty[0]); i++) {
        struct fixture *f = read_good(empty[i]);
        assert_int_equal(f->s.workers, 2);
        conf_free(f->c);
    }
}

static void names_the_nearest_key(void **state)
{
    (void)state;
    refuses("wokers: 3", "c.yaml:1:1: unknown key 'wokers', did you mean 'workers'?");
    refuses("timeouts:\n  haed: 1s\n",
        "c.yaml:2:3: unknown key 'timeouts.haed', did you mean 'timeouts.head'?");
    refuses(
        "timeout:\n  head: 1s\n", "c.yaml:1:1: unknown key 'timeout', did you mean 'timeouts'?");
    refuses("colour: red", "c.yaml:1:1: unknown key 'colour'");
    refuses("a: 1", "c.yaml:1:1: unknown key 'a'");
}

static void refuses_values_of_the_wrong_kind(void **state)
{
    (void)state;
    refuses("workers: many", "c.yaml:1:10: key 'workers' expects a whole number, 1 to 64, not "
                             "'many'");
    refuses("log.access: yes", "c.yaml:1:13: key 'log.access' expects true or false, not 'yes'");
    refuses("log:\n  format: xml\n",
        "c.yaml:2:11: key 'log.format' expects text, json or none, not 'xml'");
    refuses("log.format: tex", "c.yaml:1:13: key 'log.format' expects text, json or none, not "
                               "'tex'");
    refuses("log.format: ''", "c.yaml:1:13: key 'log.format' expects text, json or none, not ''");
    refuses("timeouts.idle: 5",
        "c.yaml:1:16: key 'timeouts.idle' expects a duration (250ms, 15s, 5m, 4h, 7d), at least "
        "1s, not '5'");
    refuses("limits.body: 1 KiB", "c.yaml:1:14: key 'limits.body' expects a size (4096, 64KiB, "
                                  "16MiB, 1GiB), 1KiB to 1MiB, not '1 KiB'");
    refuses("workers: {a: 1}", "c.yaml:1:10: key 'workers' expects a value, not a mapping");
    refuses("workers: [1]", "c.yaml:1:10: key 'workers' expects one value, not a list");
    refuses("timeouts: 5s", "c.yaml:1:11: key 'timeouts' expects a mapping");
    refuses("timeouts:\n", "c.yaml:1:10: key 'timeouts' expects a mapping");
    refuses("graph: [[a]]", "c.yaml:1:9: key 'graph' expects texts in its list");
    refuses("graph:\n- a\n-\n", "c.yaml:3:2: key 'graph' has an item without a value");
    refuses("state:\n", "c.yaml:1:7: key 'state' has no value");
    refuses("state: \"a\\0b\"", "c.yaml:1:8: key 'state' holds a NUL character");
}

static void numbers_may_touch_their_bounds(void **state)
{
    (void)state;
    conf_free(read_good("workers: 1")->c);
    conf_free(read_good("workers: 64")->c);
    refuses("workers: 0", "c.yaml:1:10: key 'workers' expects a whole number, 1 to 64, not '0'");
    refuses("workers: 65", "c.yaml:1:10: key 'workers' expects a whole number, 1 to 64, not '65'");
    conf_free(read_good("timeouts.head: 60s")->c);
    struct fixture *f = fresh();
    assert_int_equal(conf_read(f->c, "c.yaml", STR("timeouts.head: 60001ms"), &f->e), -EINVAL);
    assert_int_equal(f->s.head_ms, 15000);
    assert_string_equal(conf_origin(f->c, "timeouts.head"), "default");
    conf_free(f->c);
    conf_free(read_good("limits.body: 1024")->c);
    f = fresh();
    assert_int_equal(conf_read(f->c, "c.yaml", STR("limits.body: 1023"), &f->e), -EINVAL);
    conf_free(f->c);
    conf_free(read_good("timeouts.idle: 3650d")->c); /* max 0: no upper bound */
}

static void refuses_what_makes_yaml_surprising(void **state)
{
    (void)state;
    refuses("state: &x /tmp", "c.yaml:1:8: anchor '&x' is not allowed");
    refuses("state: *x", "c.yaml:1:8: alias '*x' is not allowed");
    refuses("state: !!str /tmp", "c.yaml:1:8: tag 'tag:yaml.org,2002:str' is not allowed");
    refuses("graph: !x [a]", "c.yaml:1:8: tag '!x' is not allowed");
    refuses("log: !x {}", "c.yaml:1:6: tag '!x' is not allowed");
    refuses("%TAG ! tag:x,2000:\n---\nworkers: 1\n", "c.yaml:1:1: a tag directive is not allowed");
    refuses("[a]: 1", "c.yaml:1:1: a key must be a text");
    refuses("? {a: b}\n: 1", "c.yaml:1:3: a key must be a text");
    refuses("<<: {workers: 2}", "c.yaml:1:1: unknown key '<<'");
    refuses("- a", "c.yaml:1:1: a configuration is one mapping of keys");
    refuses("text", "c.yaml:1:1: a configuration is one mapping of keys");
    refuses("workers: 1\n---\nworkers: 2\n",
        "c.yaml:2:1: a configuration is one document, here is a second one");
}

static void refuses_duplicate_keys_however_written(void **state)
{
    (void)state;
    refuses("workers: 1\nworkers: 1\n", "c.yaml:2:1: duplicate key 'workers'");
    refuses("log: {format: json}\nlog.format: json\n", "c.yaml:2:1: duplicate key 'log.format'");
    refuses("log: {format: json, format: text}", "c.yaml:1:21: duplicate key 'log.format'");
    refuses("log: {format: json}\nlog: {access: true}\n", "c.yaml:2:1: duplicate key 'log'");
}

static void refuses_bytes_that_are_no_text(void **state)
{
    (void)state;
    refuses_bytes(STR("workers: 1\nstate: a\xff"
                      "b"),
        "c.yaml:2:9: not valid UTF-8");
    refuses_bytes(STR("state: \xc3\xa9\0"), "c.yaml:1:9: a NUL character is not allowed");
    refuses_bytes(STR("\xef\xbb\xbf\xef\xbb\xbf"), "c.yaml:1:1: a second byte-order mark is not "
                                                   "allowed");
    refuses_bytes(STR("workers: 1\n\xef\xbb\xbfstate: x\n"),
        "c.yaml:2:1: a second byte-order mark is not allowed");
    refuses_bytes(
        STR("workers: 1\nstate: \x01"), "c.yaml:2:8: yaml: control characters are not allowed");
    refuses("state: \"open", "c.yaml:1:13: yaml: found unexpected end of stream while scanning a "
                             "quoted scalar");
    refuses("\tstate: x", "c.yaml:1:1: yaml: found character that cannot start any token while "
                          "scanning for the next token");
}

static void a_file_has_a_largest_size(void **state)
{
    (void)state;
    size_t max = 1u << 20;
    char *big = malloc(max + 1);
    assert_non_null(big);
    memset(big, '\n', max + 1);
    memcpy(big, "workers: 3", 10);
    struct fixture *f = fresh();
    assert_int_equal(conf_read(f->c, "c.yaml", str_of(big, max), &f->e), 0);
    assert_int_equal(f->s.workers, 3);
    conf_free(f->c);
    refuses_bytes(str_of(big, max + 1), "c.yaml:1:1: larger than 1048576 bytes");
    free(big);
}

static void a_second_file_wins_over_the_first(void **state)
{
    (void)state;
    struct fixture *f = read_good("workers: 3\ngraph: [a, b]\n");
    assert_int_equal(conf_read(f->c, "d.yaml", STR("workers: 4\ngraph: c\n"), &f->e), 0);
    assert_int_equal(f->s.workers, 4);
    assert_int_equal(f->s.graph.n, 1);
    assert_string_equal(f->s.graph.item[0], "c");
    assert_string_equal(conf_origin(f->c, "graph"), "d.yaml:2:8");
    conf_free(f->c);
}

static void a_value_set_by_flag_wins_over_a_later_file(void **state)
{
    (void)state;
    struct fixture *f = fresh();
    assert_int_equal(conf_set(f->c, "workers", "7", &f->e), 0);
    assert_int_equal(conf_read(f->c, "c.yaml", STR("workers: 3"), &f->e), 0);
    assert_int_equal(f->s.workers, 7);
    assert_string_equal(conf_origin(f->c, "workers"), "flag --workers");
    conf_free(f->c);
}

static void set_names_key_or_flag_when_it_refuses(void **state)
{
    (void)state;
    struct fixture *f = fresh();
    assert_int_equal(conf_set(f->c, "wrokers", "7", &f->e), -EINVAL);
    assert_string_equal(f->e.text, "unknown key 'wrokers', did you mean 'workers'?");
    assert_int_equal(conf_set(f->c, "zebra", "7", &f->e), -EINVAL);
    assert_string_equal(f->e.text, "unknown key 'zebra'");
    assert_int_equal(conf_set(f->c, "workers", "-7", &f->e), -EINVAL);
    assert_string_equal(f->e.text, "flag --workers: expects a whole number, 1 to 64, not '-7'");
    assert_int_equal(conf_set(f->c, "limits.body", "x", &f->e), -EINVAL);
    assert_string_equal(f->e.text, "key limits.body: expects a size (4096, 64KiB, 16MiB, 1GiB), "
                                   "1KiB to 1MiB, not 'x'");
    assert_int_equal(conf_set(f->c, "state", "\xff", &f->e), -EINVAL);
    assert_string_equal(f->e.text, "flag --state: is not valid UTF-8");
    conf_free(f->c);
}

/* ---- flags ---------------------------------------------------------------------------------- */

#define ARGC(argv) ((int)(sizeof(argv) / sizeof(argv[0])))

static int args(struct fixture *f, int argc, const char *const *argv, enum conf_action *action,
    const char **rest, size_t *nrest)
{
    char *copy[16];
    assert_true(argc <= 16);
    for (int i = 0; i < argc; i++)
        copy[i] = (char *)argv[i];
    return conf_args(f->c, argc, copy, action, rest, nrest, &f->e);
}

static void flags_take_values_in_either_form(void **state)
{
    (void)state;
    static const char *const argv[] = {"prog", "--workers=5", "one", "--state", "-x",
        "--access-log", "--graph", "a", "two", "--graph=b=c", "-", "--", "--three"};
    struct fixture *f = fresh();
    enum conf_action action = CONF_CHECK;
    const char *rest[16];
    size_t nrest = 99;
    assert_int_equal(args(f, ARGC(argv), argv, &action, rest, &nrest), 0);
    assert_int_equal(action, CONF_RUN);
    assert_int_equal(f->s.workers, 5);
    assert_string_equal(f->s.state, "-x");
    assert_true(f->s.access_log);
    assert_int_equal(f->s.graph.n, 2);
    assert_string_equal(f->s.graph.item[0], "a");
    assert_string_equal(f->s.graph.item[1], "b=c");
    assert_int_equal(nrest, 4);
    assert_string_equal(rest[0], "one");
    assert_string_equal(rest[1], "two");
    assert_string_equal(rest[2], "-");
    assert_string_equal(rest[3], "--three");
    conf_free(f->c);
}

static void a_bool_flag_can_say_false(void **state)
{
    (void)state;
    static const char *const argv[] = {"prog", "--access-log=false", "word"};
    struct fixture *f = read_good("log.access: true");
    enum conf_action action;
    const char *rest[16];
    size_t nrest;
    assert_int_equal(args(f, ARGC(argv), argv, &action, rest, &nrest), 0);
    assert_false(f->s.access_log);
    assert_int_equal(nrest, 1);
    conf_free(f->c);
}

static void write_file(char *path, const char *text)
{
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

static void files_are_read_first_wherever_they_stand(void **state)
{
    (void)state;
    char one[] = "/tmp/offshoot-conf-XXXXXX", two[] = "/tmp/offshoot-conf-XXXXXX";
    write_file(one, "workers: 9\nlisten: [a, b]\n");
    write_file(two, "state: /two\n");
    const char *argv[] = {"prog", "--workers", "5", "--listen", "c", "-c", one, "--listen", "d",
        "--config", two, "--print-config"};
    struct fixture *f = fresh();
    enum conf_action action;
    const char *rest[16];
    size_t nrest;
    assert_int_equal(args(f, ARGC(argv), argv, &action, rest, &nrest), 0);
    assert_int_equal(action, CONF_PRINT);
    assert_int_equal(f->s.workers, 5);
    assert_string_equal(f->s.state, "/two");
    assert_int_equal(f->s.listen.n, 2); /* the flag replaced what the file said */
    assert_string_equal(f->s.listen.item[0], "c");
    assert_string_equal(f->s.listen.item[1], "d");
    assert_string_equal(conf_origin(f->c, "listen"), "flag --listen");
    char origin[64];
    snprintf(origin, sizeof(origin), "%s:1:8", two);
    assert_string_equal(conf_origin(f->c, "state"), origin);
    conf_free(f->c);
    unlink(one);
    unlink(two);
}

static void args_fail(const char *const *argv, int argc, const char *text)
{
    struct fixture *f = fresh();
    enum conf_action action = CONF_CHECK;
    const char *rest[16];
    size_t nrest = 99;
    assert_true(args(f, argc, argv, &action, rest, &nrest) < 0);
    assert_string_equal(f->e.text, text);
    assert_int_equal(action, CONF_CHECK);
    assert_int_equal(nrest, 99);
    conf_free(f->c);
}

static void wrong_flags_are_named_with_the_nearest(void **state)
{
    (void)state;
    static const struct {
        const char *argv[3];
        int argc;
        const char *text;
    } cases[] = {
        {{"p", "--worker", "5"}, 3, "unknown flag '--worker', did you mean '--workers'?"},
        {{"p", "--hlep"}, 2, "unknown flag '--hlep', did you mean '--help'?"},
        {{"p", "--zebra=1"}, 2, "unknown flag '--zebra'"},
        {{"p", "-x"}, 2, "unknown flag '-x'"},
        {{"p", "-workers"}, 2, "unknown flag '-workers'"},
        {{"p", "--workers"}, 2, "flag --workers needs a value: N"},
        {{"p", "-c"}, 2, "flag -c needs a value: FILE"},
        {{"p", "--help=me"}, 2, "flag --help takes no value"},
        {{"p", "--access-log=maybe"}, 2, "flag --access-log: expects true or false, not 'maybe'"},
        {{"p", "-c", "/nonexistent/c.yaml"}, 3,
            "/nonexistent/c.yaml: cannot read the configuration: No such file or directory"},
        {{"p", "-c", "/"}, 3, "/: cannot read the configuration: Is a directory"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        args_fail(cases[i].argv, cases[i].argc, cases[i].text);
}

static void help_and_version_need_no_readable_file(void **state)
{
    (void)state;
    static const char *const help[] = {"p", "-c", "/nonexistent", "--help", "--check-config"};
    static const char *const version[] = {"p", "--check-config", "--version", "--help"};
    struct fixture *f = fresh();
    enum conf_action action;
    const char *rest[16];
    size_t nrest;
    assert_int_equal(args(f, ARGC(help), help, &action, rest, &nrest), 0);
    assert_int_equal(action, CONF_HELP);
    assert_int_equal(args(f, ARGC(version), version, &action, rest, &nrest), 0);
    assert_int_equal(action, CONF_VERSION);
    conf_free(f->c);
}

/* ---- printing ------------------------------------------------------------------------------- */

static void printed_defaults_can_be_read_back(void **state)
{
    (void)state;
    struct fixture *f = fresh();
    struct text defaults = {0}, effective = {0};
    conf_print(f->c, false, &defaults);
    conf_print(f->c, true, &effective);
    assert_string_equal(defaults.p, effective.p);
    assert_non_null(strstr(defaults.p, "# Worker threads.\n# Takes a whole number, 1 to 64.\n"
                                       "workers: 2\n"));
    assert_non_null(strstr(defaults.p, "\n#admin.socket:\n"));
    assert_non_null(strstr(defaults.p, "\ngraph: []\n"));
    if (conf_read(f->c, "printed", str_of(defaults.p, defaults.n), &f->e))
        fail_msg("%s", f->e.text);
    struct settings before = f->s;
    conf_free(f->c);
    f = fresh();
    assert_int_equal(before.head_ms, f->s.head_ms);
    conf_free(f->c);
    text_release(&defaults);
    text_release(&effective);
}

static void printed_values_can_be_read_back(void **state)
{
    (void)state;
    struct fixture *f = read_good("state: \"q\\\" \\\\ \\n # x\\u0085\\ufeff\\x7f\"\n"
                                  "workers: 12\nlog.access: true\nlog.format: text\n"
                                  "timeouts: {head: 1500ms, idle: 2h}\nlimits.body: 1025\n"
                                  "graph: ['a: b', '- c']\nlisten: []\n");
    struct text first = {0}, second = {0};
    conf_print(f->c, true, &first);
    conf_free(f->c);
    f = read_good(first.p);
    assert_string_equal(f->s.state, "q\" \\ \n # x\xc2\x85\xef\xbb\xbf\x7f");
    assert_int_equal(f->s.head_ms, 1500);
    assert_int_equal(f->s.idle_ms, 7200000);
    assert_int_equal(f->s.body_bytes, 1025);
    assert_int_equal(f->s.format, 0);
    assert_int_equal(f->s.graph.n, 2);
    assert_string_equal(f->s.graph.item[1], "- c");
    assert_int_equal(f->s.listen.n, 0);
    conf_print(f->c, true, &second);
    assert_string_equal(first.p, second.p);
    conf_free(f->c);
    text_release(&first);
    text_release(&second);
}

static void help_lists_every_flag(void **state)
{
    (void)state;
    struct text t = {0};
    conf_help(keys, NKEYS, &t);
    assert_non_null(strstr(t.p, "  --workers N                 Worker threads. [2]\n"));
    assert_non_null(strstr(t.p, "  --access-log                Whether requests are logged.\n"));
    assert_non_null(strstr(t.p, "  --config FILE  "));
    assert_non_null(strstr(t.p, "  --help  "));
    assert_null(strstr(t.p, "timeouts"));
    text_release(&t);
}

static void markdown_has_one_row_a_key(void **state)
{
    (void)state;
    struct text t = {0};
    conf_markdown(keys, NKEYS, &t);
    assert_non_null(strstr(t.p, "\n| `workers` | `--workers N` | a whole number, 1 to 64 | `2` | "
                                "Worker threads. |\n"));
    assert_non_null(strstr(t.p, "\n| `admin.socket` | `--admin PATH` | a text | | "
                                "Unix socket of the admin server. |\n"));
    assert_non_null(strstr(t.p, "\n| `timeouts.idle` | | a duration (250ms, 15s, 5m, 4h, 7d), "
                                "at least 1s | | Time a connection may idle. |\n"));
    text_release(&t);
}

/* ---- the table and memory ------------------------------------------------------------------- */

static void refuses_table(const struct conf_key *table, size_t n, const char *text)
{
    struct settings s = {0};
    struct err e = {0};
    assert_null(conf_new(table, n, &s, &e));
    assert_string_equal(e.text, text);
}

static void a_wrong_table_is_found_at_once(void **state)
{
    (void)state;
    struct conf_key bad[2] = {keys[2], keys[4]};
    bad[0].fallback = "65";
    refuses_table(bad, 2, "default of key 'workers': expects a whole number, 1 to 64, not '65'");
    bad[0] = keys[4];
    refuses_table(bad, 2, "key 'timeouts.head' of the table is there twice");
    bad[0].name = "timeouts";
    refuses_table(bad, 2, "key 'timeouts' of the table is there twice");
    bad[0] = keys[2];
    bad[1].flag = "workers";
    refuses_table(bad, 2, "flag '--workers' of the table is there twice");
    bad[1].flag = "help";
    refuses_table(bad, 2, "flag '--help' of the table is every program's");
    bad[1] = keys[7];
    bad[1].choices = NULL;
    refuses_table(bad, 2, "key 'log.format' of the table has no choices");
    bad[0].max = UINT64_MAX;
    refuses_table(bad, 1, "key 'workers' of the table has too large a bound");
}

static void nearest_word_is_within_three_edits(void **state)
{
    (void)state;
    static const char *const words[] = {"status", "snapshot", "metrics"};
    assert_string_equal(conf_nearest("stauts", words, 3), "status");
    assert_string_equal(conf_nearest("snapXXXt", words, 3), "snapshot");
    assert_null(conf_nearest("snaXXXXt", words, 3));
    assert_null(conf_nearest("", words, 3));
    assert_null(conf_nearest("status", words, 0));
}

/* Everything once; 0 or -ENOMEM. */
static int whole_run(void)
{
    static const char yaml[] = "state: /x\ngraph: [a, b, c]\nlog: {format: text}\n";
    struct settings s = {0};
    struct err e = {0};
    struct text out = {0};
    struct conf *c = conf_new(keys, NKEYS, &s, &e);
    if (!c)
        return e.code;
    int rc = conf_read(c, "c.yaml", STR(yaml), &e);
    if (!rc)
        rc = conf_set(c, "graph", "d", &e);
    if (!rc)
        rc = conf_set(c, "graph", "e", &e);
    conf_print(c, true, &out);
    if (!rc)
        rc = out.failed;
    for (size_t i = 0; i < s.graph.n; i++)
        assert_true(strlen(s.graph.item[i]) == 1);
    conf_free(c);
    text_release(&out);
    return rc;
}

static void every_failed_allocation_is_survived(void **state)
{
    (void)state;
    mem_fail_nth(0);
    assert_int_equal(whole_run(), 0);
    unsigned long n = mem_count();
    assert_true(n > 20);
    for (unsigned long i = 1; i <= n; i++) {
        mem_fail_nth(i);
        assert_int_equal(whole_run(), -ENOMEM);
        mem_fail_nth(0);
        assert_int_equal(mem_live(), 0);
    }
}

static int nothing_lives(void **state)
{
    (void)state;
    return mem_live() == 0 ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_fill_the_settings),
        cmocka_unit_test(reads_nested_and_dotted_keys),
        cmocka_unit_test(an_empty_file_changes_nothing),
        cmocka_unit_test(names_the_nearest_key),
        cmocka_unit_test(refuses_values_of_the_wrong_kind),
        cmocka_unit_test(numbers_may_touch_their_bounds),
        cmocka_unit_test(refuses_what_makes_yaml_surprising),
        cmocka_unit_test(refuses_duplicate_keys_however_written),
        cmocka_unit_test(refuses_bytes_that_are_no_text),
        cmocka_unit_test(a_file_has_a_largest_size),
        cmocka_unit_test(a_second_file_wins_over_the_first),
        cmocka_unit_test(a_value_set_by_flag_wins_over_a_later_file),
        cmocka_unit_test(set_names_key_or_flag_when_it_refuses),
        cmocka_unit_test(flags_take_values_in_either_form),
        cmocka_unit_test(a_bool_flag_can_say_false),
        cmocka_unit_test(files_are_read_first_wherever_they_stand),
        cmocka_unit_test(wrong_flags_are_named_with_the_nearest),
        cmocka_unit_test(help_and_version_need_no_readable_file),
        cmocka_unit_test(printed_defaults_can_be_read_back),
        cmocka_unit_test(printed_values_can_be_read_back),
        cmocka_unit_test(help_lists_every_flag),
        cmocka_unit_test(markdown_has_one_row_a_key),
        cmocka_unit_test(a_wrong_table_is_found_at_once),
        cmocka_unit_test(nearest_word_is_within_three_edits),
        cmocka_unit_test(every_failed_allocation_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, nothing_lives);
}
