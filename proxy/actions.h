/* What a route does to its requests, applied: docs/routes.md, lib/graph/actions.h.
 *
 * A route without actions costs the test of one pointer in each step that asks here. The actions
 * belong to the gateway of the snapshot that decided: they are read while the request holds it, at
 * the latest for the head of the reply, and what later steps need is copied. */
#ifndef OFFSHOOT_PROXY_ACTIONS_H
#define OFFSHOOT_PROXY_ACTIONS_H

#include "lib/graph/actions.h"
#include "proxy/out.h"
#include "proxy/request.h"

/* NULL: the route has none, or the snapshot was let go. */
static inline const struct route_actions *request_actions(const struct request *r)
{
    return r->answer.route.actions;
}

/* After the policy of the service was taken: time-outs, the cap of the body, request fields that
 * go. STEP_COUNT: goes on; else the refusal's step. */
enum step actions_begin(struct request *r);
/* The parts of the request's head that the route may change. */
void actions_put_path(const struct request *r, struct out *o);
void actions_put_request(const struct request *r, struct out *o);
/* Takes fields out of the reply's head and adds others, before anything judges or writes it: there
 * is room for ACTION_HEADERS_MAX more than the head may have. */
void actions_edit_reply(struct request *r);
/* The reply to a request that is moved, into b; sets r->status. 0 or -ENOBUFS. */
int actions_moved_reply(struct request *r, struct buf *b);

#endif
