#include "lib/graph/lineage.h"

#include <errno.h>
#include <stdbool.h>

static bool in_a_tail(const struct lineage_seq *seqs, uint32_t nseqs, uint32_t value)
{
    for (uint32_t i = 0; i < nseqs; i++)
        for (uint32_t j = 1; j < seqs[i].n; j++)
            if (seqs[i].p[j] == value)
                return true;
    return false;
}

/* The next of the merged order: 1, 0 when all are used up, -1 when no head will do. */
static int next_head(const struct lineage_seq *seqs, uint32_t nseqs, uint32_t *ret)
{
    bool any = false;
    for (uint32_t i = 0; i < nseqs; i++) {
        if (!seqs[i].n)
            continue;
        any = true;
        if (!in_a_tail(seqs, nseqs, seqs[i].p[0])) {
            *ret = seqs[i].p[0];
            return 1;
        }
    }
    return any ? -1 : 0;
}

int lineage_merge(
    uint32_t self, struct lineage_seq *seqs, uint32_t nseqs, uint32_t *out, uint32_t max)
{
    uint32_t n = 0, head;
    int r;
    out[n++] = self;
    while ((r = next_head(seqs, nseqs, &head)) > 0) {
        if (n == max)
            return -E2BIG;
        out[n++] = head;
        for (uint32_t i = 0; i < nseqs; i++)
            if (seqs[i].n && seqs[i].p[0] == head) {
                seqs[i].p++;
                seqs[i].n--;
            }
    }
    return r < 0 ? 0 : (int)n;
}
