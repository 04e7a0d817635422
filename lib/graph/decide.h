/* From a request's head to its decision: the one function that routes, explains and tests.
 *
 * A connection that carries no HTTP is asked about without fields and path, with the server name it
 * gave as its authority.
 *
 * Order: loop guard, context, route, resolve, access (access.h; untrusted listeners only). A route
 * that redirects is answered where it is found: it asks for no environment. The
 * proxy calls decide for every request; `explain`, live and offline, calls it for the request
 * described to it. */
#ifndef OFFSHOOT_GRAPH_DECIDE_H
#define OFFSHOOT_GRAPH_DECIDE_H

#include "lib/base/field.h"
#include "lib/graph/access.h"
#include "lib/graph/context.h"
#include "lib/graph/route.h"
#include "lib/graph/snapshot.h"

#define VIA_OURS_MAX 16 /* passages of ours in `via`; more is a loop */

struct ask {
    struct field *fields; /* edited: see context_pick */
    unsigned nfields;
    struct str authority;          /* "" when there is none */
    struct str path;               /* with query */
    bool trusted;                  /* the listener */
    struct subjects subjects;      /* of the client's verified certificate */
    bool https;                    /* the client came by TLS */
    bool refuse_missing;           /* onMissing: refuse (trusted listeners) */
    const struct gateway *gateway; /* may be NULL on trusted listeners */
    int64_t now;                   /* Unix seconds */
    struct str service;            /* a connection for this tcp service: no route is looked for */
    struct str env; /* with service: its environment, whatever the client says; may be empty */
    bool connect;   /* the method CONNECT: routed like others, but to tcp services only */
    struct scratch *scratch;
    struct signer *signer; /* this thread's; NULL: no keys */
};

/* Why the request is answered with the address of another one. */
enum moved {
    MOVED_NONE,
    MOVED_ROUTE, /* route.actions->redirect */
    MOVED_HTTPS  /* route.actions->require_https: 308 to the same URL with https */
};

struct answer {
    uint8_t refusal; /* enum refusal; REFUSAL_NONE: forward to decision.endpoints, or moved */
    uint8_t moved;   /* enum moved; nothing was resolved then */
    uint8_t skew;    /* enum skew of pinned.h: set when a pin chose the epoch */
    bool bad_path;   /* with REFUSAL_BAD_REQUEST: dot segments climb above the root */
    struct context context;
    struct route route;
    struct decision decision; /* filled as far as it came; env/service NUMBER_NONE else */
    struct str path;          /* to forward: ask.path, without a query selector's parameter */
};

/* The request was made with https: by TLS to us or, as a trusted listener is told by
 * x-forwarded-proto, to who sent it on. */
bool ask_https(const struct ask *a);

void decide(const struct snapshot *s, const struct ask *a, struct answer *ret);

/* Route and resolve once more, in another snapshot, with the context that decide found. */
void decide_again(const struct snapshot *s, const struct ask *a, struct answer *ret);

#endif
