/* Whether a compiled graph points only where this program may connect to: what the check of files
 * judges (F_ENDPOINT_FORBIDDEN), for a graph that came as bytes. */
#ifndef OFFSHOOT_GRAPH_ALLOWED_H
#define OFFSHOOT_GRAPH_ALLOWED_H

#include "lib/base/addr.h"
#include "lib/base/err.h"
#include "lib/graph/snapshot.h"

/* Judges every endpoint of s. base: a snapshot that was judged by the same rules (NULL: none);
 * what s shares with it is not judged again. DNS names pass: they are judged after look-up. 0, or
 * -EPERM with e naming environment, service, address, place and rule. */
int snapshot_allowed(const struct snapshot *s, const struct snapshot *base,
    const struct endpoint_rules *rules, struct err *e);

#endif
