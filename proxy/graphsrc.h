/* Where a proxy without an agent gets its graph: files, loaded, checked and compiled on top of the
 * graph that is active. A bad edit leaves the last good one in place and is told in words. */
#ifndef OFFSHOOT_PROXY_GRAPHSRC_H
#define OFFSHOOT_PROXY_GRAPHSRC_H

#include "lib/base/counters.h"
#include "lib/base/err.h"
#include "lib/graph/snapshot.h"
#include "proxy/settings.h"

struct graphsrc;

struct graphsrc *graphsrc_new(const struct settings *set, struct err *e);
void graphsrc_free(struct graphsrc *g);
/* rules: with our own addresses. base: the active snapshot or NULL. 0: *ret is a new snapshot
 * (a reference) with epoch `epoch`. -EALREADY: nothing changed. -EINVAL: the graph is not valid;
 * graphsrc_findings says why. -ENOMEM. */
int graphsrc_load(struct graphsrc *g, const struct endpoint_rules *rules,
    const struct snapshot *base, uint64_t epoch, struct snapshot **ret,
    struct snapshot_changes *ret_changes);
/* The gateway that rules: the one the settings name, or the only one. NULL with e when there is
 * none to take. */
const struct gateway *graphsrc_gateway(
    const struct settings *set, const struct snapshot *s, struct err *e);
/* Of the last load: text (one finding a line) or the JSON object of `graph check`. */
void graphsrc_findings(const struct graphsrc *g, bool json, struct text *out);
size_t graphsrc_errors(const struct graphsrc *g);
size_t graphsrc_warnings(const struct graphsrc *g);
size_t graphsrc_files(const struct graphsrc *g);

#endif
