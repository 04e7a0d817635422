/* Decisions in words: the JSON objects and the text that ctl and the admin sockets print.
 *
 * Text: first line the answer, then why, then the rejected alternatives. Everything asked for by a
 * person is shown escaped. */
#ifndef OFFSHOOT_GRAPH_EXPLAIN_H
#define OFFSHOOT_GRAPH_EXPLAIN_H

#include "lib/base/counters.h"
#include "lib/graph/decide.h"

/* One line, keys in this order, no newline:
 * {"environment","service","outcome":"provider"|"refused"|"redirect" (of explain only),
 * "class","provider","distance","origin":"file:line"|null,"epoch","endpoints":["a:p"],
 * "refusal":word|null,"status":int|null}. env and service: as asked for. */
void decision_json(struct text *out, const struct snapshot *s, const struct decision *d,
    struct str env, struct str service, uint64_t epoch);
/* The answer, why, rejected alternatives; lines end with '\n'. */
void decision_text(struct text *out, const struct snapshot *s, const struct decision *d,
    struct str env, struct str service, uint64_t epoch, int64_t now);
/* The same object with "context":{"rule","source","environment","pin"}, "route":{"host","path",
 * "service"} and "rejected":[{"environment","class","reason","origin"}] added; and for a route that
 * does more "forward":{"path","host"} and "actions":{...}, or "redirect":{"status","location"}. */
void explain_json(struct text *out, const struct snapshot *s, const struct ask *a,
    const struct answer *r, uint64_t epoch);
void explain_text(struct text *out, const struct snapshot *s, const struct ask *a,
    const struct answer *r, uint64_t epoch);
/* {"environment":...} objects and text for env list|show|tree. */
void env_list(struct text *out, const struct snapshot *s, bool json, int64_t now);
int env_show(struct text *out, const struct snapshot *s, struct str name, bool json, int64_t now);
void env_tree(struct text *out, const struct snapshot *s, bool json, int64_t now);
/* For an unknown name: nearest existing ones, for "did you mean"; empty when none is near. */
struct str snapshot_nearest_env(const struct snapshot *s, struct str name);
struct str snapshot_nearest_service(const struct snapshot *s, struct str name);

#endif
