/* The reference pages say what the tables say. Run with UPDATE=1 in the environment to write them
 * anew after a change of a table; run from the root of the project. */
#include "proxy/settings.h"
#include "proxy/stats.h"
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
        STR("# Configuration of offshoot-proxy\n\nMade from the table in `proxy/settings.c`. "
            "A file is one YAML mapping, nested or with dotted keys, read with `-c FILE`. A flag "
            "wins over the file.\n`offshoot-proxy --print-config` prints every key with its value "
            "in effect; `--check-config` judges configuration and graph without serving.\n"
            "Durations: `250ms` `15s` `5m` `4h` `7d`. Sizes: `4096` `64k` `16MiB` `1GiB` (powers "
            "of "
            "1024).\n\n"));
    conf_markdown(settings_keys, settings_keys_count, &t);
    compare("docs/configuration.md", &t);
}

static void counters_page_is_what_the_table_says(void **state)
{
    struct text t = {0};
    const struct counter_desc *table = stats_table();
    (void)state;
    assert_non_null(table);
    text_add(
        &t, STR("# Counters of offshoot-proxy\n\nMade from the table in `proxy/stats.c`. Served as "
                "Prometheus text at `/metrics` (admin socket, and `--metrics ADDRESS`); "
                "`offshootctl counters` lists those that are not zero.\n\n"));
    counters_markdown(&t, table, STAT_COUNT);
    text_add(&t,
        STR("\nBesides, from `proxy/usage.c`: `offshoot_environment_requests_total{environment=}` "
            "and `offshoot_service_requests_total{service=}`, forwarded requests of the busiest "
            "(`limits.busiest`) of each; the rest together is `other`.\n"));
    counters_table_free(table);
    compare("docs/counters.md", &t);
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
    assert_int_equal(conf_set(c, "listen", "127.0.0.1:8080", &e), 0);
    assert_int_equal(conf_set(c, "listen", "127.0.0.1:8081,trusted", &e), 0);
    assert_int_equal(conf_set(c, "admin", "/tmp/offshoot-proxy.sock", &e), 0);
    text_add(&t,
        STR("# Every key of offshoot-proxy, with its default. Runs as it is, from the root of the\n"
            "# project: offshoot-proxy -c conf/proxy.yaml\n\n"));
    conf_print(c, true, &t);
    conf_free(c);
    compare("conf/proxy.yaml", &t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(configuration_page_is_what_the_table_says),
        cmocka_unit_test(counters_page_is_what_the_table_says),
        cmocka_unit_test(example_configuration_has_every_key),
    };
    return unit_run(tests);
}
