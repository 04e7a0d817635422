/* What the commands that change an agent's graph have in common:
 *
 *   check the options → POST → with --wait: GET /wait until every proxy is on the new epoch → tell
 */
#ifndef OFFSHOOT_CTL_CHANGE_H
#define OFFSHOOT_CTL_CHANGE_H

#include "ctl/object.h"

/* Whether the values of options can be meant: forms and bounds. 0, or -EINVAL with e. */
int change_check(const struct call *c, struct err *e);
/* The path with all options as parameters; `word` names the parameter that takes the command's
 * word (NULL: it has none). */
void change_target(const struct call *c, const char *path, const char *word, struct target *t);

/* Appends the first line without its end: what the answer says is done. */
typedef void change_fn(const struct call *c, const json_t *answer, struct text *t);
/* Sends it (and releases the target), waits where that is asked for, and prints. */
enum status change_run(
    const struct call *c, struct target *t, change_fn *first_line, struct err *e);

#endif
