/* The old process of a binary upgrade: starts the new one, hands everything over, drains.
 *
 * One at a time. Until the new process says that it serves, nothing has changed here: when it dies,
 * hangs or is refused, this process goes on as before and the error says why. From then on this
 * process accepts nothing and ends when its connections have. proxy/handover.h has the messages,
 * proxy/inherit.h is the other side. On the control thread. */
#ifndef OFFSHOOT_PROXY_UPGRADE_H
#define OFFSHOOT_PROXY_UPGRADE_H

#include "lib/base/counters.h"
#include "lib/base/err.h"
#include <stdbool.h>

struct admin_request;
struct control;
struct upgrade;

/* argv: of this process, borrowed for good; a relative argv[0] is made whole here, so call it
 * before the folder changes. NULL with e. */
struct upgrade *upgrade_new(struct control *c, char *const *argv, struct err *e);
/* Kills a new process that is not ready yet. */
void upgrade_free(struct upgrade *u);

/* binary NULL or "": the path that this process was started with. asker (may be NULL) is answered
 * when all is done, also with the failures of this call. */
void upgrade_start(struct upgrade *u, const char *binary, struct admin_request *asker);
/* A new process that is not ready yet is ended: this one was told to stop. */
void upgrade_abandon(struct upgrade *u, const char *why);
/* Another process serves in our place. */
bool upgrade_done(const struct upgrade *u);
/* Part of /status: `"upgrade":{...}` without a comma, or lines of text (none when there is nothing
 * to tell). */
void upgrade_status(const struct upgrade *u, bool json, struct text *out);

#endif
