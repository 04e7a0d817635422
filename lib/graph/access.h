/* Who may reach an environment from outside: judged at untrusted listeners only.
 *
 * What counts is the strictest of every environment of the lineage and, when a `use` statement
 * decided, of every environment of the lineage of its target: subjects, then token, then public. An
 * environment without `access` is public when it is a baseline; else the gateway says what it is
 * (overlayAccess). Where it is subjects, one of the names in the client's certificate must be
 * listed by every one of them that lists subjects; a token opens nothing there.
 * A pool that merely provides a service nobody in the lineage speaks of is not
 * judged: it was made to be shared. */
#ifndef OFFSHOOT_GRAPH_ACCESS_H
#define OFFSHOOT_GRAPH_ACCESS_H

#include "lib/graph/context.h"
#include "lib/graph/snapshot.h"

/* The strictest access in the lineage of an environment; ACCESS_PUBLIC when there is none. overlay:
 * of overlays and pools that say nothing. */
enum access_kind access_of(const struct snapshot *s, uint32_t env, enum access_kind overlay);

/* Who asks. Names as they stand in the certificate, compared byte by byte. */
struct subjects {
    const struct str *name;
    uint32_t n;
};

/* Judges the decision that resolve made for a context. False: it is forbidden, and the decision
 * then shows nothing but the environment and the service that were asked for. g may be NULL.
 * c->by_subject is set when the names opened it. */
bool access_judge(const struct snapshot *s, const struct gateway *g, const struct subjects *who,
    struct context *c, struct decision *d);

#endif
