#include "ctl/command.h"
#include "lib/base/str.h"
#include "lib/graph/hint.h"
#include <errno.h>

#define BIT(o)    OPTION_BIT(OPT_##o)
#define REQUEST   (BIT(HOST) | BIT(PATH) | BIT(HEADER) | BIT(TRUSTED) | BIT(SUBJECT))
#define ANY_WORDS 1000000u
/* What an environment is made of, and what every change takes. */
#define SAYS   (BIT(SET) | BIT(USE) | BIT(REMOVE) | BIT(PUBLIC) | BIT(TOKEN))
#define CHANGE (BIT(JSON) | BIT(REASON) | BIT(WAIT) | BIT(TIMEOUT))

#define DONE                                                                                       \
    "0 done, or nothing to do; 2 refused, or with --wait: proxies are behind; 3 there is no such " \
    "environment"
#define DECISION                                                                                   \
    "0 a provider; 2 refused; 3 refused because there is no such environment or service"

static const struct command commands[] = {
    {"resolve", "ENVIRONMENT SERVICE", "Which provider a service has in an environment, and why.",
        DECISION "; with --batch: 0 every line was answered", 0, 2, BIT(JSON) | BIT(NOW) | BIT(AT),
        BIT(BATCH), offline_resolve, live_resolve},
    {"explain", "[--host HOST] [--path PATH] [-H 'NAME: VALUE']...",
        "What happens to a whole request: its environment, its route, its provider.", DECISION, 0,
        0, REQUEST | BIT(JSON) | BIT(NOW) | BIT(AT), BIT(GATEWAY), offline_explain, live_explain},
    {"env list", "", "All environments.", "0", 0, 0, BIT(JSON) | BIT(AT), BIT(NOW),
        offline_env_list, live_env_list},
    {"env show", "NAME", "One environment: its lineage, and what it says about services.",
        "0; 3 there is no such environment", 1, 1, BIT(JSON) | BIT(AT), BIT(NOW), offline_env_show,
        live_env_show},
    {"env tree", "", "All environments below their first parent.", "0", 0, 0, BIT(JSON) | BIT(AT),
        BIT(NOW), offline_env_tree, live_env_tree},
    {"env create", "NAME", "Make an environment: no file is edited.", DONE, 1, 1,
        SAYS | CHANGE | BIT(WHILE_HELD) | BIT(PARENT) | BIT(FOR) | BIT(STRICT) | BIT(OWNER), 0,
        NULL, live_env_create},
    {"env set", "NAME", "Change what an environment made by command says.", DONE, 1, 1,
        SAYS | CHANGE | BIT(WHILE_HELD) | BIT(DROP), 0, NULL, live_env_set},
    {"env extend", "NAME --for DURATION", "Let an environment made by command live longer.", DONE,
        1, 1, CHANGE | BIT(WHILE_HELD) | BIT(FOR), 0, NULL, live_env_extend},
    {"env delete", "NAME", "Take away an environment made by command.", DONE, 1, 1,
        CHANGE | BIT(WHILE_HELD), 0, NULL, live_env_delete},
    {"graph check", "PATH...", "Whether graph files are valid, and every fault with its place.",
        "0 valid; 2 not valid", 0, ANY_WORDS, BIT(JSON), 0, graph_check_command, NULL},
    {"graph diff", "BEFORE AFTER",
        "What differs between two graphs: files or folders, or --from and --to of an agent.",
        "0 nothing; 2 changes", 0, 2, BIT(JSON) | BIT(FROM) | BIT(TO), 0, graph_diff_command,
        live_graph_diff},
    {"graph root", "PATH...",
        "The content hash of a graph: the same for any order of files, documents and keys.",
        "0; 1 not valid, with the findings", 0, ANY_WORDS, BIT(JSON), 0, graph_root_command, NULL},
    {"graph log", "", "Epochs of an agent, newest first: who changed what, and why.", "0", 0, 0,
        BIT(JSON) | BIT(LIMIT), 0, NULL, live_graph_log},
    {"graph rollback", "EPOCH", "Make the graph that of an earlier epoch, and hold it there.",
        "0 done; 2 refused, or with --wait: proxies are behind; 3 the epoch is not kept", 1, 1,
        CHANGE, 0, NULL, live_graph_rollback},
    {"graph resume", "", "End the hold of a rollback: files and changes count again.",
        "0 done, or not held; 2 refused, or with --wait: proxies are behind", 0, 0, CHANGE, 0, NULL,
        live_graph_resume},
    {"proxies", "", "Which proxy has which epoch.", "0; with --behind: 2 some are behind", 0, 0,
        BIT(JSON) | BIT(BEHIND), 0, NULL, live_proxies},
    {"proxy adopt", "HISTORY", "Make a proxy take the graph of another history.", "0; 2 refused", 1,
        1, BIT(JSON), 0, NULL, live_proxy_adopt},
    {"proxy endpoint", "drain|disable|enable ADDRESS",
        "Take an endpoint out of a proxy's choice, or let it in again.", "0 done, or it was so", 2,
        2, BIT(JSON) | BIT(REASON), 0, NULL, live_proxy_endpoint},
    {"proxy drain", "", "Make a proxy accept nothing more and end when all is done.", "0", 0, 0,
        BIT(JSON), 0, NULL, live_drain},
    {"proxy upgrade", "[BINARY]",
        "Make the program at BINARY take over from a proxy: no request is lost.",
        "0 done; 1 it came to nothing: the old one goes on; 2 refused", 0, 1, BIT(JSON), 0, NULL,
        live_proxy_upgrade},
    {"providers", "", "Endpoints that a proxy uses: state, connections, requests, health.", "0", 0,
        0, BIT(JSON), 0, NULL, live_providers},
    {"token issue", "ENVIRONMENT --for DURATION --keys FILE",
        "Make an edge token: what lets people and CI into an environment.", "0", 1, 1,
        BIT(JSON) | BIT(NOW) | BIT(FOR) | BIT(KEYS) | BIT(TRUST_DOMAIN) | BIT(EXPLAIN) | BIT(URL) |
            BIT(PARAM) | COMMAND_ALONE,
        0, token_issue_command, NULL},
    {"token show", "TOKEN", "What a token says, and whether its signature is good.",
        "0 valid; 2 not, or not verified", 1, 1,
        BIT(JSON) | BIT(NOW) | BIT(KEYS) | BIT(TRUST_DOMAIN) | COMMAND_ALONE, 0, token_show_command,
        NULL},
    {"status", "", "What a proxy serves, since when, and whether its files are valid.", "0", 0, 0,
        BIT(JSON), 0, NULL, live_status},
    {"check", "", "Findings of a proxy's last reading of its graph files.",
        "0 valid; 2 not valid: the last good graph is served", 0, 0, BIT(JSON), 0, NULL,
        live_check},
    {"trace", "TRACE-ID", "Hop records of a request that asked to be explained.",
        "0; 3 nothing is known of it", 1, 1, BIT(JSON), 0, NULL, live_trace},
    {"top", "", "Who gets how much, how fast, and what fails: a screen that refreshes.", "0", 0, 0,
        BIT(JSON) | BIT(ONCE) | BIT(INTERVAL) | BIT(LIMIT), 0, NULL, live_top},
    {"requests", "--live", "What a proxy is doing: each request, its state, and since when.", "0",
        0, 0,
        BIT(JSON) | BIT(LIVE) | BIT(ENV) | BIT(SERVICE) | BIT(STATE) | BIT(OLDER) | BIT(LIMIT), 0,
        NULL, live_requests},
    {"connections", "", "Connections of clients, and to providers.", "0", 0, 0,
        BIT(JSON) | BIT(SIDE) | BIT(STATE) | BIT(OLDER) | BIT(LIMIT), 0, NULL, live_connections},
    {"log", "", "The access log of a proxy as it is made, until interrupted.", "0", 0, 0,
        BIT(JSON) | BIT(WHEN) | BIT(FORMAT), 0, NULL, live_log},
    {"metrics", "", "All counters as Prometheus text.", "0", 0, 0, 0, 0, NULL, live_metrics},
    {"counters", "", "Counters that are not zero; with --json all.", "0", 0, 0, BIT(JSON), 0, NULL,
        live_counters},
    {"config", "", "The configuration in effect.", "0", 0, 0, 0, 0, NULL, live_config},
    {"reload", "", "Make a proxy read its graph files again.",
        "0; 2 they are not valid: the last good graph stays active", 0, 0, BIT(JSON), 0, NULL,
        live_reload},
    {"drain", "", "Make a proxy accept nothing more and end when all is done.", "0", 0, 0,
        BIT(JSON), 0, NULL, live_drain},
    {"log-level", "LEVEL", "How much a proxy logs: error, warn, info or debug.", "0", 1, 1,
        BIT(JSON), 0, NULL, live_log_level},
};

