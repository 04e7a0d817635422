/* Judges a model as a whole: references, lineages, statements, clashes (docs/graph-reference.md).
 *
 * One fault gives one finding: what stands on something broken is not judged. When `findings`
 * already holds a `syntax` error no reference is judged at all. */
#ifndef OFFSHOOT_GRAPH_CHECK_H
#define OFFSHOOT_GRAPH_CHECK_H

#include "lib/base/addr.h"
#include "lib/graph/findings.h"
#include "lib/graph/model.h"

/* rules may be NULL (no endpoint is forbidden: offline use without a configuration). Adds findings
 * and sorts them all. Returns 0 when the graph is valid (warnings allowed), -EINVAL when not,
 * -ENOMEM. Time near linear in the size of the graph. */
int model_check(
    const struct model *m, const struct endpoint_rules *rules, struct findings *findings);

/* The C3 linearisation of one environment, itself first: positions in m->envs. Returns the length,
 * 0 when there is none (cycle, unknown parent, no order, more than max). Shared with compile. */
uint32_t model_lineage(const struct model *m, uint32_t env, uint32_t *out, uint32_t max);
#define LINEAGE_MAX 16

#endif
