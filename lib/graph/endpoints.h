/* Endpoint sets: packed, interned, counted. Equal sets are one object, whoever states them.
 *
 * A set of one IPv4 endpoint takes 16 bytes, each further one 8; other kinds, and sets with an
 * artifact or a region, take a general form. Sets are named by a 30-bit handle (see slab.h).
 *
 * Threads: one thread interns and drops; any thread reads a set that a snapshot gave it. */
#ifndef OFFSHOOT_GRAPH_ENDPOINTS_H
#define OFFSHOOT_GRAPH_ENDPOINTS_H

#include "lib/graph/slab.h"
#include "lib/graph/snapshot.h"

#define ENDPOINTS_MAX  4096u  /* endpoints of one set */
#define ENDPOINTS_TEXT 65535u /* bytes of artifact, region and each name */

struct endpoints {
    struct slab slab;
    uint32_t *table; /* handles by hash, see endpoints.c; 0: free */
    uint32_t size, count;
};

void endpoints_release(struct endpoints *s);
/* Makes the table large enough for this many sets more. 0 or -ENOMEM. */
int endpoints_reserve(struct endpoints *s, size_t more);
/* The set's handle, with one reference. 0, -ENOMEM, or -E2BIG above the limits. */
int endpoints_intern(struct endpoints *s, const struct endpoint *list, uint32_t n,
    struct str artifact, struct str region, uint32_t *ret);
void endpoints_hold(struct endpoints *s, uint32_t handle);
void endpoints_drop(struct endpoints *s, uint32_t handle);
size_t endpoints_bytes(const struct endpoints *s);

static inline const struct endpoint_set *endpoints_at(const struct endpoints *s, uint32_t handle)
{
    return slab_at(&s->slab, handle);
}
struct str endpoint_set_artifact(const struct endpoint_set *s);
struct str endpoint_set_region(const struct endpoint_set *s);

#endif