const struct command *command_at(size_t i)
{
    const size_t n = sizeof(commands) / sizeof(commands[0]);
    if (i < n)
        return &commands[i];
    return shadow_commands[i - n].name ? &shadow_commands[i - n] : NULL;
}

/* The first word of a name of two; empty for a name of one. */
static struct str group_of(const struct command *c)
{
    struct str name = str_c(c->name);
    size_t space = str_find(name, ' ');
    return space < name.n ? str_of(name.p, space) : str_of(NULL, 0);
}

static struct str last_word(const struct command *c)
{
    struct str name = str_c(c->name);
    size_t space = str_find(name, ' ');
    return space < name.n ? str_from(name, space + 1) : name;
}

bool command_is_group(const char *word)
{
    const struct command *c;
    for (size_t i = 0; (c = command_at(i)); i++)
        if (group_of(c).n && str_eq(group_of(c), str_c(word)))
            return true;
    return false;
}

bool command_takes_paths(const struct command *c)
{
    return c->offline && str_eq(group_of(c), STR("graph"));
}

bool command_line_is_gate(int argc, char **argv)
{
    const struct command *c;
    for (size_t i = 0; (c = command_at(i)); i++) {
        int at = 1;
        if (!command_is_gate(c))
            continue;
        while (at < argc && !str_eq(str_c(argv[at]), group_of(c)))
            at++;
        for (; at < argc; at++)
            if (str_eq(str_c(argv[at]), last_word(c)))
                return true;
    }
    return false;
}

