/* What differs between two graphs, by names: the snapshots need not be of one chain.
 *
 * Environments, services and gateways that were added, removed or changed; of a changed one each
 * field and each statement that differs, with both values and where they are written. Places alone
 * are no difference. */
#ifndef OFFSHOOT_GRAPH_DIFF_H
#define OFFSHOOT_GRAPH_DIFF_H

#include "lib/base/counters.h"
#include "lib/graph/snapshot.h"
#include <stdbool.h>

/* Appends to out, sorted by name. 1: they differ, 0: they do not, -ENOMEM.
 *
 * JSON, one line: {"equal":bool,"environments":K,"services":K,"gateways":K}, each K being
 * {"added":[name],"removed":[name],"changed":[{"name","fields":[{"field","before","after"}],
 * "statements":[{"service","before","after","before_origin","after_origin"}]}]}; statements of
 * environments only. Values are text; null: not stated. Origins are "file:line" or null.
 *
 * Text: first the counts or "no difference", then a line for each with + - or ~ in front, and
 * indented lines for what changed in it. */
int graph_diff(const struct snapshot *a, const struct snapshot *b, bool json, struct text *out);

#endif
