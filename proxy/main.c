#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/graph/keyring.h"
#include "lib/net/sock.h"
#include "proxy/announce.h"
#include "proxy/control.h"
#include "proxy/inherit.h"
#include "proxy/tls.h"
#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void usage(void)
{
    struct text t = {0};
    text_add(&t,
        STR("Usage: offshoot-proxy [-c FILE] --graph PATH | --agent ADDRESS --listen ADDRESS "
            "[FLAG]...\n\n"
            "Routes each request to the provider that its environment and service resolve to.\n\n"
            "  -c, --config FILE    read the configuration file (YAML); a flag wins over it\n"
            "  --check-config       read configuration and graph, say what is wrong, exit\n"
            "  --print-config       print every key with its value, exit\n"
            "  --help, --version\n\n"));
    conf_help(settings_keys, settings_keys_count, &t);
    text_add(
        &t, STR("\nSIGTERM drains, SIGHUP reads graph, keys and certificates and opens the access "
                "log again,\nSIGUSR2 starts the program anew in its place without losing a "
                "request.\n"));
    fputs(t.p ? t.p : "", stdout);
    text_release(&t);
}

static void print_config(const struct conf *c)
{
    struct text t = {0};
    conf_print(c, true, &t);
    fputs(t.p ? t.p : "", stdout);
    text_release(&t);
}

/* With an agent there is no graph to judge. */
static int check(const struct settings *set, struct err *e)
{
    struct keyring *keys = set->keys ? keyring_read(set->keys, set->trust_domain, e) : NULL;
    if (set->keys && !keys)
        return -EINVAL;
    keyring_unref(keys);
    if (tls_check(set, e) != 0)
        return -EINVAL;
    if (set->agent)
        return 0;
    struct graphsrc_options o = settings_graph(set);
    struct graphsrc *g = graphsrc_new(&o, e);
    if (!g)
        return -ENOMEM;
    struct snapshot *s = NULL;
    int rc = graphsrc_load(g, &set->endpoint_rules, NULL, 1, &s, NULL);
    struct text t = {0};
    graphsrc_findings(g, false, &t);
    fputs(t.p ? t.p : "", stderr);
    text_release(&t);
    if (rc != 0)
        err_set(e, rc, "the graph is not valid");
    else if (!settings_gateway(set, s, e))
        rc = -EINVAL;
    if (s)
        snapshot_unref(s);
    graphsrc_free(g);
    return rc;
}

static int needed(const struct settings *set, struct err *e)
{
    if (set->graph.n == 0 && !set->agent)
        return err_set(e, -EINVAL,
            "no graph: say where it is with --graph PATH, or who feeds this proxy with --agent "
            "ADDRESS");
    if (set->graph.n && set->agent)
        return err_set(e, -EINVAL,
            "--graph and --agent exclude each other: the graph comes from files or from an agent");
    if (set->listen.n == 0)
        return err_set(e, -EINVAL, "nowhere to listen: say --listen ADDRESS");
    for (size_t i = 0; i < set->listen.n; i++) {
        struct listen_spec spec;
        if (listen_parse(set->listen.item[i], &spec, e) != 0)
            return e->code;
    }
    return 0;
}

/* One line on standard output, for whoever started us: the addresses that serve. */
static void say_ready(const struct control *c)
{
    char at[ADDR_TEXT_MAX];
    printf("ready listen=");
    for (size_t i = 0; i < c->nbound; i++) {
        addr_format(&c->bound[i], at);
        printf("%s%s", i ? "," : "", at);
    }
    if (c->set->admin)
        printf(" admin=%s", c->set->admin);
    if (c->metrics_text)
        printf(" metrics=%s", c->metrics_text);
    printf("\n");
    fflush(stdout);
}

static int serve(
    const struct settings *set, const struct conf *conf, char *const *argv, struct err *e)
{
    static struct control c; /* large, one a process */
    struct descent from = {.argv = argv};
    int rc = inherit_take(&from.inherit, set->timeout_upgrade, e);
    if (rc != 0)
        return rc;
    rc = control_init(&c, set, conf, &from, e);
    if (rc == -ECANCELED && c.draining) {
        log_info("stopped before a graph came");
        rc = 0;
    } else if (rc == 0) {
        if (c.generation == 0)
            announce_ready(set->pid_file); /* who reads `ready` finds the pid file */
        say_ready(&c);
        control_run(&c);
        announce_gone(set->pid_file);
        log_info("stopped");
    }
    control_release(&c);
    return rc;
}

static int run(int argc, char **argv, struct settings *set, struct conf *conf, struct err *e)
{
    enum conf_action action;
    const char **rest = mem_array((size_t)argc + 1, sizeof *rest);
    size_t nrest = 0;
    if (!rest)
        return err_set(e, -ENOMEM, "out of memory");
    int rc = conf_args(conf, argc, argv, &action, rest, &nrest, e);
    if (rc == 0 && nrest)
        rc = err_set(e, -EINVAL, "do not know what to do with '%s'", rest[0]);
    mem_free((void *)rest);
    if (rc != 0)
        return rc;
    if (action == CONF_HELP) {
        usage();
        return 0;
    }
    if (action == CONF_VERSION) {
        printf("offshoot-proxy %s\n", OFFSHOOT_VERSION);
        return 0;
    }
    rc = settings_finish(set, conf, e);
    if (rc != 0)
        return rc;
    if (action == CONF_PRINT) {
        print_config(conf);
        return 0;
    }
    rc = needed(set, e);
    if (rc != 0)
        return rc;
    log_set_level((enum log_level)set->log_level);
    log_to(STDERR_FILENO, set->log_format == LOG_FORMAT_JSON);
    if (action == CONF_CHECK) {
        rc = check(set, e);
        if (rc == 0)
            printf("ok\n");
        return rc;
    }
    sock_raise_fd_limit();
    return serve(set, conf, argv, e);
}

int main(int argc, char **argv)
{
    struct settings set = {0};
    struct err e = {0};
    log_init("offshoot-proxy");
    signal(SIGUSR2, SIG_IGN); /* until there is something to upgrade */
    struct conf *conf = conf_new(settings_keys, settings_keys_count, &set, &e);
    int rc = conf ? run(argc, argv, &set, conf, &e) : -EINVAL;
    if (rc != 0)
        fprintf(stderr, "offshoot-proxy: %s\n", e.text);
    settings_release(&set);
    conf_free(conf);
    libevent_global_shutdown();
    size_t live = mem_live();
    if (live) {
        fprintf(stderr, "offshoot-proxy: %zu blocks of memory were not given back\n", live);
        return 70;
    }
    return rc == 0 ? 0 : 1;
}
