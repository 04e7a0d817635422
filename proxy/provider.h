/* A worker's connections to providers: one struct provider an address and protocol, with unused
 * connections kept for reuse and requests that wait for one. Last used first, so that surplus ages
 * out. With HTTP/2 (provider_h2.c) a request gets a stream of a connection, a pconn of its own, and
 * as few connections are opened as the limits of streams allow. */
#ifndef OFFSHOOT_PROXY_PROVIDER_H
#define OFFSHOOT_PROXY_PROVIDER_H

#include "lib/base/addr.h"
#include "lib/graph/policy.h"
#include "proxy/conn.h"
#include "proxy/ejection.h"
#include "proxy/endpoints.h"
#include "proxy/stats.h"

struct provider_tls; /* provider_tls.h */
struct request;

#define PROVIDER_BUCKETS 1024

/* How a provider is spoken to. */
struct provider_way {
    bool http2;
    const struct service_tls *tls; /* NULL: without TLS */
    struct str host;               /* with TLS: the endpoint's host name; empty: it has none */
};

struct provider {
    struct provider *next; /* in its bucket */
    uint64_t hash;
    struct addr addr; /* name is owned; ADDR_DNS: for what is said of the name, never connected */
    bool http2;       /* what is spoken to it */
    struct provider_tls *tls; /* and how; NULL: without TLS; owned */
    struct list idle;         /* of pconn.link, last used first; with HTTP/2: its connections */
    struct list waiting;      /* of request.wait */
    uint32_t nconns, nidle, nwaiting;
    uint32_t inflight;       /* requests on its connections */
    uint32_t retry_credit;   /* hundredths of a retry that may follow a failed connect */
    uint64_t used_ms;        /* last time a request came here */
    struct endpoint_use use; /* the process's entry for the address */
    struct ejection ejection;
    /* Of the service's policy, as of epoch `learned` (budget.h). */
    uint64_t learned, health_id;
    uint64_t disabled_ms; /* since when, as the sweep saw it; 0: it is not */
    bool ended;           /* and what ran there was ended for it */
    uint32_t max_connections, max_pending, max_requests;
    struct list hungry; /* in worker->hungry: waits for room in a budget of the process */
};

struct providers {
    struct provider *bucket[PROVIDER_BUCKETS];
    uint32_t count;
};

enum pconn_kind {
    PCONN_HTTP1,
    PCONN_SESSION, /* a connection that speaks HTTP/2; carries no request itself */
    PCONN_STREAM   /* of one */
};

struct pconn {
    struct conn conn; /* first */
    uint8_t kind;     /* enum pconn_kind */
    struct provider *provider;
    struct list link;    /* in provider->idle */
    struct request *req; /* NULL while idle */
    uint64_t idle_ms;    /* since when */
    bool used;           /* carried a request before: its end may be a stale one */
    bool pending;        /* connect or TLS handshake in progress */
    bool reached;        /* the connect is done */
};

/* The entry for an address and how it is spoken to, made when missing. NULL when memory is out. */
struct provider *provider_get(
    struct worker *w, const struct addr *a, const struct provider_way *way);
/* The same, but NULL when there is none yet. */
struct provider *provider_find(
    struct worker *w, const struct addr *a, const struct provider_way *way);
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
    ACQUIRE_FULL,    /* limits.providerPending, or a budget of the process */
    ACQUIRE_FAILED   /* *ret_errno; never -EDQUOT, which means a budget between these files */
};
/* fresh: do not reuse a connection. */
enum acquire provider_acquire(struct worker *w, struct provider *p, struct request *r, bool fresh,
    struct pconn **ret, int *ret_errno);
/* The connect of a pending connection goes on: 0, -EINPROGRESS, -EACCES when TLS failed, or another
 * negative errno. */
int pconn_connected(struct pconn *c);
/* The request is done with it: kept for reuse, or given to a waiting request. */
void pconn_keep(struct pconn *c);
/* Closes it for good. */
void pconn_close(struct pconn *c, enum provider_close why);
/* r no longer waits. */
void provider_unwait(struct request *r);

/* Between provider.c and provider_h2.c. */
struct pconn *pconn_connect(struct worker *w, struct provider *p, uint8_t kind, size_t size,
    void (*on_ready)(struct conn *c), int *ret_errno);
void pconn_attach(struct pconn *c, struct request *r);
void pconn_detach(struct pconn *c);
/* The first waiting request goes on, with c (may be NULL: it finds the fault itself). */
void provider_hand_over(struct provider *p, struct pconn *c);
enum acquire provider_wait(struct worker *w, struct provider *p, struct request *r);
enum acquire provider_h2_acquire(
    struct worker *w, struct provider *p, struct request *r, struct pconn **ret, int *ret_errno);
bool provider_h2_busy(const struct pconn *session);
/* Whoever waits there waits for a connect: there is no connection yet that stands. */
bool provider_h2_connecting(struct provider *p);
void provider_h2_serve(struct worker *w, struct provider *p);
/* Closes connections without a stream since before, or all of them (0). */
void provider_h2_sweep(
    struct worker *w, struct provider *p, uint64_t older_than_ms, enum provider_close why);
/* Parts of pconn_close. */
void pconn_h2_close_stream(struct pconn *c);
void pconn_h2_close_session(struct pconn *c);

/* Requests that wait get what there is room for now. */
void provider_serve_waiting(struct worker *w, struct provider *p);
/* Closes the unused connections to an address, whatever is spoken there. */
void providers_release_idle(struct worker *w, const struct addr *a);
/* Closes connections idle for too long, all unused ones of drained and disabled endpoints, and
 * forgets addresses without use. Once a second. */
void providers_sweep(struct worker *w);
/* Closes all idle connections; with all: every entry is given back too (nothing in use). */
void providers_drain(struct worker *w, bool all);

#endif
