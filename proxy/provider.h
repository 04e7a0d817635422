/* A worker's connections to providers: one struct provider an address, with unused connections
 * kept for reuse and requests that wait for one. Last used first, so that surplus ages out. */
#ifndef OFFSHOOT_PROXY_PROVIDER_H
#define OFFSHOOT_PROXY_PROVIDER_H

#include "lib/base/addr.h"
#include "proxy/conn.h"
#include "proxy/stats.h"

struct request;

#define PROVIDER_BUCKETS 1024

struct provider {
    struct provider *next; /* in its bucket */
    uint64_t hash;
    struct addr addr;    /* IP or unix; name is owned */
    struct list idle;    /* of pconn.link, last used first */
    struct list waiting; /* of request.wait */
    uint32_t nconns, nidle, nwaiting;
    uint32_t inflight;     /* requests on its connections */
    uint32_t retry_credit; /* hundredths of a retry that may follow a failed connect */
    uint64_t used_ms;      /* last time a request came here */
};

struct providers {
    struct provider *bucket[PROVIDER_BUCKETS];
    uint32_t count;
};

struct pconn {
    struct conn conn; /* first */
    struct provider *provider;
    struct list link;    /* in provider->idle */
    struct request *req; /* NULL while idle */
    uint64_t idle_ms;    /* since when */
    bool used;           /* carried a request before: its end may be a stale one */
    bool pending;        /* connect in progress */
};

/* The entry for an address, made when missing. NULL when memory is out. */
struct provider *provider_get(struct worker *w, const struct addr *a);
/* Retries are a share of the requests, so that a dead provider does not double the load: each
 * request earns `percent` hundredths, a retry costs a hundred; ten may be saved up. */
#define RETRY_CREDIT_MAX 1000u
void provider_earn_retry(struct provider *p, uint32_t percent);
/* False: the budget is spent. */
bool provider_spend_retry(struct provider *p);
/* What provider_acquire came to. */
enum acquire {
    ACQUIRE_READY,   /* *ret is connected and belongs to r */
    ACQUIRE_PENDING, /* *ret is connecting; its on_ready will run r */
    ACQUIRE_WAIT,    /* r waits for a free connection; it will be run */
    ACQUIRE_FULL,    /* limits.providerPending */
    ACQUIRE_FAILED   /* *ret_errno */
};
/* fresh: do not reuse a connection. */
enum acquire provider_acquire(struct worker *w, struct provider *p, struct request *r, bool fresh,
    struct pconn **ret, int *ret_errno);
/* The connect of a pending connection finished: 0 or negative errno. */
int pconn_connected(struct pconn *c);
/* The request is done with it: kept for reuse, or given to a waiting request. */
void pconn_keep(struct pconn *c);
/* Closes it for good. */
void pconn_close(struct pconn *c, enum provider_close why);
/* r no longer waits. */
void provider_unwait(struct request *r);
/* Closes connections idle for too long and forgets addresses without use. Once a second. */
void providers_sweep(struct worker *w);
/* Closes all idle connections; with all: every entry is given back too (nothing in use). */
void providers_drain(struct worker *w, bool all);

#endif
