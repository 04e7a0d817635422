/* What the two halves of the codec share, and what its fuzz target needs. */
#ifndef OFFSHOOT_GRAPH_CODEC_INT_H
#define OFFSHOOT_GRAPH_CODEC_INT_H

#include "lib/base/err.h"
#include "lib/base/str.h"

struct snapshot;
struct snapshot_changes;

/* codec_apply that can leave the comparison of digests out, so that a fuzzer, which cannot make one
 * that fits, still reaches what stands behind it. */
int codec_apply_any(const struct snapshot *base, struct str bytes, bool compare,
    struct snapshot **ret, struct snapshot_changes *ret_changes, struct err *e);

/* Field numbers of the messages Difference and *Upsert (proto/offshoot/v1/graph.proto). */

enum {
    D_BASE = 1,
    D_EPOCH,
    D_DIGEST,
    D_SERVICES_CHANGED,
    D_POOLS_CHANGED,
    D_FILES,
    D_SERVICES,
    D_REMOVED_SERVICES,
    D_GATEWAYS,
    D_REMOVED_GATEWAYS,
    D_ENVIRONMENTS,
    D_REMOVED_ENVIRONMENTS
};
enum { SU_NUMBER = 1, SU_CHANGED, SU_RECORD };
enum { GU_CHANGED = 1, GU_RECORD };
enum { EU_NUMBER = 1, EU_CHANGED, EU_RECORD, EU_FILE, EU_LINE, EU_LINES };

#endif
