/* What a service's policy says about an address, as the worker's entry for it keeps it: budgets of
 * the process (maxConnections, maxPending, maxRequests), and how it is checked.
 *
 * Budgets count over all workers (endpoints.h). When maxConnections is reached, requests wait for a
 * connection, as with limits.providerConnections; above maxPending and maxRequests they are refused
 * as `overload`. A worker that waits and has no connection of its own asks the others to close
 * unused ones, and looks every 50 ms whether there is room. */
#ifndef OFFSHOOT_PROXY_BUDGET_H
#define OFFSHOOT_PROXY_BUDGET_H

#include "lib/graph/snapshot.h"
#include "proxy/provider.h"

/* Takes over the policy of the epoch, if it has not yet; tells the control thread when the address
 * is to be checked otherwise than before. endpoint: as the graph writes it. */
void provider_learn_slow(struct worker *w, struct provider *p, const struct service_info *info,
    const struct addr *endpoint, uint64_t epoch);
static inline void provider_learn(struct worker *w, struct provider *p,
    const struct service_info *info, const struct addr *endpoint, uint64_t epoch)
{
    if (p->learned != epoch)
        provider_learn_slow(w, p, info, endpoint, epoch);
}

/* May one more connection be opened? Counts it, or why not. budget_closed takes it back. */
bool budget_connect(struct worker *w, struct provider *p);
void budget_closed(struct provider *p);
/* May one more request wait; may one more be sent. Both count. */
bool budget_wait(struct worker *w, struct provider *p);
void budget_waited(struct provider *p);
bool budget_request(struct worker *w, struct request *r);
/* Idempotent. */
void budget_request_done(struct request *r);
/* Others of the process wait for a connection to it: an unused one should be closed. */
static inline bool budget_wanted(const struct provider *p)
{
    return p->max_connections &&
           atomic_load_explicit(&p->use.entry->pending, memory_order_relaxed) > 0;
}
/* Once a turn, while something waits for a budget. */
void budget_turn(struct worker *w);

#endif
