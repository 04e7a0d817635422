/* Field numbers of the messages Difference and *Upsert (proto/offshoot/v1/graph.proto). */
#ifndef OFFSHOOT_GRAPH_CODEC_INT_H
#define OFFSHOOT_GRAPH_CODEC_INT_H

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
