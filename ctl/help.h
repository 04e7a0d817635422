/* What --help prints, made from the tables of commands and options. */
#ifndef OFFSHOOT_CTL_HELP_H
#define OFFSHOOT_CTL_HELP_H

#include "ctl/command.h"
#include "lib/base/counters.h"

void help_program(struct text *out);
/* The commands whose name begins with a word. */
void help_group(struct text *out, const char *word);
void help_command(struct text *out, const struct command *c);

#endif
