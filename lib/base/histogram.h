/* Histograms of durations as cells of a set of counters (counters.h): fixed buckets, each twice as
 * wide as the one before.
 *
 *   cell 0                        less than 64 us
 *   cell 1                        less than 128 us
 *   ...
 *   cell HISTOGRAM_BUCKETS - 1    less than 134,217,728 us (2^27, some 134 s)
 *   cell HISTOGRAM_BUCKETS        all that took longer
 *   cell HISTOGRAM_SUM            sum of the durations, us
 *
 * A duration is measured in whole microseconds, cut; so "less than 2^k" is "at most 2^k us" of what
 * passed really, which is what `le` of a Prometheus bucket says. Cells are single-writer counters:
 * several sets add up to the histogram of all. */
#ifndef OFFSHOOT_BASE_HISTOGRAM_H
#define OFFSHOOT_BASE_HISTOGRAM_H

#include "lib/base/counters.h"

#define HISTOGRAM_FIRST   6u /* 2^6 us is the edge of the first bucket */
#define HISTOGRAM_BUCKETS 22u
#define HISTOGRAM_SUM     (HISTOGRAM_BUCKETS + 1)
#define HISTOGRAM_CELLS   (HISTOGRAM_BUCKETS + 2)

/* The cell that counts a duration. */
static inline unsigned histogram_bucket(uint64_t us)
{
    unsigned top = 63u ^ (unsigned)__builtin_clzll(us | ((1u << HISTOGRAM_FIRST) - 1));
    unsigned i = top + 1 - HISTOGRAM_FIRST;
    return i < HISTOGRAM_BUCKETS ? i : HISTOGRAM_BUCKETS;
}
/* The upper edge of bucket i, us; i is below HISTOGRAM_BUCKETS. */
static inline uint64_t histogram_edge(unsigned i)
{
    return UINT64_C(1) << (HISTOGRAM_FIRST + i);
}
/* Counts one duration; cells are HISTOGRAM_CELLS of the writer's set. */
static inline void histogram_observe(counter_cell *cells, uint64_t us)
{
    counter_inc(&cells[histogram_bucket(us)]);
    counter_add(&cells[HISTOGRAM_SUM], us);
}

/* The duration, us, below which a share of what was counted lies (0.99: the 99th percentile), by
 * equal spreading within its bucket. cells: HISTOGRAM_CELLS counts of any reading or difference of
 * readings. 0 when nothing was counted; the last edge when it lies beyond that. */
uint64_t histogram_quantile(const uint64_t *cells, double share);
/* How many were counted. */
uint64_t histogram_count(const uint64_t *cells);

#endif
