/* Which service a request means: hosts of services (trusted listeners), routes of a gateway.
 *
 * Hosts are compared without case, trailing dot and port. Paths are compared after decoding of
 * unreserved characters and removal of dot segments, on whole segments; an exact host beats
 * "*.suffix" (longest first) beats none, then the longest path prefix wins. Immutable once built,
 * shared by snapshots through a count kept by the control thread. */
#ifndef OFFSHOOT_GRAPH_ROUTE_H
#define OFFSHOOT_GRAPH_ROUTE_H

#include "lib/base/str.h"
#include "lib/graph/model.h"
#include "lib/graph/path.h"
#include <stdint.h>

struct gateway;
struct hosts;
struct snapshot;

/* Gives the number of a service name (always known in a checked model). */
typedef uint32_t service_number_fn(void *arg, struct str name);

/* Returns new with one reference; copies all it needs. NULL when memory is out. */
struct gateway *gateway_new(const struct model_gateway *m, service_number_fn *number, void *arg);
void gateway_ref(struct gateway *g);
void gateway_unref(struct gateway *g);
size_t gateway_bytes(const struct gateway *g);

/* From all services of a model: authority to service number. */
struct hosts *hosts_new(const struct model *m, service_number_fn *number, void *arg);
void hosts_ref(struct hosts *h);
void hosts_unref(struct hosts *h);
size_t hosts_bytes(const struct hosts *h);

struct route {
    uint32_t service;      /* NUMBER_NONE: none, or the route redirects */
    uint8_t by;            /* enum route_by */
    struct str host, path; /* of the matched route as written; empty when matched by service host */
    const struct route_actions *actions; /* NULL: none; lives as long as the gateway */
};
enum route_by { ROUTE_NONE, ROUTE_SERVICE_HOST, ROUTE_GATEWAY };

/* authority: as received (port and case allowed). path: as received, with or without query. h is
 * NULL on untrusted listeners; g may be NULL. Returns 0, -ENOENT (no route), or -EINVAL (dot
 * segments climb above the root, or the path does not start with '/' and is not "*"). */
int route_pick(const struct gateway *g, const struct hosts *h, struct str authority,
    struct str path, struct route *ret);

struct str gateway_name(const struct gateway *g);
struct str gateway_default_environment(const struct gateway *g); /* p NULL: none */
/* NULL: the gateway has none. */
const struct gateway_limits *gateway_limits(const struct gateway *g);
uint32_t gateway_selector_count(const struct gateway *g);
const struct model_selector *gateway_selector(const struct gateway *g, uint32_t i);

#endif
