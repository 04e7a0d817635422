/* Passive ejection: an endpoint that fails again and again gets no requests for a while.
 *
 * One worker's view of one address, in its struct provider; workers share nothing here. What counts
 * as a failure: a connect that fails or times out, a connection that breaks before the end of a
 * reply, a reply that is not HTTP, none in time, and statuses 502, 503 and 504. Any other reply is
 * well. How many of a set may be ejected is the caller's matter (balance.c).
 *
 * The time doubles with each ejection in a row, up to five minutes (or to the first time, if that
 * is longer). Afterwards one more failure ejects again; once well for as long as it was ejected, it
 * begins anew. */
#ifndef OFFSHOOT_PROXY_EJECTION_H
#define OFFSHOOT_PROXY_EJECTION_H

#include "lib/graph/policy.h"

#define EJECTION_MAX_MS 300000u

struct ejection {
    uint32_t failures; /* in a row */
    uint32_t times;    /* ejected in a row */
    uint32_t last_ms;  /* how long it was, or is, ejected */
    uint64_t until_ms; /* 0: never, or long ago */
};

/* Anything to look at: false for all that are well, so that a request pays one branch. */
static inline bool ejection_any(const struct ejection *e)
{
    return (e->failures | e->until_ms) != 0;
}
static inline bool ejection_now(const struct ejection *e, uint64_t now_ms)
{
    return e->until_ms > now_ms;
}
/* A request failed there. Of those that were on their way when it was ejected nothing is kept. */
void ejection_failed(struct ejection *e, uint64_t now_ms);
/* A reply that is well. */
void ejection_well(struct ejection *e, uint64_t now_ms);
/* It has failed as often as the policy says. */
static inline bool ejection_due(const struct ejection *e, const struct ejection_policy *p)
{
    return p->failures && e->failures >= p->failures;
}
/* Ejects; returns for how long. */
uint32_t ejection_begin(struct ejection *e, const struct ejection_policy *p, uint64_t now_ms);
/* How many of n endpoints may be ejected at a time: the percentage, at least one, never all. */
uint32_t ejection_allowed(const struct ejection_policy *p, uint32_t n);

#endif
