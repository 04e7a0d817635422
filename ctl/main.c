/* offshootctl: args_parse → command_find → where to look → the command's function → exit status.
 *
 * A command prints its answer; what went wrong comes back in struct err and is printed here. */
#include "ctl/conf.h"
#include "ctl/help.h"
#include "ctl/output.h"
#include "lib/base/mem.h"
#include <errno.h>
#include <stdlib.h>

static enum status fail(struct err *e, const char *text)
{
    err_set(e, -EINVAL, "%s", text);
    return STATUS_ERROR;
}

static enum status help(const struct args *a, struct err *e)
{
    struct text t = {0};
    size_t n;
    if (a->words.n == 0) {
        help_program(&t);
    } else if (a->words.n == 1 && command_is_group(a->words.item[0])) {
        help_group(&t, a->words.item[0]);
    } else {
        const struct command *c = command_find(&a->words, &n, e);
        if (!c)
            return STATUS_ERROR;
        help_command(&t, c);
    }
    return out_plain(&t, STATUS_YES, e);
}

/* ---- what a command takes ---- */

static int check_options(const struct command *c, const struct call *call, struct err *e)
{
    option_set always = OPTION_BIT(OPT_CONFIG);
    bool files = c->offline && !command_is_alone(c);
    option_set offline = files ? OPTION_BIT(OPT_GRAPH) | c->offline_options : 0;
    option_set live = c->live ? OPTION_BIT(OPT_SOCKET) : 0;
    for (size_t i = 0; i < OPT_COUNT; i++) {
        option_set bit = OPTION_BIT(i);
        if (!(call->args->given & bit))
            continue;
        if (!(bit & (always | offline | live | c->options)))
            return err_set(
                e, -EINVAL, "'%s' does not take --%s: see --help", c->name, options[i].flag);
        if (!command_repeats(c, (enum option)i) &&
            args_list((struct args *)(uintptr_t)call->args, (enum option)i)->n > 1)
            return err_set(e, -EINVAL, "option --%s is given twice", options[i].flag);
        if (call->socket && (bit & c->offline_options))
            return err_set(e, -EINVAL, "--%s is for graph files: say --graph PATH, not --socket",
                options[i].flag);
        if (!call->socket && c->offline && (bit & LIVE_OPTIONS))
            return err_set(e, -EINVAL,
                "--%s is for a running program: say --socket PATH, not files", options[i].flag);
    }
    return 0;
}

static int check_words(const struct command *c, const struct call *call, struct err *e)
{
    if (call->nwords < c->min_words)
        return err_set(e, -EINVAL, "want %s %s", c->name, c->takes);
    if (call->nwords > c->max_words)
        return err_set(e, -EINVAL, "'%s' does not know what to do with '%s'", c->name,
            call->words[c->max_words]);
    return 0;
}

/* ---- where to look ---- */

/* A flag wins over the variable, that over the file; a socket over files where both are said. */
static int choose(const struct command *c, struct call *call, const struct ctl_conf *conf,
    const char *socket, struct err *e)
{
    const struct args *a = call->args;
    bool files = a->graph.n || (command_takes_paths(c) && call->nwords);
    if (args_have(a, OPT_GRAPH) && args_have(a, OPT_SOCKET))
        return err_set(e, -EINVAL, "--graph and --socket together: ask files or a proxy");
    if (c->live && files && args_have(a, OPT_SOCKET))
        return err_set(e, -EINVAL, "files and --socket together: ask files or an agent");
    if (!socket)
        socket = conf->socket;
    if (c->live && socket && !files)
        call->socket = socket;
    else if (c->offline)
        call->graph = a->graph.n ? a->graph : (struct values){conf->graph.item, conf->graph.n};
    return 0;
}

static int need_place(const struct command *c, const struct call *call, struct err *e)
{
    if (call->graph.n || call->socket || command_is_alone(c))
        return 0;
    if (!c->offline)
        return err_set(e, -EINVAL,
            "which proxy or agent? say --socket PATH, or set OFFSHOOT_ADMIN to the path of its "
            "admin socket");
    if (command_takes_paths(c))
        return err_set(e, -EINVAL, "want %s %s: each a file or a folder", c->name, c->takes);
    return err_set(e, -EINVAL,
        "which graph? say --graph PATH for files, or --socket PATH for a running proxy or "
        "agent");
}

