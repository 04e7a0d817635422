/* The commands of offshootctl, described: dispatch, --help and what a command takes follow from
 * one table. */
#ifndef OFFSHOOT_CTL_COMMAND_H
#define OFFSHOOT_CTL_COMMAND_H

#include "ctl/args.h"
#include "lib/base/err.h"
#include <stddef.h>

/* Exit statuses. A command's function returns one; when it fills e, main prints that text. Of a
 * gate (COMMAND_GATE): FAIL exits with 1, and an error, which must not look like it, with 4. */
enum status { STATUS_YES, STATUS_ERROR, STATUS_NO, STATUS_NOT_FOUND, STATUS_FAIL };
int status_exit(enum status s, bool gate);

/* What a command is given: its words (without its name), options, and where to look. */
struct call {
    const struct args *args;
    struct values graph; /* offline: the paths, at least one */
    const char *socket;  /* live */
    const char **words;
    size_t nwords;
    bool json;
};
typedef enum status command_fn(const struct call *c, struct err *e);

struct command {
    const char *name;   /* one or two words */
    const char *takes;  /* words and options of its own, for the usage line */
    const char *help;   /* first line: what it is for */
    const char *status; /* what its exit statuses mean, beside 1 for an error */
    unsigned min_words, max_words;
    option_set options;         /* OPTION_BITs, with files and live */
    option_set offline_options; /* only with graph files */
    command_fn *offline;        /* NULL: needs a running proxy or agent */
    command_fn *live;           /* NULL: needs graph files */
};
/* Of `options`: those that only a running program understands. */
#define LIVE_OPTIONS (OPTION_BIT(OPT_AT) | OPTION_BIT(OPT_FROM) | OPTION_BIT(OPT_TO))
/* Beside the bits of `options`: `offline` needs no graph, but keys, saved replies, numbers. */
#define COMMAND_ALONE OPTION_BIT(127)
/* Beside them, too: a verdict for scripts. */
#define COMMAND_GATE OPTION_BIT(126)
_Static_assert(OPT_COUNT <= 126, "options, COMMAND_GATE and COMMAND_ALONE fit a bit set");

/* All commands, one after the other; NULL behind the last. */
const struct command *command_at(size_t i);
/* The rows of `shadow`, up to one without a name. */
extern const struct command shadow_commands[];

/* The command that the words begin with, and how many words its name has. NULL with e: unknown,
 * with the nearest one. */
const struct command *command_find(const struct values *words, size_t *ret_nwords, struct err *e);
/* Whether a word begins the name of commands that have two ("env"). */
bool command_is_group(const char *word);
/* Whether the words of the command are graph files ("graph check"). */
bool command_takes_paths(const struct command *c);

static inline bool command_is_alone(const struct command *c)
{
    return c->options & COMMAND_ALONE;
}

static inline bool command_is_gate(const struct command *c)
{
    return c->options & COMMAND_GATE;
}
/* Whether the words of a command line that is not understood speak of a gate. */
bool command_line_is_gate(int argc, char **argv);
/* --path and --service say one thing of a request, but list what a session is about. */
bool command_repeats(const struct command *c, enum option o);

/* The functions of the table. */
command_fn offline_resolve, offline_explain, offline_env_list, offline_env_show, offline_env_tree;
command_fn graph_check_command, graph_diff_command, graph_root_command;
command_fn token_issue_command, token_show_command;
command_fn shadow_evidence_command, shadow_compare_command, shadow_replay_command;
command_fn live_shadow_start, live_shadow_stop, live_shadow_restart, live_shadow_list,
    live_shadow_show, live_shadow_verdict, live_shadow_report;
command_fn live_resolve, live_explain, live_env_list, live_env_show, live_env_tree, live_status,
    live_check, live_trace, live_metrics, live_counters, live_config, live_reload, live_drain,
    live_log_level;
/* Those that ask an agent. */
command_fn live_env_create, live_env_set, live_env_extend, live_env_delete, live_graph_diff,
    live_graph_log, live_graph_rollback, live_graph_resume, live_proxies;
command_fn live_proxy_adopt, live_proxy_upgrade, live_providers, live_proxy_endpoint; /* a proxy */
command_fn live_connections, live_requests, live_log, live_top;

#endif
