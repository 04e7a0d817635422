/* What offshootctl prints: answers to standard output, findings and errors to standard error.
 *
 * Colours only where a terminal reads, and not with NO_COLOR or TERM=dumb. */
#ifndef OFFSHOOT_CTL_OUTPUT_H
#define OFFSHOOT_CTL_OUTPUT_H

#include "ctl/command.h"
#include "lib/base/counters.h"
#include <stdio.h>

/* Prints the text as it is and releases it. Gives `s`, or STATUS_ERROR with e when memory was out.
 */
enum status out_plain(struct text *t, enum status s, struct err *e);
/* The same; on a terminal the first line is coloured by the status. */
enum status out_answer(struct text *t, enum status s, struct err *e);
/* Findings as findings_text gives them; on a terminal "error" and "warning" are coloured. Does not
 * release. */
void out_findings(const struct text *t, FILE *to);
/* Everything written so far has arrived: 0, or the negative errno. */
int out_flush(void);
void out_error(const struct err *e);

#endif