/* The commands on files as such take paths as words, too. */
static int join_paths(const struct command *c, struct call *call, const char **room)
{
    size_t n = 0;
    if (!command_takes_paths(c) || !call->nwords)
        return 0;
    for (size_t i = 0; i < call->args->graph.n; i++)
        room[n++] = call->args->graph.item[i];
    for (size_t i = 0; i < call->nwords; i++)
        room[n++] = call->words[i];
    call->graph = (struct values){room, n};
    return 0;
}

static enum status run_command(
    const struct args *a, const struct ctl_conf *conf, const char *socket, struct err *e)
{
    struct call call = {.args = a, .json = args_have(a, OPT_JSON)};
    size_t nname;
    const struct command *c = command_find(&a->words, &nname, e);
    if (!c)
        return STATUS_ERROR;
    call.words = a->words.item + nname;
    call.nwords = a->words.n - nname;
    const char **room = mem_array(a->words.n + a->graph.n, sizeof(*room));
    if (!room)
        return fail(e, "out of memory");
    enum status s = STATUS_ERROR;
    if (choose(c, &call, conf, socket, e) == 0 && check_words(c, &call, e) == 0 &&
        check_options(c, &call, e) == 0 && join_paths(c, &call, room) == 0 &&
        need_place(c, &call, e) == 0)
        s = (call.socket ? c->live : c->offline)(&call, e);
    mem_free(room);
    return s;
}

static enum status print_config(
    struct ctl_conf *conf, const struct args *a, const char *socket, struct err *e)
{
    struct text t = {0};
    if (ctl_conf_override(conf, a, socket, e))
        return STATUS_ERROR;
    conf_print(conf->conf, true, &t);
    return out_plain(&t, STATUS_YES, e);
}

static enum status with_config(const struct args *a, struct ctl_conf *conf, struct err *e)
{
    const char *socket = args_have(a, OPT_SOCKET) ? a->value[OPT_SOCKET] : getenv("OFFSHOOT_ADMIN");
    if (socket && !*socket)
        socket = NULL; /* an empty variable is an unset one */
    if (ctl_conf_init(conf, a, e))
        return STATUS_ERROR;
    if (args_have(a, OPT_PRINT_CONFIG))
        return print_config(conf, a, socket, e);
    if (args_have(a, OPT_CHECK_CONFIG)) {
        puts("ok");
        return STATUS_YES;
    }
    if (a->words.n == 0)
        return fail(e, "no command: see --help");
    return run_command(a, conf, socket, e);
}

static enum status run(const struct args *a, struct err *e)
{
    struct ctl_conf conf;
    if (args_have(a, OPT_HELP))
        return help(a, e);
    if (args_have(a, OPT_VERSION)) {
        printf("offshootctl %s\n", OFFSHOOT_VERSION);
        return STATUS_YES;
    }
    enum status s = with_config(a, &conf, e);
    ctl_conf_release(&conf);
    return s;
}

static bool asks_gate(const struct args *a)
{
    struct err none = {0};
    size_t n;
    const struct command *c = a->words.n ? command_find(&a->words, &n, &none) : NULL;
    return c && command_is_gate(c);
}

int main(int argc, char **argv)
{
    struct args args;
    struct err e = {0};
    int rc = args_parse(&args, argc, argv, &e);
    bool gate = rc ? command_line_is_gate(argc, argv) : asks_gate(&args);
    enum status s = rc ? STATUS_ERROR : run(&args, &e);
    args_release(&args);
    if (e.code)
        out_error(&e);
    rc = out_flush();
    if (rc) {
        err_set(&e, rc, "cannot write the answer: %s", strerror(-rc));
        out_error(&e);
        s = STATUS_ERROR;
    }
    if (mem_live()) {
        fprintf(stderr, "offshootctl: %zu blocks of memory were not given back\n", mem_live());
        return 70;
    }
    return status_exit(s, gate);
}
