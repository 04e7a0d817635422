/* The reference pages say what the tables say. Run with UPDATE=1 in the environment to write them
 * anew after a change of a table; run from the root of the project. */
#include "agent/settings.h"
#include "agent/stats.h"
#include "tests/unit/unit.h"
#include <stdlib.h>

static void compare(const char *path, struct text *want)
{
    assert_int_equal(want->failed, 0);
    if (getenv("UPDATE")) {
        FILE *f = fopen(path, "w");
        assert_non_null(f);
        assert_int_equal(fwrite(want->p, 1, want->n, f), want->n);
        assert_int_equal(fclose(f), 0);
    }
    FILE *f = fopen(path, "r");
    if (!f)
        fail_msg("cannot open %s: run this test from the root of the project", path);
    char *have = mem_zalloc(want->n + 2);
    assert_non_null(have);
    size_t n = fread(have, 1, want->n + 1, f);
    fclose(f);
    bool same = n == want->n && memcmp(have, want->p, n) == 0;
    mem_free(have);
    text_release(want);
    if (!same)
        fail_msg("%s is not what the table says: run with UPDATE=1", path);
}

static void configuration_page_is_what_the_table_says(void **state)
{
    struct text t = {0};
    (void)state;
    text_add(&t,
        STR("# Configuration of offshoot-agent\n\nMade from the table in `agent/settings.c`. "
            "A file is one YAML mapping, nested or with dotted keys, read with `-c FILE`. A flag "
            "wins over the file.\n`offshoot-agent --print-config` prints every key with its value "
            "in effect; `--check-config` judges configuration and graph files without serving.\n"
            "Durations: `250ms` `15s` `5m` `4h` `7d`. Sizes: `4096` `64k` `16MiB` `1GiB` (powers "
            "of 1024). What the agent is: [agent.md](agent.md).\n\n"));
    conf_markdown(settings_keys, settings_keys_count, &t);
    compare("docs/agent-configuration.md", &t);
}

static void counters_page_is_what_the_table_says(void **state)
{
    struct text t = {0};
    const struct counter_desc *table = stats_table();
    (void)state;
    assert_non_null(table);
    text_add(&t,
        STR("# Counters of offshoot-agent\n\nMade from the table in `agent/stats.c`. Served as "
            "Prometheus text at `/metrics` (admin socket, and `--metrics ADDRESS`); `/counters` "
            "lists those that are not zero.\n\n"));
    counters_markdown(&t, table, STAT_COUNT);
    counters_table_free(table);
    compare("docs/agent-counters.md", &t);
}

static void example_configuration_has_every_key(void **state)
{
    struct settings set = {0};
    struct err e = {0};
    struct text t = {0};
    (void)state;
    struct conf *c = conf_new(settings_keys, settings_keys_count, &set, &e);
    assert_non_null(c);
    assert_int_equal(conf_set(c, "graph", "conf/graph", &e), 0);
    assert_int_equal(conf_set(c, "listen", "127.0.0.1:7400", &e), 0);
    assert_int_equal(conf_set(c, "admin", "/tmp/offshoot-agent.sock", &e), 0);
    assert_int_equal(conf_set(c, "state", "/tmp/offshoot-agent", &e), 0);
    text_add(&t,
        STR("# Every key of offshoot-agent, with its default. Runs as it is, from the root of the\n"
            "# project: offshoot-agent -c conf/agent.yaml\n\n"));
    conf_print(c, true, &t);
    conf_free(c);
    compare("conf/agent.yaml", &t);
}

static void pattern_with_one_star_matches_a_name(void **state)
{
    (void)state;
    assert_true(name_matches("gw-1", "gw-1"));
    assert_false(name_matches("gw-1", "gw-10"));
    assert_true(name_matches("gw-*", "gw-"));
    assert_true(name_matches("gw-*", "gw-berlin-1"));
    assert_true(name_matches("*.mesh", "a.mesh"));
    assert_true(name_matches("a*b", "ab"));
    assert_false(name_matches("aa*aa", "aaa"));
    assert_true(name_matches("*", "anything"));
    assert_false(name_matches("gw-*", "edge-gw-1"));
}

static void listen_texts_are_judged(void **state)
{
    static const struct {
        const char *text;
        int rc;
        bool tls, insecure;
    } cases[] = {
        {"127.0.0.1:0", 0, false, false},
        {"[::1]:7400", 0, false, false},
        {"unix:/run/offshoot/agent.sock", 0, false, false},
        {"0.0.0.0:7400,tls", 0, true, false},
        {"10.0.0.1:7400,insecure", 0, false, true},
        {"10.0.0.1:7400", -22, false, false},
        {"0.0.0.0:7400", -22, false, false},
        {"10.0.0.1:7400,tls,insecure", -22, false, false},
        {"127.0.0.1:0,trusted", -22, false, false},
        {"localhost:7400", -22, false, false},
        {"127.0.0.1", -22, false, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct listen_spec l = {0};
        struct err e = {0};
        int rc = listen_parse(cases[i].text, &l, &e);
        if (rc != cases[i].rc || l.tls != cases[i].tls || l.insecure != cases[i].insecure)
            fail_msg("%s: %d %s", cases[i].text, rc, e.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(configuration_page_is_what_the_table_says),
        cmocka_unit_test(counters_page_is_what_the_table_says),
        cmocka_unit_test(example_configuration_has_every_key),
        cmocka_unit_test(pattern_with_one_star_matches_a_name),
        cmocka_unit_test(listen_texts_are_judged),
    };
    return unit_run(tests);
}
