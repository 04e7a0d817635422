/* Routes of the admin socket that tell what is going on (admin_live.c). docs/observability.md is
 * the reference. */
#ifndef OFFSHOOT_PROXY_ADMIN_LIVE_H
#define OFFSHOOT_PROXY_ADMIN_LIVE_H

#include "lib/net/adminhttp.h"

struct control;

/* arg: struct control. */
void admin_connections(struct admin_request *r, void *arg);
void admin_requests(struct admin_request *r, void *arg);
/* [?limit=], admin_top.c */
void admin_top(struct admin_request *r, void *arg);
void admin_log(struct admin_request *r, void *arg);
/* Open questions at the end, after every worker and the mailboxes have ended. */
void live_release(struct control *c);

#endif
