#include "lib/base/histogram.h"

uint64_t histogram_count(const uint64_t *cells)
{
    uint64_t n = 0;
    for (unsigned i = 0; i <= HISTOGRAM_BUCKETS; i++)
        n += cells[i];
    return n;
}

uint64_t histogram_quantile(const uint64_t *cells, double share)
{
    double rank = share * (double)histogram_count(cells), below = 0;
    if (rank <= 0)
        return 0;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        double here = (double)cells[i];
        if (here > 0 && below + here >= rank) {
            double from = i ? (double)histogram_edge(i - 1) : 0, to = (double)histogram_edge(i);
            return (uint64_t)(from + (to - from) * (rank - below) / here);
        }
        below += here;
    }
    return histogram_edge(HISTOGRAM_BUCKETS - 1);
}