bool command_repeats(const struct command *c, enum option o)
{
    return (o != OPT_PATH && o != OPT_SERVICE) || (c->options & BIT(BASELINE));
}

int status_exit(enum status s, bool gate)
{
    if (gate && s == STATUS_ERROR)
        return 4;
    return s == STATUS_FAIL ? 1 : (int)s;
}

static int unknown_command(const char *word, struct err *e)
{
    struct hint h = hint_for(str_c(word));
    const struct command *c;
    for (size_t i = 0; (c = command_at(i)); i++) {
        struct str group = group_of(c);
        hint_offer(&h, group.n ? group : str_c(c->name));
    }
    if (h.best.n)
        return err_set(e, -EINVAL, "unknown command '%.*s', did you mean '%.*s'?",
            STR_ARG(shown(str_c(word))), STR_ARG(h.best));
    return err_set(e, -EINVAL, "unknown command '%.*s': see --help", STR_ARG(shown(str_c(word))));
}

static int unknown_in_group(const char *group, const char *word, struct err *e)
{
    struct hint h = hint_for(str_c(word));
    const struct command *c;
    for (size_t i = 0; (c = command_at(i)); i++)
        if (str_eq(group_of(c), str_c(group)))
            hint_offer(&h, last_word(c));
    if (!word)
        return err_set(e, -EINVAL, "'%s' wants one word more: see %s --help", group, group);
    if (h.best.n)
        return err_set(e, -EINVAL, "unknown command '%s %.*s', did you mean '%s %.*s'?", group,
            STR_ARG(shown(str_c(word))), group, STR_ARG(h.best));
    return err_set(e, -EINVAL, "unknown command '%s %.*s': see %s --help", group,
        STR_ARG(shown(str_c(word))), group);
}

const struct command *command_find(const struct values *words, size_t *ret_nwords, struct err *e)
{
    bool is_group = command_is_group(words->item[0]);
    const char *second = is_group && words->n > 1 ? words->item[1] : NULL;
    const struct command *c;
    for (size_t i = 0; (c = command_at(i)); i++) {
        if (is_group ? second && str_eq(group_of(c), str_c(words->item[0])) &&
                           str_eq(last_word(c), str_c(second))
                     : str_eq(str_c(c->name), str_c(words->item[0]))) {
            *ret_nwords = is_group ? 2 : 1;
            return c;
        }
    }
    if (is_group)
        unknown_in_group(words->item[0], second, e);
    else
        unknown_command(words->item[0], e);
    return NULL;
}
