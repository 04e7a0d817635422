#include "ctl/help.h"
#include <stdio.h>

#define ALWAYS                                                                                     \
    (OPTION_BIT(OPT_CONFIG) | OPTION_BIT(OPT_CHECK_CONFIG) | OPTION_BIT(OPT_PRINT_CONFIG) |        \
        OPTION_BIT(OPT_HELP) | OPTION_BIT(OPT_VERSION))

static void option_line(struct text *out, const struct option_desc *o)
{
    char words[40];
    snprintf(words, sizeof(words), "--%s%s%s", o->flag, o->arg ? " " : "", o->arg ? o->arg : "");
    text_fmt(out, "  %-24s %s\n", words, o->help);
}

static void option_lines(struct text *out, option_set which)
{
    for (size_t i = 0; i < OPT_COUNT; i++)
        if (which & OPTION_BIT(i))
            option_line(out, &options[i]);
}

static void command_lines(struct text *out, const char *group)
{
    const struct command *c;
    for (size_t i = 0; (c = command_at(i)); i++) {
        size_t n = group ? strlen(group) : 0;
        if (n && (strncmp(c->name, group, n) != 0 || c->name[n] != ' '))
            continue;
        text_fmt(out, "  %-14s %s\n", c->name, c->help);
    }
}

void help_program(struct text *out)
{
    text_add(
        out, STR("Usage: offshootctl [OPTION]... COMMAND [WORD]...\n\n"
                 "Asks a graph of environments, in files (--graph) or in a running proxy or agent"
                 " (--socket).\n\n"
                 "Commands:\n"));
    command_lines(out, NULL);
    text_add(out, STR("\nOptions, before or after the command; COMMAND --help tells which others "
                      "it takes:\n"));
    option_lines(
        out, OPTION_BIT(OPT_GRAPH) | OPTION_BIT(OPT_SOCKET) | OPTION_BIT(OPT_JSON) | ALWAYS);
    text_add(out,
        STR("\nExit status: 0 yes, 1 error, 2 no (refused, not valid, changes), "
            "3 not found. Of verdicts: 0 pass, 1 fail, 2 inconclusive, 3 not found, 4 error.\n"));
}

void help_group(struct text *out, const char *word)
{
    text_fmt(out, "Usage: offshootctl %s COMMAND [OPTION]...\n\nCommands:\n", word);
    command_lines(out, word);
}

void help_command(struct text *out, const struct command *c)
{
    option_set where = (c->offline && !command_is_alone(c) ? OPTION_BIT(OPT_GRAPH) : 0) |
                       (c->live ? OPTION_BIT(OPT_SOCKET) : 0);
    text_fmt(
        out, "Usage: offshootctl %s%s%s [OPTION]...\n", c->name, *c->takes ? " " : "", c->takes);
    if (c->offline_options & OPTION_BIT(OPT_BATCH))
        text_fmt(out, "       offshootctl %s --batch [OPTION]... <LINES\n", c->name);
    text_fmt(out, "\n%s\n\n", c->help);
    option_set live = c->offline ? c->options & LIVE_OPTIONS : 0;
    option_lines(out, where | (c->options & ~live));
    if (c->offline_options && c->live)
        text_add(out, STR("\nWith --graph also:\n"));
    option_lines(out, c->offline_options);
    if (live)
        text_add(out, STR("\nWith --socket also:\n"));
    option_lines(out, live);
    text_fmt(out, "\nExit status: %s; %d error.\n", c->status,
        status_exit(STATUS_ERROR, command_is_gate(c)));
}
