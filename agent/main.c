#include "agent/control.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/graph/keyring.h"
#include "lib/net/sock.h"
#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <unistd.h>

#define KEPT_FREED (8u << 20) /* bytes: more than comparing two bodies of common size takes */
#define FILES_KEPT 256u       /* descriptors for graph files, the log and the admin socket */

static void usage(void)
{
    struct text t = {0};
    text_add(&t,
        STR("Usage: offshoot-agent [-c FILE] --graph PATH --listen ADDRESS --state DIR [FLAG]...\n"
            "\nHolds the environment graph, keeps its history, and moves every proxy to the newest "
            "epoch.\n\n"
            "  -c, --config FILE    read the configuration file (YAML); a flag wins over it\n"
            "  --check-config       read configuration and graph, say what is wrong, exit\n"
            "  --print-config       print every key with its value, exit\n"
            "  --help, --version\n\n"));
    conf_help(settings_keys, settings_keys_count, &t);
    text_add(&t, STR("\nSIGHUP reads the graph files and the certificates again, SIGTERM ends.\n"));
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

/* The files alone: environments made by command are in the state folder, which an agent may have
 * locked. */
static int check(const struct settings *set, struct err *e)
{
    struct keyring *keys = set->keys ? keyring_read(set->keys, set->trust_domain, e) : NULL;
    if (set->keys && !keys)
        return -EINVAL;
    keyring_unref(keys);
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
    if (s)
        snapshot_unref(s);
    graphsrc_free(g);
    return rc;
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

static int serve(const struct settings *set, const struct conf *conf, struct err *e)
{
    static struct control c; /* large, one a process */
    int rc = control_init(&c, set, conf, e);
    if (rc == 0) {
        say_ready(&c);
        control_run(&c);
        log_info("stopped");
    }
    control_release(&c);
    return rc;
}

/* Connections may not take every descriptor: a graph file that cannot be opened looks invalid. */
static void spare_descriptors(struct settings *set)
{
    unsigned long files = sock_raise_fd_limit();
    unsigned long most = files - (files / 2 < FILES_KEPT ? files / 2 : FILES_KEPT);
    if (files == 0 || set->limit_connections <= most)
        return;
    log_warn("the limit of open files is %lu: at most %lu connections, not the %u of "
             "limits.connections",
        files, most, set->limit_connections);
    set->limit_connections = (uint32_t)most;
}

static int act(enum conf_action action, struct settings *set, struct conf *conf, struct err *e)
{
    int rc = settings_finish(set, conf, e);
    if (rc != 0)
        return rc;
    if (action == CONF_PRINT) {
        print_config(conf);
        return 0;
    }
    rc = settings_needed(set, e);
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
    spare_descriptors(set);
    return serve(set, conf, e);
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
        printf("offshoot-agent %s\n", OFFSHOOT_VERSION);
        return 0;
    }
    return act(action, set, conf, e);
}

int main(int argc, char **argv)
{
    struct settings set = {0};
    struct err e = {0};
    mem_keep_freed(KEPT_FREED);
    log_init("offshoot-agent");
    struct conf *conf = conf_new(settings_keys, settings_keys_count, &set, &e);
    int rc = conf ? run(argc, argv, &set, conf, &e) : -EINVAL;
    if (rc != 0)
        fprintf(stderr, "offshoot-agent: %s\n", e.text);
    settings_release(&set);
    conf_free(conf);
    libevent_global_shutdown();
    size_t live = mem_live();
    if (live) {
        fprintf(stderr, "offshoot-agent: %zu blocks of memory were not given back\n", live);
        return 70;
    }
    return rc == 0 ? 0 : 1;
}
