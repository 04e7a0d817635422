/* A policy as numbers, for tests that compare two of them. */
#ifndef OFFSHOOT_TESTS_UNIT_GRAPH_POLICY_NUMBERS_H
#define OFFSHOOT_TESTS_UNIT_GRAPH_POLICY_NUMBERS_H

#include "lib/graph/policy.h"
#include <string.h>

#define NUMBERS 23
/* Field by field: what lies between them is nobody's. */
static inline void numbers(const struct policy *p, uint64_t out[NUMBERS])
{
    const struct ejection_policy *e = &p->ejection;
    const struct health_policy *h = &p->health;
    const uint64_t all[NUMBERS] = {p->balance, p->hash.kind, p->timeout_ms, p->connect_timeout_ms,
        p->idle_timeout_ms, p->try_timeout_ms, p->retries_max, p->retries_budget_percent,
        p->max_connections, p->max_pending, p->max_requests, p->slow_start_ms, e->failures,
        e->time_ms, e->percent, h->kind, h->path.n, h->interval_ms, h->timeout_ms, h->healthy_after,
        h->unhealthy_after, h->status_min, h->status_max};
    memcpy(out, all, sizeof all);
}

#endif
