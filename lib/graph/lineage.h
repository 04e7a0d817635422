/* One step of the C3 linearisation, as Python orders methods: the lineages of the parents and the
 * list of the parents are merged, each time taking the first head that no other list has behind
 * its head. */
#ifndef OFFSHOOT_GRAPH_LINEAGE_H
#define OFFSHOOT_GRAPH_LINEAGE_H

#include <stdint.h>

struct lineage_seq {
    const uint32_t *p;
    uint32_t n;
};

/* seqs: one lineage a parent, in order, then the list of the parents itself; at most
 * LINEAGE_MAX + 1. Their cursors are used up. Writes self and the merged rest to out; returns the
 * length, 0 when there is no order, or -E2BIG when it is longer than max. */
int lineage_merge(
    uint32_t self, struct lineage_seq *seqs, uint32_t nseqs, uint32_t *out, uint32_t max);

#endif
