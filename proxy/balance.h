/* Which endpoint of a service's provider gets a request.
 *
 * The decision's endpoint set is the ground; health never changes it. First one endpoint of the set
 * is picked as the policy says (round robin by weight, least request of two, consistent hash); an
 * endpoint that is a name then gives one of its addresses, picked the same way without weights.
 * What came out is looked at; if it is drained, disabled, unhealthy, ejected, or was tried before
 * by the same request, one of the others is picked. Nothing is left: BALANCE_UNUSABLE, which
 * refuses the request as `unhealthy`.
 *
 * Ejection is judged here too, when an endpoint that failed often enough comes up again: its set is
 * at hand then, so that maxEjected and "the last usable one stays" can be held. */
#ifndef OFFSHOOT_PROXY_BALANCE_H
#define OFFSHOOT_PROXY_BALANCE_H

#include "lib/graph/snapshot.h"

struct worker;
struct request;
struct provider;

enum balanced {
    BALANCE_READY,    /* the address's entry is in *ret */
    BALANCE_WAIT,     /* for a name; the request will be run */
    BALANCE_NO_NAME,  /* it was looked up in vain */
    BALANCE_UNUSABLE, /* nothing of the set may be used now */
    BALANCE_FORM,     /* an address of a form that we cannot connect to */
    BALANCE_NO_MEMORY
};

/* Addresses that a request has tried, by hash. More than this many tries are not told apart. */
#define BALANCE_TRIED 10

/* r->endpoint ADDR_NONE: one of the set is chosen, and kept there while a name is looked up. The
 * request holds its snapshot. */
enum balanced balance_choose(struct request *r, struct provider **ret);
/* The address that was chosen did not work: the next try should be another. */
void balance_tried(struct request *r);
/* Until one of the set may be usable again: seconds for Retry-After, at least 1. */
uint32_t balance_retry_after(struct request *r);
/* A try failed in a way that counts for ejection. */
void balance_failed(struct request *r);
/* An exchange has come to its end. */
void balance_done(struct request *r);

#endif
