/* What a route does, in words: parts of explain.c. */
#ifndef OFFSHOOT_GRAPH_EXPLAIN_ROUTE_H
#define OFFSHOOT_GRAPH_EXPLAIN_ROUTE_H

#include "lib/base/counters.h"
#include "lib/graph/decide.h"

/* Only of an answer that is moved: {"status":308,"location":"..."}. */
void explain_moved_json(struct text *out, const struct ask *a, const struct answer *r);
/* Likewise: "308 to LOCATION". */
void explain_moved_text(struct text *out, const struct ask *a, const struct answer *r);

/* ,"forward":{"path","host"},"actions":{...} by the keys of the graph's files; nothing for a route
 * without actions. */
void explain_actions_json(struct text *out, const struct ask *a, const struct answer *r);
/* A line with what is forwarded, and one for each action. */
void explain_actions_text(struct text *out, const struct ask *a, const struct answer *r);

#endif
