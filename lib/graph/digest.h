/* Hashes of what a snapshot holds (docs: push): the digest is SHA-256 over page digests, a page
 * digest is over the hashes of its records, so that a change costs the pages it touches.
 *
 *   record     canonical bytes (envrec.h, docs.h)
 *   page       for each environment in it: number, changed, hash of the record
 *   services   changed of the table; for each: number, changed, hash
 *   gateways   for each, by name: changed, hash
 *   snapshot   epoch, changed of the pools, services, gateways, for each page its position and
 *              digest
 * Numbers are eight bytes, lowest first. Places are in none of them. 0 or -ENOMEM. */
#ifndef OFFSHOOT_GRAPH_DIGEST_H
#define OFFSHOOT_GRAPH_DIGEST_H

#include "lib/graph/sha.h"
#include "lib/graph/snapshot_int.h"

int digest_page(struct sha *sha, const struct slab *records, struct page *p);
int digest_services(struct sha *sha, struct service_table *t);
int digest_gateways(struct sha *sha, struct gateway_table *t);
int digest_snapshot(struct sha *sha, struct snapshot *s);

#endif
