/* Active health checks: the control thread asks the endpoints in use whether they are well.
 *
 * A worker that sends a request to an address tells, once, how the service wants it checked
 * (health_want); the check goes on as long as a worker uses the address, which is five minutes
 * after the last request, and changes with the graph. What it finds is published in the entry's
 * atomic word (endpoints.h). One connection a check, closed afterwards; at most
 * limits.healthTargets addresses are checked and limits.healthChecks of them at the same time.
 * Times between checks are jittered by a tenth. An address that two services share is checked as
 * the one says that was asked for first. Names are never looked up here: only addresses that
 * requests went to are checked, and the endpoint rules are asked again before each connection. */
#ifndef OFFSHOOT_PROXY_HEALTH_H
#define OFFSHOOT_PROXY_HEALTH_H

#include "lib/base/counters.h"
#include "lib/base/err.h"
#include "lib/graph/policy.h"
#include "proxy/endpoints.h"
#include "proxy/mailbox.h"

struct event_base;
struct health;
struct settings;

/* How to check one address. One block: mem_free gives it back. */
struct health_spec {
    uint64_t id; /* equal for equal specs */
    struct health_policy policy;
    struct service_tls tls;
    bool http2;      /* the providers speak HTTP/2 */
    struct str host; /* Host or :authority: the endpoint as the graph writes it */
};
/* 0: a service that is not checked. host is not looked at for that. */
uint64_t health_spec_id(const struct health_policy *p, const struct service_tls *tls, bool http2,
    const struct addr *endpoint);
/* NULL when memory is out. */
struct health_spec *health_spec_new(const struct health_policy *p, const struct service_tls *tls,
    bool http2, const struct addr *endpoint);

/* Worker to control thread: check u's address by spec (taken); NULL: no more. control: its mailbox.
 * False when memory is out: ask again. */
bool health_want(struct mailbox *control, struct endpoint_table *t, struct endpoint_use *u,
    struct health_spec *spec);
struct health_order {
    struct message message;
    struct endpoint_table *table;
    struct endpoint_entry *entry; /* held */
    struct health_spec *spec;
};
/* What it does with the order is the control thread's matter: health_take. */
void health_order_run(struct message *m, void *control);

struct health_options {
    struct event_base *base;
    struct endpoint_table *table;
    const struct endpoint_rules *rules; /* NULL: all pass */
    uint32_t targets, checks;           /* limits */
    counter_cell *stats;                /* of the control thread */
    const struct settings *set;         /* for TLS; NULL: checks over TLS fail */
};
/* NULL when memory is out. The options' pointers are borrowed. */
struct health *health_new(const struct health_options *o);
/* Ends every check; the entries stay as they are. NULL is allowed. */
void health_free(struct health *h);
/* Files of certificates are read again when they are next needed. */
void health_reload(struct health *h);
/* Takes the order's entry and spec, not the order itself. */
void health_take(struct health *h, struct health_order *o);

/* ---- one exchange (health_probe.c, health_http.c, health_grpc.c) ---- */

struct health_probe;
/* error: "" when it is well. The probe is already gone. */
typedef void health_done_fn(void *arg, const char *error);
/* Starts it; done comes from the loop, once, never inside this call. spec is borrowed. NULL when
 * memory is out. */
struct health_probe *health_probe_new(struct health *h, const struct health_spec *spec,
    const struct addr *a, health_done_fn *done, void *arg);
/* Ends one that is not done yet: nothing is called. NULL is allowed. */
void health_probe_free(struct health_probe *p);

#endif
