/* The alternatives that a decision passed over, each with the reason. Private to lib/graph. */
#ifndef OFFSHOOT_GRAPH_REJECTED_H
#define OFFSHOOT_GRAPH_REJECTED_H

#include "lib/graph/snapshot.h"

#define REJECTED_MAX        64 /* told; the rest is counted */
#define REJECTED_REASON_MAX 256

struct rejected {
    struct str environment;
    uint8_t cls; /* enum decision_class it would have had; CLASS_NONE for no provider */
    char reason[REJECTED_REASON_MAX]; /* why it did not decide */
    struct origin at; /* its statement; of the environment itself when it says nothing */
};
typedef void rejected_fn(void *arg, const struct rejected *r);

/* Calls fn for the environments of the lineage, nearest first, then for pools that provide the
 * service, leaving out the one that decided. Returns how many were not told. */
uint32_t rejected_each(
    const struct snapshot *s, const struct decision *d, rejected_fn *fn, void *arg);

#endif
