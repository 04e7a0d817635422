/* What the files with the admin socket's routes share. Nobody else includes it. */
#ifndef OFFSHOOT_AGENT_ADMIN_INT_H
#define OFFSHOOT_AGENT_ADMIN_INT_H

#include "agent/control.h"
#include "lib/net/admingraph.h"

struct control *admin_control(void *arg); /* checks what it is */

/* ---- admin_epochs.c ---- */
void admin_graph_of(struct admin_request *r, void *arg);
void admin_epochs(struct admin_request *r, void *arg);
void admin_epoch(struct admin_request *r, void *arg);
void admin_diff(struct admin_request *r, void *arg);
/* One more reference; 0: the active one. NULL with e. */
struct snapshot *admin_snapshot(void *arg, uint64_t epoch, struct err *e);

/* ---- admin_change.c ---- */
void admin_create(struct admin_request *r, void *arg);
void admin_set(struct admin_request *r, void *arg);
void admin_extend(struct admin_request *r, void *arg);
void admin_delete(struct admin_request *r, void *arg);
void admin_rollback(struct admin_request *r, void *arg);
void admin_resume(struct admin_request *r, void *arg);
void admin_reload(struct admin_request *r, void *arg);

/* ---- admin_shadow.c ---- */
void admin_shadow_start(struct admin_request *r, void *arg);
void admin_shadow_stop(struct admin_request *r, void *arg);
void admin_shadow_restart(struct admin_request *r, void *arg);
void admin_sessions(struct admin_request *r, void *arg);
void admin_session(struct admin_request *r, void *arg);
void admin_verdicts(struct admin_request *r, void *arg);

/* ---- admin_wait.c ---- */
void admin_wait(struct admin_request *r, void *arg);
/* Answers whom the proxies have caught up with. */
void admin_wait_progress(struct control *c);
void admin_wait_end(struct control *c); /* answers all: the agent ends */

#endif
