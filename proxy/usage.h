/* Requests by environment and by service: who gets the traffic.
 *
 * One table a worker and kind, indexed by the snapshot's numbers: pages of counters made on first
 * use. Single writer; the control thread reads, adds the workers up and names the busiest. */
#ifndef OFFSHOOT_PROXY_USAGE_H
#define OFFSHOOT_PROXY_USAGE_H

#include "lib/base/counters.h"
#include "lib/graph/snapshot.h"

#define USAGE_PAGE  256u
#define USAGE_PAGES 4096u /* numbers from 2^20 on are counted as `other` */

struct usage {
    counter_cell *_Atomic page[USAGE_PAGES];
    counter_cell other; /* no page to be had, or a number too large */
};

/* Worker: one request more for this number. */
void usage_add(struct usage *u, uint32_t number);
void usage_release(struct usage *u);

/* Control thread. Appends offshoot_environment_requests_total and offshoot_service_requests_total
 * for the `most` busiest of each; the rest together as "other". envs and services: one table a
 * worker. */
void usage_prometheus(struct text *out, const struct snapshot *s, struct usage *const *envs,
    struct usage *const *services, unsigned nworkers, uint32_t most);

/* The busiest of a kind by name, which lives in the snapshot; ret has room for `most`. How many
 * there are; 0 when memory is out. */
enum usage_kind { USAGE_ENVIRONMENTS, USAGE_SERVICES };
struct usage_name {
    struct str name;
    uint64_t requests;
};
size_t usage_busiest(const struct snapshot *s, enum usage_kind kind, struct usage *const *tables,
    unsigned nworkers, size_t most, struct usage_name *ret);

#endif
